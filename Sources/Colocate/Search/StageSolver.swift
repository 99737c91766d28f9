/// Solves one single-level problem: exact where that is cheap, otherwise a good placement, bounds, and the search that joins them.
///
/// The order of work:
///
///  1. `ChainProgram` where all states can be listed: its answer is the optimum.
///  2. `LocalSearch` for a share of the time: an incumbent, and a pool of good partitions.
///  3. The path relaxation with deletion, Russian dolls and branching (`GroupingSearch`) where a layer has few subsets: small groups.
///  4. The co-location relaxation, for large groups, or where the path bound is out of reach.
///  5. What time is left goes to local search again.
///
/// The smaller of the bounds counts. Every bound is an integer: kept weights are, so the floor of a bound is one.
final class StageSolver {
  /// What is known at the end.
  struct Answer {
    let problem: GroupingProblem
    let labels: [Int]?
    let keptBound: Int
    let isInfeasible: Bool
    let stopReason: StopReason
    let outcome: StageOutcome
    let proof: StageProof?
  }

  let name: String
  let problem: GroupingProblem
  let options: SolverOptions
  let control: SearchControl
  let feed: ProgressFeed
  /// Further conditions on a placement; nil for none. A placement that fails is not taken as an incumbent.
  var accepts: (@Sendable ([Int]) -> Bool)?

  var keptBound: Int
  var boundMethod = "none"
  var nodes = 0
  var proof: StageProof.Kind?
  private(set) lazy var pool = PartitionPool(problem: problem)
  var stopReason: StopReason?

  init(
    name: String, problem: GroupingProblem, options: SolverOptions, control: SearchControl,
    feed: ProgressFeed
  ) {
    self.name = name
    self.problem = problem
    self.options = options
    self.control = control
    self.feed = feed
    keptBound = problem.total
  }

  func solve(warmStart: [Int]?) -> Answer {
    let begun = control.elapsed
    feed.begin(stage: name, total: problem.total)
    let incumbent = Incumbent(
      accepts: accepts,
      notify: { [feed] in feed.incumbent(kept: $0.kept, source: $0.source) })
    if let warmStart, problem.isFeasible(warmStart) {
      incumbent.offer(warmStart, kept: problem.kept(warmStart), source: .warmStart)
    }
    let isInfeasible = search(incumbent)
    let best = incumbent.entry
    let isOptimal = best != nil && best!.kept >= keptBound
    let reason: StopReason =
      isOptimal || isInfeasible
      ? .proved
      : control.isCancelled
        ? .cancelled
        : isGapMet(incumbent) && options.gapLimit > 0
          ? .gap
          : stopReason ?? (control.isTimeOver ? .time : control.isWorkOver ? .work : .finished)
    let value = problem.total - (best?.kept ?? 0)
    let bound = max(0, problem.total - keptBound)
    return Answer(
      problem: problem, labels: best?.labels, keptBound: keptBound, isInfeasible: isInfeasible,
      stopReason: reason,
      outcome: StageOutcome(
        name: name, status: isInfeasible ? .infeasible : isOptimal ? .optimal : .feasible,
        stopReason: reason, value: value, bound: min(bound, value), boundMethod: boundMethod,
        nodes: nodes, seconds: control.elapsed - begun),
      proof: best.flatMap { best in
        proof.map { StageProof(name: name, problem: problem, labels: best.labels, kind: $0) }
      })
  }

  /// The order of work above.
  /// - Returns: whether the load cap was proved impossible.
  private func search(_ incumbent: Incumbent) -> Bool {
    // Every placement of one group keeps everything; and listable chains are exact.
    let isTrivial = problem.groups == 1 || problem.groups == problem.experts
    if isTrivial || options.proves,
      let program = ChainProgram(problem, methods: options.methods, costLimit: exactCostLimit)
    {
      if let answer = program.solve(control: control, keepsValues: options.keepsCertificate) {
        incumbent.offer(answer.labels, kept: answer.kept, source: .exact)
        bound(answer.kept, answer.method == .assignment ? "assignment" : "chain")
        if options.keepsCertificate { proof = .chain(answer) }
        return false
      }
      if control.isCancelled || control.isTimeOver { return false }
    }
    searchLocally(
      incumbent, seconds: localShare, seed: options.seed,
      patience: options.proves ? 5 : .infinity)
    guard options.proves, !isDone(incumbent) else { return false }
    relaxPaths(incumbent)
    guard !isDone(incumbent) else { return false }
    relaxColocation(incumbent)
    guard !isDone(incumbent), control.remaining.isFinite else { return false }
    searchLocally(incumbent, seconds: control.remaining, seed: options.seed &+ 0x5EED)
    return false
  }

  func isDone(_ incumbent: Incumbent) -> Bool {
    control.shouldStop || control.isWorkOver || incumbent.kept >= keptBound
      || isGapMet(incumbent)
  }

  /// Takes a bound if it is the best so far.
  func bound(_ kept: Int, _ method: String) {
    guard kept < keptBound else { return }
    keptBound = kept
    boundMethod = method
    feed.bound(kept: kept)
  }

  /// Whether `(value − bound) / value` is at most the limit.
  private func isGapMet(_ incumbent: Incumbent) -> Bool {
    guard incumbent.kept >= 0 else { return false }
    let value = problem.total - incumbent.kept
    let bound = problem.total - keptBound
    return Double(value - bound) <= options.gapLimit * Double(value)
  }
}
