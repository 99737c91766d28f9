import ColocateModel

/// Solves one single-level problem: exact where that is cheap, otherwise a good placement, bounds,
/// and the search that joins them.
///
/// The order of work:
///
///  1. `FirstPlacement`: an incumbent before anything else, whatever the limits.
///  2. `ChainProgram` where all states can be listed: its answer is the optimum.
///  3. `LocalSearch` for a share of the time: a good incumbent, and a pool of good partitions.
///  4. The path relaxation with deletion, Russian dolls and branching (`GroupingSearch`) where a
///     layer has few subsets: small groups.
///  5. The co-location relaxation, for large groups, or where the path bound is out of reach.
///  6. What time is left goes to local search again.
///
/// The smaller of the bounds counts. Every bound is an integer: kept weights are, so the floor of a
/// bound is one.
final class StageSolver {
  /// What is known at the end.
  struct Answer {
    let problem: GroupingProblem
    let labels: [Int]?
    /// No placement keeps more; nil where nothing is known.
    let keptBound: Int?
    let stopReason: StopReason
    let outcome: StageOutcome
    let internalFault: String?
    let proof: StageProof?

    var isInfeasible: Bool { outcome.status == .infeasible }
  }

  let name: String
  let problem: GroupingProblem
  let options: SolverOptions
  let control: SearchControl
  let feed: ProgressFeed
  /// Further conditions on a placement; nil for none. A placement that fails is not taken as an
  /// incumbent.
  var accepts: (@Sendable ([Int]) -> Bool)?
  /// The placement of the whole instance that a new incumbent makes, or a better one.
  var complete: (@Sendable ([Int]) -> Placement?)?

  let bound: KeptBound
  var treeNodes = 0
  var proof: StageProof.Kind?
  private(set) lazy var pool = PartitionPool(problem: problem)
  var stopReason: StopReason?

  init(
    name: String, problem: GroupingProblem, options: SolverOptions, control: SearchControl,
    feed: ProgressFeed, known: KnownSolution? = nil
  ) {
    self.name = name
    self.problem = problem
    self.options = options
    self.control = control
    self.feed = feed
    bound = KeptBound(total: problem.total, feed: feed, known: known)
  }

  /// - Parameters:
  ///   - warmStart: `[L, E]`, where to start from; ignored where it breaks the cap.
  ///   - source: who found it.
  func solve(warmStart: [Int]?, source: Incumbent.Source = .warmStart) -> Answer {
    let begun = control.elapsed
    feed.begin(stage: name, total: problem.total)
    let incumbent = Incumbent(
      accepts: accepts,
      notify: { [feed, complete] in
        feed.incumbent(kept: $0.kept, source: $0.source, placement: complete?($0.labels))
      })
    if let warmStart, problem.isFeasible(warmStart) {
      incumbent.offer(warmStart, kept: problem.kept(warmStart), source: source)
    }
    FirstPlacement.each(problem, control: control) {
      incumbent.offer($0, kept: problem.kept($0), source: .baseline)
    }
    let isInfeasible = search(incumbent)
    if isInfeasible { bound.known?.lost(to: "the proof that there is no placement") }
    return answer(incumbent, isInfeasible: isInfeasible, begun: begun)
  }

