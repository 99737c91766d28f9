import ColocateModel

/// Local search under `interNode · node destinations + intraNode · (GPU − node destinations)`.
///
/// The objective is `(inter − intra) · λ over nodes + intra · λ over GPUs`: two tables of swap
/// gains over the same sets, one for each level. A swap inside a node changes one of them.
struct JointDestinationSearch {
  private let topology: Topology
  private let gpuLayer: DestinationLayer
  private let nodeLayer: DestinationLayer
  private let nodeWeight: Int
  private let gpuWeight: Int

  init(_ sets: TokenSets.Layer, topology: Topology, inter: Int, intra: Int, cap: Int?) {
    self.topology = topology
    gpuLayer = DestinationLayer(sets, groups: topology.gpus, cap: cap)
    nodeLayer = DestinationLayer(sets, groups: topology.nodes)
    (nodeWeight, gpuWeight) = (inter - intra, intra)
  }

  /// The best placement reached from `candidates` (at least one, all within the cap): annealing
  /// from the best of them, and descent from all.
  func run(_ candidates: [[Int]], seed: UInt64, control: SearchControl) -> [Int] {
    var random = SeededGenerator(seed: seed)
    var best = (labels: candidates[0], value: value(candidates[0]))
    for labels in candidates {
      let found = improve(labels, trials: 0, random: &random, control: control)
      if found.value < best.value { best = found }
    }
    for _ in 0..<2 where !control.isOver {
      let found = improve(
        best.labels, trials: 1500 * gpuLayer.experts, random: &random, control: control)
      if found.value < best.value { best = found }
    }
    return best.labels
  }

  private func value(_ labels: [Int]) -> Int {
    nodeWeight * nodeLayer.value(labels.map(topology.node(of:)))
      + gpuWeight * gpuLayer.value(labels)
  }

  private func improve(
    _ start: [Int], trials: Int, random: inout SeededGenerator, control: SearchControl
  ) -> (labels: [Int], value: Int) {
    let gpu = SwapGains(gpuLayer, start)
    let node = SwapGains(nodeLayer, start.map(topology.node(of:)))
    var value = nodeWeight * node.value + gpuWeight * gpu.value
    var best = (labels: start, value: value)
    func change(_ e: Int, _ f: Int) -> Int {
      let isInside = node.groupOf[e] == node.groupOf[f]
      return gpuWeight * gpu.change(e, f) + (isInside ? 0 : nodeWeight * node.change(e, f))
    }
    func swap(_ e: Int, _ f: Int) {
      value += change(e, f)
      gpu.swap(e, f)
      if node.groupOf[e] != node.groupOf[f] { node.swap(e, f) }
      if gpu.excess == 0, value < best.value { best = (gpu.groupOf, value) }
    }
    let experts = gpuLayer.experts
    var temperature = 0.03 * Double(value) / Double(experts)
    let factor = trials > 0 ? Elementary.exp(Elementary.log(0.01) / Double(trials)) : 1
    for trial in 0..<trials {
      if trial & 255 == 0 {
        control.spend(256)
        if control.isOver { break }
      }
      temperature *= factor
      let (e, f) = (random.next(below: experts), random.next(below: experts))
      guard gpu.groupOf[e] != gpu.groupOf[f], gpu.excessChange(e, f) <= 0 else { continue }
      let cost = Double(change(e, f))
      if cost <= 0 || Elementary.exp(-cost / temperature) > random.nextUnit() { swap(e, f) }
    }
    while !control.isOver {
      control.spend(experts * experts / 8)
      var bestSwap = (change: 0, e: 0, f: 0)
      for e in 1..<max(1, experts) {
        for f in 0..<e where gpu.groupOf[e] != gpu.groupOf[f] && gpu.excessChange(e, f) <= 0 {
          let found = change(e, f)
          if found < bestSwap.change { bestSwap = (found, e, f) }
        }
      }
      guard bestSwap.e != bestSwap.f else { break }
      swap(bestSwap.e, bestSwap.f)
    }
    return best
  }
}
