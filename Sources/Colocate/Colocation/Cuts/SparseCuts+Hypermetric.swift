import ColocateModel

/// Hypermetric cuts among the candidates of a boundary (`HypermetricSearch`), without those on
/// three vertices, which `TripleCuts` has all of.
extension SparseCuts {
  func separateHypermetrics(
    _ m: borrowing BoundaryMarginals, groups: Int, _ limits: HypermetricSearch.Limits,
    control: SearchControl, _ found: inout [Candidate]
  ) {
    let last = m.vertices(half: 1)
    let ownsRight = m.ownsRight
    var search = HypermetricSearch(m, groups: groups, limits: limits)
    search.run(threshold: limits.violation, random: &random, control: control) {
      vertices, weights, distance in
      if vertices.count <= 3, weights.allSatisfy({ abs($0) == 1 }) { return }
      if !ownsRight && vertices.allSatisfy(last.contains) { return }
      found.append(Candidate(violation: distance, shape: .hypermetric(vertices, weights)))
    }
  }
}
