import ColocateModel

/// A layered search over partitions: all placements that lose no more than δ.
///
/// At multipliers of the co-location relaxation a placement X keeps at most
///
///     B - Σ_x loss_x(X),    loss_x(X) = max(0, C_x) - C_x·X_x ≥ 0
///
/// over the free variables (`ColocationEvaluation`), since all that the bound adds beyond the box
/// term, eigenvalues and cuts, only leaves slack. So a placement that keeps at least the target
/// loses at most δ = B - target, and takes no value that is fixed (`ColocationFixings`). Where
/// most variables are fixed and δ is small, few partial placements are within δ, and they can be
/// listed.
///
/// **States.** The variables join experts of one layer or of neighbouring ones, and say only who
/// shares a group. So what happens on one side of a layer depends on the other side through that
/// layer's partition alone, and partitions are the states: from each that is within δ to those of
/// the next layer, equal ones merged, with the least loss on the way to each.
///
/// **From the middle.** From layer 0 on the list overflows where that layer is undetermined. The
/// search begins at the layer with the fewest free variables, all of whose partitions within δ it
/// lists, and goes to the last layer; then back to the first layer, where each start has lost what
/// its best continuation to the last layer loses at least. What then is within δ, in both
/// directions together, contains every placement that reaches the target. If nothing is left, there
/// is none. Otherwise the most that can be kept along the arcs that are left is the optimum: such
/// sequences are placements, and better ones are among them (`LossSearch+Optimum`).
///
/// **Whole numbers.** Losses are rounded down to multiples of 2^shift and δ up, which only lists
/// more; they fit 32 bits (`LossTables`).
///
/// Nothing depends on the number of threads: states of a layer are extended side by side in a fixed
/// order.
package final class LossSearch {
  /// How a search ended.
  package enum Result: Sendable {
    /// No placement reaches the target.
    case nothing
    /// The best placement that does, `[L, E]`, and what it keeps.
    case optimum(labels: [Int], kept: Int)
    /// More states or steps than allowed, or stopped.
    case overflow
  }

  /// Experts and groups that a state has room for.
  package static let mostExperts = 64
  package static let mostGroups = 16

  let problem: GroupingProblem
  let control: SearchControl
  let tables: LossTables
  /// States of one layer, and arcs of one boundary.
  let stateLimit: Int
  /// Steps that may still be made: each gives one expert its group, in O(P·E).
  private(set) var stepsLeft: Int
  /// Steps made.
  package private(set) var steps = 0
  /// The most states of a layer.
  package private(set) var widest = 0

  /// - Parameters:
  ///   - target: the least that a placement must keep.
  ///   - stateLimit: partitions of a layer; arcs may be four times as many.
  ///   - stepLimit: experts that may be placed.
  /// - Returns: nil where the problem is too large for it, or δ too large for sense.
  package init?(
    problem: GroupingProblem, fixings: ColocationFixings, evaluation: ColocationEvaluation,
    target: Int, stateLimit: Int, stepLimit: Int, control: SearchControl
  ) {
    guard problem.experts <= Self.mostExperts, (2...Self.mostGroups).contains(problem.groups) else {
      return nil
    }
    let budget = evaluation.budget(fixings, target: target)
    guard budget < 1 << 60 else { return nil }
    self.problem = problem
    self.control = control
    self.stateLimit = stateLimit
    stepsLeft = stepLimit
    tables = LossTables(
      problem: problem, fixings: fixings, coefficients: evaluation.coefficients, budget: budget)
  }

  /// The layer to start from: the one with the fewest free variables of its own; of several the
  /// one whose neighbourhood has the fewest.
  package static func start(_ fixings: ColocationFixings) -> Int {
    let (problem, layout) = (fixings.problem, fixings.layout)
    let experts = problem.experts
    var best = (layer: 0, inside: Int.max, around: Int.max)
    func free(_ boundary: Int) -> Int {
      guard 0 <= boundary, boundary < layout.boundaries else { return 0 }
      var count = 0
      for i in 0..<experts {
        for j in 0..<experts where fixings[layout.between(boundary, i, j)] == .free { count += 1 }
      }
      return count
    }
    for l in 0..<problem.layers {
      var inside = 0
      for i in 0..<experts {
        for j in 0..<i where fixings[layout.inside(l, i, j)] == .free { inside += 1 }
      }
      let around = free(l - 1) + free(l)
      if (inside, around) < (best.inside, best.around) { best = (l, inside, around) }
    }
    return best.layer
  }

  /// Searches from a layer on.
  package func run(from start: Int) -> Result {
    guard tables.budget >= 0 else { return .nothing }
    var first = LossStates()
    guard extend(from: nil, layer: start, by: 1, into: &first, arcs: nil) != nil else {
      return .overflow
    }
    guard var ahead = sweep(first, from: start, by: 1) else { return .overflow }
    ahead.complete(budget: tables.budget)
    first = ahead.states[0].raised(by: ahead.completions[0], budget: tables.budget)
    guard var back = sweep(first, from: start, by: -1) else { return .overflow }
    back.complete(budget: tables.budget)
    guard back.isAlive(budget: tables.budget) else { return .nothing }
    return optimum(start: start, ahead: ahead, back: back)
  }

  /// From the states of a layer to the last layer (`step` 1) or the first (-1); nil where that
  /// needs too much.
  private func sweep(_ first: LossStates, from start: Int, by step: Int) -> LossSweep? {
    var sweep = LossSweep(first)
    var layer = start
    while 0 <= layer + step, layer + step < problem.layers {
      var next = LossStates()
      guard
        let arcs = extend(
          from: sweep.states[sweep.states.count - 1], layer: layer + step, by: step, into: &next,
          arcs: [])
      else { return nil }
      sweep.append(next, arcs)
      layer += step
    }
    return sweep
  }

  /// States that are extended by one call, and calls side by side: fixed numbers, so that nothing
  /// depends on the number of threads.
  private static let statesPerTask = 16
  private static let tasks = 64

  /// Extends states of the neighbouring layer, or nothing, to those of `layer`.
  /// - Returns: the arcs; nil where that needs too much.
  private func extend(
    from: LossStates?, layer: Int, by step: Int, into next: inout LossStates, arcs: [LossArc]?
  ) -> [LossArc]? {
    var arcs = arcs ?? []
    let count = from?.keys.count ?? 1
    var begin = 0
    while begin < count {
      let end = min(count, begin + Self.statesPerTask * Self.tasks)
      let first = begin
      let limit = stepsLeft
      let parts = concurrentMap(
        (end - first + Self.statesPerTask - 1) / Self.statesPerTask, threads: control.threads
      ) { [tables, control] task -> (found: [LossExtension.Found], steps: Int) in
        let work = LossExtension(tables, layer: layer, step: step, stepLimit: limit)
        let start = first + task * Self.statesPerTask
        for index in start..<min(end, start + Self.statesPerTask) {
          if control.shouldStop { work.stop() }
          work.extend(from.map { ($0.keys[index], $0.least[index]) }, number: index)
        }
        return (work.found, work.isOver ? .max : work.steps)
      }
      for part in parts {
        guard part.steps <= stepsLeft else { return nil }
        steps += part.steps
        stepsLeft -= part.steps
        for found in part.found {
          let to = next.add(found.key, least: found.least)
          if from != nil { arcs.append(LossArc(from: found.from, to: to, loss: found.loss)) }
        }
        guard next.keys.count <= stateLimit, arcs.count <= 4 * stateLimit else { return nil }
      }
      begin = end
    }
    widest = max(widest, next.keys.count)
    return control.shouldStop ? nil : arcs
  }
}
