/// What a placement costs an engine that sends whole expert sets: THE definition. Every gain, bound
/// and report about destinations is tested against this file.
///
/// With `S` the experts of a token in a layer and `π` the placement, let
///
///     λ(S) = |{ π(e) : e ∈ S }|        the distinct GPUs that hold an expert of the token
///
/// and with node(π(e)) in place of π(e) the distinct nodes. **Home mode** (vLLM, SGLang,
/// TensorRT-LLM) sends a token to each of them and back, layer by layer:
///
///     destinations(π) = Σ_l Σ_tokens λ_l(S)
///
/// **Coherent mode** leaves a token where the strongest expert of the layer before was. Dispatch
/// goes from there to the GPUs of `S`, combine to the GPU of the strongest expert of `S`, so the
/// rows that travel are
///
///     rows(π) = Σ_l Σ_tokens [ λ_l(S ∪ {t}) − 1 ] + [ λ_l(S) − 1 ],   t = strongest expert before.
///
/// A token without an expert in the layer before (and in the first layer, where the home of its
/// sequence decides, which no trace says) counts `λ(S) − 1` for the dispatch: as if it were on one
/// of the GPUs it needs.
public struct Destinations: Hashable, Sendable {
  /// `Σ_tokens λ` over GPUs, shape `[L]`.
  public let gpuPerLayer: [Int]
  /// `Σ_tokens λ` over nodes, shape `[L]`.
  public let nodePerLayer: [Int]
  /// Tokens with an expert in the layer, shape `[L]`.
  public let tokensPerLayer: [Int]

  /// All layers' GPU destinations.
  public var gpu: Int { gpuPerLayer.reduce(0, +) }
  /// All layers' node destinations.
  public var node: Int { nodePerLayer.reduce(0, +) }
  /// Tokens, counted once in each layer.
  public var tokens: Int { tokensPerLayer.reduce(0, +) }
  /// GPUs that a token goes to in a layer, on average; 0 without tokens.
  public var gpusPerToken: Double { tokens == 0 ? 0 : Double(gpu) / Double(tokens) }
  /// Nodes that a token goes to in a layer, on average; 0 without tokens.
  public var nodesPerToken: Double { tokens == 0 ? 0 : Double(node) / Double(tokens) }
}

/// Rows that coherent mode sends between GPUs; see `Destinations`.
public struct CoherentRows: Hashable, Sendable {
  /// `Σ_tokens λ(S ∪ {t}) − 1`, shape `[L]`.
  public let dispatchedPerLayer: [Int]
  /// `Σ_tokens λ(S) − 1`, shape `[L]`.
  public let combinedPerLayer: [Int]

  /// Dispatched and combined rows of all layers.
  public var total: Int { (dispatchedPerLayer + combinedPerLayer).reduce(0, +) }

  /// What no placement's rows are below. A token is on one GPU before the dispatch and on one after
  /// the combination, so each of the two sends `λ − 1` rows at the least, and
  /// `λ(S ∪ {t}) ≥ λ(S)`.
  /// - Parameters:
  ///   - bound: of the GPU destinations of all layers.
  ///   - tokens: of all layers.
  public static func bound(destinations bound: Int, tokens: Int) -> Int { 2 * (bound - tokens) }
}

/// What a placement's destinations cost: which of them count, and how much.
public enum DestinationObjective: Hashable, Sendable {
  /// Distinct GPUs; nodes play no part.
  case gpus
  /// Distinct nodes; GPUs inside a node play no part.
  case nodes
  /// Nodes first, then, with the experts that each node got, the GPUs inside it.
  case staged
  /// `interNode · node destinations + intraNode · (GPU destinations − node destinations)`: a token
  /// travels once to each node and is spread there; `interNode ≥ intraNode ≥ 0`.
  case joint(interNode: Int, intraNode: Int)

  /// The single number to minimise. For `staged`, whose stages are minimised one after the other,
  /// it is GPU destinations: what the two stages together leave.
  public func value(gpu: Int, node: Int) -> Int {
    switch self {
    case .gpus, .staged: return gpu
    case .nodes: return node
    case .joint(let inter, let intra): return inter * node + intra * (gpu - node)
    }
  }

  /// The same of counted destinations.
  public func value(of destinations: Destinations) -> Int {
    value(gpu: destinations.gpu, node: destinations.node)
  }
}

