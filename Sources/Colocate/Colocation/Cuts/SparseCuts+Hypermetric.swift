import ColocateModel

/// Hypermetric cuts among the candidates of a boundary (`HypermetricSearch`), without those on
/// three vertices, which `TripleCuts` has all of.
extension SparseCuts {
  func separateHypermetrics(
    _ m: borrowing BoundaryMarginals, groups: Int, _ threshold: Double, control: SearchControl,
    _ found: inout [Candidate]
  ) {
    let last = m.vertices(half: 1)
    let (experts, ownsRight) = (m.experts, m.ownsRight)
    var search = HypermetricSearch(m, groups: groups)
    search.run(threshold: threshold, random: &random, control: control) {
      vertices, weights, distance in
      if vertices.count <= 3, weights.allSatisfy({ abs($0) == 1 }) { return }
      if !ownsRight && vertices.allSatisfy(last.contains) { return }
      _ = experts
      found.append(Candidate(violation: distance, shape: .hypermetric(vertices, weights)))
    }
  }
}
