import ColocateModel

/// What all path relaxations of one problem have in common: the weights in ticks, and who may stop
/// a pass over them. Made once, shared by the root, its restricted masters and all tree nodes.
package struct PathModel: Sendable {
  package let problem: GroupingProblem
  /// `W` in ticks, `[L-1, E, E]`, and the same with every boundary transposed: sums over the
  /// members of a subset read rows, in the backward pass of the one and in the forward pass of the
  /// other.
  let weights: SharedBuffer<Double>
  let transposed: SharedBuffer<Double>
  /// Looked at inside every pass over arcs; nil for never.
  package let control: SearchControl?

  package var experts: Int { problem.experts }
  package var groups: Int { problem.groups }

  /// - Returns: nil where the counts are too large for exact evaluation.
  package init?(problem: GroupingProblem, control: SearchControl? = nil) {
    guard problem.total <= PathPrices.mostWeight(groups: problem.groups) else { return nil }
    self.problem = problem
    self.control = control
    let experts = problem.experts
    weights = SharedBuffer(problem.weights.map { Double($0 * PathSubsets.ticks) }, filler: 0)
    transposed = SharedBuffer(repeating: 0, count: weights.count)
    for l in 0..<(problem.layers - 1) {
      for i in 0..<experts {
        for j in 0..<experts {
          transposed[(l * experts + j) * experts + i] = weights[(l * experts + i) * experts + j]
        }
      }
    }
  }

  /// The μ, in tokens, at which stages of price optimisation end where nothing else is said: 10⁻⁴
  /// of a boundary's weight, at most 4 tokens.
  var lastMu: Double {
    min(4, max(0.05, Double(problem.total) / Double(problem.layers - 1) * 1e-4))
  }
}
