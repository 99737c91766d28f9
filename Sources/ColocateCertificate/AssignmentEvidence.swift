import ColocateModel

/// P = E: boundaries are separate assignment problems, and duality proves each. For any matching σ
///
///     Σ_i W[i,σ(i)] ≤ Σ_i (r_i + s_σ(i)) = Σ r + Σ s   once   r_i + s_j ≥ W[i,j] for all i, j.
extension Certificate {
  /// Σ r + Σ s, once the inequalities are checked. O(L · E²).
  static func assignmentBound(
    _ problem: CertifiedProblem, rows: [Int], columns: [Int]
  ) throws(CertificateError) -> Int {
    let experts = problem.experts
    guard problem.groups == experts else {
      throw CertificateError(
        "assignment duals for groups of \(problem.groupSize) experts, expected groups of 1")
    }
    let expected = (problem.layers - 1) * experts
    guard rows.count == expected, columns.count == expected else {
      throw CertificateError(
        "\(rows.count) and \(columns.count) assignment duals, expected \(expected) of each")
    }
    // So that the sum of two is exact.
    guard (rows + columns).allSatisfy({ $0.magnitude < 1 << 60 }) else {
      throw CertificateError("an assignment dual beyond 2^60")
    }
    for l in 0..<(problem.layers - 1) {
      for i in 0..<experts {
        let row = (l * experts + i)
        for j in 0..<experts
        where rows[row] + columns[l * experts + j] < problem.weights[row * experts + j] {
          throw CertificateError(
            "assignment duals of boundary \(l) miss the weight of (\(i), \(j))")
        }
      }
    }
    let sum = (rows + columns).reduce(into: Int128(0)) { $0 += Int128($1) }
    // Co-activation of one expert with itself does not exist, so boundaries are all there is.
    return Int(clamping: sum)
  }
}
