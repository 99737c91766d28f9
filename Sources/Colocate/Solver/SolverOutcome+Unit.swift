import ColocateModel

/// Answers on reduced counts (`Instance.reduced`) in the unit of the counts as they were given.
extension SolverOutcome {
  /// - Parameter instance: the instance as it was given; this is the outcome of its reduction.
  func multiplied(for instance: Instance) -> SolverOutcome {
    let unit = instance.counts.unit
    // A placement of these counts by construction: nothing to throw.
    let crossings = placement.flatMap { try? instance.counts.crossings(of: $0) }
    let value = crossings.map { instance.objective.value(of: $0) }
    precondition(value == self.value.map { $0 * unit }, "the unit of the counts changes a value")
    return SolverOutcome(
      status: status, stopReason: stopReason, placement: placement, crossings: crossings,
      value: value, bound: bound.map { $0 * unit }, stages: stages.map { $0.multiplied(by: unit) },
      joint: joint?.multiplied(by: unit), internalFault: internalFault, proofs: proofs,
      statistics: statistics)
  }
}

extension StageOutcome {
  fileprivate func multiplied(by unit: Int) -> StageOutcome {
    StageOutcome(
      stage: stage, status: status, stopReason: stopReason, value: value.map { $0 * unit },
      bound: bound.map { $0 * unit }, boundMethod: boundMethod, treeNodes: treeNodes,
      seconds: seconds)
  }
}

extension JointComparison {
  fileprivate func multiplied(by unit: Int) -> JointComparison {
    JointComparison(
      weights: weights, value: value * unit,
      bound: bound.map { $0 * unit })
  }
}
