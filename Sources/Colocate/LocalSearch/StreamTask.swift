import ColocateModel

/// What the streams of one round do: a start or a reheat, annealing, and the way down to the local
/// optimum.
///
/// Everything random comes from a generator of the seed, the epoch, the round and the stream, so a
/// stream's result does not depend on the thread that computes it.
struct StreamTask<Gain: FixedWidthInteger & SignedInteger & SIMDScalar & Sendable>: Sendable {
  let search: LocalSearch
  let model: SearchModel<Gain>
  /// `GroupPairs.passCost` of the problem.
  let pairCost: Int
  let epoch: Epoch
  /// Proposals.
  let moves: Int

  /// One stream's task; the result is in `table`.
  func run(_ stream: Int, on table: GainTable<Gain>) {
    let control = search.control
    var random = SeededGenerator.stream(
      seed: search.seed,
      index: 1 + stream + (1 + epoch.round + (epoch.index << 32)) * LocalSearch.streams)
    let unit = model.meanEntry
    var hot = Tuning.hot
    switch epoch.kind(isJoined: epoch.pool === search.pool) {
    case .startAnew:
      if let labels = coarseStart(stream, random: &random) {
        table.load(labels)
        hot = Tuning.reheats[1]
      }
    case .reheatOwn: hot = Tuning.reheats[(stream + epoch.round / 3) % 4]
    case .reheatBest:
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

  /// Where a stream starts anew other than at random: in the first round from whole paths, the
  /// heaviest pairs and the greedy layers, later one stream regroups the paths of the epoch's best.
  private func coarseStart(_ stream: Int, random: inout SeededGenerator) -> [Int]? {
    let (problem, control) = (search.problem, search.control)
    var labels: [Int]?
    switch (epoch.index, epoch.round, stream) {
    case (0, 0, 0):
      return PathContraction.start(model, labels: nil, random: &random, control: control)
    case (0, 0, 1): labels = HeaviestPair.labels(problem, control: control)
    case (0, 0, 2):
      labels = GreedyLayers.labels(problem, from: model.layers - 1, control: control)
    case (_, 1..., 3):
      return PathContraction.start(
        model, labels: epoch.best?.labels, random: &random, control: control)
    default: return nil
    }
    guard var labels, LoadRepair.repair(&labels, problem: problem, control: control) else {
      return nil
    }
    return labels
  }
}
