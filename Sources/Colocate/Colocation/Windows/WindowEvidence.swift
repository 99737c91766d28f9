import ColocateModel

/// Short evidence for a solved node of a window's tree.
///
/// A relaxation fixes pairs step by step, and its certificate would repeat all of the steps. But
/// conclusions do not depend on what was known before (`ColocationFixings`): the last multipliers
/// alone, from nothing but the node's decisions, often lead as far, because the pairs that the
/// earlier steps had fixed follow from them too. So ever longer ends of the list are tried, and the
/// first that proves the node's bound is kept. Where that bound came from a search on losses, the
/// search is repeated.
struct WindowEvidence {
  /// The relaxation of the node, solved.
  let relaxation: ColocationRelaxation
  /// What the node's decisions say, as the node began with.
  let known: ColocationFixings
  /// What the node was solved against.
  let best: Int
  let searchStates: Int

  /// Steps that lead from the decisions to the relaxation's bound, and the layer of the search.
  func shortest() -> WindowTree.Evidence {
    let whole = WindowTree.Evidence(
      steps: relaxation.evidenceSteps, search: relaxation.searchStart)
    let evaluations = whole.steps.map {
      $0.evaluation(of: relaxation.problem, control: relaxation.control)
    }
    for first in whole.steps.indices.dropFirst().reversed() {
      let end = evaluations[first...].compactMap { $0 }
      guard end.count == whole.steps.count - first else { return whole }
      if let search = proves(end, searches: whole.search != nil) {
        return WindowTree.Evidence(steps: Array(whole.steps[first...]), search: search.layer)
      }
    }
    return whole
  }

  /// Whether these steps prove the relaxation's bound, and where a search has to begin.
  private func proves(
    _ steps: [ColocationEvaluation], searches: Bool
  ) -> (layer: Int?, isProof: Bool)? {
    guard let last = steps.last else { return nil }
    let (problem, control) = (relaxation.problem, relaxation.control)
    let goal = max(relaxation.keptBound, best)
    var fixings = known
    for step in steps {
      fixings.tighten(step, target: best + 1, control: control)
      if control.shouldStop { return nil }
      if fixings.isExhausted { return (nil, true) }
    }
    if let bound = last.keptBound(fixings, total: problem.total), bound <= goal {
      return (nil, true)
    }
    guard searches,
      let search = LossSearch(
        problem: problem, fixings: fixings, evaluation: last, target: best + 1,
        stateLimit: searchStates, stepLimit: Self.searchSteps, control: control)
    else { return nil }
    let layer = LossSearch.start(fixings)
    switch search.run(from: layer) {
    case .nothing: return (layer, true)
    case .optimum(_, let kept): return kept <= best ? (layer, true) : nil
    case .overflow: return nil
    }
  }

  /// Of a repeated search.
  private static let searchSteps = 200_000
}
