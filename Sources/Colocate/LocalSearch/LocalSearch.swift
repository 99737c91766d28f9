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
      var rounds32 = LocalSearchRounds<Int32>(search: self)
      rounds32.run(rounds: rounds, target: target, patience: patience)
    } else {
      var rounds64 = LocalSearchRounds<Int64>(search: self)
      rounds64.run(rounds: rounds, target: target, patience: patience)
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
