import Colocate
import Testing

/// A known solution whose loss by any step is a failure of the test that runs.
func watched(_ problem: GroupingProblem, _ labels: [Int]) -> KnownSolution? {
  KnownSolution(
    problem: problem, labels: labels, faults: FaultLog { Issue.record(Comment(rawValue: $0)) })
}
