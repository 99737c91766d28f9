/// What a rank sent, counted where it is sent: per collective and layer, the calls, the tokens and the bytes, by how far they went.
///
/// A few additions per collective and destination; nothing per byte.

/// The engine's collectives.
public enum Collective: Int, CaseIterable, Sendable {
  /// How many rows each rank will send: MPI_Alltoall of one number per pair of ranks (MPI_Allgather of two before a context gather).
  case counts
  /// Tokens to the ranks of their experts: MPI_Alltoallv.
  case dispatch
  /// Weighted partial sums to where the token goes on: MPI_Alltoallv.
  case combine
  /// New keys and values to every rank (coherent mode): MPI_Allgatherv.
  case context
}

/// How far a message goes.
public enum Distance: Int, CaseIterable, Sendable {
  /// Stays on its rank (and is not copied through MPI).
  case same
  /// To another rank of the same node.
  case sameNode
  /// To another node.
  case otherNode
}

public struct Traffic: Sendable {
  /// `L`. Collectives after the last layer (the context gather of a decode step) are counted at "layer" `L`.
  public let layers: Int
  /// `[collective, L + 1, field]`, see `Field`.
  private(set) var counters: [Int]

  private enum Field {
    static let calls = 0
    static let tokens = 1  // three each: by distance
    static let payload = 4
    static let header = 7
    static let moves = 10
    static let count = 13
  }

  init(layers: Int) {
    self.layers = layers
    counters = [Int](
      repeating: 0, count: Collective.allCases.count * (layers + 1) * Field.count)
  }

  private func index(_ collective: Collective, _ layer: Int) -> Int {
    (collective.rawValue * (layers + 1) + layer) * Field.count
  }

  // Counting.

  mutating func call(_ collective: Collective, layer: Int) {
    counters[index(collective, layer)] += 1
  }

  /// - Parameters:
  ///   - payload: bytes of one token's numbers.
  ///   - header: bytes of what goes with each of them (ids, gate weights).
  ///   - extra: bytes besides.
  mutating func send(
    _ collective: Collective, layer: Int, distance: Distance, tokens: Int = 0, payload: Int = 0,
    header: Int = 0,
    extra: Int = 0
  ) {
    let at = index(collective, layer) + distance.rawValue
    counters[at + Field.tokens] += tokens
    counters[at + Field.payload] += tokens * payload
    counters[at + Field.header] += tokens * header + extra
  }

  /// Tokens that change their home with this dispatch (coherent mode).
  mutating func move(layer: Int, distance: Distance, tokens: Int) {
    counters[index(.dispatch, layer) + Field.moves + distance.rawValue] += tokens
  }

  mutating func reset() {
    for i in counters.indices { counters[i] = 0 }
  }

  /// All ranks' counts together; `calls` stay one rank's, since all ranks take part in each call.
  func overAllRanks(_ communicator: Communicator) -> Traffic {
    var result = self
    communicator.sum(&result.counters)
    for collective in Collective.allCases {
      for layer in 0...layers {
        let at = index(collective, layer)
        result.counters[at] = counters[at]
      }
    }
    return result
  }

  // Reading. A nil layer means all of them together.

  private func total(_ collective: Collective, _ layer: Int?, _ field: Int) -> Int {
    if let layer { return counters[index(collective, layer) + field] }
    return (0...layers).reduce(0) { $0 + counters[index(collective, $1) + field] }
  }

  public func calls(_ collective: Collective, layer: Int? = nil) -> Int {
    total(collective, layer, Field.calls)
  }

  public func tokens(_ collective: Collective, layer: Int? = nil, _ distance: Distance) -> Int {
    total(collective, layer, Field.tokens + distance.rawValue)
  }

  /// Bytes of the tokens' numbers: what the formulas of the two modes count.
  public func payload(_ collective: Collective, layer: Int? = nil, _ distance: Distance) -> Int {
    total(collective, layer, Field.payload + distance.rawValue)
  }

  /// Bytes of row ids, expert ids and gate weights that travel with the tokens, and of the counts themselves.
  public func header(_ collective: Collective, layer: Int? = nil, _ distance: Distance) -> Int {
    total(collective, layer, Field.header + distance.rawValue)
  }

  /// Tokens that changed their home in this layer's dispatch.
  public func moves(layer: Int? = nil, _ distance: Distance) -> Int {
    total(.dispatch, layer, Field.moves + distance.rawValue)
  }
}
