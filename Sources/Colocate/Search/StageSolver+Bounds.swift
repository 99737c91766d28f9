/// The bounds of one stage, and what they cost.
extension StageSolver {
  /// Cost estimate (seconds on one core) up to which listing all states is preferred to searching.
  var exactCostLimit: Double {
    control.remaining.isFinite ? max(1, min(60, control.remaining)) : 60
  }

  /// Seconds of local search before any bound.
  var localShare: Double {
    let remaining = control.remaining
    guard options.proves else { return remaining.isFinite ? remaining : 30 }
    // Where the path relaxation leads to a proof, the dolls find the optimum from any start.
    if problem.experts <= 16 { return min(1, remaining * 0.1) }
    return remaining.isFinite ? min(60, remaining * 0.25) : 20
  }

  /// Annealing and recombination for `seconds`, or until the bound is reached.
  func searchLocally(_ incumbent: Incumbent, seconds: Double, seed: UInt64) {
    let search = LocalSearch(
      problem: problem, seed: seed, control: SearchControl(part: seconds, of: control),
      incumbent: incumbent, pool: pool)
    search.run(target: keptBound)
  }

  /// Path relaxation, deletion, dolls.
  func relaxPaths(_ incumbent: Incumbent) {
    guard problem.groupSize <= 4 || problem.experts <= 16,
      let relaxation = PathRelaxation(
        problem: problem, subsetLimit: 2_100, threads: control.threads)
    else { return }
    relaxation.evaluate(
      experts: relaxation.startPrices(
        share: problem.total == 0 ? 0 : Double(incumbent.kept) / Double(problem.total)))
    relaxation.optimise(
      incumbent: { incumbent.kept }, control: control,
      progress: { [self] in bound(max($0.bound, incumbent.kept), "path") })
    guard !relaxation.isEmpty, relaxation.bound > incumbent.kept else {
      bound(incumbent.kept, "path")
      return
    }
    guard !control.shouldStop else { return }
    relaxation.evaluate(relaxation.boundPrices)
    let dolls = RussianDolls(
      relaxation: relaxation, incumbent: { incumbent.kept }, control: control)
    let result = dolls.run { [self] dolls in bound(max(dolls.bound, incumbent.kept), "dolls") }
    switch result {
    case .proved:
      bound(incumbent.kept, "dolls")
    case .optimum(_, let labels):
      let kept = problem.kept(labels)
      incumbent.offer(labels, kept: kept, source: .tree)
      bound(kept, "dolls")
    case .overflow, .stopped: break
    }
  }

  /// Co-location relaxation with cuts, for the larger part of what time is left.
  func relaxColocation(_ incumbent: Incumbent) {
    let share = control.remaining.isFinite ? control.remaining * 0.9 : 60
    let relaxation = ColocationRelaxation(
      problem: problem, control: SearchControl(part: share, of: control))
    relaxation.run(targetKept: incumbent.kept) { [self] kept in
      bound(max(kept, incumbent.kept), "co-location")
      return !isDone(incumbent)
    }
    if options.keepsCertificate, boundMethod == "co-location", let found = relaxation.multipliers {
      proof = .colocation(found)
    }
  }
}
