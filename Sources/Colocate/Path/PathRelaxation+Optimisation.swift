import ColocateModel

/// What looking for prices may cost, where it starts, and the way in. The work itself is done by
/// `PathOptimiser`.
extension PathRelaxation {
  /// What optimising may cost.
  package struct Effort: Sendable {
    /// First and last μ in tokens; nil chooses them from the instance: `firstShare` and 10⁻⁴ (at
    /// most 4 tokens) of a boundary's weight.
    package var firstMu: Double? = nil
    package var lastMu: Double? = nil
    /// Below the last μ stages go on, down to this share of it, while each lowers the bound by
    /// `deepGain` of the gap to the incumbent. What is left of the smoothing, some P·μ a layer, is
    /// all that a subset-row cut would cut off before: only prices near the true minimum show which
    /// cuts are violated.
    package var deepShare = 1.0 / 64
    package var deepGain = 0.02
    /// Evaluations of the smoothed dual per stage, and per stage below the last μ.
    package var evaluationsPerStage = 100
    package var deepEvaluations = 1000
    /// Largest deviation from coverage at which a stage ends.
    package var tolerance = 0.02
    /// Arcs of the smoothed dual: those with a penalty up to `cutoff` μ, and at most `arcLimit` per
    /// boundary. (A cutoff of 16 is enough near the minimum, but with hot and near-empty experts
    /// side by side the prices then ran off along arcs that had been left out.)
    package var cutoff = 40.0
    package var arcLimit = 300_000
    /// The kernel is built anew when a subset's price has moved by this many μ.
    package var drift = 12.0
    /// The first μ as a share of a boundary's weight, where `firstMu` is nil. Larger starts were
    /// slower (the kernel is flat, nothing can be left out of it) and ended no lower.
    package var firstShare = 0.003
    /// Rounds of separating subset-row cuts after the last stage, cuts that a round adds per layer,
    /// and the μ (in last μ) at which the stages start again.
    package var cutRounds = 8
    package var cutsPerLayer = 40
    /// Rounds end when one gains less than this share of the gap to the incumbent.
    package var cutGain = 0.02
    package var cutRestart = 4.0
    /// Whether subsets are deleted on the way. A restricted master keeps its
    /// own.
    package var deletes = true
    package init() {}
  }

  /// Start: half of an expert's incident weight, scaled to the share that can be kept.
  package func startPrices(share: Double) -> [Int] {
    (0..<problem.layers).flatMap { l in
      (0..<experts).map { e in
        var sum = 0
        for other in 0..<experts {
          if l > 0 { sum += problem.weight(l - 1, other, e) }
          if l < problem.layers - 1 { sum += problem.weight(l, e, other) }
          sum += problem.coactivation(l, e, other)
        }
        return Int(0.5 * share * Double(sum * PathSubsets.ticks))
      }
    }
  }

  /// Lowers the bound from the prices of `start` on, an evaluation of the present vertices, until
  /// the stages are through, nothing better than `incumbent()` is possible, or `control` stops.
  /// Deletes on the way.
  /// - Parameter progress: called after every exact evaluation.
  /// - Returns: the prices that were evaluated exactly last.
  @discardableResult
  package func optimise(
    from start: PathEvaluation, incumbent: @escaping () -> Int, effort: Effort = Effort(),
    control: SearchControl, progress: @escaping (PathRelaxation) -> Void = { _ in }
  ) -> PathPrices {
    let optimiser = PathOptimiser(
      relaxation: self, start: start, incumbent: incumbent, effort: effort, control: control,
      progress: progress)
    optimiser.run()
    return optimiser.prices
  }
}
