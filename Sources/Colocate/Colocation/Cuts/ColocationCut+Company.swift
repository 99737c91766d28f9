/// Company cuts: who shares a group shares all of its members.
///
/// Split the experts of one of the two layers into three sets `first`, `second` and a rest, such
/// that neither i nor k is in `first` or `second`. Then
///
///     (c - |rest|) · m_ik  ≤  Σ_{j∈first} m_ij + Σ_{j∈second} m_kj.
///
/// **Proof.** If m_ik = 0 the left side is 0 and the right side is at least 0. If m_ik = 1, then i
/// and k have one group, which holds c experts of the layer, at most |rest| of them outside `first`
/// and `second`. The others number at least c - |rest|; each is counted on the right once, since
/// sharing i's group and sharing k's is the same. ∎
///
/// It is what the three-vertex facts "i, j and k together is at most each of m_ij, m_kj and m_ik"
/// add up to: the c members of i's group are counted by the smallest of the three, j by j. With
/// many groups it cuts where all triangles hold.
extension ColocationCut {
  func companyRow(
    _ i: Int, _ k: Int, half: Int, first: [Int], second: [Int], in context: Context
  ) -> Row? {
    let layout = context.layout
    let members = first + second
    guard half == 0 || half == 1, context.areDistinctVertices([i, k] + members),
      members.allSatisfy(layout.vertices(half: half).contains)
    else { return nil }
    let rest = layout.experts - members.count
    var row = Row(limit: 0)
    row.add(layout.pair(boundary, i, k), context.problem.groupSize - rest)
    for j in first { row.add(layout.pair(boundary, i, j), -1) }
    for j in second { row.add(layout.pair(boundary, k, j), -1) }
    return row
  }
}
