import ColocateModel

/// What swapping the experts of two slots of a layer changes, under a dispatch rule.
///
/// The cost of a set depends on where the copies of its own experts are, and on nothing else. So a
/// swap of experts `e` and `f` changes the sets that hold one of them: their new means are counted
/// by the definition's own `LayerCopies.spread` and compared with those kept from before. That is
/// dear (every set of two experts for one trial) and true of every rule, also of one by which a
/// moved copy changes what other GPUs' tokens use. Loads follow from the two experts' parts alone.
package final class SlotGains {
  /// What a swap adds.
  package struct Change: Sendable {
    package let value: Double
    package let excess: Double
  }

  private struct Proposal {
    let a: Int
    let b: Int
    let change: Change
    let loads: [Double]
    let parts: (e: [Double], f: [Double])
    /// Sets that change, and what a token of each costs then.
    let sets: [Int]
    let costs: [Double]
  }

  package let layer: TokenSets.Layer
  package let topology: Topology
  /// The expert of each slot, `[S]`.
  package private(set) var slots: [Int]
  /// The objective's value now.
  package private(set) var value = 0.0
  /// Mean tokens of each GPU, `[P]`.
  package private(set) var loads: [Double]
  /// Mean tokens beyond the cap, all GPUs together.
  package private(set) var excess = 0.0

  private let weights: (gpu: Double, node: Double)
  private let cap: Double?
  private let perGPU: Int
  private var copies: LayerCopies
  /// Slots of each expert, ascending, `[E][r]`.
  private var slotsOf: [[Int]]
  /// What a token of each set costs, `[U]`.
  private var costs: [Double]
  /// `LayerCopies.part` of each expert, `[E, P]`.
  private var parts: [[Double]]
  /// Sets that hold each expert, `[E]`.
  private let lists: [[Int]]
  private var stamps: [Int]
  private var stamp = 0
  private var scratch: LayerCopies.Scratch
  private var proposal: Proposal?

  /// - Parameters:
  ///   - slots: the expert of each slot, `[S]`; no GPU holds one twice.
  ///   - cap: the most mean tokens of a GPU; nil for no cap.
  /// - Precondition: `LayerCopies.check` lets the layer pass with these numbers of copies.
  package init(
    _ layer: TokenSets.Layer, slots: [Int], topology: Topology, rule: DispatchRule,
    objective: DestinationObjective, cap: Double?
  ) {
    let experts = layer.loads.count
    self.layer = layer
    self.topology = topology
    self.slots = slots
    weights = objective.meanWeights
    perGPU = slots.count / topology.gpus
    // What only rounding puts above the cap is not above it.
    self.cap = cap.map { $0 * (1 + 1e-9) }
    var slotsOf = [[Int]](repeating: [], count: experts)
    for (slot, expert) in slots.enumerated() { slotsOf[expert].append(slot) }
    self.slotsOf = slotsOf
    let perGPU = perGPU
    let copies = LayerCopies(
      slotsOf.map { $0.map { $0 / perGPU } }, topology: topology, rule: rule)
    self.copies = copies
    var lists = [[Int]](repeating: [], count: experts)
    for set in 0..<layer.count {
      for expert in layer[set] { lists[Int(expert)].append(set) }
    }
    self.lists = lists
    stamps = [Int](repeating: 0, count: layer.count)
    scratch = LayerCopies.Scratch(topology)
    costs = []
    parts = (0..<experts).map { copies.part(of: $0) }
    loads = copies.gpuLoads(layer.loads)
    costs = (0..<layer.count).map(cost)
    value = zip(costs, layer.multiplicities).reduce(0) { $0 + $1.0 * Double($1.1) }
    excess = excess(of: loads)
  }

  /// Steps that a trial takes, about.
  package var trialSteps: Int {
    let sources = copies.rule.looksAtSource ? topology.gpus : 1
    return max(1, 2 * layer.members.count / max(1, layer.loads.count))
      * max(1, layer.members.count / max(1, layer.count)) * sources
  }

  private func cost(_ set: Int) -> Double {
    let spread = copies.spread(
      of: layer[set], gpus: weights.gpu > 0, nodes: weights.node > 0, &scratch)
    return weights.gpu * spread.gpus + weights.node * spread.nodes
  }

  private func excess(of loads: [Double]) -> Double {
    guard let cap else { return 0 }
    return loads.reduce(0) { $0 + max(0, $1 - cap) }
  }

  private func gpu(_ slot: Int) -> Int { slot / perGPU }

  /// Whether slots `a` and `b` can change experts: they are on different GPUs, and neither GPU
  /// holds the other's expert yet.
  package func canSwap(_ a: Int, _ b: Int) -> Bool {
    let (e, f) = (slots[a], slots[b])
    guard e != f, gpu(a) != gpu(b) else { return false }
    return !copies.gpus[e].contains(gpu(b)) && !copies.gpus[f].contains(gpu(a))
  }

  /// What swapping the experts of slots `a` and `b` adds; it is kept for `accept`.
  /// - Precondition: `canSwap(a, b)`.
  package func propose(_ a: Int, _ b: Int) -> Change {
    let (e, f) = (slots[a], slots[b])
    exchange(a, b)
    let newParts = (copies.part(of: e), copies.part(of: f))
    var changed = loads
    for gpu in changed.indices {
      changed[gpu] += Double(layer.loads[e]) * (newParts.0[gpu] - parts[e][gpu])
      changed[gpu] += Double(layer.loads[f]) * (newParts.1[gpu] - parts[f][gpu])
    }
    stamp += 1
    var (sets, found, sum) = ([Int](), [Double](), 0.0)
    for expert in [e, f] {
      for set in lists[expert] where stamps[set] != stamp {
        stamps[set] = stamp
        let cost = cost(set)
        sum += Double(layer.multiplicities[set]) * (cost - costs[set])
        sets.append(set)
        found.append(cost)
      }
    }
    exchange(a, b)
    let change = Change(value: sum, excess: excess(of: changed) - excess)
    proposal = Proposal(
      a: a, b: b, change: change, loads: changed, parts: newParts, sets: sets, costs: found)
    return change
  }

  /// Makes the swap that was proposed last.
  package func accept() {
    guard let made = proposal else { return }
    proposal = nil
    let (e, f) = (slots[made.a], slots[made.b])
    exchange(made.a, made.b)
    value += made.change.value
    loads = made.loads
    excess = excess(of: loads)
    (parts[e], parts[f]) = made.parts
    for (set, cost) in zip(made.sets, made.costs) { costs[set] = cost }
  }

  private func exchange(_ a: Int, _ b: Int) {
    slots.swapAt(a, b)
    for (expert, old, new) in [(slots[b], a, b), (slots[a], b, a)] {
      slotsOf[expert].removeAll { $0 == old }
      let place = slotsOf[expert].firstIndex { $0 > new } ?? slotsOf[expert].count
      slotsOf[expert].insert(new, at: place)
      copies.place(expert, on: slotsOf[expert].map(gpu))
    }
  }
}
