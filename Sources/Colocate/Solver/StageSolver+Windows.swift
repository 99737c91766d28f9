import ColocateModel

/// Branch and bound over the windows of the co-location relaxation, which it goes on from.
///
/// The bound exceeds the incumbent by two things: what the trees have not closed, and what the
/// windows' best placements keep together beyond the incumbent because they disagree. At the
/// relaxation's own shares the first is least, so trees (`WindowSearch`) begin there, and end when
/// no more is left to close than the disagreement costs, or when they come no further. Then the
/// shares move to where the windows agree (`SplitDescent`), which leaves more to the trees, and
/// these are searched to the end, or given up where the first ones promise more for the time that
/// is left (`TreeForecast`): these then go on. Where trees find better placements of their windows
/// than the descent knew, it goes on with them, and so on.
///
/// Where the relaxation of the whole has fixed pairs because of the incumbent, its multipliers are
/// about placements with these pairs and say little of windows without them. The windows start from
/// the state before the first of these.
extension StageSolver {
  func searchWindows(_ incumbent: Incumbent) -> BoundReport? {
    guard searchesWindows, let relaxation, let best = incumbent.entry else { return nil }
    let whole = relaxation.unfixed ?? relaxation
    guard let multipliers = whole.multipliers,
      let split = WindowSplit(problem: problem, multipliers: multipliers)
    else { return nil }
    let part = schedule.windows
    var descent = SplitDescent(split: split, seed: options.seed)
    for w in split.windows.indices {
      descent.bundle.add(split.labels(best.labels, window: w), window: w)
    }
    var report: BoundReport?
    func run(_ trees: Trees, until rest: Double = 0, instead earlier: Trees? = nil) {
      search(trees, incumbent, part, until: rest, instead: earlier)
      let found = trees.search
      if found.keptBound < report?.keptBound ?? .max {
        let isBest = bound.value.method == .windows && bound.value.kept == found.keptBound
        report = BoundReport(
          method: .windows, keptBound: found.keptBound,
          evidence: options.keepsCertificate && isBest ? .windows(found.proof) : nil, stop: nil)
      }
    }
    if options.methods.localSearch { descent.look(under: part) }
    var trees = plant(whole, descent.bundle, incumbent, part)
    // Without local search no others come after them.
    run(trees, until: options.methods.localSearch ? Self.leastRest : 0)
    var first: Trees? = trees
    var foundNothing = false
    while options.methods.localSearch, !isDone(incumbent), !isOutOfNodes, !part.shouldStop,
      !part.isWorkOver
    {
      for (w, placements) in trees.search.found.enumerated() {
        for labels in placements { descent.bundle.add(labels, window: w) }
      }
      descent.bundle.judge()
      let (before, target) = (descent.bundle.value, Double(incumbent.kept << split.fractionBits))
      descent.run(under: schedule.descent(of: part), kept: { incumbent.kept }) {
        offer($0, incumbent, part)
      }
      if isDone(incumbent) { break }
      // All is known of the windows at the shares before, and no others are better.
      let hasFallen = before - descent.bundle.value > 0.01 * max(0, before - target)
      if foundNothing, !hasFallen { break }
      trees = plant(whole, descent.bundle, incumbent, part)
      run(trees, instead: first)
      if let first, trees.isGivenUp {
        run(first)
        // Where these are closed and there is time after all.
        trees.isGivenUp = false
        run(trees)
      }
      first = nil
      foundNothing = trees.search.found.allSatisfy(\.isEmpty)
    }
    if isOutOfNodes { report?.stop = .treeNodes }
    return report
  }

  /// The trees at the relaxation's own shares end when they have left to close so many times what
  /// the windows' disagreement costs there, or come no further.
  private static let leastRest = 1.0

  /// Trees of all windows at some shares.
  private final class Trees {
    let search: WindowSearch
    /// What the windows' best placements leave to the next integer above the incumbent, in the
    /// split's units, and what they exceed the incumbent by.
    let room: Int128
    let disagreement: Double
    /// The sum of what windows may keep for which room is left.
    let most: Int128
    var forecast: TreeForecast
    /// Whether they have been left for others.
    var isGivenUp = false

    init(
      search: WindowSearch, room: Int128, disagreement: Double, most: Int128, forecast: TreeForecast
    ) {
      (self.search, self.room, self.disagreement) = (search, room, disagreement)
      (self.most, self.forecast) = (most, forecast)
    }
  }

