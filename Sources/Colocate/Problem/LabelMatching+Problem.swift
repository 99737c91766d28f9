import ColocateModel

extension LabelMatching {
  /// Gives `labels` (`[L, E]`) the best names, layer by layer from layer 0 on. The partitions stay
  /// as they are, and the value never falls. O(L · (E² + P³)).
  package mutating func relabel(
    _ labels: inout [Int], problem: GroupingProblem, saved: SavedWeights
  ) {
    let groups = problem.groups
    guard groups > 1 else { return }
    var named = Labels(labels, experts: problem.experts)
    var overlap = [Int](repeating: 0, count: groups * groups)
    var name = [Int](repeating: 0, count: groups)
    for l in 0..<(problem.layers - 1) {
      for index in overlap.indices { overlap[index] = 0 }
      for i in 0..<problem.experts {
        let row = named[l, i] * groups
        for j in 0..<problem.experts {
          overlap[row + named[l + 1, j]] += problem.weight(l, i, j)
        }
      }
      _ = match(groups: groups, saved: saved, overlap: overlap)
      for g in 0..<groups { name[partner[g]] = g }
      for j in 0..<problem.experts { named[l + 1, j] = name[named[l + 1, j]] }
    }
    labels = named.flat
  }
}
