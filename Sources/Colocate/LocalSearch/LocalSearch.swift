import ColocateModel

/// Finds good placements, for as long as it is let: annealing, recombination, reheating.
///
/// A round gives each of a fixed number of streams a task of its own with its own random numbers.
/// Rounds come in threes: start anew (annealing from scratch, or a coarse start,
/// `PathContraction`), reheat what came of it, reheat the incumbent, each stream from another
/// temperature. Streams run in parallel and meet at the round's end: their results go, in the order
/// of the streams, into the pool, and the chain programme over the pool (`PartitionPool`) puts the
/// best of all together. Rounds grow, so that the first answer comes at once and later ones cool
/// more slowly. When an incumbent resists, an epoch of rounds starts from nothing, and its result
/// is joined with the rest. Who computes a stream does not matter, so for a given seed and work
/// limit the result is the same for any number of threads; a time limit ends rounds where the clock
/// says.
package struct LocalSearch: Sendable {
  package let problem: GroupingProblem
  package let saved: SavedWeights
  package let seed: UInt64
  package let control: SearchControl
  package let incumbent: Incumbent
  package let pool: PartitionPool
  /// Whether the chain programme over the pool runs.
  package let recombines: Bool

  /// Tasks of one round. Not the number of threads: results must not depend on that.
  static let streams = 4

  /// - Parameters:
  ///   - saved: what sharing a group or a node saves; by default the flat objective. `incumbent`
  ///     and `pool` hold values of this kind.
  ///   - pool: made for the same problem and `saved`.
  package init(
    problem: GroupingProblem, saved: SavedWeights? = nil, seed: UInt64, control: SearchControl,
    incumbent: Incumbent, pool: PartitionPool, recombines: Bool = true
  ) {
    self.problem = problem
    self.saved = saved ?? .flat(groups: problem.groups)
    self.seed = seed
    self.control = control
    self.incumbent = incumbent
    self.pool = pool
    self.recombines = recombines
  }

  /// Searches until the control's time or work is used up, somebody cancels, `target` is reached,
  /// or `rounds` are done.
  /// - Parameters:
  ///   - target: a value that is known to be optimal, or good enough.
  ///   - patience: seconds without anything better after which to end as well, once they are also
  ///     twice the time that the best took to find.
  package func run(rounds: Int = .max, target: Int = .max, patience: Double = .infinity) {
    if SearchModel<Int32>.fits(problem, saved) {
      Rounds<Int32>(search: self).run(rounds: rounds, target: target, patience: patience)
    } else {
      Rounds<Int64>(search: self).run(rounds: rounds, target: target, patience: patience)
    }
  }

  /// The local optimum that swaps, transportation of single layers and label matching reach from
  /// feasible `labels` (`[L, E]`).
  package static func polish(
    _ labels: [Int], problem: GroupingProblem, saved: SavedWeights? = nil, control: SearchControl
  ) -> (labels: [Int], value: Int) {
    func work<Gain>(_ kind: Gain.Type) -> (labels: [Int], value: Int)
    where Gain: FixedWidthInteger & SignedInteger & SIMDScalar & Sendable {
      let model = SearchModel<Gain>(
        problem: problem, saved: saved ?? .flat(groups: problem.groups), control: control)
      let table = GainTable(model: model, labels: labels, control: control)
      var sweep = LayerSweep(control: control)
      var matching = LabelMatching(control: control)
      if model.isWhole { sweep.polish(table, matching: &matching, control: control) }
      // Stopped on the way: as it was, by definition.
      guard model.isWhole, table.isWhole else {
        return (labels, model.saved.value(problem, labels))
      }
      return (table.placement, table.value)
    }
    return SearchModel<Int32>.fits(problem, saved ?? .flat(groups: problem.groups))
      ? work(Int32.self) : work(Int64.self)
  }

  /// A feasible start: layers filled at random, or by the problem's packing under a cap.
  static func start(_ problem: GroupingProblem, random: inout SeededGenerator) -> [Int] {
    var labels = [Int]()
    for l in 0..<problem.layers {
      if problem.caps == nil {
        var layer = (0..<problem.experts).map { $0 % problem.groups }
        layer.shuffle(using: &random)
        labels += layer
      } else {
        var names = Array(0..<problem.groups)
        names.shuffle(using: &random)
        var packing = problem.packed(layer: l, stepLimit: 0)
        if !problem.meetsCap(layer: l, packing) { packing = problem.packed(layer: l) }
        labels += packing.map { names[$0] }
      }
    }
    return labels
  }
}

