/// What to spend, when to stop, and how to search. The defaults suit an interactive run.
public struct SolverOptions: Hashable, Sendable {
  /// Seconds of wall time; nil for no limit.
  public var timeLimit: Double? = 60
  /// Stop once `gap ≤ gapLimit` (see `Outcome.gap`); 0 asks for a proof.
  public var gapLimit: Double = 0
  /// Nodes of the search tree; nil for no limit.
  public var nodesLimit: Int?
  /// Work in units that do not depend on the machine; nil for no limit. With a work limit and no time limit the result
  /// is the same on every machine, for any number of threads.
  public var workLimit: Int?
  /// Threads that may work at the same time.
  public var threads: Int = 2
  /// Names the run's random numbers.
  public var seed: UInt64 = 1
  /// Whether to look for bounds and proofs, or for a good placement alone.
  public var proves: Bool = true
  /// Where to start from.
  public var warmStart: Placement?
  /// Keep what a certificate needs (prices, multipliers, the tree).
  public var keepsCertificate: Bool = false

  public init() {}
}

/// How good an answer is.
public enum Status: String, Hashable, Sendable, Codable {
  /// Proved: no placement is better.
  case optimal
  /// A valid placement; how far from the best it can be is in the gap.
  case feasible
  /// Proved: no placement meets the load cap.
  case infeasible
}

/// Why the run ended.
public enum StopReason: String, Hashable, Sendable, Codable {
  /// Nothing better exists.
  case proved
  /// The gap asked for is met.
  case gap
  /// The time limit.
  case time
  /// The limit on tree nodes.
  case nodes
  /// The work limit.
  case work
  /// Somebody cancelled.
  case cancelled
  /// Everything that was to be tried has been, without a proof (`proves == false`, or a proof is out of reach).
  case finished
}

/// What one stage, or one node's sub-problem, of an answer is worth. All values are crossings, to be minimised.
public struct StageOutcome: Hashable, Sendable {
  /// "gpus", "nodes", "node 0", "joint" …
  public let name: String
  public let status: Status
  public let stopReason: StopReason
  /// Crossings of the placement in this stage.
  public let value: Int
  /// No placement has fewer; 0 where nothing is known.
  public let bound: Int
  /// Whose bound or proof: "path", "co-location", "chain", "assignment", "dolls", "tree", "none".
  public let boundMethod: String
  /// Tree nodes looked at.
  public let nodes: Int
  public let seconds: Double

  /// `(value - bound) / value`, 0 where `value` is 0.
  public var gap: Double { value == 0 ? 0 : Double(value - bound) / Double(value) }
}

/// The answer of a run.
public struct Outcome: Sendable {
  public let status: Status
  public let stopReason: StopReason
  /// The best placement found; nil only where `status` is `infeasible`, or where cancelled before the first one.
  public let placement: Placement?
  /// Its crossings, by `Objective.swift`.
  public let crossings: Crossings?
  /// `Objective.value(of:)` of the placement.
  public let value: Int?
  /// No placement has a smaller value; 0 where nothing is known. For a staged objective, whose stages are bounded each, this bounds
  /// the GPU crossings of ANY placement only where a stage says so: see `stages`.
  public let bound: Int
  /// One entry for flat and joint; for staged one for the nodes, one for each node's inside.
  public let stages: [StageOutcome]
  /// Tree nodes, work and seconds spent.
  public let statistics: Statistics

  /// `(value - bound) / value` on crossings; 0 where the value is 0, 1 where nothing is known.
  public var gap: Double {
    guard let value, value > 0 else { return 0 }
    return Double(value - bound) / Double(value)
  }

  public struct Statistics: Hashable, Sendable {
    public var nodes = 0
    public var work = 0
    public var seconds = 0.0
    public init() {}
  }
}

/// A line of a running solve.
public struct Progress: Sendable {
  /// Which stage: "gpus", "nodes", "node 0" …
  public let stage: String
  /// Letter of who found a new incumbent with this line, or a space. `Progress.key` explains the letters.
  public let source: Character
  public let nodes: Int
  public let openNodes: Int
  /// Crossings: the best found (nil before the first) and the bound (nil before the first).
  public let value: Int?
  public let bound: Int?
  public let seconds: Double

  public var gap: Double? {
    guard let value, let bound else { return nil }
    return value == 0 ? 0 : Double(value - bound) / Double(value)
  }

  public static let key =
    "B baseline  W warm start  L local search  P partition pool  X exact method  D dive on prices  T tree"
}

/// What a progress callback answers.
public enum ProgressAction: Sendable {
  case proceed
  case stop
}
