import ColocateModel

/// The bounds of one stage, and what they cost.
extension StageSolver {
  /// Memory that the co-location relaxation may take.
  static let mostBytes = 4e9
  /// Seconds that a unit of work stands for.
  static let secondsPerUnit = 5e-8

  /// Cost estimate (seconds on one core) up to which listing all states is preferred to searching;
  /// within the work that is left.
  var exactCostLimit: Double {
    let most = options.methods.chainSeconds
    let seconds = control.remaining.isFinite ? min(most, max(1, control.remaining)) : most
    guard control.workLimit != .max else { return seconds }
    return min(seconds, Double(control.workLeft) * Self.secondsPerUnit)
  }

  /// Seconds of local search before any bound.
  var localShare: Double {
    let remaining = control.remaining
    guard options.proves else { return remaining.isFinite ? remaining : 30 }
    // Where the path relaxation leads to a proof, the dolls find the optimum from any start.
    if problem.experts <= 16 { return min(1, remaining * 0.1) }
    return remaining.isFinite ? min(60, remaining * 0.25) : 20
  }

  /// Annealing and recombination for `seconds`, or until the bound is reached; or until nothing
  /// comes for a while (`patience`).
  func searchLocally(
    _ incumbent: Incumbent, seconds: Double, seed: UInt64, patience: Double = .infinity
  ) {
    // Where work alone ends the run, a share of the work takes the place of seconds.
    let part =
      control.isLimitedByWorkOnly
      ? SearchControl(
        part: .infinity, work: options.proves ? control.workLeft / 4 : .max, of: control)
      : SearchControl(part: seconds, of: control)
    guard options.methods.localSearch else { return }
    let search = LocalSearch(
      problem: problem, seed: seed, control: part, incumbent: incumbent, pool: pool,
      recombines: options.methods.pool)
    search.run(
      rounds: options.methods.localRounds ?? .max, target: bound.kept,
      patience: control.isLimitedByWorkOnly ? .infinity : patience)
  }

  /// Path relaxation, deletion, dolls, tree.
  func relaxPaths(_ incumbent: Incumbent) {
    guard options.methods.path else { return }
    var search = GroupingSearch.Options(methods: options.methods)
    search.gapLimit = Int(options.gapLimit * Double(problem.total - incumbent.kept))
    search.treeNodeLimit = options.treeNodeLimit
    search.keepsProof = options.keepsCertificate
    search.known = bound.known
    search.partitions = { [pool] in pool.partitions(layer: $0) }
    let share = boundShare
    let part = SearchControl(part: share, of: control)
    let result = GroupingSearch(problem: problem, options: search).run(
      incumbent: incumbent, control: part
    ) { [bound, feed] progress in
      // After deletions the search's bound holds for placements better than the incumbent.
      bound.offer(max(progress.bound, incumbent.kept), .path)
      feed.tree(nodes: progress.treeNodes, open: progress.openTreeNodes)
    }
    guard let result else { return }
    treeNodes = result.treeNodes
    bound.offer(result.keptBound, result.method)
    bound.rename(.path, result.method)
    if result.stop == .treeNodes { stopReason = .treeNodes }
    guard options.keepsCertificate else { return }
    if let tree = result.proof {
      proof = .tree(tree)
    } else {
      proof = .path(prices: result.rootPrices)
    }
  }

  /// Seconds for the path search: all there is where it can hope for a proof, part of it where the
  /// co-location bound may be better.
  private var boundShare: Double {
    let remaining = control.remaining
    return problem.groupSize <= 2 || problem.experts <= 16 ? remaining : remaining * 0.75
  }

  /// Co-location relaxation with cuts, for the larger part of what time is left.
  func relaxColocation(_ incumbent: Incumbent) {
    guard options.methods.colocation else { return }
    let share =
      control.isLimitedByWorkOnly
      ? .infinity : control.remaining.isFinite ? control.remaining * 0.9 : 60
    let part = SearchControl(part: share, of: control)
    let estimate = ColocationRelaxation.estimate(problem: problem, threads: control.threads)
    guard estimate.seconds * 3 < part.remaining, estimate.bytes < Self.mostBytes else { return }
    let relaxation = ColocationRelaxation(problem: problem, control: part)
    // An eigen-decomposition of order 2E for each boundary: about (2E)³ / 5 units.
    let order = 2 * problem.experts
    let iteration = max(1, problem.layers * order * order * order / 5)
    relaxation.parameters.maxIterations = min(
      control.workLeft / iteration, options.methods.colocationIterations ?? .max)
    if !options.methods.colocationCuts { relaxation.parameters.firstCuts = .max }
    guard relaxation.parameters.maxIterations > 0 else {
      stopReason = control.workLimit == .max ? stopReason : .work
      return
    }
    defer { control.spend(relaxation.iterations * iteration) }
    relaxation.run(targetKept: incumbent.kept) { [self] kept in
      bound.offer(kept, .colocation)
      bound.known?.check(relaxation.multipliers)
      return !isDone(incumbent)
    }
    if control.workLimit != .max, relaxation.iterations >= relaxation.parameters.maxIterations {
      stopReason = .work
    }
    if options.keepsCertificate, bound.value.method == .colocation,
      let found = relaxation.multipliers
    {
      proof = .colocation(found)
    }
  }
}
