import ColocateModel

/// The placements that cost next to nothing, so that there is one before anything is searched,
/// whatever the limits are: contiguous and round robin, under a load cap the packing of each layer,
/// and where time is left the greedy layers.
enum FirstPlacement {
  /// Calls `offer` with labels (`[L, E]`) that meet the caps, the cheapest to make first. Nothing
  /// but the greedy layers, the last, looks at `control`: an answer is owed to whoever stops a run
  /// at once, too.
  /// - Returns: whether one met the caps.
  @discardableResult
  static func each(
    _ problem: GroupingProblem, control: SearchControl, offer: ([Int]) -> Void
  ) -> Bool {
    var found = false
    func take(_ labels: [Int]) {
      guard problem.isFeasible(labels) else { return }
      found = true
      offer(labels)
    }
    let count = problem.layers * problem.experts
    take((0..<count).map { $0 % problem.experts / problem.groupSize })
    guard problem.groups > 1 else { return found }
    if !control.shouldStop { take((0..<count).map { $0 % problem.experts % problem.groups }) }
    if problem.caps != nil, !found || !control.shouldStop {
      take(packed(problem))
    }
    // A tenth of the time, so that a large model keeps most of it for the search.
    let part = SearchControl(part: 0.1 * control.remaining, of: control)
    if !part.shouldStop, var labels = GreedyLayers.labels(problem, from: 0, control: part) {
      if LoadRepair.repair(&labels, problem: problem, control: part) { take(labels) }
    }
    return found
  }

  /// Each layer packed by its loads: what says that a load cap can be met.
  private static func packed(_ problem: GroupingProblem) -> [Int] {
    (0..<problem.layers).flatMap { l in
      let quick = problem.packed(layer: l, stepLimit: 0)
      return problem.meetsCap(layer: l, quick) ? quick : problem.packed(layer: l)
    }
  }
}
