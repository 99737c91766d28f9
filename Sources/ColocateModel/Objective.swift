/// What a placement costs: THE definition. Every gain, bound and report in the package is tested
/// against this file.
///
///     crossing(π) = Σ_l Σ_ij W_l[i,j] · [π_l(i) ≠ π_{l+1}(j)]
///                 (+ Σ_l Σ_{i<i'} V_l[i,i'] · [π_l(i) ≠ π_l(i')] where co-activation counts)
///
/// counted between GPUs and, with node(g) in place of g, between nodes.
public enum Objective: Hashable, Sendable {
  /// Crossings between GPUs; nodes play no part.
  case flat
  /// ExFlow's: first the crossings between nodes, then inside each node those between its GPUs.
  case staged
  /// `interNode · (node crossings) + intraNode · (GPU crossings inside a node)`.
  case joint(JointWeights)

  /// The joint objective with these weights, `interNode ≥ intraNode ≥ 0`.
  public static func joint(interNode: Int, intraNode: Int) -> Objective {
    .joint(JointWeights(interNode: interNode, intraNode: intraNode))
  }

  /// The single number to minimise. For `staged`, whose stages are minimised one after the other,
  /// it is GPU crossings: what the two stages together leave.
  public func value(of crossings: Crossings) -> Int {
    switch self {
    case .flat, .staged: return crossings.gpu
    case .joint(let weights): return weights.value(of: crossings)
    }
  }
}

/// Transitions of a trace that leave their GPU, and those that leave their node, under one
/// placement.
public struct Crossings: Hashable, Sendable {
  /// Transitions to another GPU (of the same node or not), with co-activation splits where the
  /// counts have them.
  public let gpu: Int
  /// Transitions to another node.
  public let node: Int
  /// `gpu`'s transitions per boundary, shape `[L-1]`.
  public let gpuPerBoundary: [Int]
  /// `node`'s transitions per boundary, shape `[L-1]`.
  public let nodePerBoundary: [Int]
  /// `gpu`'s co-activation splits per layer, shape `[L]`; zeros without co-activation.
  public let splitsPerLayer: [Int]
  /// All transitions (and co-activations), whether they cross or not.
  public let total: Int

  /// `gpu` as a share of all transitions, 0 where there are none.
  public var gpuShare: Double { total == 0 ? 0 : Double(gpu) / Double(total) }
  /// `node` as a share of all transitions, 0 where there are none.
  public var nodeShare: Double { total == 0 ? 0 : Double(node) / Double(total) }
}

extension TransitionCounts {
  /// Crossings of `placement` on these counts. O(L · E²).
  /// - Throws: `ModelError.placement` where the placement is for a model of other sizes.
  public func crossings(of placement: Placement) throws(ModelError) -> Crossings {
    try check(placement)
    let topology = placement.topology
    let gpu = placement.assignment
    let node = gpu.map(topology.node(of:))
    var gpuPerBoundary = [Int](repeating: 0, count: layers - 1)
    var nodePerBoundary = gpuPerBoundary
    var splitsPerLayer = [Int](repeating: 0, count: layers)
    var nodeSplits = 0
    for l in 0..<(layers - 1) {
      for i in 0..<experts {
        let (gpuFrom, nodeFrom) = (gpu[l * experts + i], node[l * experts + i])
        for j in 0..<experts where gpu[(l + 1) * experts + j] != gpuFrom {
          let weight = weights[(l * experts + i) * experts + j]
          gpuPerBoundary[l] += weight
          if node[(l + 1) * experts + j] != nodeFrom { nodePerBoundary[l] += weight }
        }
      }
    }
    var together = 0
    if !coactivation.isEmpty {
      for l in 0..<layers {
        for i in 0..<experts {
          for j in 0..<i {
            let weight = coactivation[(l * experts + i) * experts + j]
            together += weight
            if gpu[l * experts + i] != gpu[l * experts + j] { splitsPerLayer[l] += weight }
            if node[l * experts + i] != node[l * experts + j] { nodeSplits += weight }
          }
        }
      }
    }
    return Crossings(
      gpu: gpuPerBoundary.reduce(0, +) + splitsPerLayer.reduce(0, +),
      node: nodePerBoundary.reduce(0, +) + nodeSplits,
      gpuPerBoundary: gpuPerBoundary, nodePerBoundary: nodePerBoundary,
      splitsPerLayer: splitsPerLayer, total: total + together)
  }

  /// Tokens that each GPU serves in each layer, shape `[L, P]`, row-major.
  /// - Throws: `ModelError.placement` where the placement is for a model of other sizes.
  public func gpuLoads(of placement: Placement) throws(ModelError) -> [Int] {
    try check(placement)
    let gpus = placement.topology.gpus
    var sums = [Int](repeating: 0, count: layers * gpus)
    for l in 0..<layers {
      for e in 0..<experts {
        sums[l * gpus + placement[layer: l, expert: e]] += loads[l * experts + e]
      }
    }
    return sums
  }

  /// Largest load of a GPU in a layer over that layer's mean, the worst layer: 1 is perfect
  /// balance. 1 for layers without tokens.
  /// - Throws: `ModelError.placement` where the placement is for a model of other sizes.
  public func loadImbalance(of placement: Placement) throws(ModelError) -> Double {
    let gpus = placement.topology.gpus
    let sums = try gpuLoads(of: placement)
    var worst = 1.0
    for l in 0..<layers {
      let layer = sums[(l * gpus)..<((l + 1) * gpus)]
      let tokens = layer.reduce(0, +)
      if tokens > 0 { worst = max(worst, Double(layer.max() ?? 0) * Double(gpus) / Double(tokens)) }
    }
    return worst
  }

  package func check(_ placement: Placement) throws(ModelError) {
    guard placement.layers == layers, placement.experts == experts else {
      throw .placement(
        "the placement is for \(placement.layers) layers × \(placement.experts) experts, the "
          + "counts for "
          + "\(layers) × \(experts)")
    }
  }
}
