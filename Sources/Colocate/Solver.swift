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
  /// With 1 everything happens on the calling thread and none is made: what to ask for where a process
  /// may not make any (Dispatch waits for ever for a thread that it cannot have).
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
  /// - Returns: the best placement found. There always is one, from the first moment on and whatever
  ///   the limits: at the least a baseline that meets the load cap. (`Outcome.placement` says when not.)
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
    if let known = options.debug.knownSolution {
      try instance.counts.check(known)
      guard known.topology == instance.topology,
        instance.gpuProblem.isFeasible(known.assignment)
      else {
        throw .placement("the known solution is for other machines, or breaks the load cap")
      }
    }
    return options.threads == 1
      ? onThisThread(instance, onProgress) : onOthers(instance, onProgress)
  }

  /// Everything on the calling thread: no other is made.
  private func onThisThread(
    _ instance: Instance, _ onProgress: (SolverProgress) -> ProgressAction
  ) -> Outcome {
    withoutActuallyEscaping(onProgress) { onProgress in
      let pulse = ProgressPulse(onProgress)
      defer { pulse.end() }
      let control = SearchControl(
        timeLimit: options.timeLimit, workLimit: options.workLimit,
        cancelledWhen: { pulse.beat() })
      let feed = ProgressFeed(control: control, unit: instance.counts.unit)
      pulse.begin(feed)
      let run = SolveRun(
        instance: instance.reduced, options: options, control: control, feed: feed)
      let outcome = run.run().multiplied(for: instance)
      pulse.deliver()
      return outcome
    }
  }

  /// The search on Dispatch's threads, the caller's for progress.
  private func onOthers(
    _ instance: Instance, _ onProgress: (SolverProgress) -> ProgressAction
  ) -> Outcome {
    let control = SearchControl(
      timeLimit: options.timeLimit, workLimit: options.workLimit, threads: options.threads)
    let feed = ProgressFeed(control: control, unit: instance.counts.unit)
    let run = SolveRun(
      instance: instance.reduced, options: options, control: control, feed: feed)
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
