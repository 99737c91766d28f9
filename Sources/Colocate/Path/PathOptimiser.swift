import ColocateModel

/// Prices for the path relaxation: L-BFGS on the smoothed dual, μ halved stage by stage, exact
/// evaluation and deletion in between.
///
/// The smoothed dual F_μ is at most `P·μ·log(paths)` above B and differentiable. A large μ makes it
/// flat and easy, a small one close to B, so each stage starts where the one before ended, at half
/// its μ. A stage ends when every expert is covered to 2 %, or when its evaluations are used up.
///
/// The kernel of F_μ is taken at reference prices (`PathSmoothing`) and holds while the prices stay
/// within a few μ of them. Whenever they have moved further, they are rounded to ticks and
/// evaluated exactly over all arcs: that gives a bound, lets the penalties delete subsets, and
/// makes the next kernel. Within one kernel L-BFGS (`LimitedMemory`) keeps 30 pairs, steps are at
/// most 8 μ, and a step is taken by Armijo's rule 1e-4 with backtracking by 0.4.
///
/// After the last stage come, in this order, deeper stages while they pay, and rounds of
/// subset-row cuts (`PathCut`) that the smoothed cover violates.
final class PathOptimiser {
  let relaxation: PathRelaxation
  let effort: PathRelaxation.Effort
  let control: SearchControl
  private let incumbent: () -> Int
  private let progress: (PathRelaxation) -> Void

  /// The prices that were evaluated exactly last.
  private(set) var prices: PathPrices
  /// The multipliers where the search is: experts, then cuts.
  var point: [Double]
  var descent = LimitedMemory(memory: 30)
  /// The kernel of the last descent.
  private var latest: PathSmoothing?

  /// In ticks: where it is, the last one of the ordinary stages, and the last one of all.
  private(set) var mu: Double
  private var lastMu: Double
  private let deepMu: Double
  /// The bound before the last stage below `lastMu`; nil before the first of them.
  private var boundAbove: Int?
  /// Rounds of cuts so far, and the bound before the last.
  private var rounds = 0
  private var boundBefore = Int.max
  /// Of the present stage.
  var evaluationsLeft = 0
  var isConverged = false

  /// - Parameter start: an evaluation of the relaxation's present vertices.
  init(
    relaxation: PathRelaxation, start: PathEvaluation, incumbent: @escaping () -> Int,
    effort: PathRelaxation.Effort, control: SearchControl,
    progress: @escaping (PathRelaxation) -> Void
  ) {
    self.relaxation = relaxation
    self.effort = effort
    self.control = control
    self.incumbent = incumbent
    self.progress = progress
    prices = start.prices
    point = prices.vector
    let ticks = Double(PathSubsets.ticks)
    let perBoundary =
      Double(relaxation.problem.total) / Double(relaxation.problem.layers - 1)
    let last = (effort.lastMu ?? relaxation.model.lastMu) * ticks
    lastMu = last
    deepMu = last * effort.deepShare
    mu = max((effort.firstMu ?? perBoundary * effort.firstShare) * ticks, last)
  }

  /// What a step of the schedule leads to.
  enum Verdict {
    /// The next stage.
    case goOn
    /// The stages are through.
    case enough
    /// Nothing better than the incumbent is possible, or the control stopped.
    case over
  }

  /// The schedule: stages down to the last μ, deeper ones while they pay, then rounds of cuts with
  /// stages of their own.
  func run() {
    while true {
      guard stage() != .over else { return }
      if mu > lastMu {
        mu = max(mu / 2, lastMu)
        continue
      }
      var verdict = goDeeper()
      if verdict == .enough { verdict = addCuts() }
      if verdict == .over { return }
      if verdict == .enough { break }
    }
    finish()
  }

  // MARK: - Exact evaluations

  /// Evaluates exactly at the point, rounded to ticks.
  /// - Returns: nil where nothing is left to be done: see `Verdict.over`.
  private func evaluated() -> PathEvaluation? {
    guard let evaluation = relaxation.evaluate(prices.rounded(point)) else { return nil }
    prices = evaluation.prices
    progress(relaxation)
    return relaxation.bound <= incumbent() || control.shouldStop ? nil : evaluation
  }

  /// The same, and then without the subsets that the penalties delete.
  private func evaluatedAndDeleted() -> PathEvaluation? {
    guard let evaluation = evaluated() else { return nil }
    guard effort.deletes, relaxation.delete(using: evaluation, incumbent: incumbent()) else {
      return evaluation
    }
    guard let again = relaxation.evaluate(evaluation.prices) else { return nil }
    return relaxation.bound <= incumbent() ? nil : again
  }

  /// Leaves the relaxation with its vertices deleted and evaluated at the last prices.
  private func finish() {
    guard let evaluation = relaxation.evaluate(prices.rounded(point)) else { return }
    prices = evaluation.prices
    progress(relaxation)
    if effort.deletes, relaxation.bound > incumbent(),
      relaxation.delete(using: evaluation, incumbent: incumbent())
    {
      relaxation.evaluate(prices)
    }
  }

  // MARK: - Stages

  /// One value of μ: kernel by kernel, until every expert is covered or the evaluations are used
  /// up.
  private func stage() -> Verdict {
    evaluationsLeft = boundAbove == nil ? effort.evaluationsPerStage : effort.deepEvaluations
    relaxation.deepestMu = mu / Double(PathSubsets.ticks)
    isConverged = false
    descent.reset()
    while !isConverged && evaluationsLeft > 0 {
      guard let evaluation = evaluatedAndDeleted() else { return .over }
      point = evaluation.prices.vector
      let kernel = PathSmoothing(
        evaluation, mu: mu, cutoff: effort.cutoff, arcLimit: effort.arcLimit,
        previous: latest?.cutoffs ?? [])
      latest = kernel
      // An arc of the exact evaluation takes about a thirtieth of a unit.
      control.spend(1 + relaxation.vertices.arcCount / 32)
      if control.isWorkOver { return .over }
      guard descend(kernel) else { return .over }
    }
    return .goOn
  }

  /// Half of the last μ where the stage before gained enough.
  private func goDeeper() -> Verdict {
    guard mu > deepMu, rounds == 0 else { return .enough }
    guard evaluated() != nil else { return .over }
    let gap = Double(relaxation.bound - incumbent())
    if let boundAbove, Double(boundAbove - relaxation.bound) < effort.deepGain * gap {
      return .enough
    }
    boundAbove = relaxation.bound
    mu /= 2
    lastMu = mu
    return .goOn
  }

  /// A round of cuts: those that carry no price go, those that are violated come in at 0, and the
  /// stages start again a little above the last μ.
  private func addCuts() -> Verdict {
    guard rounds < effort.cutRounds, relaxation.experts <= 64, relaxation.problem.groupSize > 1,
      let latest
    else { return .enough }
    rounds += 1
    guard evaluated() != nil else { return .over }
    let gap = Double(relaxation.bound - incumbent())
    if rounds > 1 && Double(boundBefore - relaxation.bound) < effort.cutGain * gap {
      return .enough
    }
    boundBefore = relaxation.bound
    let cuts = latest.violatedTriples(
      tolerance: 0.05, most: effort.cutsPerLayer, control: control)
    if control.shouldStop { return .over }
    if cuts.isEmpty { return .enough }
    var next = prices.rounded(point)
    next.cuts = next.cuts.filter { $0.price > 0 } + cuts
    guard let evaluation = relaxation.evaluate(next) else { return .over }
    prices = evaluation.prices
    point = next.vector
    mu = lastMu * effort.cutRestart
    return .goOn
  }
}
