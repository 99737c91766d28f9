import Dispatch
import Synchronization

/// What to spend, when to stop, and how to search. The defaults suit an interactive run.
public struct SolverOptions: Hashable, Sendable {
  /// Seconds of wall time; nil for no limit.
  public var timeLimit: Double? = 60
  /// Stop once `gap ≤ gapLimit` (see `Outcome.gap`); 0 asks for a proof.
  public var gapLimit: Double = 0
  /// Nodes of the search tree; nil for no limit.
  public var nodesLimit: Int?
  /// Work in units that do not depend on the machine, each about one proposal of local search; nil for no limit. With a work limit and
  /// no time limit nothing depends on the clock, and the result is the same for any number of threads; except that where a tree is
  /// searched by several threads, what an unfinished tree has found when the work is used up may differ.
  public var workLimit: Int?
  /// Threads that may work at the same time.
  public var threads: Int = 2
  /// Names the run's random numbers.
  public var seed: UInt64 = 1
  /// Whether to look for bounds and proofs, or for a good placement alone.
  public var proves: Bool = true
  /// Where to start from.
  public var warmStart: Placement?
  /// Weights at which a staged answer is compared with the joint objective; between nodes, inside a node.
  public var jointWeights = JointWeights()
  /// Keep what a certificate needs (prices, multipliers, the tree).
  public var keepsCertificate: Bool = false
  /// Which methods may run.
  public var methods = SolverMethods()
  /// Means to find faults of the solver.
  public var debug = SolverDebug()

  public init() {}
}

/// What a crossing costs in the joint objective, `interNode ≥ intraNode ≥ 0`.
public struct JointWeights: Hashable, Sendable {
  /// Between nodes.
  public var interNode: Int
  /// Inside a node.
  public var intraNode: Int

  public init(interNode: Int = 8, intraNode: Int = 1) {
    self.interNode = interNode
    self.intraNode = intraNode
  }

  /// With other weights the bound on the joint objective would not hold.
  func check() throws(ModelError) {
    guard intraNode >= 0, interNode >= intraNode, interNode <= 1_000_000 else {
      throw .sizes(
        "joint weights \(interNode) (between nodes) and \(intraNode) (inside a node): expected 0 ≤ inside ≤ between ≤ 1000000"
      )
    }
  }

  /// The joint value of every placement must be exact.
  /// - Throws: `ModelError.sizes` as `check()`, and where the weights are too large for the counts.
  func check(_ counts: TransitionCounts) throws(ModelError) {
    try check()
    let all = counts.total + counts.coactivation.reduce(0, +) / 2
    func passes(_ sum: Int, _ limit: Int) -> Bool {
      let (product, overflow) = sum.multipliedReportingOverflow(by: interNode)
      return !overflow && product <= limit
    }
    guard passes(all, Magnitude.joint), passes(all / counts.unit, Magnitude.saved) else {
      throw .sizes(
        "joint weight \(interNode) with counts that add up to \(all) (in units of \(counts.unit)): expected a product of at most 2^58 in "
          + "those units and 2^61 without; divide the counts or both weights by a common factor")
    }
  }
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
  /// No placement has a smaller value; 0 where nothing is known. For a staged objective whose first step is proved: no placement
  /// that spreads the experts over the nodes as this one does; `stages` says what is known of each step, `joint` of any placement.
  public let bound: Int
  /// One entry for flat and joint; for staged one for the nodes, one for each node's inside.
  public let stages: [StageOutcome]
  /// For a staged answer: how it stands against the joint objective; nil for other objectives, or without bounds.
  public let joint: JointComparison?
  /// The evidence for a certificate, one for each stage that has any; empty unless `keepsCertificate`.
  package let proofs: [StageProof]
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
public struct SolverProgress: Sendable {
  /// Which stage: "gpus", "nodes", "node 0" …
  public let stage: String
  /// Letter of who found a new incumbent with this line, or a space. `SolverProgress.key` explains the letters.
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
    "B baseline  W warm start  L local search  P partition pool  X exact method  T tree"
}

/// What a progress callback answers.
public enum ProgressAction: Sendable {
  case proceed
  case stop
}

/// What a staged answer, which minimises one level after the other, is worth when both count at once.
public struct JointComparison: Hashable, Sendable {
  /// Weight of a crossing between nodes.
  public let interNode: Int
  /// Weight of a crossing inside a node.
  public let intraNode: Int
  /// `interNode · node crossings + intraNode · crossings inside nodes` of the staged answer.
  public let value: Int
  /// No placement whatever has a smaller joint value.
  public let bound: Int

  /// `(value - bound) / value`, 0 where `value` is 0.
  public var gap: Double { value == 0 ? 0 : Double(value - bound) / Double(value) }
}

/// Finds placements and proves how good they are.
///
/// ```swift
/// let instance = try Instance(counts: counts, topology: Topology(gpus: 8, nodes: 2))
/// let outcome = try Solver(options).solve(instance) { progress in .proceed }
/// ```
///
/// The objective and, when proved, the bound do not depend on the number of threads.
public struct Solver: Sendable {
  public let options: SolverOptions

  public init(_ options: SolverOptions = SolverOptions()) { self.options = options }

  /// Solves `instance`; returns when a limit of the options is reached or nothing is left to do.
  /// - Parameter onProgress: called on the calling thread, with each new incumbent and otherwise about ten times a second;
  ///   answering `.stop` ends the run with what it has.
  /// - Throws: `ModelError.placement` where the warm start is for another model or machine, or breaks the load cap; what
  ///   `SolverOptions.validate` throws.
  public func solve(
    _ instance: Instance, onProgress: (SolverProgress) -> ProgressAction = { _ in .proceed }
  ) throws(ModelError) -> Outcome {
    try options.validate()
    try options.jointWeights.check(instance.counts)
    if let warmStart = options.warmStart {
      try instance.counts.check(warmStart)
      guard warmStart.topology == instance.topology else {
        throw .placement(
          "the warm start is for \(warmStart.topology.nodes) × \(warmStart.topology.gpusPerNode) GPUs, the instance has "
            + "\(instance.topology.nodes) × \(instance.topology.gpusPerNode)")
      }
      guard instance.gpuProblem.isFeasible(warmStart.assignment) else {
        throw .placement("the warm start breaks the load cap")
      }
    }
    let control = SearchControl(
      timeLimit: options.timeLimit, workLimit: options.workLimit, threads: options.threads)
    let feed = ProgressFeed(control: control, unit: instance.counts.unit)
    let run = SolveRun(instance: instance.reduced, options: options, control: control, feed: feed)
    let done = DispatchSemaphore(value: 0)
    let answer = Answer()
    DispatchQueue.global().async {
      answer.store(run.run())
      done.signal()
    }
    while done.wait(timeout: .now() + .milliseconds(100)) == .timedOut {
      for line in feed.take() where onProgress(line) == .stop { control.cancel() }
    }
    for line in feed.take() { _ = onProgress(line) }
    return answer.take().multiplied(for: instance)
  }

  /// Where the worker leaves the outcome.
  private final class Answer: Sendable {
    private let outcome = Mutex<Outcome?>(nil)
    func store(_ value: Outcome) { outcome.withLock { $0 = value } }
    func take() -> Outcome { outcome.withLock { $0! } }
  }
}