  private func answer(_ incumbent: Incumbent, isInfeasible: Bool, begun: Double) -> Answer {
    let best = isInfeasible ? nil : incumbent.entry
    var known = bound.value
    if best?.kept == problem.total { known.method = known.method ?? .trivial }
    var fault: String?
    if let best, best.kept > known.kept {
      fault =
        "stage \(name): the placement found keeps \(best.kept), more than the bound "
        + "\(known.kept) (\(known.method?.rawValue ?? "trivial")) allows"
    } else if isInfeasible, incumbent.kept >= 0 {
      fault = "stage \(name): a placement was found where there was proved to be none"
    }
    if fault != nil {
      known = KeptBound.Value(kept: problem.total, method: nil)
      proof = nil
    }
    let found = fault == nil ? best : incumbent.entry
    let ruledOut = isInfeasible && fault == nil
    let isOptimal = fault == nil && found != nil && found!.kept >= known.kept
    let reason: StopReason =
      isOptimal || ruledOut
      ? .proved
      : control.isCancelled
        ? .cancelled
        : isGapMet(incumbent) && options.gapLimit > 0
          ? .gap
          : stopReason ?? (control.isTimeOver ? .time : control.isWorkOver ? .work : .finished)
    let status: SolverStatus =
      ruledOut ? .infeasible : isOptimal ? .optimal : found == nil ? .unknown : .feasible
    return Answer(
      problem: problem, labels: found?.labels, keptBound: known.method == nil ? nil : known.kept,
      stopReason: reason,
      outcome: StageOutcome(
        name: name, status: status, stopReason: reason,
        value: found.map { problem.total - $0.kept },
        bound: known.method == nil || ruledOut ? nil : problem.total - known.kept,
        boundMethod: ruledOut ? nil : known.method, treeNodes: treeNodes,
        seconds: control.elapsed - begun),
      internalFault: fault,
      proof: found.flatMap { found in
        proof.map { StageProof(name: name, problem: problem, labels: found.labels, kind: $0) }
      })
  }

  /// The order of work above.
  /// - Returns: whether the load cap was proved impossible.
  private func search(_ incumbent: Incumbent) -> Bool {
    // Every placement of one group keeps everything; and listable chains are exact.
    let isTrivial = problem.groups == 1 || problem.groups == problem.experts
    if isTrivial || options.proves, !control.shouldStop,
      let program = ChainProgram(
        problem, allowing: options.methods.chainAllowance, costLimit: exactCostLimit)
    {
      let found = program.solve(control: control, keepsValues: options.keepsCertificate)
      control.spend(Int(program.estimate / Self.secondsPerUnit))
      if let answer = found {
        incumbent.offer(answer.labels, kept: answer.kept, source: .exact)
        bound.offer(answer.kept, answer.method == .assignment ? .assignment : .chain)
        if options.keepsCertificate { proof = .chain(answer) }
        return false
      }
      if control.shouldStop { return false }
      if isImpossible { return true }
    }
    if control.shouldStop { return false }
    searchLocally(
      incumbent, seconds: localShare, seed: options.seed,
      patience: options.proves ? 5 : .infinity)
    guard options.proves, !isDone(incumbent) else { return false }
    relaxPaths(incumbent)
    if bound.kept < 0 { return true }
    guard !isDone(incumbent) else { return false }
    relaxColocation(incumbent)
    guard !isDone(incumbent), control.remaining.isFinite else { return false }
    searchLocally(incumbent, seconds: control.remaining, seed: options.seed &+ 0x5EED)
    return false
  }

  /// Whether some layer has no partition within its cap at all, by listing them; asked only where
  /// `ChainProgram` listed them too.
  private var isImpossible: Bool {
    guard let caps = problem.caps, problem.experts <= 64 else { return false }
    let experts = problem.experts
    return (0..<problem.layers).contains { l in
      let loads = Array(problem.loads[(l * experts)..<((l + 1) * experts)])
      if problem.groups == experts { return loads.contains { $0 > caps[l] } }
      if problem.groups == 1 { return loads.reduce(0, +) > caps[l] }
      return PartitionList.all(
        experts: experts, groups: problem.groups, loads: loads, cap: caps[l]
      ).isEmpty
    }
  }

  func isDone(_ incumbent: Incumbent) -> Bool {
    control.shouldStop || control.isWorkOver || incumbent.kept >= bound.kept
      || isGapMet(incumbent)
  }

  /// Whether `(value − bound) / value` is at most the limit.
  private func isGapMet(_ incumbent: Incumbent) -> Bool {
    guard incumbent.kept >= 0 else { return false }
    let value = problem.total - incumbent.kept
    let bound = problem.total - bound.kept
    return Double(value - bound) <= options.gapLimit * Double(value)
  }
}
