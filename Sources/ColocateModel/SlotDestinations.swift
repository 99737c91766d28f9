/// What a plan of slots costs an engine that sends tokens home: THE definition where experts have
/// copies. Every gain and report about slots is tested against this file.
///
/// Without copies a token's GPUs are those of its experts (`Destinations`). With copies the stack
/// chooses one of each expert (`DispatchRule`), so what is counted are means. With `C` the copies
/// that a token of source `s` uses in a layer:
///
///     GPUs     E |{ gpu(c)  : c ∈ C }|
///     nodes    E |{ node(c) : c ∈ C }|
///     rows     E |{ gpu(c)  : c ∈ C } \ { s }|         what really travels, once there and back
///     load(g)  E |{ c ∈ C : gpu(c) = g }|, summed over tokens
///
/// Every GPU is the source of the same part of all tokens, whatever these are. Without copies GPUs
/// and nodes are whole numbers and those of `Destinations`, under every rule.
public struct SlotDestinations: Hashable, Sendable {
  /// Mean GPUs of all tokens together, shape `[L]`.
  public let gpuPerLayer: [Double]
  /// Mean nodes, shape `[L]`.
  public let nodePerLayer: [Double]
  /// Mean rows that are dispatched to other GPUs than the token's own, shape `[L]`.
  public let rowsPerLayer: [Double]
  /// Tokens with an expert in the layer, shape `[L]`.
  public let tokensPerLayer: [Int]
  /// Mean tokens that each GPU serves in each layer (a token counts for each of its experts), shape
  /// `[L, P]`, row-major.
  public let gpuLoads: [Double]

  /// GPUs of all layers.
  public var gpu: Double { gpuPerLayer.reduce(0, +) }
  /// Nodes of all layers.
  public var node: Double { nodePerLayer.reduce(0, +) }
  /// Rows of all layers.
  public var rows: Double { rowsPerLayer.reduce(0, +) }
  /// Tokens, counted once in each layer.
  public var tokens: Int { tokensPerLayer.reduce(0, +) }
  /// GPUs that a token goes to in a layer; 0 without tokens.
  public var gpusPerToken: Double { perToken(gpu) }
  /// Nodes that a token goes to in a layer; 0 without tokens.
  public var nodesPerToken: Double { perToken(node) }
  /// Rows that a token sends in a layer; 0 without tokens.
  public var rowsPerToken: Double { perToken(rows) }

  private func perToken(_ sum: Double) -> Double { tokens == 0 ? 0 : sum / Double(tokens) }

  /// How evenly the GPUs are loaded.
  public var balance: Balance {
    Balance(
      meanGPULoads: gpuLoads, gpus: gpuPerLayer.isEmpty ? 1 : gpuLoads.count / gpuPerLayer.count)
  }
}

extension DestinationObjective {
  /// The number to minimise, of means; see `value(gpu:node:)`.
  public func value(of destinations: SlotDestinations) -> Double {
    let weights = meanWeights
    return weights.gpu * destinations.gpu + weights.node * destinations.node
  }

  /// What a GPU and what a node of a token weighs.
  package var meanWeights: (gpu: Double, node: Double) {
    switch self {
    case .gpus, .staged: (1, 0)
    case .nodes: (0, 1)
    case .joint(let inter, let intra): (Double(intra), Double(inter - intra))
    }
  }
}

extension SlotPlan {
  /// The GPU of each copy of each expert of a layer, in the order of slots, `[E][r]`.
  package func copies(layer: Int) -> [[Int]] {
    var gpus = [[Int]](repeating: [], count: experts)
    for (slot, expert) in slots[layer].enumerated() { gpus[expert].append(gpu(ofSlot: slot)) }
    return gpus
  }

  /// Mean tokens that each GPU serves in each layer, shape `[L, P]`, row-major.
  /// - Parameter loads: tokens of each expert in each layer, `[L, E]`, row-major.
  /// - Throws: `ModelError.placement` where the plan is for another model.
  public func gpuLoads(of loads: [Int], rule: DispatchRule) throws(ModelError) -> [Double] {
    guard loads.count == layers * experts else {
      throw .placement(
        "the plan is for \(layers) layers × \(experts) experts, expected \(loads.count) of them")
    }
    return (0..<layers).flatMap { layer in
      LayerCopies(copies(layer: layer), topology: topology, rule: rule)
        .gpuLoads(loads[(layer * experts)..<((layer + 1) * experts)])
    }
  }
}

extension TokenSets {
  /// The means of `plan` on these sets. O(members of all sets · P · copies of an expert), or, by
  /// one hash, · the least common multiple of a token's numbers of copies.
  /// - Throws: `ModelError.placement` where the plan is for a model of other sizes;
  ///   `ModelError.sizes` where that multiple is too large.
  public func destinations(
    of plan: SlotPlan, rule: DispatchRule
  ) throws(ModelError) -> SlotDestinations {
    guard plan.layers == layers, plan.experts == experts else {
      throw .placement(
        "the plan is for \(plan.layers) layers × \(plan.experts) experts, "
          + "the token sets for \(layers) × \(experts)")
    }
    var (gpu, node, rows, loads) = ([Double](), [Double](), [Double](), [Double]())
    var scratch = LayerCopies.Scratch(plan.topology)
    for (index, layer) in layerSets.enumerated() {
      let copies = LayerCopies(plan.copies(layer: index), topology: plan.topology, rule: rule)
      do throws(ModelError) { try copies.check(layer) } catch {
        throw .sizes("layer \(index): \(error.description)")
      }
      var sum = LayerCopies.Spread()
      for set in 0..<layer.count {
        let (spread, weight) = (
          copies.spread(of: layer[set], &scratch), Double(layer.multiplicities[set])
        )
        sum.gpus += weight * spread.gpus
        sum.nodes += weight * spread.nodes
        sum.rows += weight * spread.rows
      }
      gpu.append(sum.gpus)
      node.append(sum.nodes)
      rows.append(sum.rows)
      loads += copies.gpuLoads(layer.loads)
    }
    return SlotDestinations(
      gpuPerLayer: gpu, nodePerLayer: node, rowsPerLayer: rows,
      tokensPerLayer: layerSets.map(\.tokens), gpuLoads: loads)
  }
}
