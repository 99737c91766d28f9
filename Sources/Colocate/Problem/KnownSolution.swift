import ColocateModel
import Synchronization

/// A solution that is known, held against every step of a search that excludes solutions.
///
/// While it keeps more than the incumbent it must survive: no deletion may take one of its groups,
/// no price vector, doll or multiplier may prove less than it keeps, one child of every branch has
/// it, no prune takes a node that has it, and every cut holds for it. A step that breaks this is a
/// fault of the solver, whatever the answer comes to; the first is noted with its name, and the run
/// is asked to stop.
package final class KnownSolution: Sendable {
  package let problem: GroupingProblem
  /// `[L, E]`, groups `0 ..< P`.
  package let labels: [Int]
  /// What it keeps.
  package let kept: Int
  /// Where the search is.
  package let stage: Stage
  package let faults: FaultLog

  /// - Returns: nil where the labels are no solution of the problem.
  package init?(
    problem: GroupingProblem, labels: [Int], stage: Stage = .gpus, faults: FaultLog = FaultLog()
  ) {
    guard problem.isFeasible(labels) else { return nil }
    self.problem = problem
    self.labels = labels
    kept = problem.kept(labels)
    self.stage = stage
    self.faults = faults
  }

  /// Notes a step that has excluded it, unless it is no better than the incumbent.
  package func lost(to step: String, incumbent: Int = -1) {
    guard kept > incumbent else { return }
    faults.note(
      "stage \(stage): \(step) excludes a known solution that keeps \(kept); the incumbent keeps "
        + "\(max(incumbent, 0))")
  }

  /// A bound on what any solution keeps.
  package func check(bound: Int, by method: BoundMethod) {
    guard bound < kept else { return }
    lost(to: "the bound \(bound) (\(method.rawValue))")
  }

  /// Every cut of the co-location relaxation, and every pair that it keeps apart.
  package func check(_ multipliers: ColocationMultipliers?) {
    guard let multipliers else { return }
    let context = ColocationCut.Context(problem: problem)
    let values = values(in: context.layout)
    for index in context.apart where values[index] != 0 { lost(to: "a pair held apart by the cap") }
    for cut in multipliers.cuts {
      guard let row = cut.expanded(context) else { continue }
      check(row, of: "the cut \(cut.shape) of boundary \(cut.boundary)", values)
    }
  }

  /// One inequality, at the solution's co-location variables.
  package func check(_ row: ColocationCut.Row, of step: String, _ values: [Int]) {
    let sum = row.terms.reduce(0) { $0 + $1.coefficient * values[$1.index] }
    if sum > row.limit { lost(to: step) }
  }

  /// The solution's co-location variables, 1 where two experts share a group.
  package func values(in layout: ColocationLayout) -> [Int] {
    let experts = problem.experts
    var values = [Int](repeating: 0, count: layout.count)
    for l in 0..<problem.layers {
      for i in 0..<experts {
        for j in 0..<experts {
          let group = labels[l * experts + i]
          if l < problem.layers - 1, labels[(l + 1) * experts + j] == group {
            values[layout.between(l, i, j)] = 1
          }
          if i < j, labels[l * experts + j] == group { values[layout.inside(l, i, j)] = 1 }
        }
      }
    }
    return values
  }
}
