import ColocateModel

/// The steps of a stage in their order, and the share of time or work that each may take.
///
/// A step that has nothing to do (its method is switched off, or does not apply) takes nothing, and
/// what it leaves goes to those after it.
struct Schedule: Sendable {
  /// One step.
  enum Step: CaseIterable, Sendable {
    /// All states listed, where they are few: the answer is the optimum, and nothing is left to do.
    case exact
    /// A good incumbent, and a pool of good partitions for the steps after it.
    case localSearch
    /// The path relaxation with deletion, dolls and branching: for small groups, or few experts.
    case path
    /// All states listed after all, where that takes longer than a proof by paths usually does.
    case longExact
    /// The co-location relaxation: for large groups, or where the path bound is out of reach.
    case colocation
    /// The co-location relaxation's windows, each by a search tree of its own.
    case windows
    /// What time is left goes to local search again.
    case moreLocalSearch
  }

  let problem: GroupingProblem
  let options: SolverOptions
  let control: SearchControl

  /// Memory that the co-location relaxation may take.
  static let mostBytes = 4e9
  /// Seconds that a unit of work stands for.
  static let secondsPerUnit = 5e-8

  /// Estimated seconds on one core up to which listing all states comes before everything else. The
  /// path relaxation and its dolls need a second or two where groups are small.
  static let quickExactSeconds = 3.0

  /// Estimated seconds on one core up to which all states are listed at all: what the options say,
  /// within half of the time and the work at the beginning.
  var exactSeconds: Double {
    let most = options.methods.chainSeconds
    let seconds = control.remaining.isFinite ? min(most, max(1, control.remaining / 2)) : most
    guard control.workLimit != .max else { return seconds }
    return min(seconds, Double(control.workLeft / 2) * Self.secondsPerUnit)
  }

  /// What local search may take before any bound.
  ///
  /// - All there is where no bound is wanted, and 30 s without a limit.
  /// - A tenth, at most 1 s, of up to 16 experts, and of up to 32 in groups of two: there the path
  ///   relaxation leads to a proof, and the dolls find the optimum from any start.
  /// - Otherwise a quarter, at most 60 s, and 20 s without a limit. A short time is shared alike:
  ///   up to 5 s, half of it. What a bound is begun with and cannot finish is worth less than the
  ///   placement that the search would have found in the meantime.
  ///
  /// Where work alone ends the run it is a quarter of the work instead.
  var localSearch: SearchControl {
    if control.isLimitedByWorkOnly { return workShare }
    let remaining = control.remaining
    let seconds: Double
    if !options.proves {
      seconds = remaining.isFinite ? remaining : 30
    } else if problem.experts <= 16 || (problem.experts <= 32 && problem.groupSize == 2) {
      seconds = min(1, remaining * 0.1)
    } else {
      seconds =
        remaining.isFinite ? min(60, max(remaining * 0.25, min(5, remaining * 0.5))) : 20
    }
    return SearchControl(part: seconds, of: control)
  }

  /// What the path relaxation, its dolls and its tree may take: all there is where a proof can be
  /// hoped for (two experts a group, or up to 16 experts), otherwise three quarters, because the
  /// co-location bound may be better; and a seventh before windows, which mostly are. (gpt-oss-20b
  /// on 8 GPUs: paths took 180 s to a gap of 0.24 %, windows end below that.) Half of time and work
  /// where all states can be listed after it.
  func path(beforeLongExact: Bool) -> SearchControl {
    if beforeLongExact {
      return SearchControl(
        part: control.remaining / 2, work: control.workLeft == .max ? .max : control.workLeft / 2,
        of: control)
    }
    let mayProve = problem.groupSize <= 2 || problem.experts <= 16
    let share = mayProve ? 1 : hasWindows ? 0.15 : 0.75
    return SearchControl(part: control.remaining * share, of: control)
  }

  /// What the co-location relaxation may take: nine tenths, 60 s without a limit; all the work that
  /// is left where work alone ends the run. Of two groups it leaves hardly a gap that its search
  /// does not close; for more the windows after it do more than it would, and it takes two fifths.
  func colocation(beforeWindows: Bool) -> SearchControl {
    let share = beforeWindows ? 0.4 : 0.9
    if control.isLimitedByWorkOnly {
      let work = beforeWindows ? Int(Double(control.workLeft) * share) : .max
      return SearchControl(part: .infinity, work: work, of: control)
    }
    return SearchControl(
      part: control.remaining.isFinite ? control.remaining * share : 60, of: control)
  }

  /// Whether windows are to be searched after the co-location relaxation: for more than two groups,
  /// where half of the time or work is enough to solve the root of every window's tree.
  var hasWindows: Bool {
    guard options.methods.windows, options.methods.colocation, problem.groups > 2,
      problem.layers > 2
    else { return false }
    let iterations = options.methods.windowRootIterations
    if control.isLimitedByWorkOnly {
      let (work, over) = iterations.multipliedReportingOverflow(
        by: ColocationRelaxation.iterationWork(problem))
      return !over && work < control.workLeft / 2
    }
    let estimate = ColocationRelaxation.estimate(problem: problem, threads: control.threads)
    return Double(iterations) * estimate.seconds < 0.5 * control.remaining
  }

  /// What the windows may take: nine tenths, and all the work that is left.
  var windows: SearchControl {
    SearchControl(
      part: control.remaining.isFinite ? control.remaining * 0.9 : 60, of: control)
  }

  /// What the descent on the windows' shares may take before their trees: a quarter of what is
  /// left.
  func descent(of part: SearchControl) -> SearchControl {
    SearchControl(
      part: part.remaining.isFinite ? part.remaining * 0.25 : 30,
      work: part.workLeft == .max ? .max : part.workLeft / 4, of: part)
  }

  /// What the last local search may take: all the time that is left.
  var moreLocalSearch: SearchControl {
    control.isLimitedByWorkOnly
      ? workShare : SearchControl(part: control.remaining, of: control)
  }

  /// A quarter of the work that is left, or all of it where no bound is wanted.
  private var workShare: SearchControl {
    SearchControl(
      part: .infinity, work: options.proves ? control.workLeft / 4 : .max, of: control)
  }
}
