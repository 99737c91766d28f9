/// Separation of 2-partition cuts beyond triangles and of company cuts.
///
/// They matter for many groups, where they are violated long after all triangles hold.
///
/// **One vertex s against a set T** (`ColocationCut+Partition` with S = {s}): the left side is
/// Σ_{t∈T} m_st - Σ_{pairs of T} m. It is grown greedily: from a first t on, the vertex j with the
/// largest gain m_sj - Σ_{t∈T} m_tj comes next, as long as a gain is left.
///
/// **Company** (`ColocationCut+Company`): each j is put where it costs least. With m = m_ik, an
/// expert j of `first` adds m_ij to the right side, one of `second` adds m_kj, and one of the rest
/// adds m, since it takes 1 from the factor c - |rest|. So j goes to the least of the three, and
/// the cut is violated by c·m - Σ_j min(m, m_ij, m_kj), where the sum counts m for i and k
/// themselves if they are experts of the layer.
///
/// Violations are compared after division by the norm of the row, so that they are distances to the
/// cut's plane.
extension SparseCuts {
  struct Candidate {
    var violation: Double
    var shape: ColocationCut.Shape
  }

  /// Pairs that share a group less than this start no cut: little can be won by them.
  private static let leastShare = 0.05
  /// The smallest gain for which T still grows, and its largest size.
  private static let leastGain = 1e-4
  private static let mostMembers = 16

  /// Adds the most violated cuts of `m`.
  /// - Parameters:
  ///   - threshold: a violation must be above it.
  ///   - limit: how many to add at most.
  ///   - covers: what a cover cut's violation must exceed; nil for none.
  package func separate(
    _ m: borrowing BoundaryMarginals, context: ColocationCut.Context, threshold: Double, limit: Int,
    covers: Double? = nil, hypermetric: HypermetricSearch.Limits, control: SearchControl
  ) {
    var found = [Candidate]()
    separatePartitions(m, threshold, &found)
    separateCompanies(m, groupSize: context.problem.groupSize, threshold, &found)
    if context.problem.caps != nil {
      for half in 0..<2 {
        separateLoadPairs(m, half: half, context, threshold, &found)
        if let covers { separateCovers(m, half: half, context, covers, &found) }
      }
    }
    if hypermetric.walksPerVertex > 0 {
      separateHypermetrics(
        m, groups: context.problem.groups, hypermetric, control: control, &found)
    }
    found.sort { $0.violation > $1.violation }
    var added = 0
    for candidate in found {
      if added == limit { break }
      let before = count
      add(candidate.shape, context)
      added += count - before
    }
  }

  // MARK: One vertex against several

  private func separatePartitions(
    _ m: borrowing BoundaryMarginals, _ threshold: Double, _ found: inout [Candidate]
  ) {
    var gain = [Double](repeating: 0, count: m.vertices)
    for s in 0..<m.vertices {
      for first in 0..<m.vertices where first != s && m[s, first] > Self.leastShare {
        let (members, value) = grow(from: first, against: s, m, &gain)
        // Triangles are `TripleCuts`' matter.
        guard members.count >= 3, value > 1 + threshold else { continue }
        if !m.ownsRight && s >= m.experts && members.allSatisfy({ $0 >= m.experts }) { continue }
        let terms = Double(members.count * (members.count + 1) / 2)
        found.append(
          Candidate(
            violation: (value - 1) / terms.squareRoot(), shape: .partition([s], members.sorted())))
      }
    }
  }

  /// T and the left side of its cut.
  /// - Parameter gain: scratch, `[2E]`.
  private func grow(
    from first: Int, against s: Int, _ m: borrowing BoundaryMarginals, _ gain: inout [Double]
  ) -> (members: [Int], value: Double) {
    let (row, firstRow) = (m.rows.row(s), m.rows.row(first))
    var value = row[first]
    for j in gain.indices { gain[j] = row[j] - firstRow[j] }
    // A gain of -1 keeps a vertex out: no gain can rise.
    gain[s] = -1
    gain[first] = -1
    var members = [first]
    while members.count < Self.mostMembers {
      var best = 0
      for j in gain.indices where gain[j] > gain[best] { best = j }
      guard gain[best] > Self.leastGain else { break }
      value += gain[best]
      let bestRow = m.rows.row(best)
      for j in gain.indices { gain[j] -= bestRow[j] }
      gain[best] = -1
      members.append(best)
    }
    return (members, value)
  }

  // MARK: Company

  private func separateCompanies(
    _ m: borrowing BoundaryMarginals, groupSize: Int, _ threshold: Double,
    _ found: inout [Candidate]
  ) {
    for i in 0..<m.vertices {
      for k in 0..<i where m[i, k] > Self.leastShare {
        for half in 0..<((m.ownsRight || k < m.experts) ? 2 : 1) {
          let violation = companyViolation(i, k, half: half, m, groupSize: groupSize)
          guard violation > threshold else { continue }
          found.append(
            company(i, k, half: half, m, groupSize: groupSize, violation: violation))
        }
      }
    }
  }

  private func companyViolation(
    _ i: Int, _ k: Int, half: Int, _ m: borrowing BoundaryMarginals, groupSize: Int
  ) -> Double {
    let together = m[i, k]
    var sum = 0.0
    for j in m.vertices(half: half) {
      sum += j == i || j == k ? together : min(together, min(m[i, j], m[k, j]))
    }
    return Double(groupSize) * together - sum
  }

  private func company(
    _ i: Int, _ k: Int, half: Int, _ m: borrowing BoundaryMarginals, groupSize: Int,
    violation: Double
  ) -> Candidate {
    var (first, second) = ([Int](), [Int]())
    for j in m.vertices(half: half) where j != i && j != k {
      guard min(m[i, j], m[k, j]) < m[i, k] else { continue }
      if m[i, j] <= m[k, j] { first.append(j) } else { second.append(j) }
    }
    let rest = m.experts - first.count - second.count
    let lead = Double(groupSize) - Double(rest)
    let norm = (lead * lead + Double(first.count + second.count)).squareRoot()
    return Candidate(
      violation: violation / norm, shape: .company(i, k, half: half, first: first, second: second))
  }
}
