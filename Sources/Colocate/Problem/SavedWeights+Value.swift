import ColocateModel

extension SavedWeights {
  /// The value of `labels` (`[L, E]`) by definition. O(L · E²).
  package func value(_ problem: GroupingProblem, _ labels: [Int]) -> Int {
    let labels = Labels(labels, experts: problem.experts)
    // Divided once for each expert, not for each pair.
    let nodes = Labels(labels.flat.map { $0 / groupsPerNode }, experts: problem.experts)
    var (sameGroup, sameNode) = (0, 0)
    for l in 0..<(problem.layers - 1) {
      for i in 0..<problem.experts {
        let (g, n) = (labels[l, i], nodes[l, i])
        for j in 0..<problem.experts where nodes[l + 1, j] == n {
          let weight = problem.weight(l, i, j)
          sameNode += weight
          if labels[l + 1, j] == g { sameGroup += weight }
        }
      }
    }
    var value = group * sameGroup + node * sameNode
    for l in 0..<problem.layers { value += inside(problem, layer: l, labels.layer(l)) }
    return value
  }

  /// The part of the value that layer `l` holds in itself, by the co-activation of experts that
  /// share a group or a node.
  /// - Parameter groupOf: `[E]`.
  package func inside(_ problem: GroupingProblem, layer l: Int, _ groupOf: [Int]) -> Int {
    guard !problem.coactivation.isEmpty else { return 0 }
    var value = 0
    for i in 0..<problem.experts {
      for j in 0..<i {
        value += problem.coactivation(l, i, j) * saved(groupOf[i], groupOf[j])
      }
    }
    return value
  }
}
