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
      incumbent: incumbent, control: schedule.path(beforeLongExact: isLongExact)
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
    let part = schedule.colocation(beforeWindows: searchesWindows)
    let estimate = ColocationRelaxation.estimate(problem: problem, threads: control.threads)
    guard estimate.seconds * 3 < part.remaining, estimate.bytes < Schedule.mostBytes else {
      return nil
    }
    let relaxation = ColocationRelaxation(problem: problem, control: part)
    relaxation.keepsUnfixed = searchesWindows
    self.relaxation = relaxation
    return run(relaxation, incumbent, part, untilStalled: searchesWindows)
  }

  /// Runs the relaxation, or lets it go on, for as long as `part` lets it, and perhaps only until
  /// it is stalled (`GapHistory`).
  func run(
    _ relaxation: ColocationRelaxation, _ incumbent: Incumbent, _ part: SearchControl,
    untilStalled: Bool
  ) -> BoundReport {
    relaxation.goOn(under: part)
    let before = relaxation.iterations
    let iteration = ColocationRelaxation.iterationWork(problem)
    relaxation.parameters.maxIterations = min(
      part.workLeft == .max ? .max : before + part.workLeft / iteration,
      options.methods.colocationIterations ?? .max)
    if !options.methods.colocationCuts { relaxation.parameters.firstCuts = .max }
    if !options.methods.hypermetricCuts { relaxation.parameters.hypermetric.walksPerVertex = 0 }
    if !options.methods.coverCuts { relaxation.parameters.coverViolation = nil }
    relaxation.parameters.fixes = options.methods.colocationFixing
    relaxation.parameters.searchStates = options.methods.colocationStates
    relaxation.keepsFixingSteps = options.keepsCertificate
    relaxation.incumbent = incumbent.kept
    relaxation.known = bound.known
    relaxation.onPlacement = { incumbent.offer($0, kept: $1, source: .exact) }
    let isBounded = control.workLimit != .max
    var gaps = GapHistory()
    if relaxation.parameters.maxIterations > before {
      relaxation.run(targetKept: incumbent.kept) { [self] kept in
        bound.offer(kept, .colocation)
        bound.known?.check(relaxation.multipliers)
        gaps.add(iteration: relaxation.iterations, gap: kept - incumbent.kept)
        return !isDone(incumbent) && !(untilStalled && gaps.isStalled)
      }
      control.spend((relaxation.iterations - before) * iteration)
    }
    let isWorkOver = isBounded && control.workLeft < iteration
    let method: BoundMethod = relaxation.searchStart == nil ? .colocation : .colocationSearch
    bound.offer(relaxation.keptBound, method)
    // Of equal bounds the method counts that finished the work.
    bound.rename(.colocation, method)
    return BoundReport(
      method: method, keptBound: relaxation.keptBound,
      evidence: options.keepsCertificate && bound.value.method == method
        ? Self.evidence(relaxation, incumbent: incumbent.kept) : nil,
      stop: isWorkOver ? .work : nil)
  }

  /// What proves the relaxation's bound; nil where nothing but the trivial bound is known.
  private static func evidence(
    _ relaxation: ColocationRelaxation, incumbent: Int
  ) -> StageProof.Evidence? {
    guard let best = relaxation.multipliers else { return nil }
    guard relaxation.fixings.dependsOnTarget else { return .colocation(best) }
    // A placement that the search found may not be accepted; then it proves nothing of those that
    // are.
    let search = relaxation.incumbent <= incumbent ? relaxation.searchStart : nil
    return .fixing(relaxation.evidenceSteps, search: search)
  }
}
