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
    /// The co-location relaxation: for large groups, or where the path bound is out of reach.
    case colocation
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

  /// Estimated seconds on one core up to which listing all states is preferred to searching: what
  /// the options say, within the time and the work that are left.
  var exactSeconds: Double {
    let most = options.methods.chainSeconds
    let seconds = control.remaining.isFinite ? min(most, max(1, control.remaining)) : most
    guard control.workLimit != .max else { return seconds }
    return min(seconds, Double(control.workLeft) * Self.secondsPerUnit)
  }

  /// What local search may take before any bound.
  ///
  /// - All there is where no bound is wanted, and 30 s without a limit.
  /// - A tenth, at most 1 s, of up to 16 experts: there the path relaxation leads to a proof, and
  ///   the dolls find the optimum from any start.
  /// - Otherwise a quarter, at most 60 s, and 20 s without a limit.
  ///
  /// Where work alone ends the run it is a quarter of the work instead.
  var localSearch: SearchControl {
    if control.isLimitedByWorkOnly { return workShare }
    let remaining = control.remaining
    let seconds: Double
    if !options.proves {
      seconds = remaining.isFinite ? remaining : 30
    } else if problem.experts <= 16 {
      seconds = min(1, remaining * 0.1)
    } else {
      seconds = remaining.isFinite ? min(60, remaining * 0.25) : 20
    }
    return SearchControl(part: seconds, of: control)
  }

  /// What the path relaxation, its dolls and its tree may take: all there is where a proof can be
  /// hoped for (two experts a group, or up to 16 experts), otherwise three quarters, because the
  /// co-location bound may be better.
  var path: SearchControl {
    let share = problem.groupSize <= 2 || problem.experts <= 16 ? 1 : 0.75
    return SearchControl(part: control.remaining * share, of: control)
  }

  /// What the co-location relaxation may take: nine tenths, 60 s without a limit; all the work that
  /// is left where work alone ends the run.
  var colocation: SearchControl {
    let share =
      control.isLimitedByWorkOnly
      ? .infinity : control.remaining.isFinite ? control.remaining * 0.9 : 60
    return SearchControl(part: share, of: control)
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
