/// What `verify` found: the same tokens under home × contiguous, home × the plan, coherent ×
/// contiguous, coherent × greedy and coherent × the plan, each run compared with the first, and
/// what each sent with what its routes and its placement say. See `Model.verify`.
public struct Verification: Encodable, Sendable {
  public let ranks: Int
  public let nodes: Int
  public let layers: Int
  public let experts: Int
  public let expertsPerToken: Int
  public let sequences: Int
  public let prompt: Int
  public let decodeSteps: Int
  /// The largest magnitude of the baseline's logits, and of its routers' scores.
  public var logitScale: Float = 0
  public var scoreScale: Float = 0
  /// Largest difference of a logit, and of a router's probability, that rounding explains.
  public var logitTolerance: Float = 0
  public var probabilityTolerance: Float = 0
  public var runs: [Run] = []

  public var tokens: Int { sequences * (prompt + decodeSteps) }
  public var agrees: Bool { !runs.isEmpty && runs.allSatisfy(\.agrees) }

  public struct Run: Encodable, Sendable {
    public let mode: Mode
    public let placement: String
    /// Whether this is the run that the others are compared with.
    public let isBaseline: Bool
    /// Tokens that changed GPU (node) at each boundary of the layers, `[L-1]`: those that came out
    /// of the messages, and those of the solver's objective. In home mode tokens do not move: what
    /// crosses is under dispatch and combine.
    public var crossedGPUs: [Int] = []
    public var crossedGPUsPredicted: [Int] = []
    public var crossedNodes: [Int] = []
    public var crossedNodesPredicted: [Int] = []
    /// Tokens that left their sequence's rank for layer 0's expert: no boundary of the objective.
    public var startedElsewhere = 0
    public var startedElsewherePredicted = 0
    /// Dispatch and combine, per layer: rows to other GPUs, and to other nodes among them.
    public var dispatched: [Rows] = []
    public var combined: [Rows] = []
    /// Rows that found an expert on their own rank, per layer: measured where experts are applied.
    public var stayed: [Int] = []
    /// Home mode, per layer: the GPUs that tokens went to, their own included where an expert is
    /// there (rows dispatched to the GPUs of experts and rows that stayed), and what the solver's
    /// objective counts for these routes.
    public var destinations: [Int] = []
    public var destinationsPredicted: [Int] = []
    /// The same of nodes, where rows go once to each: rows to other nodes, and tokens with an
    /// expert on their own.
    public var stayedOnNode: [Int] = []
    public var nodeDestinations: [Int] = []
    public var nodeDestinationsPredicted: [Int] = []
    public var bytes = Bytes()
    public var collectivesPerDecodeStep = Collectives()
    public var prefillTokensPerSecond = 0.0
    public var decodeTokensPerSecond = 0.0
    /// Positions whose logits were compared with the baseline's, of all.
    public var positionsCompared = 0
    public var positions = 0
    /// From the baseline's logits; unknown where nothing was compared.
    @NullWhenUnknown public var largestLogitDifference: Float?
    /// Choices of the router (of a token in a layer) that were compared with the baseline's, of
    /// all, and those that would have been others.
    public var choicesCompared = 0
    public var choices = 0
    @NullWhenUnknown public var choicesThatDiffer: Int?
    /// The largest lead, in probability and in either run, of the expert that it chose over the
    /// other's.
    @NullWhenUnknown public var largestLeadAtADifference: Float?
    @NullWhenUnknown public var largestProbabilityDifference: Float?
    /// Next tokens, as the ranks know them, compared with those that the run's own logits choose.
    public var nextTokensCompared = 0
    public var nextTokens = 0
    /// Next tokens that are not the baseline's, because two logits are equal but for rounding.
    @NullWhenUnknown public var nextTokensThatDiffer: Int?
    /// What did not agree, a line each.
    public var disagreements: [String] = []

    public var agrees: Bool { disagreements.isEmpty }
    public var name: String { "\(mode.rawValue) × \(placement)" }

    init(mode: Mode, placement: String, isBaseline: Bool) {
      (self.mode, self.placement, self.isBaseline) = (mode, placement, isBaseline)
    }

    /// What crossed a GPU (node) boundary in all: a token's moves in coherent mode, its ways there
    /// and back in home mode.
    public var crossings: Rows {
      guard mode == .home else {
        return Rows(
          toOtherGPUs: crossedGPUs.reduce(0, +),
          toOtherGPUsPredicted: crossedGPUsPredicted.reduce(0, +),
          toOtherNodes: crossedNodes.reduce(0, +),
          toOtherNodesPredicted: crossedNodesPredicted.reduce(0, +))
      }
      let ways = dispatched + combined
      return Rows(
        toOtherGPUs: ways.reduce(0) { $0 + $1.toOtherGPUs },
        toOtherGPUsPredicted: ways.reduce(0) { $0 + $1.toOtherGPUsPredicted },
        toOtherNodes: ways.reduce(0) { $0 + $1.toOtherNodes },
        toOtherNodesPredicted: ways.reduce(0) { $0 + $1.toOtherNodesPredicted })
    }
  }

  public struct Rows: Encodable, Sendable {
    public let toOtherGPUs: Int
    public let toOtherGPUsPredicted: Int
    public let toOtherNodes: Int
    public let toOtherNodesPredicted: Int

    public var isAsPredicted: Bool {
      toOtherGPUs == toOtherGPUsPredicted && toOtherNodes == toOtherNodesPredicted
    }
  }

  /// Bytes that left their rank.
  public struct Bytes: Encodable, Sendable {
    /// Numbers of the hidden states, of the partial sums, and of keys and values.
    public var dispatch = 0
    public var combine = 0
    public var context = 0
    /// Ids, gate weights and next tokens that go with them.
    public var headers = 0
    /// The exchanges of counts before them.
    public var counts = 0
    /// Of all these, bytes to other nodes.
    public var toOtherNodes = 0
  }

  public struct Collectives: Encodable, Sendable {
    public var dispatch = 0.0
    public var combine = 0.0
    public var context = 0.0
    public var counts = 0.0
    /// Those that carry what the formulas count.
    public var payload: Double { dispatch + combine + context }
  }
}

extension Mode: Encodable {}

/// A figure that may be unknown: encoded as null then, not left out.
@propertyWrapper
public struct NullWhenUnknown<Value: Encodable & Sendable>: Encodable, Sendable {
  public var wrappedValue: Value?

  public init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}
