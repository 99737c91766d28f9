import ColocateModel
import Dispatch
import Synchronization

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
  /// - Parameters:
  ///   - instance: what is to be placed, on which machines.
  ///   - onProgress: called on the calling thread, with each new incumbent and otherwise about ten
  ///     times a second; answering `.stop` ends the run with what it has.
  /// - Returns: the best placement found. There always is one, from the first moment on and
  ///   whatever the limits: at the least a baseline that meets the load cap.
  ///   (`SolverOutcome.placement` says when not.)
  /// - Throws: `ModelError.placement` where the warm start is for another model or machine, or
  ///   breaks the load cap; what `SolverOptions.validate` throws.
  public func solve(
    _ instance: Instance, onProgress: (SolverProgress) -> ProgressAction = { _ in .proceed }
  ) throws(ModelError) -> SolverOutcome {
    try options.validate()
    try options.jointWeights.check(instance.counts)
    if let warmStart = options.warmStart {
      try instance.counts.check(warmStart)
      guard warmStart.topology == instance.topology else {
        throw .placement(
          "the warm start is for \(warmStart.topology.nodes) × \(warmStart.topology.gpusPerNode) "
            + "GPUs, the instance has "
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
  ) -> SolverOutcome {
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
  ) -> SolverOutcome {
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
    private let outcome = Mutex<SolverOutcome?>(nil)
    func store(_ value: SolverOutcome) { outcome.withLock { $0 = value } }
    func take() -> SolverOutcome {
      guard let outcome = outcome.withLock({ $0 }) else {
        preconditionFailure("a run ended without an answer")
      }
      return outcome
    }
  }
}