/// The rounds of one run, for one integer type.
private final class Rounds<Gain: FixedWidthInteger & SignedInteger & SIMDScalar & Sendable>:
  @unchecked Sendable
{
  let search: LocalSearch
  let model: SearchModel<Gain>
  let pairCost: Int
  var tables: [GainTable<Gain>] = []

  init(search: LocalSearch) {
    self.search = search
    model = SearchModel(
      problem: search.problem, saved: search.saved, control: search.control)
    pairCost = GroupPairs.passCost(
      layers: model.layers, experts: model.experts, groups: model.groups)
  }

  /// Proposals of one stream in the first round and in any.
  var firstMoves: Int { max(20_000, 200 * model.layers * model.experts) }
  var mostMoves: Int { 16 * firstMoves }

  func run(rounds: Int, target: Int, patience: Double) {
    let problem = search.problem
    let control = search.control
    let streams = LocalSearch.streams
    if problem.groups == 1 || problem.layers * problem.experts == 0 {
      let labels = [Int](repeating: 0, count: problem.layers * problem.experts)
      offer(labels, search.saved.value(problem, labels), .localSearch)
      return
    }
    for stream in 0..<streams {
      // Laying out a model of thousands of experts takes a second.
      guard model.isWhole, !control.shouldStop else { return }
      var random = SeededGenerator.stream(seed: search.seed, index: stream)
      tables.append(
        GainTable(
          model: model, labels: LocalSearch.start(problem, random: &random), control: control))
    }
    var moves = firstMoves
    var round = 0
    var epoch = Epoch(index: 0, pool: search.pool)
    var best = (kept: search.incumbent.kept, time: control.elapsed)
    while round < rounds, search.incumbent.kept < target, !control.shouldStop {
      if patience.isFinite {
        let now = control.elapsed
        if search.incumbent.kept > best.kept { best = (search.incumbent.kept, now) }
        if now - best.time > max(patience, 2 * best.time) { return }
      }
      let left = control.workLimit - control.workSpent
      guard left > 0 else { return }
      let budget = min(moves, max(Annealing.block, left / streams))
      // What others found (baselines, a warm start) is material too.
      if epoch.pool === search.pool, let known = search.incumbent.entry {
        search.pool.add(known.labels, value: known.kept)
        if known.kept > epoch.best?.value ?? -1 { epoch.best = (known.labels, known.kept) }
      }
      let now = epoch
      concurrentFor(streams, threads: control.threads) { self.stream($1, now, moves: budget) }
      control.spend(budget * streams)
      for table in tables where table.isWhole {
        take(table.placement, table.value, .localSearch, &epoch)
      }
      recombine(&epoch)
      if epoch.round % 3 == 2 { moves = min(mostMoves, moves * 2) }
      round += 1
      epoch.round += 1
      guard epoch.round - epoch.improved > Tuning.patience else { continue }
      // Nothing new for a while: a fresh epoch with a pool of its own, then one that joins
      // everything.
      if epoch.pool === search.pool {
        epoch = Epoch(
          index: epoch.index + 1, pool: PartitionPool(problem: problem, saved: search.saved))
        moves = max(firstMoves, moves / 8)
      } else {
        let found = epoch.best
        epoch = Epoch(index: epoch.index + 1, pool: search.pool)
        if let found { take(found.labels, found.value, .localSearch, &epoch) }
        epoch.best = search.incumbent.entry.map { ($0.labels, $0.kept) }
        recombine(&epoch)
        epoch.improved = 0
      }
    }
  }

  /// Rounds that share a pool and a best solution. Epochs on the search's own pool work on the
  /// incumbent; those between start from nothing, since what the pool holds late in a search is
  /// variants of one solution, and the next basin is found by starting over.
  private struct Epoch: Sendable {
    let index: Int
    let pool: PartitionPool
    var round = 0
    /// The round after the last one that improved `best`.
    var improved = 0
    var best: (labels: [Int], value: Int)?

    /// What a stream does: 0 starts anew, 1 reheats what came of it, 2 reheats the epoch's best.
    func kind(joins: Bool) -> Int { joins && index > 0 && round % 3 == 0 ? 2 : round % 3 }
  }

  /// A result of one stream into the pool, the epoch's best and the incumbent.
  private func take(
    _ labels: [Int], _ value: Int, _ source: IncumbentSource, _ epoch: inout Epoch
  ) {
    epoch.pool.add(labels, value: value)
    if value > epoch.best?.value ?? -1 {
      epoch.best = (labels, value)
      epoch.improved = epoch.round + 1
    }
    offer(labels, value, source)
  }

  /// The best that the pool's partitions can make, to its local optimum.
  private func recombine(_ epoch: inout Epoch) {
    guard search.recombines,
      let (labels, value) = epoch.pool.recombine(control: search.control),
      value > epoch.best?.value ?? -1
    else { return }
    let polished = LocalSearch.polish(
      labels, problem: search.problem, saved: search.saved, control: search.control)
    let best = polished.value > value ? polished : (labels: labels, value: value)
    take(best.labels, best.value, .pool, &epoch)
  }

  private func offer(_ labels: [Int], _ value: Int, _ source: IncumbentSource) {
    // Under a cap the start of a stream may be over it, where no packing was found.
    guard search.problem.caps == nil || search.problem.isFeasible(labels) else { return }
    search.incumbent.offer(labels, kept: value, source: source)
  }

  /// Where a stream starts anew other than at random: in the first round from whole paths, the
  /// heaviest pairs and the greedy layers, later one stream regroups the paths of the epoch's best.
  private func coarseStart(
    _ stream: Int, _ epoch: Epoch, random: inout SeededGenerator
  ) -> [Int]? {
    var labels: [Int]
    switch (epoch.index, epoch.round, stream) {
    case (0, 0, 0):
      return PathContraction.start(
        model, labels: nil, random: &random, control: search.control)
    case (0, 0, 1):
      guard let pairs = HeaviestPair.labels(search.problem, control: search.control) else {
        return nil
      }
      labels = pairs
    case (0, 0, 2):
      guard
        let greedy = GreedyLayers.labels(
          search.problem, from: model.layers - 1, control: search.control)
      else { return nil }
      labels = greedy
    case (_, 1..., 3):
      return PathContraction.start(
        model, labels: epoch.best?.labels, random: &random, control: search.control)
    default: return nil
    }
    return LoadRepair.repair(&labels, problem: search.problem, control: search.control)
      ? labels : nil
  }

  /// One stream's task of one round; the result is in `tables[stream]`.
  private func stream(_ stream: Int, _ epoch: Epoch, moves: Int) {
    let table = tables[stream]
    let control = search.control
    var random = SeededGenerator.stream(
      seed: search.seed,
      index: 1 + stream + (1 + epoch.round + epoch.index << 32) * LocalSearch.streams)
    let unit = model.meanEntry
    var hot = Tuning.hot
    switch epoch.kind(joins: epoch.pool === search.pool) {
    case 0:
      if let labels = coarseStart(stream, epoch, random: &random) {
        table.load(labels)
        hot = Tuning.reheats[1]
      }
    case 1: hot = Tuning.reheats[(stream + epoch.round / 3) % 4]
    default:
      hot = Tuning.reheats[stream]
      if let best = epoch.best { table.load(best.labels) }
    }
    Annealing.run(
      table, random: &random, layers: 0..<model.layers, moves: moves, hot: hot * unit,
      cold: Tuning.cold * unit, relabelEvery: Tuning.relabel, control: control)
    var sweep = LayerSweep(control: control)
    var matching = LabelMatching(control: control)
    sweep.polish(
      table, matching: &matching, control: control, withPairs: moves / 2 >= pairCost)
  }
}

/// The temperatures, in units of the mean entry of `W`, and how often labels move.
enum Tuning {
  static let hot = 20.0
  static let cold = 0.3
  /// Reheats of the four streams.
  static let reheats = [8.0, 4.0, 2.0, 1.0]
  static let relabel = 64
  /// Rounds without progress after which an epoch ends.
  static let patience = 6
}
