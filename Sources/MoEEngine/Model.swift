import Colocate
import ColocateFormats

/// A checkpoint opened on every rank, ready to make engines under any plan.
public struct Model {
  public let config: ModelConfig
  let checkpoint: Checkpoint
  public let communicator: Communicator
  /// Experts in order: the first `E / R` of each layer on rank 0, and so on.
  public let contiguous: Placement
  /// How rows travel in home mode.
  public var route = ExchangeRoute.direct

  /// - Parameter folder: a Hugging Face checkpoint folder.
  /// - Throws: the same `EngineError` on every rank.
  public init(folder: String, communicator: Communicator) throws(EngineError) {
    let (config, checkpoint, contiguous) = try communicator.together { () throws(EngineError) in
      let config = try ModelConfig(folder: folder)
      guard config.experts % communicator.size == 0 else {
        let divisors = (1...config.experts).filter { config.experts % $0 == 0 }
        throw EngineError(
          "\(config.experts) experts do not spread evenly over \(communicator.size) ranks: the "
            + "number of ranks must be one of "
            + divisors.map(String.init).joined(separator: ", "))
      }
      let each = config.experts / communicator.size
      let assignment = (0..<(config.layers * config.experts)).map { $0 % config.experts / each }
      return (
        config, try Checkpoint(folder: folder),
        try Self.placement(assignment, for: config, communicator)
      )
    }
    self.config = config
    self.checkpoint = checkpoint
    self.contiguous = contiguous
    self.communicator = communicator
  }

  /// A placement of this model's experts on the ranks, with the ranks' nodes.
  /// - Parameter assignment: `[L, E]`: the rank of each expert.
  /// - Throws: `EngineError` on this rank alone where it is no placement.
  package func placement(_ assignment: [Int]) throws(EngineError) -> Placement {
    try Self.placement(assignment, for: config, communicator)
  }

  private static func placement(
    _ assignment: [Int], for config: ModelConfig, _ communicator: Communicator
  ) throws(EngineError) -> Placement {
    try EngineError.modelling { () throws(ModelError) in
      try Placement(
        topology: communicator.topology, layers: config.layers, experts: config.experts,
        assignment: assignment)
    }
  }

  /// An engine on every rank, after a look at whether its weights and buffers fit into memory.
  /// - Parameters:
  ///   - placement: of this model's experts on the communicator's topology; the same on every rank.
  ///   - times: whether the phases of its steps are timed.
  ///   - route: how rows travel in home mode; nil takes the model's.
  /// - Throws: the same `EngineError` on every rank.
  public func engine(
    placement: Placement, mode: Mode, capacity: Capacity, times: Bool = false,
    route: ExchangeRoute? = nil
  ) throws(EngineError) -> Engine {
    guard placement.topology == communicator.topology, placement.layers == config.layers,
      placement.experts == config.experts
    else {
      throw EngineError(
        "a placement of \(placement.layers) layers × \(placement.experts) experts on "
          + "\(Self.text(placement.topology)); expected \(config.layers) × \(config.experts) on "
          + Self.text(communicator.topology), isShared: true)
    }
    let neighbours = communicator.nodeOf.count { $0 == communicator.nodeOf[communicator.rank] }
    try communicator.together { () throws(EngineError) in
      // By construction of a placement, each rank has as many experts of a layer.
      let need =
        Weights.bytes(config, expertsHere: config.experts / communicator.size)
        + Workspace.leastBytes(config, capacity, mode: mode, ranks: communicator.size)
      try Memory.check(need, processes: neighbours, for: "the weights and the context")
    }
    return try communicator.together { () throws(EngineError) in
      try Engine(
        config: config, checkpoint: checkpoint, placement: placement, mode: mode,
        communicator: communicator, capacity: capacity, times: times, route: route ?? self.route)
    }
  }

  private static func text(_ topology: Topology) -> String {
    "\(topology.nodes) nodes × \(topology.gpusPerNode) ranks"
  }
}

extension Model {
  /// Whether this rank has room for the logits of every position, before they are computed.
  /// - Throws: the same `EngineError` on every rank.
  public func checkMemory(forLogitsOf tokens: Tokens) throws(EngineError) {
    try communicator.together { () throws(EngineError) in
      guard communicator.isFirst else { return }
      let rows = Double(tokens.sequences) * Double(tokens.positions)
      try Memory.check(rows * Double(config.vocabulary) * 4, for: "the logits of all positions")
    }
  }

  /// Whether prompts with `new` tokens more are within the model's positions.
  /// - Throws: `EngineError` with the most that there is room for.
  public func checkLength(_ prompts: Tokens, new: Int) throws(EngineError) {
    let room = config.maxPositions - prompts.positions
    guard new <= room else {
      throw EngineError(
        "--new \(new): the model was made for at most \(config.maxPositions) positions "
          + "(max_position_embeddings), of which the prompts take \(prompts.positions); "
          + (room < 1 ? "expected shorter prompts" : "expected at most \(room)"), isShared: true)
    }
  }
}

/// Token ids `[sequences, positions]`, checked against a model.
public struct Tokens: Sendable {
  public let sequences: Int
  public let positions: Int
  public let ids: [Int32]

  /// - Parameter ids: `[sequences, positions]`
  /// - Throws: `EngineError` where the number of ids is another.
  public init(sequences: Int, positions: Int, ids: [Int32]) throws(EngineError) {
    guard sequences >= 1, positions >= 1, ids.count == sequences * positions else {
      throw EngineError(
        "\(ids.count) token ids; expected \(sequences) sequences × \(positions) positions, at "
          + "least one of each")
    }
    self.init(checked: ids, sequences, positions)
  }

  private init(checked ids: [Int32], _ sequences: Int, _ positions: Int) {
    (self.sequences, self.positions, self.ids) = (sequences, positions, ids)
  }

  /// The first `count` sequences: at least one, and at most all.
  public func first(_ count: Int) -> Tokens {
    let count = min(max(count, 1), sequences)
    return Tokens(checked: Array(ids[..<(count * positions)]), count, positions)
  }

  /// - Parameters:
  ///   - path: `.npy` of whole numbers, `[sequences, positions]`, or `[tokens]`.
  ///   - window: what a one-dimensional file is cut into; nil takes it as one sequence.
  /// - Throws: `EngineError` with the file, the position, what was found and what was expected.
  public init(_ path: String, vocabulary: Int, window: Int?) throws(EngineError) {
    let array = try EngineError.naming { () throws(FormatError) in try IntegerFile(path) }
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
        "\(path): token id \(id) at [\(i / positions), \(i % positions)]; expected 0 to "
          + "\(vocabulary - 1)")
    }
    ids = array.values.map { Int32($0) }
  }
}
