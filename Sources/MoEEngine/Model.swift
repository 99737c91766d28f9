/// A checkpoint opened on every rank, ready to make engines under any plan.
public struct Model {
  public let config: ModelConfig
  let checkpoint: Checkpoint
  public let communicator: Communicator

  /// - Throws: the same `EngineError` on every rank.
  public init(folder: String, communicator: Communicator) throws(EngineError) {
    (config, checkpoint) = try communicator.together { () throws(EngineError) in
      let config = try ModelConfig(folder: folder)
      guard config.experts % communicator.size == 0 else {
        let divisors = (1...config.experts).filter { config.experts % $0 == 0 }
        throw EngineError(
          "\(config.experts) experts do not spread evenly over \(communicator.size) ranks: the number of ranks must be one of "
            + divisors.map(String.init).joined(separator: ", "))
      }
      return (config, try Checkpoint(folder: folder))
    }
    self.communicator = communicator
  }

  /// Experts in order: the first `E / R` of each layer on rank 0, and so on. `[L, E]`.
  public var contiguous: [Int] {
    let each = config.experts / communicator.size
    return (0..<config.layers).flatMap { _ in (0..<config.experts).map { $0 / each } }
  }

  /// - Throws: the same `EngineError` on every rank.
  public func engine(
    assignment: [Int], mode: Mode, capacity: Capacity, times: Bool = false
  ) throws(EngineError) -> Engine {
    try communicator.together { () throws(EngineError) in
      try Engine(
        config: config, checkpoint: checkpoint, assignment: assignment, mode: mode,
        communicator: communicator, capacity: capacity, times: times)
    }
  }
}

/// Token ids `[sequences, positions]`, checked against a model.
public struct Tokens: Sendable {
  public let sequences: Int
  public let positions: Int
  public let ids: [Int32]

  public init(sequences: Int, positions: Int, ids: [Int32]) {
    precondition(ids.count == sequences * positions)
    (self.sequences, self.positions, self.ids) = (sequences, positions, ids)
  }

  /// The first `count` sequences, or all where there are no more.
  public func first(_ count: Int) -> Tokens {
    let count = min(count, sequences)
    return Tokens(
      sequences: count, positions: positions, ids: Array(ids[0..<(count * positions)]))
  }

  /// - Parameters:
  ///   - path: `.npy` of whole numbers, `[sequences, positions]`, or `[tokens]`.
  ///   - window: what a one-dimensional file is cut into; nil takes it as one sequence.
  public init(_ path: String, vocabulary: Int, window: Int?) throws(EngineError) {
    let array = try Npy.readIntegers(path)
    switch array.shape.count {
    case 1:
      let window = window ?? array.shape[0]
      guard window >= 1, array.shape[0] % window == 0 else {
        throw EngineError(
          "\(path): \(array.shape[0]) tokens; expected a multiple of the window, \(window)")
      }
      (sequences, positions) = (array.shape[0] / window, window)
    case 2:
      (sequences, positions) = (array.shape[0], array.shape[1])
      if let window, window != positions {
        throw EngineError(
          "\(path): sequences of \(positions) tokens; expected windows of \(window)")
      }
    default:
      throw EngineError(
        "\(path): an array of shape \(array.shape); expected [sequences, positions]")
    }
    guard sequences >= 1, positions >= 1 else { throw EngineError("\(path): no tokens") }
    for (i, id) in array.values.enumerated() where id < 0 || id >= vocabulary {
      throw EngineError(
        "\(path): token id \(id) at [\(i / positions), \(i % positions)]; expected 0 to \(vocabulary - 1)"
      )
    }
    ids = array.values.map { Int32($0) }
  }
}
