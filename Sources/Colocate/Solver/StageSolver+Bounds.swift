import ColocateModel

/// The bounds of one stage, and what they cost.
extension StageSolver {
  /// Annealing and recombination until `control` ends it or the bound is reached; or until nothing
  /// comes for a while (`patience`, in seconds; not looked at where work alone ends the run).
  func searchLocally(
    _ incumbent: Incumbent, control part: SearchControl, seed: UInt64, patience: Double = .infinity
  ) {
    guard options.methods.localSearch else { return }
    let search = LocalSearch(
      problem: problem, seed: seed, control: part, incumbent: incumbent, pool: pool,
      recombines: options.methods.pool)
    search.run(
      rounds: options.methods.localRounds ?? .max, target: bound.kept,
      patience: control.isLimitedByWorkOnly ? .infinity : patience)
  }

  /// Path relaxation, deletion, dolls, tree.
  func relaxPaths(_ incumbent: Incumbent) -> BoundReport? {
    guard options.methods.path else { return nil }
    var search = options.methods.pathSearch
    search.gapLimit = Int(options.gapLimit * Double(problem.total - incumbent.kept))
    search.treeNodeLimit = options.treeNodeLimit
    search.keepsProof = options.keepsCertificate
    search.known = bound.known
    search.faults = options.debug.pathFaults
    search.partitions = { [pool] in pool.partitions(layer: $0) }
    let result = GroupingSearch(problem: problem, options: search).run(
      incumbent: incumbent, control: schedule.path
    ) { [bound, feed] progress in
      // After deletions the search's bound holds for placements better than the incumbent.
      bound.offer(max(progress.bound, incumbent.kept), .path)
      feed.tree(nodes: progress.treeNodes, open: progress.openTreeNodes)
    }
    guard let result else { return nil }
    treeNodes = result.treeNodes
    // Of equal bounds the method counts that finished the work.
    bound.rename(.path, result.method)
    var evidence: StageProof.Evidence?
    if options.keepsCertificate {
      evidence = result.proof.map { .tree($0) } ?? .path(prices: result.rootPrices)
    }
    return BoundReport(
      method: result.method, keptBound: result.keptBound, evidence: evidence,
      stop: result.stop == .treeNodes ? .treeNodes : nil)
  }

  /// Co-location relaxation with cuts.
  func relaxColocation(_ incumbent: Incumbent) -> BoundReport? {
    guard options.methods.colocation else { return nil }
    let part = schedule.colocation
    let estimate = ColocationRelaxation.estimate(problem: problem, threads: control.threads)
    guard estimate.seconds * 3 < part.remaining, estimate.bytes < Schedule.mostBytes else {
      return nil
    }
    let relaxation = ColocationRelaxation(problem: problem, control: part)
    // An eigen-decomposition of order 2E for each boundary: about (2E)³ / 5 units.
    let order = 2 * problem.experts
    let iteration = max(1, problem.layers * order * order * order / 5)
    relaxation.parameters.maxIterations = min(
      control.workLeft / iteration, options.methods.colocationIterations ?? .max)
    if !options.methods.colocationCuts { relaxation.parameters.firstCuts = .max }
    let isBounded = control.workLimit != .max
    if relaxation.parameters.maxIterations > 0 {
      relaxation.run(targetKept: incumbent.kept) { [self] kept in
        bound.offer(kept, .colocation)
        bound.known?.check(relaxation.multipliers)
        return !isDone(incumbent)
      }
      control.spend(relaxation.iterations * iteration)
    }
    let isWorkOver = isBounded && relaxation.iterations >= relaxation.parameters.maxIterations
    bound.offer(relaxation.keptBound, .colocation)
    var evidence: StageProof.Evidence?
    if options.keepsCertificate, bound.value.method == .colocation {
      evidence = relaxation.multipliers.map { .colocation($0) }
    }
    return BoundReport(
      method: .colocation, keptBound: relaxation.keptBound, evidence: evidence,
      stop: isWorkOver ? .work : nil)
  }
}
