/// Where the tokens of a run are: every token must stand at exactly one rank's router in every
/// layer and at one rank's output head, and every one of its experts must be applied once.
///
/// It also counts the rows that found an expert on the rank where they stood: with the rows that
/// left they are the token's destinations.
final class TokenCensus: StepObserver {
  private let positions: Int
  private let layers: Int
  private let tokens: Int
  /// `[S, T, L + 1]`: how often a token stood at a router of this rank; last, at the output head.
  private let visits: UnsafeMutablePointer<Int32>
  /// `[L]`: pairs of a row and an expert that this rank applied.
  private var pairs: [Int]
  /// `[L]`: rows of this rank with an expert on it, sent nowhere; over all ranks after `faults`.
  private(set) var stayed: [Int]
  /// `[L]`: rows of this rank with an expert on its node, likewise; of runs by way of relays.
  private(set) var stayedOnNode: [Int]
  private let memory = Memory()

  init(sequences: Int, positions: Int, layers: Int) throws(EngineError) {
    (self.positions, self.layers) = (positions, layers)
    tokens = sequences * positions
    visits = try memory.integers(tokens * (layers + 1))
    pairs = [Int](repeating: 0, count: layers)
    stayed = pairs
    stayedOnNode = pairs
  }

  func reached(_ point: StepPoint, layer: Int, of engine: Engine) {
    switch point {
    case .routed: visit(engine, layer)
    case .applied: pairs[layer] += Int(engine.work.pairStart[engine.weights.expertsHere])
    case .combined: if layer == layers - 1 { visit(engine, layers) }
    case .dispatched:
      stayed[layer] += engine.workRows - engine.receivedRows
      stayedOnNode[layer] += engine.relay?.onOwnNode ?? 0
    }
  }

  /// The engine's local rows stand at this layer's router, or at the output head.
  private func visit(_ engine: Engine, _ layer: Int) {
    for row in 0..<engine.localRows {
      let id = engine.work.rowIds[row]
      let token = engine.step.sequence(id) * positions + engine.step.position(id)
      visits[token * (layers + 1) + layer] += 1
    }
  }

  /// Counts over all ranks; every rank calls it.
  /// - Returns: on rank 0 what is not as it must be, one line for each layer at most.
  func faults(_ communicator: Communicator, expertsPerToken: Int) -> [String] {
    communicator.sumOnFirst(visits, count: tokens * (layers + 1))
    communicator.sum(&pairs)
    communicator.sum(&stayed)
    communicator.sum(&stayedOnNode)
    guard communicator.isFirst else { return [] }
    var lines: [String] = []
    for layer in 0...layers {
      let wrong = (0..<tokens).filter { visits[$0 * (layers + 1) + layer] != 1 }
      if let first = wrong.first {
        lines.append(
          "\(layer < layers ? "layer \(layer)" : "output head"): \(wrong.count) tokens are not on "
            + "exactly one rank; sequence \(first / positions), position \(first % positions) is "
            + "on \(visits[first * (layers + 1) + layer])")
      }
      if layer < layers, pairs[layer] != tokens * expertsPerToken {
        lines.append(
          "layer \(layer): \(pairs[layer]) pairs of token and expert were computed; expected "
            + "\(tokens * expertsPerToken)")
      }
    }
    return lines
  }
}
