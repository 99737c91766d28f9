/// What a rank handed to MPI and what came out of it, per collective and layer: the calls, the rows
/// and the words, by how far they went.
///
/// `Communicator` counts here, at the MPI calls themselves, from the counts that it passes to MPI;
/// nothing here knows of routes. A few additions per collective and destination, nothing per byte.

/// The engine's collectives.
public enum Collective: Int, CaseIterable, Sendable {
  /// How many rows each rank will send: MPI_Alltoall of one number per pair of ranks, MPI_Allgather
  /// of two numbers before a context gather.
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
  /// Stays on its rank and is not copied through MPI.
  case same
  /// To another rank of the same node.
  case sameNode
  /// To another node.
  case otherNode

  /// What leaves its rank.
  public static let leaving: [Distance] = [.sameNode, .otherNode]
}

/// The two ends of a message.
public enum End: Int, CaseIterable, Sendable {
  case sent
  case received
}

public struct Traffic: Sendable {
  /// `L`. Collectives after the last layer (the context gather of a decode step) are counted at
  /// "layer" `L`.
  public let layers: Int
  /// `[collective, L + 1, field]`, see `Field`.
  private var counters: [Int]

  private enum Field {
    static let calls = 0
    // Six each: by end and distance.
    static let rows = 1
    static let words = 7
    static let moves = 13
    static let count = 19
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

  /// Part of a message to or from one rank, 32-bit words of it, and the rows that they are.
  mutating func count(
    _ collective: Collective, layer: Int, _ end: End, _ distance: Distance, rows: Int, words: Int
  ) {
    let at = index(collective, layer) + 3 * end.rawValue + distance.rawValue
    counters[at + Field.rows] += rows
    counters[at + Field.words] += words
  }

  /// Tokens that change their home with this dispatch (coherent mode), as their messages say.
  mutating func move(layer: Int, _ end: End, _ distance: Distance, rows: Int) {
    counters[index(.dispatch, layer) + Field.moves + 3 * end.rawValue + distance.rawValue] += rows
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

  public func rows(
    _ collective: Collective, layer: Int? = nil, _ end: End, _ distance: Distance
  ) -> Int {
    total(collective, layer, Field.rows + 3 * end.rawValue + distance.rawValue)
  }

  public func words(
    _ collective: Collective, layer: Int? = nil, _ end: End, _ distance: Distance
  ) -> Int {
    total(collective, layer, Field.words + 3 * end.rawValue + distance.rawValue)
  }

  /// Tokens that changed their home in this layer's dispatch.
  public func moves(layer: Int? = nil, _ end: End, _ distance: Distance) -> Int {
    total(.dispatch, layer, Field.moves + 3 * end.rawValue + distance.rawValue)
  }

  /// Bytes of a collective that left their rank.
  public func bytes(_ collective: Collective) -> Int {
    Distance.leaving.reduce(0) { $0 + 4 * words(collective, .sent, $1) }
  }
}
