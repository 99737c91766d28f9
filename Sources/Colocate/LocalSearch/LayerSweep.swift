import ColocateModel

/// One layer at a time to its optimum between fixed neighbours, and swaps until none helps.
///
/// With both neighbours fixed a layer is a transportation problem (`Transportation.swift`) whose
/// gains are the attractions of `GainTable`: exact, where any number of pairwise swaps can be
/// stuck. Under a load cap the uncapped answer is taken where it meets the cap (the capped problem
/// is a generalised assignment problem); swaps that respect the cap do the rest. With co-activation
/// the gains are a linearisation, and the answer is taken only where the true value rises. A layer
/// costs O(E² · P); layers come in one order and nothing is random, so a start has one local
/// optimum.
package struct LayerSweep {
  private let transportation: Transportation
  /// `[E, P]`, then `[E]`, `[E]` and `[P]`: scratch of `improve`.
  private var gains: [Int] = []
  private var groupOf: [Int] = []
  private var old: [Int] = []
  private var load: [Int] = []
  private var pairs: GroupPairs?

  /// See `polish`.
  static let graceSeconds = 0.1

  /// - Parameter control: looked at inside a layer's transportation problem.
  package init(control: SearchControl? = nil) { transportation = Transportation(control: control) }

  /// Best response of layer `l`.
  /// - Returns: whether the value rose.
  package mutating func improve<Gain>(_ table: GainTable<Gain>, layer l: Int) -> Bool {
    let model = table.model
    let (experts, groups) = (model.experts, model.groups)
    if gains.count != experts * groups {
      gains = [Int](repeating: 0, count: experts * groups)
      old = [Int](repeating: 0, count: experts)
      load = [Int](repeating: 0, count: groups)
    }
    var before = 0
    for e in 0..<experts {
      for g in 0..<groups { gains[e * groups + g] = table.attraction(l, g, e) }
      old[e] = table.label(l, e)
      before += gains[e * groups + old[e]]
    }
    let after = transportation.maximise(
      items: experts, groups: groups, capacity: model.size, gains: gains, groupOf: &groupOf)
    guard after > before else { return false }
    if model.isCapped {
      for g in 0..<groups { load[g] = 0 }
      for e in 0..<experts { load[groupOf[e]] += model.loads[l * experts + e] }
      for g in 0..<groups where load[g] > model.caps[l] { return false }
    }
    let value = table.value
    table.assign(layer: l, groupOf: groupOf)
    if table.value > value { return true }
    table.assign(layer: l, groupOf: old)
    return false
  }

  /// Swaps inside layer `l` while one helps; `isOver` is asked for every expert.
  static func descend<Gain>(
    _ table: GainTable<Gain>, layer l: Int, isOver: () -> Bool
  ) -> Bool {
    let experts = table.model.experts
    var improved = false
    var again = true
    while again {
      again = false
      for a in 0..<experts {
        if isOver() { return improved }
        for b in 0..<a where table.label(l, a) != table.label(l, b) {
          let gain = table.swapGain(l, a, b)
          guard gain > 0, !table.model.isCapped || table.swapFits(l, a, b) else { continue }
          table.swap(l, a, b, gain: gain)
          (again, improved) = (true, true)
        }
      }
    }
    return improved
  }

  /// Swaps, transportation, label matching and pairs of groups in turn until none of them helps: a
  /// local optimum of all four. Where `control` says stop, swaps are still tried, for
  /// `graceSeconds` at most, so that an interrupted annealing leaves something decent.
  package mutating func polish<Gain>(
    _ table: GainTable<Gain>, matching: inout LabelMatching, control: SearchControl,
    withPairs: Bool = true
  ) {
    let model = table.model
    guard table.isWhole else { return }
    let begun = control.elapsed
    func isOver() -> Bool {
      control.shouldStop && control.elapsed - begun > Self.graceSeconds
    }
    if pairs == nil, withPairs {
      pairs = GroupPairs(layers: model.layers, experts: model.experts, groups: model.groups)
    }
    while true {
      var improved = false
      for l in 0..<model.layers where Self.descend(table, layer: l, isOver: isOver) {
        improved = true
      }
      if control.shouldStop { return }
      for l in stride(from: model.layers - 1, through: 0, by: -1) where !control.shouldStop {
        if improve(table, layer: l) { improved = true }
      }
      if control.shouldStop { return }
      let value = table.value
      var labels = table.placement
      matching.relabel(&labels, problem: model.problem, saved: model.saved)
      let matched = model.saved.value(model.problem, labels)
      if matched > value {
        table.load(labels)
        guard table.isWhole else { return }
        improved = true
      }
      if !improved, !control.shouldStop, withPairs,
        let pairs, pairs.improve(table, control: control)
      {
        improved = true
      }
      if !improved { return }
    }
  }
}
