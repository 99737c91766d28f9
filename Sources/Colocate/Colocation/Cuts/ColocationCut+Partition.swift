/// 2-partition cuts: sharing a group is transitive.
///
/// For disjoint sets of vertices S and T (Grötschel and Wakabayashi, Math. Programming 47, 1990)
///
///     Σ_{i∈S, j∈T} m_ij - Σ_{pairs of S} m - Σ_{pairs of T} m  ≤  min(|S|, |T|).
///
/// With S = {i} and T = {j, k} it is the triangle m_ij + m_ik - m_jk ≤ 1: if i shares a group with
/// j and with k, then j and k share one.
///
/// **Proof.** A group with s members of S and t members of T adds to the left side
///
///     s·t - s(s-1)/2 - t(t-1)/2  =  (s + t - (s - t)²) / 2.
///
/// For integers (s - t)² ≥ |s - t|, so it adds at most (s + t - |s - t|)/2 = min(s, t). The groups'
/// s add up to |S| and their t to |T|, so the minima add up to at most min(|S|, |T|). ∎
extension ColocationCut {
  func partitionRow(_ first: [Int], _ second: [Int], in context: Context) -> Row? {
    guard !first.isEmpty, !second.isEmpty, first.count + second.count <= Self.mostVertices,
      context.areDistinctVertices(first + second)
    else { return nil }
    let layout = context.layout
    var row = Row(limit: min(first.count, second.count))
    for a in first {
      for b in second { row.add(layout.pair(boundary, a, b), 1) }
    }
    for side in [first, second] {
      for (rank, a) in side.enumerated() {
        for b in side[..<rank] { row.add(layout.pair(boundary, a, b), -1) }
      }
    }
    return row
  }
}
