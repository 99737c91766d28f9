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
}
