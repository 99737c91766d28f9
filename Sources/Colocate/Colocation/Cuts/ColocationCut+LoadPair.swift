/// Load pair cuts: the loads of two groups, by whether they are one.
///
/// Let x and y be the loads that the groups of two vertices i and k have in one of the two layers.
/// Each is in [low, high], and all P loads add up to T (`Context`). Then
///
///     difference:  x - y  ≤  (high - low)·(1 - m_ik)
///     most:        x + y  ≤  2·high·m_ik + min(2·high, T - (P-2)·low)·(1 - m_ik)
///     least:       x + y  ≥  2·low·m_ik + max(2·low, T - (P-2)·high)·(1 - m_ik)
///
/// **Proof.** m_ik is 0 or 1. If it is 1 there is one group, x = y, and the three say that x is in
/// [low, high]. If it is 0 there are two: each is in [low, high], and the P-2 others have at least
/// low and at most high each of what x and y leave of T. ∎
///
/// The three are linear in the variables, because x = Σ_j t_j·m_ij and y = Σ_j t_j·m_kj with
/// m_ii = m_kk = 1. As rows:  Σ_j t_j (±m_ij ± m_kj) + pair·m_ik ≤ limit, where limit is the right
/// side at m_ik = 0, and pair what it falls by from there to m_ik = 1.
extension ColocationCut {
  func loadPairRow(
    _ i: Int, _ k: Int, half: Int, relation: PairRelation, in context: Context
  ) -> Row? {
    guard half == 0 || half == 1, context.areDistinctVertices([i, k]),
      let (low, high) = context.range(boundary + half)
    else { return nil }
    let (signI, signK, pair, limit) = coefficients(
      relation, low: low, high: high, half: half, in: context)
    var row = Row(limit: limit)
    // Where i or k are experts of this layer, their loads stand beside m_ii = 1 and beside m_ik.
    var lead = pair
    for e in 0..<context.problem.experts {
      let load = context.problem.load(boundary + half, e)
      let vertex = context.layout.vertex(half, e)
      for (end, sign) in [(i, signI), (k, signK)] {
        if vertex == end {
          row.limit -= sign * load
        } else if vertex == i || vertex == k {
          lead += sign * load
        } else {
          row.add(context.layout.pair(boundary, vertex, end), sign * load)
        }
      }
    }
    row.add(context.layout.pair(boundary, i, k), lead)
    return row
  }

  /// The signs of x and y, the coefficient of m_ik and the limit.
  private func coefficients(
    _ relation: PairRelation, low: Int, high: Int, half: Int, in context: Context
  ) -> (signI: Int, signK: Int, pair: Int, limit: Int) {
    let l = boundary + half
    /// T less what the P-2 others take at `load` each. That may be more than T; then 0 is left,
    /// which is not above 2·low, nor is T - (P-2)·load, so the maximum is the same.
    func left(_ load: Int) -> Int {
      context.loads[l] - context.taken(by: context.problem.groups - 2, at: load, of: l)
    }
    switch relation {
    case .difference:
      return (1, -1, high - low, high - low)
    case .most:
      let limit = min(2 * high, left(low))
      return (1, 1, limit - 2 * high, limit)
    case .least:
      let limit = -max(2 * low, left(high))
      return (-1, -1, limit + 2 * low, limit)
    }
  }
}
