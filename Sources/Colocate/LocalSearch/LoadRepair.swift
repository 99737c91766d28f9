import ColocateModel

/// Brings a placement under the load cap by swaps inside layers that cost little.
///
/// While a layer has overloaded groups, the swap with the largest drop of the layer's excess `Σ_g
/// max(0, load_g − cap)` is made; among equal drops the one that keeps most, of those the first.
/// Every swap lowers the excess, an integer, so this ends. Where no swap lowers it, the layer is
/// filled anew by the problem's packing and its groups are named to overlap best with the old ones,
/// so that a cap that can be met is met. A swap costs O(E²) to choose, and O(E) more for each
/// candidate with the best drop so far. Nothing is random.
struct LoadRepair {
  private let problem: GroupingProblem
  private let control: SearchControl
  private var labels: Labels
  private let assignment = LinearAssignment()

  /// - Parameter control: looked at for every expert of an overloaded group.
  /// - Returns: whether the labels meet the cap now (always, without a cap); false where stopped.
  static func repair(
    _ labels: inout [Int], problem: GroupingProblem, control: SearchControl
  ) -> Bool {
    guard let caps = problem.caps else { return true }
    var repair = LoadRepair(
      problem: problem, control: control, labels: Labels(labels, experts: problem.experts))
    defer { labels = repair.labels.flat }
    return caps.indices.allSatisfy { repair.lower(layer: $0, to: caps[$0]) }
  }

  /// A swap of two experts of a layer.
  private struct Swap {
    let a: Int
    let b: Int
    /// Of the layer's excess.
    let drop: Int
    /// Kept weight won.
    let gain: Int
  }

  /// Answers whether layer `l` is within `cap` now.
  private mutating func lower(layer l: Int, to cap: Int) -> Bool {
    var load = [Int](repeating: 0, count: problem.groups)
    for e in 0..<problem.experts { load[labels[l, e]] += problem.load(l, e) }
    while load.contains(where: { $0 > cap }) {
      var best: Swap?
      for a in 0..<problem.experts where load[labels[l, a]] > cap {
        if control.shouldStop { return false }
        best = bestSwap(l, a, load, cap, better: best)
      }
      guard let best else { return refill(layer: l) }
      let shift = problem.load(l, best.a) - problem.load(l, best.b)
      load[labels[l, best.a]] -= shift
      load[labels[l, best.b]] += shift
      (labels[l, best.a], labels[l, best.b]) = (labels[l, best.b], labels[l, best.a])
    }
    return true
  }

  /// The best swap of `a` with a lighter expert, or `known` where that is no worse.
  private func bestSwap(
    _ l: Int, _ a: Int, _ load: [Int], _ cap: Int, better known: Swap?
  ) -> Swap? {
    func excess(_ load: Int) -> Int { max(0, load - cap) }
    var best = known
    let g = labels[l, a]
    for b in 0..<problem.experts where problem.load(l, b) < problem.load(l, a) {
      let h = labels[l, b]
      guard g != h else { continue }
      let shift = problem.load(l, a) - problem.load(l, b)
      let drop =
        excess(load[g]) + excess(load[h]) - excess(load[g] - shift) - excess(load[h] + shift)
      guard drop > 0, drop >= best?.drop ?? 0 else { continue }
      let gain = swapGain(l, a, b)
      if drop > best?.drop ?? 0 || gain > best?.gain ?? .min {
        best = Swap(a: a, b: b, drop: drop, gain: gain)
      }
    }
    return best
  }

  /// The layer by the problem's packing, under the names that overlap best with the old groups.
  private mutating func refill(layer l: Int) -> Bool {
    let packing = problem.packed(layer: l)
    guard problem.meetsCap(layer: l, packing) else { return false }
    let groups = problem.groups
    var overlap = [Int](repeating: 0, count: groups * groups)
    for e in 0..<problem.experts {
      overlap[packing[e] * groups + labels[l, e]] += problem.load(l, e) + 1
    }
    var name = [Int]()
    assignment.maximise(size: groups, entries: overlap, columnOf: &name)
    for e in 0..<problem.experts { labels[l, e] = name[packing[e]] }
    return true
  }

  /// Kept weight won when experts `a` and `b` of layer `l` change places. O(E).
  private func swapGain(_ l: Int, _ a: Int, _ b: Int) -> Int {
    let (g, h) = (labels[l, a], labels[l, b])
    var gain = 0
    func count(_ label: Int, _ weightA: Int, _ weightB: Int) {
      if label == g { gain += weightB - weightA }
      if label == h { gain += weightA - weightB }
    }
    for i in 0..<problem.experts {
      if l > 0 {
        count(labels[l - 1, i], problem.weight(l - 1, i, a), problem.weight(l - 1, i, b))
      }
      if l < problem.layers - 1 {
        count(labels[l + 1, i], problem.weight(l, a, i), problem.weight(l, b, i))
      }
      if !problem.coactivation.isEmpty, i != a, i != b {
        count(labels[l, i], problem.coactivation(l, i, a), problem.coactivation(l, i, b))
      }
    }
    return gain
  }
}
