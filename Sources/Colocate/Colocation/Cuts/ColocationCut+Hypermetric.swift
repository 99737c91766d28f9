/// Hypermetric cuts: no group holds a fraction of a vertex.
///
/// Give vertices integer weights b_i and let σ = Σ b_i, k = ⌊σ/P⌋. Then (clique partitioning's form
/// of the hypermetric inequalities; Deza and Laurent, Geometry of Cuts and Metrics, 1997, ch. 28)
///
///     -Σ_{i<j} b_i b_j m_ij  ≤  ( Σ b_i² + P·k(k+1) - (2k+1)·σ ) / 2.
///
/// **Proof.** The weight β_g = Σ_{i in g} b_i of group g is an integer, so it is not strictly
/// between k and k + 1, and (β_g - k)(β_g - k - 1) ≥ 0. The sum over the groups has
///
///     Σ_g β_g² = Σ b_i² + 2·Σ_{i<j} b_i b_j m_ij,    Σ_g β_g = σ,
///
/// so 0 ≤ Σ b_i² + 2·Σ_{i<j} b_i b_j m_ij - (2k+1)·σ + P·k(k+1). Σ b_i² and σ have the same parity
/// and k(k+1) is even, so the limit is an integer. ∎
///
/// Any integer k would do; this one gives the least limit, since β = σ/P for all groups is where
/// the sum of the parabolas is least.
///
/// **What it contains.** Weights 1 and -1, -1 give the triangle m_ij + m_ik - m_jk ≤ 1. Weights 1
/// on S and -1 on T give Grötschel and Wakabayashi's 2-partition inequalities (Math. Programming
/// 47, 1990), whose limit min(|S|, |T|) is k = 0 or -1 and never below this one. Weights 1 on Q
/// alone say how many pairs of Q must meet: with |Q| = kP + r at least P·k(k-1)/2 + r·k.
extension ColocationCut {
  /// The largest weight of a vertex: with 64 vertices all products and sums fit easily.
  static let mostHypermetricWeight = 1 << 10

  func hypermetricRow(_ vertices: [Int], _ weights: [Int], in context: Context) -> Row? {
    let most = Self.mostHypermetricWeight
    guard vertices.count == weights.count, vertices.count <= Self.mostVertices,
      weights.allSatisfy({ -most <= $0 && $0 <= most && $0 != 0 }),
      context.areDistinctVertices(vertices)
    else { return nil }
    let (layout, groups) = (context.layout, context.problem.groups)
    let sum = weights.reduce(0, +)
    let k = sum >= 0 ? sum / groups : -((groups - 1 - sum) / groups)
    let squares = weights.reduce(0) { $0 + $1 * $1 }
    var row = Row(limit: (squares + groups * k * (k + 1) - (2 * k + 1) * sum) / 2)
    for (rank, a) in vertices.enumerated() {
      for other in 0..<rank {
        row.add(layout.pair(boundary, a, vertices[other]), -weights[rank] * weights[other])
      }
    }
    return row
  }
}
