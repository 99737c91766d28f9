/// Load cuts: a group's load is within the cap.
///
/// Let t_j be the load of expert j of one of the two layers, and low and high a group's least and
/// most load there (`Context`). For every vertex v of the boundary, of either layer,
///
///     low  ≤  Σ_j t_j · m_vj  ≤  high,     with m_vv = 1.
///
/// **Proof.** m_vj = 1 for exactly the experts j of v's group, so the sum is that group's load in
/// the layer. It is at most the cap, and at most the whole layer's load; what it is at the least
/// follows because the P-1 other groups take at most high each. ∎
extension ColocationCut {
  func loadRow(_ vertex: Int, half: Int, atMost: Bool, in context: Context) -> Row? {
    guard half == 0 || half == 1, context.areDistinctVertices([vertex]),
      let (low, high) = context.range(boundary + half)
    else { return nil }
    let sign = atMost ? 1 : -1
    var row = Row(limit: atMost ? high : -low)
    for e in 0..<context.problem.experts {
      let load = sign * context.problem.load(boundary + half, e)
      let other = context.layout.vertex(half, e)
      if other == vertex {
        row.limit -= load
      } else {
        row.add(context.layout.pair(boundary, vertex, other), load)
      }
    }
    return row
  }
}
