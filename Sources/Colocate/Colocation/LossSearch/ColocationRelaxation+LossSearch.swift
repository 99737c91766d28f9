import ColocateModel

/// The layered search in the course of ADMM (`LossSearch`).
///
/// It is tried again once δ or the number of free variables has fallen by a fifth since the last
/// time, and may make so many steps that all of them take about as long as a quarter of the
/// iterations so far, and a few milliseconds' worth in any case. So a search that overflows costs a
/// fifth of the time at the most, and one that would come to its end is not put off for long. Time
/// is not looked at: the steps allowed follow from the iterations.
extension ColocationRelaxation {
  /// What had been tried.
  struct SearchHistory {
    var budget = Int.max
    var free = Int.max
    var steps = 0
    var attempts = 0
  }

  /// Steps that are allowed whatever the iterations.
  private static let stepsInAnyCase = 10_000.0

  /// Operations of an iteration and of a step, both roughly.
  private var stepsAllowed: Int {
    let order = Double(2 * experts)
    let iteration = Double(boundaries) * 2 * order * order * order
    let step = Double(32 * problem.groups * experts)
    let share = 0.25 * Double(iterations) * iteration / step
    return Int(min(Self.stepsInAnyCase + share, 1e15)) - history.steps
  }

  /// Tries to list what is better than the incumbent.
  func search(_ candidate: ColocationMultipliers, _ evaluation: ColocationEvaluation) {
    guard parameters.searchStates > 0, incumbent >= 0, fixings.dependsOnTarget,
      !fixings.isExhausted
    else { return }
    let target = incumbent + 1
    var more = fixings
    more.tighten(evaluation, target: target, control: control)
    let budget = evaluation.budget(more, target: target)
    let free = more.variables - more.count
    guard
      Double(budget) <= 0.8 * Double(history.budget) || Double(free) <= 0.8 * Double(history.free)
    else { return }
    guard !control.shouldStop, stepsAllowed > 0,
      let search = LossSearch(
        problem: problem, fixings: more, evaluation: evaluation, target: target,
        stateLimit: parameters.searchStates, stepLimit: stepsAllowed, control: control)
    else { return }
    history.budget = budget
    history.free = free
    history.attempts += 1
    let start = LossSearch.start(more)
    let result = search.run(from: start)
    history.steps += search.steps
    switch result {
    case .overflow: return
    case .nothing: break
    case .optimum(let labels, let kept):
      incumbent = max(incumbent, kept)
      onPlacement(labels, kept)
    }
    known?.lost(to: "the search on losses", incumbent: incumbent)
    // The answer's certificate starts from the better incumbent, with which no less is fixed.
    fixings = more
    if keepsFixingSteps { fixingSteps.append(candidate) }
    searchStart = start
    multipliers = candidate
    keptBound = min(keptBound, incumbent)
  }
}
