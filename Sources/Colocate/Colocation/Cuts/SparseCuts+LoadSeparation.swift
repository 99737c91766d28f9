/// Separation of load pair cuts (`ColocationCut+LoadPair`): all pairs of vertices, both layers.
///
/// The load that vertex i's group has in the layer is x_i = Σ_j t_j·m_ij in the relaxation,
/// whatever pair i is looked at with, so each of the three inequalities costs O(1) a pair. The load
/// cuts themselves and the load product cuts are few and always present
/// (`ColocationRelaxation+Start`).
extension SparseCuts {
  /// Appends the cuts of layer l + `half` that are violated by more than `threshold`, over the norm
  /// of the row.
  func separateLoadPairs(
    _ m: borrowing BoundaryMarginals, half: Int, _ context: ColocationCut.Context,
    _ threshold: Double, _ found: inout [Candidate]
  ) {
    guard let (low, high) = context.range(boundary + half) else { return }
    let load = context.problem.loads(layer: boundary + half).map { Double($0) }
    let norm = 2 * load.reduce(0) { $0 + $1 * $1 }
    let sums = groupLoads(m, half: half, load)
    let total = Double(context.loads[boundary + half])
    let (least, most) = (Double(low), Double(high))
    let others = Double(context.problem.groups - 2)
    // The two groups' loads, if they are two.
    let upper = min(2 * most, total - others * least)
    let lower = max(2 * least, total - others * most)
    func append(
      _ i: Int, _ k: Int, _ violation: Double, pair: Double, _ relation: ColocationCut.PairRelation
    ) {
      guard violation > 0 else { return }
      let distance = violation / (norm + pair * pair).squareRoot()
      guard distance > threshold else { return }
      found.append(
        Candidate(violation: distance, shape: .loadPair(i, k, half: half, relation: relation)))
    }
    for i in 0..<m.vertices {
      for k in 0..<m.vertices where k != i {
        if half == 1 && !m.ownsRight && i >= m.experts && k >= m.experts { continue }
        let (x, y, together) = (sums[i], sums[k], m[i, k])
        append(
          i, k, x - y - (most - least) * (1 - together), pair: most - least, .difference)
        // The other two are the same for (k, i).
        guard k < i else { continue }
        append(
          i, k, x + y - 2 * most * together - upper * (1 - together), pair: upper - 2 * most, .most)
        append(
          i, k, 2 * least * together + lower * (1 - together) - x - y, pair: lower - 2 * least,
          .least)
      }
    }
  }

  /// x_i of all vertices, `[2E]`.
  private func groupLoads(
    _ m: borrowing BoundaryMarginals, half: Int, _ load: [Double]
  ) -> [Double] {
    var sums = [Double](repeating: 0, count: m.vertices)
    for vertex in sums.indices {
      for (other, load) in zip(m.vertices(half: half), load) {
        sums[vertex] += load * (other == vertex ? 1 : m[vertex, other])
      }
    }
    return sums
  }
}