  /// Trees at the bundle's shares, of which nothing is solved.
  private func plant(
    _ whole: ColocationRelaxation, _ bundle: SplitBundle, _ incumbent: Incumbent,
    _ part: SearchControl
  ) -> Trees {
    var parameters = WindowSearch.Parameters()
    parameters.keepsEvidence = options.keepsCertificate
    parameters.nodeIterations = options.methods.windowIterations
    parameters.rootIterations = options.methods.windowRootIterations
    let split = bundle.split
    let bests = split.windows.indices.map { w in
      bundle.best(window: w).map { split.windows[w].problem.kept($0) } ?? 0
    }
    // What the windows' best placements leave to the next integer above the incumbent may be given
    // away, each window its part.
    let kept = Int128(incumbent.kept)
    let most = ((kept + 1) << Int128(split.fractionBits)) - 1
    let room = most - split.sum(bests)
    let slack = Int(max(0, room) / Int128(split.windows.count))
    let search = WindowSearch(
      whole: whole, split: split, bests: bests.map { $0 + slack }, parameters: parameters,
      control: part)
    let unit = Double(1 << split.fractionBits)
    let disagreement = max(0, Double(split.sum(bests)) / unit - Double(kept))
    return Trees(
      search: search, room: room, disagreement: disagreement, most: most,
      forecast: TreeForecast(
        windows: split.windows.count, floor: Double(kept) + disagreement))
  }

  /// Solves nodes of the trees, or goes on with them.
  /// - Parameters:
  ///   - rest: ends them when they have left to close so many times what the windows' disagreement
  ///     costs, or come no further; 0 for not before they are closed.
  ///   - earlier: gives them up where these promise more.
  private func search(
    _ trees: Trees, _ incumbent: Incumbent, _ part: SearchControl, until rest: Double,
    instead earlier: Trees?
  ) {
    let begun = (time: part.elapsed, work: part.workSpent)
    let before = treeNodes - trees.search.solved
    if let limit = options.treeNodeLimit {
      trees.search.parameters.nodeLimit = max(0, limit - before)
    }
    var isCompared = false
    trees.search.run { [self] search in
      bound.offer(search.keptBound, .windows)
      treeNodes = before + search.solved
      feed.tree(nodes: treeNodes, open: search.openCount)
      trees.forecast.add(nodes: search.solved, bound: search.keptBound)
      let left = Double(search.keptBound - incumbent.kept) - trees.disagreement
      let isClosed =
        rest > 0 && (left <= rest * trees.disagreement || trees.forecast.isStalled)
      // Where there was room for a proof and the windows' better placements have taken it, other
      // shares will do better; unless there is not the time for them.
      let isHopeless =
        trees.room >= 0 && search.split.sum(search.bests) > trees.most && timesLeft(begun, part) > 2
      if let earlier, !isCompared, trees.forecast.isSettled {
        isCompared = true
        let more = Int(Double(search.solved) * min(1e6, timesLeft(begun, part)))
        trees.isGivenUp = options.debug.givesTreesUp || promises(earlier, more, than: trees)
      }
      return !isDone(incumbent) && !isHopeless && !isClosed && !trees.isGivenUp
    }
  }

  /// Whether with so many more nodes `earlier` will have a better bound than `trees`.
  private func promises(_ earlier: Trees, _ more: Int, than trees: Trees) -> Bool {
    guard earlier.forecast.isSettled,
      let before = earlier.forecast.bound(after: earlier.search.solved + more),
      let now = trees.forecast.bound(after: trees.search.solved + more, like: earlier.forecast)
    else { return false }
    return before < now
  }

  /// What is left of work or, where that has no limit, of time, over what has been spent since
  /// `begun`.
  private func timesLeft(_ begun: (time: Double, work: Int), _ part: SearchControl) -> Double {
    if part.workLeft != .max {
      return Double(part.workLeft) / Double(max(1, part.workSpent - begun.work))
    }
    return part.remaining / max(1e-3, part.elapsed - begun.time)
  }

  private var isOutOfNodes: Bool { treeNodes >= options.treeNodeLimit ?? .max }

  /// Placements that layers of windows make: to the incumbent, and into the pool.
  private func offer(_ placements: [[Int]], _ incumbent: Incumbent, _ part: SearchControl) {
    for labels in placements where problem.isFeasible(labels) {
      let polished = LocalSearch.polish(labels, problem: problem, control: part)
      pool.add(polished.labels, value: polished.value)
      incumbent.offer(polished.labels, kept: polished.value, source: .localSearch)
    }
    guard options.methods.pool, let joined = pool.recombine(control: part) else { return }
    guard joined.value > incumbent.kept else { return }
    incumbent.offer(joined.labels, kept: joined.value, source: .pool)
  }
}
