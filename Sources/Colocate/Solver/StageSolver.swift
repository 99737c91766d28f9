import ColocateModel

/// Solves one single-level problem: exact where that is cheap, otherwise a good placement, bounds,
/// and the search that joins them.
///
/// `FirstPlacement` gives an incumbent before anything else, whatever the limits. Then it is a loop
/// over the steps of `Schedule`: each may offer placements to the incumbent, and each bounding
/// method answers a `BoundReport`. The smallest bound counts; the loop ends when the incumbent has
/// reached it, or at a limit. Every bound is an integer: kept weights are, so the floor of a bound
/// is one.
final class StageSolver {
  /// What is known at the end.
  struct Answer {
    let problem: GroupingProblem
    let labels: [Int]?
    let stopReason: StopReason
    let outcome: StageOutcome
    let internalFault: String?
    let proof: StageProof?

    var isInfeasible: Bool { outcome.status == .infeasible }
  }

  let stage: Stage
  let problem: GroupingProblem
  let options: SolverOptions
  let control: SearchControl
  let feed: ProgressFeed
  let schedule: Schedule
  /// Further conditions on a placement; nil for none. A placement that fails is not taken as an
  /// incumbent.
  var accepts: (@Sendable ([Int]) -> Bool)?
  /// The placement of the whole instance that a new incumbent makes, or a better one.
  var complete: (@Sendable ([Int]) -> Placement?)?

  let bound: KeptBound
  var treeNodes = 0
  var evidence: StageProof.Evidence?
  /// Whether windows follow the co-location relaxation: asked before it begins.
  private(set) lazy var searchesWindows = schedule.hasWindows
  /// The co-location relaxation of this stage, once it has run.
  var relaxation: ColocationRelaxation?
  /// The program that lists all states; nil where that costs too much, or no proof is wanted. Asked
  /// before any other step.
  private lazy var exactProgram: ChainProgram? = {
    let isTrivial = problem.groups == 1 || problem.groups == problem.experts
    guard isTrivial || options.proves else { return nil }
    return ChainProgram(
      problem, allowing: options.methods.chainAllowance, costLimit: schedule.exactSeconds)
  }()
  private(set) lazy var pool = PartitionPool(problem: problem)
  var stopReason: StopReason?

  init(
    stage: Stage, problem: GroupingProblem, options: SolverOptions, control: SearchControl,
    feed: ProgressFeed, known: KnownSolution? = nil
  ) {
    self.stage = stage
    self.problem = problem
    self.options = options
    self.control = control
    self.feed = feed
    schedule = Schedule(problem: problem, options: options, control: control)
    bound = KeptBound(total: problem.total, feed: feed, known: known)
  }

  /// - Parameters:
  ///   - warmStart: `[L, E]`, where to start from; ignored where it breaks the cap.
  ///   - source: who found it.
  func solve(warmStart: [Int]?, source: IncumbentSource = .warmStart) -> Answer {
    let begun = control.elapsed
    feed.begin(stage: stage, total: problem.total)
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
        "stage \(stage): the placement found keeps \(best.kept), more than the bound "
        + "\(known.kept) (\(known.method?.rawValue ?? "trivial")) allows"
    } else if isInfeasible, incumbent.kept >= 0 {
      fault = "stage \(stage): a placement was found where there was proved to be none"
    }
    if fault != nil {
      known = KeptBound.Value(kept: problem.total, method: nil)
      evidence = nil
    }
    let found = fault == nil ? best : incumbent.entry
    let ruledOut = isInfeasible && fault == nil
    let isOptimal = fault == nil && found.map { $0.kept >= known.kept } ?? false
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
      problem: problem, labels: found?.labels, stopReason: reason,
      outcome: StageOutcome(
        stage: stage, status: status, stopReason: reason,
        value: found.map { problem.total - $0.kept },
        bound: known.method == nil || ruledOut ? nil : problem.total - known.kept,
        boundMethod: ruledOut ? nil : known.method, treeNodes: treeNodes,
        seconds: control.elapsed - begun),
      internalFault: fault,
      proof: found.flatMap { found in
        evidence.map {
          StageProof(stage: stage, problem: problem, labels: found.labels, evidence: $0)
        }
      })
  }

  /// The steps of the schedule.
  /// - Returns: whether the load cap was proved impossible.
  private func search(_ incumbent: Incumbent) -> Bool {
    for step in Schedule.Step.allCases {
      if control.shouldStop { return false }
      switch step {
      case .exact, .longExact:
        if step == .longExact, isDone(incumbent) { return false }
        guard let end = listStates(incumbent, isLong: step == .longExact) else { continue }
        return end == .impossible
      case .localSearch:
        searchLocally(
          incumbent, control: schedule.localSearch, seed: options.seed,
          patience: options.proves ? 5 : .infinity)
        guard options.proves else { return false }
      case .path:
        if isDone(incumbent) { return false }
        take(relaxPaths(incumbent))
        // Less than nothing is kept: no layer has a list of groups within the cap.
        if bound.kept < 0 { return true }
      case .colocation:
        if isDone(incumbent) { return false }
        take(relaxColocation(incumbent))
      case .windows:
        if isDone(incumbent) { return false }
        guard searchesWindows else { continue }
        take(searchWindows(incumbent))
        // What time they leave goes to the relaxation that they came from, unless a limit of nodes
        // ended them.
        if let relaxation, !isDone(incumbent), stopReason == nil {
          let part = schedule.colocation(beforeWindows: false)
          take(run(relaxation, incumbent, part, untilStalled: false))
        }
      case .moreLocalSearch:
        guard !isDone(incumbent), control.remaining.isFinite else { return false }
        searchLocally(
          incumbent, control: schedule.moreLocalSearch, seed: options.seed &+ 0x5EED)
      }
    }
    return false
  }

  /// Takes what a bounding method answered; its evidence only where no bound is better.
  private func take(_ report: BoundReport?) {
    guard let report else { return }
    bound.offer(report.keptBound, report.method)
    stopReason = report.stop ?? stopReason
    if report.keptBound <= bound.kept, let found = report.evidence { evidence = found }
  }

  /// How listing all states ended.
  private enum Listing {
    case solved
    case impossible
  }

  /// The chain program, where it is cheap enough; placements of one group, and of one expert a
  /// group, are solved even where no proof is wanted.
  /// - Parameter isLong: whether it is the turn of programs that take long.
  /// - Returns: nil where the other steps have to go on.
  private func listStates(_ incumbent: Incumbent, isLong: Bool) -> Listing? {
    guard let program = exactProgram, isLong == isLongExact else { return nil }
    let found = program.solve(control: control, keepsValues: options.keepsCertificate)
    control.spend(Int(program.estimate / Schedule.secondsPerUnit))
    guard let answer = found else { return !control.shouldStop && isImpossible ? .impossible : nil }
    incumbent.offer(answer.labels, kept: answer.kept, source: .exact)
    take(
      BoundReport(
        method: answer.method == .assignment ? .assignment : .chain, keptBound: answer.kept,
        evidence: options.keepsCertificate ? .chain(answer) : nil, stop: nil))
    return .solved
  }

  /// Whether there is such a program, and faster methods are tried before it.
  var isLongExact: Bool {
    options.methods.path && exactProgram.map { $0.estimate > Schedule.quickExactSeconds } ?? false
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
