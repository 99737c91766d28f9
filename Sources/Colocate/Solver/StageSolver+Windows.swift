import ColocateModel

/// Branch and bound over the windows of the co-location relaxation, which it goes on from.
///
/// The bound exceeds the incumbent by two things: what the trees have not closed, and what the
/// windows' best placements keep together beyond the incumbent because they disagree. At the
/// relaxation's own shares the first is least, so trees (`WindowSearch`) begin there, and end when
/// no more is left to close than the disagreement costs. Then the shares move to where the
/// windows agree (`SplitDescent`), which leaves more to the trees, and these are searched to the
/// end. Where they find better placements of their windows than the descent knew, it goes on with
/// them, and so on.
///
/// Where the relaxation of the whole has fixed pairs because of the incumbent, its multipliers are
/// about placements with these pairs and say little of windows without them. The windows start from
/// the state before the first of these.
extension StageSolver {
  func searchWindows(_ incumbent: Incumbent) -> BoundReport? {
    guard searchesWindows, let relaxation, let best = incumbent.entry else { return nil }
    let whole = relaxation.unfixed ?? relaxation
    guard let multipliers = whole.multipliers,
      let first = WindowSplit(problem: problem, multipliers: multipliers)
    else { return nil }
    let part = schedule.windows
    var descent = SplitDescent(split: first, seed: options.seed)
    for w in first.windows.indices {
      descent.bundle.add(first.labels(best.labels, window: w), window: w)
    }
    var report: BoundReport?
    func solve(until: Double = 0) -> [[[Int]]] {
      let search = solveTrees(whole, descent.bundle, incumbent, part, until: until)
      if search.keptBound < report?.keptBound ?? .max {
        let isBest = bound.value.method == .windows && bound.value.kept == search.keptBound
        report = BoundReport(
          method: .windows, keptBound: search.keptBound,
          evidence: options.keepsCertificate && isBest ? .windows(search.proof) : nil, stop: nil)
      }
      return search.found
    }
    if options.methods.localSearch { descent.look(under: part) }
    var found = solve(until: Self.leastRest)
    while options.methods.localSearch, !isDone(incumbent), !isOutOfNodes, !part.shouldStop,
      !part.isWorkOver
    {
      for (w, placements) in found.enumerated() {
        for labels in placements { descent.bundle.add(labels, window: w) }
      }
      descent.bundle.judge()
      descent.run(under: schedule.descent(of: part), kept: { incumbent.kept }) {
        offer($0, incumbent, part)
      }
      if isDone(incumbent) { break }
      found = solve()
      if !found.contains(where: { !$0.isEmpty }) { break }
    }
    if isOutOfNodes { report?.stop = .treeNodes }
    return report
  }

  private var isOutOfNodes: Bool { treeNodes >= options.treeNodeLimit ?? .max }

  /// The trees at the relaxation's own shares end when they have left to close so many times what
  /// the windows' disagreement costs there.
  private static let leastRest = 1.0

  /// Trees of all windows at the bundle's shares.
  private func solveTrees(
    _ whole: ColocationRelaxation, _ bundle: SplitBundle, _ incumbent: Incumbent,
    _ part: SearchControl, until rest: Double
  ) -> WindowSearch {
    var parameters = WindowSearch.Parameters()
    parameters.keepsEvidence = options.keepsCertificate
    parameters.nodeIterations = options.methods.windowIterations
    parameters.rootIterations = options.methods.windowRootIterations
    if let limit = options.treeNodeLimit { parameters.nodeLimit = max(0, limit - treeNodes) }
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
    let disagreement = max(0, Double(split.sum(bests)) - Double(kept) * unit)
    let begun = (time: part.elapsed, work: part.workSpent)
    let before = treeNodes
    search.run { [self] search in
      bound.offer(search.keptBound, .windows)
      treeNodes = before + search.solved
      feed.tree(nodes: treeNodes, open: search.openCount)
      let isClosed =
        rest > 0
        && Double(search.keptBound - incumbent.kept) * unit - disagreement <= rest * disagreement
      // Where there was room for a proof and the windows' better placements have taken it, other
      // shares will do better; unless there is not the time for them.
      let isHopeless = room >= 0 && split.sum(search.bests) > most && isEarly(begun, part)
      return !isDone(incumbent) && !isHopeless && !isClosed
    }
    return search
  }

  /// Whether more than twice as much is left as has been spent since `begun`.
  private func isEarly(_ begun: (time: Double, work: Int), _ part: SearchControl) -> Bool {
    if control.isLimitedByWorkOnly { return part.workLeft > 2 * (part.workSpent - begun.work) }
    return part.remaining > 2 * (part.elapsed - begun.time)
  }

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
