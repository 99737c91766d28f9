extension ColocationRelaxation {
  /// What can be tuned. None of it decides whether the bound holds.
  package struct Parameters: Sendable {
    /// ρ over the mean deviation of the weights from their mean.
    package var penalty = 1.0
    /// γ: the step of U in units of ρ; ADMM converges below (1 + √5)/2.
    package var step = 1.6
    /// The iteration from which on cuts are separated, and how many lie between separations.
    package var firstCuts = 60
    package var separateEvery = 15
    /// How many iterations lie between evaluations of the bound, and which share of the iterations
    /// so far where that is more.
    package var evaluateEvery = 20
    package var evaluateShare = 0.0
    /// What a violation of a cut on three vertices must exceed for it to join.
    package var violation = 0.02
    /// New cuts on three vertices in a boundary at a time, over E.
    package var cutsPerExpert = 20
    /// The iteration from which on other cuts join, what their violation over the row's norm must
    /// exceed, and how many join a boundary at a time, over E.
    package var firstSparse = 150
    package var sparseViolation = 0.02
    package var sparsePerExpert = 20
    /// What the violation of a cover cut must exceed; nil for no such cuts.
    package var coverViolation: Double? = 0.02
    package var hypermetric = HypermetricSearch.Limits()
    /// Passes of dual ascent over the cuts in an iteration.
    package var sweeps = 2
    package var maxIterations = Int.max
    /// Whether pairs are fixed by what the other value would lose.
    package var fixes = true
    /// Partitions of one layer that the layered search may hold; 0 for no search.
    package var searchStates = 1_000_000

    /// Defaults by size.
    package init(experts: Int, groups: Int) {
      if groups == 2 { penalty = 0.5 }
      if experts > 128 {
        // There an evaluation costs as much as three iterations, and the last bound is the best.
        evaluateEvery = 5
        evaluateShare = 0.125
        firstCuts = 20
        firstSparse = 50
      }
    }
  }
}
