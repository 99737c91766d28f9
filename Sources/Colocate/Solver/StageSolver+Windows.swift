import ColocateModel

/// Branch and bound over the windows of the co-location relaxation, which it goes on from.
///
/// Where that relaxation has fixed pairs its multipliers are about placements with these pairs, and
/// say little of windows without them: then it goes on itself instead.
extension StageSolver {
  /// Rounds of local search for a placement of each window.
  private static let windowRounds = 4

  func searchWindows(_ incumbent: Incumbent) -> BoundReport? {
    guard searchesWindows, let relaxation, let best = incumbent.entry else { return nil }
    let part = schedule.windows
    if relaxation.fixings.dependsOnTarget { return run(relaxation, incumbent, part) }
    var parameters = WindowSearch.Parameters()
    parameters.keepsEvidence = options.keepsCertificate
    parameters.nodeIterations = options.methods.windowIterations
    parameters.rootIterations = 2 * options.methods.windowIterations
    if let limit = options.treeNodeLimit { parameters.nodeLimit = max(0, limit - treeNodes) }
    guard
      let search = WindowSearch(
        whole: relaxation, incumbent: best.labels, parameters: parameters, control: part)
    else { return nil }
    if options.methods.localSearch {
      search.improve { [options] window, number in
        let local = Incumbent()
        let control = SearchControl(part: .infinity, of: part, threads: 1)
        LocalSearch(
          problem: window, seed: options.seed &+ UInt64(number), control: control,
          incumbent: local, pool: PartitionPool(problem: window), recombines: false
        ).run(rounds: Self.windowRounds)
        return local.kept
      }
    }
    let before = treeNodes
    search.run { [self] search in
      bound.offer(search.keptBound, .windows)
      treeNodes = before + search.solved
      feed.tree(nodes: treeNodes, open: search.openCount)
      return !isDone(incumbent)
    }
    let isBest = bound.value.method == .windows
    return BoundReport(
      method: .windows, keptBound: search.keptBound,
      evidence: options.keepsCertificate && isBest ? .windows(search.proof) : nil,
      stop: treeNodes >= options.treeNodeLimit ?? .max ? .treeNodes : nil)
  }
}