extension TokenSets.Layer {
  /// `Σ_tokens λ` for experts labelled with `groups` groups (GPUs or nodes). O(members).
  /// - Parameter groupOf: the group of each expert, `[E]`, each in `0 ..< groups`.
  package func destinations(groupOf: [Int], groups: Int) -> Int {
    var lastSet = [Int](repeating: -1, count: groups)
    var sum = 0
    for set in 0..<count {
      for e in self[set] where lastSet[groupOf[Int(e)]] != set {
        lastSet[groupOf[Int(e)]] = set
        sum += multiplicities[set]
      }
    }
    return sum
  }

  /// `Σ_tokens λ(S ∪ {t}) − 1` with the strongest experts of the layer before. O(followers · k).
  /// - Parameter previousGroupOf: the group of each expert of the layer before, `[E]`.
  package func dispatchedRows(groupOf: [Int], previousGroupOf: [Int]) -> Int {
    var known = [Int](repeating: 0, count: count)
    var rows = 0
    for follower in followers {
      let groups = Set(self[follower.set].map { groupOf[Int($0)] })
      let isThere = groups.contains(previousGroupOf[Int(follower.previous)])
      rows += follower.multiplicity * (groups.count - (isThere ? 1 : 0))
      known[follower.set] += follower.multiplicity
    }
    for set in 0..<count where known[set] < multiplicities[set] {
      let groups = Set(self[set].map { groupOf[Int($0)] }).count
      rows += (multiplicities[set] - known[set]) * (groups - 1)
    }
    return rows
  }
}

extension TokenSets {
  /// The destinations of `placement` on these sets. O(members of all sets).
  /// - Throws: `ModelError.placement` where the placement is for a model of other sizes.
  public func destinations(of placement: Placement) throws(ModelError) -> Destinations {
    try check(placement)
    let topology = placement.topology
    var (gpu, node) = ([Int](), [Int]())
    for (l, layer) in layerSets.enumerated() {
      let groupOf = labels(placement, l)
      gpu.append(layer.destinations(groupOf: groupOf, groups: topology.gpus))
      node.append(
        layer.destinations(groupOf: groupOf.map(topology.node(of:)), groups: topology.nodes))
    }
    return Destinations(
      gpuPerLayer: gpu, nodePerLayer: node, tokensPerLayer: layerSets.map(\.tokens))
  }

  /// The rows of coherent mode under `placement`; nil where the sets were accumulated without the
  /// strongest experts.
  /// - Throws: `ModelError.placement` where the placement is for a model of other sizes.
  public func coherentRows(of placement: Placement) throws(ModelError) -> CoherentRows? {
    try check(placement)
    guard knowsFollowers else { return nil }
    var (dispatched, combined) = ([Int](), [Int]())
    for (l, layer) in layerSets.enumerated() {
      let groupOf = labels(placement, l)
      let previous = labels(placement, max(0, l - 1))
      dispatched.append(layer.dispatchedRows(groupOf: groupOf, previousGroupOf: previous))
      combined.append(
        layer.destinations(groupOf: groupOf, groups: placement.topology.gpus) - layer.tokens)
    }
    return CoherentRows(dispatchedPerLayer: dispatched, combinedPerLayer: combined)
  }

  /// Tokens that each GPU serves in each layer (a token counts for each of its experts), shape
  /// `[L, P]`, row-major.
  /// - Throws: `ModelError.placement` where the placement is for a model of other sizes.
  public func gpuLoads(of placement: Placement) throws(ModelError) -> [Int] {
    try check(placement)
    var sums = [Int](repeating: 0, count: layers * placement.topology.gpus)
    for (l, layer) in layerSets.enumerated() {
      for e in 0..<experts {
        let gpu = placement[layer: l, expert: e]
        sums[l * placement.topology.gpus + gpu] += layer.loads[e]
      }
    }
    return sums
  }

  private func labels(_ placement: Placement, _ l: Int) -> [Int] {
    Array(placement.assignment[(l * experts)..<((l + 1) * experts)])
  }

  package func check(_ placement: Placement) throws(ModelError) {
    guard placement.layers == layers, placement.experts == experts else {
      throw .placement(
        "the placement is for \(placement.layers) layers × \(placement.experts) experts, "
          + "the token sets for \(layers) × \(experts)")
    }
  }
}
