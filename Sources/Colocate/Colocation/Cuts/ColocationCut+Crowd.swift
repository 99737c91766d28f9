/// Crowd cuts: many vertices in few groups must meet.
///
/// For a set of |Q| = a·P + r vertices, 0 ≤ r < P,
///
///     Σ_{pairs of Q} m  ≥  P·a(a-1)/2 + r·a.
///
/// For P = 2 and three vertices it says that two of them share a group.
///
/// **Proof.** Let n_g be how many of Q group g holds; Σ n_g = |Q|, and the left side is Σ n_g(n_g -
/// 1)/2. If two of the n_g differ by 2 or more, moving one vertex from the larger (n) to the
/// smaller (n') changes the sum by n' - (n - 1) < 0. So the least sum has n_g = a + 1 in r groups
/// and n_g = a in the others: r·(a+1)a/2 + (P - r)·a(a-1)/2 = P·a(a-1)/2 + r·a. ∎
extension ColocationCut {
  func crowdRow(_ vertices: [Int], in context: Context) -> Row? {
    guard vertices.count <= Self.mostVertices, context.areDistinctVertices(vertices) else {
      return nil
    }
    let groups = context.problem.groups
    let (a, r) = vertices.count.quotientAndRemainder(dividingBy: groups)
    var row = Row(limit: -(groups * (a * (a - 1) / 2) + r * a))
    for (rank, x) in vertices.enumerated() {
      for y in vertices[..<rank] { row.add(context.layout.pair(boundary, x, y), -1) }
    }
    return row
  }
}
