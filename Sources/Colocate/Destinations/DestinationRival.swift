import ColocateModel

/// What people do about destinations today, for comparison. Each looks at one layer at a time; none
/// knows a load cap, and none has copies of experts.
public enum DestinationRival: Hashable, Sendable, CaseIterable, CustomStringConvertible {
  /// Expert `e` on GPU `e / c`.
  case contiguous
  /// Expert `e` on GPU `e mod P`.
  case roundRobin
  /// DeepSeek's EPLB, its packing, without replicas.
  case eplb
  /// TensorRT-LLM's generator from co-occurrence.
  case cooccurrence
  /// Spectral clustering of pairs, GRACE's idea.
  case spectral
  /// Groups grown by pairs, Occult's idea.
  case greedyPairs

  /// The name in tables.
  public var description: String {
    switch self {
    case .contiguous: "contiguous"
    case .roundRobin: "round-robin"
    case .eplb: "EPLB packing, no replicas"
    case .cooccurrence: "TRT-LLM co-occurrence"
    case .spectral: "spectral (GRACE's idea)"
    case .greedyPairs: "pairs (Occult's idea)"
    }
  }

  /// The method's placement.
  /// - Parameters:
  ///   - sets: which experts tokens use together.
  ///   - topology: the machines.
  ///   - threads: layers at the same time.
  ///   - isStopped: asked before each layer.
  /// - Returns: nil where stopped.
  /// - Throws: `ModelError.sizes` where the experts do not spread evenly over the GPUs.
  public func placement(
    _ sets: TokenSets, topology: Topology, threads: Int = 1,
    isStopped: @escaping @Sendable () -> Bool = { false }
  ) throws(ModelError) -> Placement? {
    _ = try topology.expertsPerGPU(experts: sets.experts)
    let layers = concurrentMap(sets.layers, threads: threads) { l -> [Int] in
      isStopped() ? [] : labels(sets.layerSets[l], groups: topology.gpus)
    }
    guard layers.allSatisfy({ !$0.isEmpty }) else { return nil }
    return Placement(
      unchecked: topology, layers: sets.layers, experts: sets.experts,
      assignment: layers.flatMap { $0 })
  }

  private func labels(_ layer: TokenSets.Layer, groups: Int) -> [Int] {
    let experts = layer.loads.count
    switch self {
    case .contiguous: return (0..<experts).map { $0 / (experts / groups) }
    case .roundRobin: return (0..<experts).map { $0 % groups }
    case .eplb: return Self.packed(layer.loads, groups: groups)
    case .cooccurrence: return CooccurrencePlacement.labels(PairCounts(layer), groups: groups)
    case .spectral: return SpectralPlacement.labels(PairCounts(layer), groups: groups)
    case .greedyPairs: return GreedyPairsPlacement.labels(PairCounts(layer), groups: groups)
    }
  }

  /// EPLB's balanced packing: experts by falling load, each to the least loaded GPU with room; with
  /// one expert a GPU they stay in order.
  private static func packed(_ loads: [Int], groups: Int) -> [Int] {
    let size = loads.count / groups
    if size == 1 { return Array(0..<groups) }
    var groupOf = [Int](repeating: 0, count: loads.count)
    var load = [Int](repeating: 0, count: groups)
    var held = load
    for e in loads.indices.sorted(by: { (loads[$0], $1) > (loads[$1], $0) }) {
      var least = -1
      for g in 0..<groups where held[g] < size && (least < 0 || load[g] < load[least]) { least = g }
      groupOf[e] = least
      held[least] += 1
      load[least] += loads[e]
    }
    return groupOf
  }
}

extension TokenSets {
  /// `placement`, brought under a load cap by the swaps that cost the fewest destinations, one by
  /// one; nil where swaps do not bring it there.
  /// - Throws: `ModelError.placement` where the placement is for a model of other sizes.
  public func repaired(_ placement: Placement, loadCap: LoadCap) throws(ModelError) -> Placement? {
    try check(placement)
    let gpus = placement.topology.gpus
    var labels = Labels(placement.assignment, experts: experts)
    for (l, sets) in layerSets.enumerated() {
      let cap = loadCap.tokens(of: sets.loads.reduce(0, +), groups: gpus)
      let layer = DestinationLayer(sets, groups: gpus, cap: cap)
      let gains = SwapGains(layer, labels.layer(l))
      guard gains.repair() else { return nil }
      for e in 0..<experts { labels[l, e] = gains.groupOf[e] }
    }
    return Placement(
      unchecked: placement.topology, layers: layers, experts: experts, assignment: labels.flat)
  }
}

extension SwapGains {
  /// Makes the swap that lowers the excess most, of those the one that costs least, while there is
  /// any excess.
  /// - Returns: whether there is none now.
  fileprivate func repair() -> Bool {
    while excess > 0 {
      var best: (excess: Int, change: Int, e: Int, f: Int) = (0, 0, 0, 0)
      for e in 1..<layer.experts {
        for f in 0..<e where groupOf[e] != groupOf[f] {
          let (less, change) = (excessChange(e, f), change(e, f))
          if less < 0, (less, change) < (best.excess, best.change) { best = (less, change, e, f) }
        }
      }
      guard best.excess < 0 else { return false }
      swap(best.e, best.f)
    }
    return true
  }
}
