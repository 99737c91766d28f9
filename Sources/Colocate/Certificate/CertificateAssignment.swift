/// P = E: boundaries are separate assignment problems, and duality proves each.
extension Certificate {
  /// Σ r + Σ s, once r_i + s_j ≥ W_l[i,j] is checked for all l, i, j.
  static func checkAssignment(
    _ problem: GroupingProblem, rows: [Int], columns: [Int]
  ) throws(CertificateError) -> Int {
    let experts = problem.experts
    guard problem.groups == experts else {
      throw CertificateError(
        "assignment duals for \(problem.groups) groups of \(problem.groupSize), expected groups of 1"
      )
    }
    guard rows.count == (problem.layers - 1) * experts, columns.count == rows.count else {
      throw CertificateError(
        "\(rows.count) and \(columns.count) assignment duals, expected \((problem.layers - 1) * experts) of each"
      )
    }
    guard (rows + columns).allSatisfy({ -Magnitude.exact <= $0 && $0 <= Magnitude.exact }) else {
      throw CertificateError("an assignment dual is out of range")
    }
    for l in 0..<(problem.layers - 1) {
      for i in 0..<experts {
        for j in 0..<experts {
          let weight = problem.weights[(l * experts + i) * experts + j]
          guard rows[l * experts + i] + columns[l * experts + j] >= weight else {
            throw CertificateError(
              "assignment duals of boundary \(l) miss the weight of (\(i), \(j))")
          }
        }
      }
    }
    return rows.reduce(0, +) + columns.reduce(0, +)
  }

  /// Duals from an optimal placement: s_j is the longest path to j under W[i,j] - W[i,σ(i)] from column σ(i), r_i = W[i,σ(i)] - s_σ(i). Relaxation ends
  /// because an optimal matching has no cycle of positive length; if there is one the placement is not optimal and the answer is nil.
  package static func assignmentDuals(_ problem: GroupingProblem, labels: [Int]) -> Evidence? {
    let experts = problem.experts
    var (rows, columns) = ([Int](), [Int]())
    for l in 0..<(problem.layers - 1) {
      let weight = Array(
        problem.weights[(l * experts * experts)..<((l + 1) * experts * experts)])
      var columnOf = [Int](repeating: -1, count: experts)
      for j in 0..<experts { columnOf[labels[(l + 1) * experts + j]] = j }
      let match = (0..<experts).map { columnOf[labels[l * experts + $0]] }
      var price = [Int](repeating: 0, count: experts)
      var rounds = 0
      var changed = true
      while changed {
        changed = false
        rounds += 1
        guard rounds <= experts + 1 else { return nil }
        for i in 0..<experts {
          let base = price[match[i]] - weight[i * experts + match[i]]
          for j in 0..<experts where base + weight[i * experts + j] > price[j] {
            price[j] = base + weight[i * experts + j]
            changed = true
          }
        }
      }
      for i in 0..<experts { rows.append(weight[i * experts + match[i]] - price[match[i]]) }
      columns += price
    }
    return .assignment(rows: rows, columns: columns)
  }
}
