import ColocateModel

/// The rounds of one run of `LocalSearch`, for one integer type.
struct LocalSearchRounds<Gain: FixedWidthInteger & SignedInteger & SIMDScalar & Sendable> {
  private let search: LocalSearch
  private let model: SearchModel<Gain>
  /// `GroupPairs.passCost` of the problem.
  private let pairCost: Int
  /// One for each stream, with the result of its last task.
  private var tables: [GainTable<Gain>] = []
  private var epoch: Epoch
  /// Proposals of one stream in the next round.
  private var moves: Int

  init(search: LocalSearch) {
    self.search = search
    model = SearchModel(
      problem: search.problem, saved: search.saved, control: search.control)
    pairCost = GroupPairs.passCost(
      layers: model.layers, experts: model.experts, groups: model.groups)
    epoch = Epoch(index: 0, pool: search.pool)
    moves = Self.firstMoves(model)
  }

  /// Proposals of one stream in the first round, and the most in any.
  private static func firstMoves(_ model: SearchModel<Gain>) -> Int {
    max(20_000, 200 * model.layers * model.experts)
  }
  private var mostMoves: Int { 16 * Self.firstMoves(model) }

  /// See `LocalSearch.run`.
  mutating func run(rounds: Int, target: Int, patience: Double) {
    let control = search.control
    if search.problem.groups == 1 {
      let labels = [Int](repeating: 0, count: model.layers * model.experts)
      offer(labels, search.saved.value(search.problem, labels), .localSearch)
      return
    }
    guard makeTables() else { return }
    var round = 0
    var best = (kept: search.incumbent.kept, time: control.elapsed)
    while round < rounds, search.incumbent.kept < target, !control.shouldStop {
      if patience.isFinite {
        let now = control.elapsed
        if search.incumbent.kept > best.kept { best = (search.incumbent.kept, now) }
        if now - best.time > max(patience, 2 * best.time) { return }
      }
      let left = control.workLimit - control.workSpent
      guard left > 0 else { return }
      playRound(moves: min(moves, max(Annealing.block, left / LocalSearch.streams)))
      round += 1
      if epoch.round - epoch.improved > Tuning.patience { turnEpoch() }
    }
  }

  /// A start for each stream. Answers false where stopped.
  private mutating func makeTables() -> Bool {
    for stream in 0..<LocalSearch.streams {
      // Laying out a model of thousands of experts takes a second.
      guard model.isWhole, !search.control.shouldStop else { return false }
      var random = SeededGenerator.stream(seed: search.seed, index: stream)
      let start = LocalSearch.start(search.problem, random: &random)
      tables.append(GainTable(model: model, labels: start, control: search.control))
    }
    return true
  }

  /// Every stream's task side by side, then their results in the order of the streams, then
  /// recombination.
  private mutating func playRound(moves budget: Int) {
    // What others found (baselines, a warm start) is material too.
    if epoch.pool === search.pool, let known = search.incumbent.entry {
      search.pool.add(known.labels, value: known.kept)
      if known.kept > epoch.best?.value ?? -1 { epoch.best = (known.labels, known.kept) }
    }
    let task = StreamTask(
      search: search, model: model, pairCost: pairCost, epoch: epoch, moves: budget)
    // Table s is touched by the one call that has stream s, and by nobody else until all calls have
    // returned.
    nonisolated(unsafe) let tables = tables
    concurrentFor(LocalSearch.streams, threads: search.control.threads) { _, stream in
      task.run(stream, on: tables[stream])
    }
    search.control.spend(budget * LocalSearch.streams)
    for table in tables where table.isWhole { take(table.placement, table.value, .localSearch) }
    recombine()
    if epoch.round % 3 == 2 { moves = min(mostMoves, moves * 2) }
    epoch.round += 1
  }

  /// Nothing new for a while: a fresh epoch with a pool of its own, then one that joins everything.
  private mutating func turnEpoch() {
    if epoch.pool === search.pool {
      epoch = Epoch(
        index: epoch.index + 1,
        pool: PartitionPool(problem: search.problem, saved: search.saved))
      moves = max(Self.firstMoves(model), moves / 8)
      return
    }
    let found = epoch.best
    epoch = Epoch(index: epoch.index + 1, pool: search.pool)
    if let found { take(found.labels, found.value, .localSearch) }
    epoch.best = search.incumbent.entry.map { ($0.labels, $0.kept) }
    recombine()
    epoch.improved = 0
  }

  /// A result into the pool, the epoch's best and the incumbent.
  private mutating func take(_ labels: [Int], _ value: Int, _ source: IncumbentSource) {
    epoch.pool.add(labels, value: value)
    if value > epoch.best?.value ?? -1 {
      epoch.best = (labels, value)
      epoch.improved = epoch.round + 1
    }
    offer(labels, value, source)
  }

  /// The best that the pool's partitions can make, to its local optimum.
  private mutating func recombine() {
    guard search.recombines,
      let (labels, value) = epoch.pool.recombine(control: search.control),
      value > epoch.best?.value ?? -1
    else { return }
    let polished = LocalSearch.polish(
      labels, problem: search.problem, saved: search.saved, control: search.control)
    let best = polished.value > value ? polished : (labels: labels, value: value)
    take(best.labels, best.value, .pool)
  }

  private func offer(_ labels: [Int], _ value: Int, _ source: IncumbentSource) {
    // Under a cap the start of a stream may be over it, where no packing was found.
    guard search.problem.caps == nil || search.problem.isFeasible(labels) else { return }
    search.incumbent.offer(labels, kept: value, source: source)
  }
}

/// Rounds that share a pool and a best solution. Epochs on the search's own pool work on the
/// incumbent; those between start from nothing, since what the pool holds late in a search is
/// variants of one solution, and the next basin is found by starting over.
struct Epoch: Sendable {
  let index: Int
  let pool: PartitionPool
  var round = 0
  /// The round after the last one that improved `best`.
  var improved = 0
  var best: (labels: [Int], value: Int)?

  /// What a stream does in a round.
  enum Kind { case startAnew, reheatOwn, reheatBest }

  /// - Parameter isJoined: whether the epoch works on the search's own pool.
  func kind(isJoined: Bool) -> Kind {
    switch round % 3 {
    case 0: isJoined && index > 0 ? .reheatBest : .startAnew
    case 1: .reheatOwn
    default: .reheatBest
    }
  }
}
