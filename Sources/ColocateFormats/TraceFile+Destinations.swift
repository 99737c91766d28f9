import ColocateModel

/// What a placement changes in an engine that sends tokens home after every layer.
extension TraceFile {
  /// How many GPUs and nodes the experts of one token and layer sit on, added up over tokens and
  /// layers. Reads the trace once more.
  /// - Returns: the sums, and the number of tokens × layers with an expert.
  /// - Throws: `FormatError` where the placement is for a model of other sizes, the file holds
  ///   counts, or it has changed since it was counted.
  public func destinations(
    of placement: Placement
  ) throws(FormatError) -> (gpus: Int, nodes: Int, visits: Int) {
    guard let blocks else {
      throw FormatError(path, "counts do not say which experts a token uses together")
    }
    guard placement.layers == counts.layers, placement.experts == counts.experts else {
      throw FormatError(
        path,
        "\(counts.layers) layers × \(counts.experts) experts, expected \(placement.layers) × "
          + "\(placement.experts) as in the plan")
    }
    var tally = DestinationTally(placement)
    try blocks.stream { ids, start, _ throws(ModelError) in
      for (visit, first) in stride(from: 0, to: ids.count, by: choices).enumerated() {
        let layer = visit % counts.layers
        let row = UnsafeBufferPointer(rebasing: ids[first..<(first + choices)])
        guard tally.add(row, layer: layer) else {
          let token = start + visit / counts.layers
          throw .counts("token \(token), layer \(layer): changed since it was counted")
        }
      }
    }
    return (tally.gpus, tally.nodes, tally.visits)
  }
}

/// Distinct GPUs and nodes of one visit after another: of a token to a layer.
private struct DestinationTally {
  private(set) var (gpus, nodes, visits) = (0, 0, 0)
  private let placement: Placement
  /// The number of the last visit that saw a GPU or a node, shapes `[P]` and `[N]`.
  private var gpuSeen: [Int]
  private var nodeSeen: [Int]
  private var number = 0

  init(_ placement: Placement) {
    self.placement = placement
    gpuSeen = [Int](repeating: 0, count: placement.topology.gpus)
    nodeSeen = [Int](repeating: 0, count: placement.topology.nodes)
  }

  /// Adds a visit.
  /// - Parameter ids: the experts, -1 for none.
  /// - Returns: false where one of them is not of the placement's model.
  mutating func add(_ ids: UnsafeBufferPointer<Int32>, layer: Int) -> Bool {
    number += 1
    var isUsed = false
    for id in ids where id >= 0 {
      guard Int(id) < placement.experts else { return false }
      isUsed = true
      let gpu = placement[layer: layer, expert: Int(id)]
      if gpuSeen[gpu] != number {
        gpuSeen[gpu] = number
        gpus += 1
      }
      let node = placement.topology.node(of: gpu)
      if nodeSeen[node] != number {
        nodeSeen[node] = number
        nodes += 1
      }
    }
    if isUsed { visits += 1 }
    return true
  }
}
