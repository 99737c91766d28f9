/// Separation of cuts on three vertices, by looking at all of them.
///
/// For each pair i < j the triangles m_ik + m_jk ≤ 1 + m_ij of all k are one comparison of the sum
/// of two rows with a number, four k at a time: (2E)³/8 such comparisons a boundary. Nearly all
/// fail at once, and what remains is sorted by violation.
extension TripleCuts {
  private struct Candidate {
    var violation: Float
    /// As in `vertices`.
    var cut: SIMD4<Int16>
  }

  /// Adds the most violated cuts of `m`.
  /// - Parameters:
  ///   - triples: whether triples are cuts, as they are for P = 2.
  ///   - threshold: a violation must be above it.
  ///   - limit: how many to add at most.
  package func separate(
    _ m: borrowing BoundaryMarginals, layout: ColocationLayout, triples: Bool, threshold: Double,
    limit: Int
  ) {
    var found = [Candidate]()
    for j in 1..<m.vertices {
      for i in 0..<j {
        let end = i >= m.experts && !m.ownsRight ? m.experts : m.vertices
        let bar = 1 + m[j, i] + threshold
        appendTriangles(i, j, m.rows.row(i), m.rows.row(j), end: end, above: bar, to: &found)
        if triples {
          let floor = 1 - m[j, i] - threshold
          appendTriples(
            i, j, m.rows.row(i), m.rows.row(j), end: min(i, end), below: floor, to: &found)
        }
      }
    }
    if found.count > limit {
      found.sort {
        $0.violation != $1.violation
          ? $0.violation > $1.violation : Self.key($0.cut) < Self.key($1.cut)
      }
    }
    var added = 0
    for candidate in found {
      if added == limit { break }
      if add(candidate.cut, layout) { added += 1 }
    }
  }

  /// All k < `end` with m_ik + m_jk above `bar`.
  @inline(__always)
  private func appendTriangles(
    _ i: Int, _ j: Int, _ rowI: UnsafePointer<Double>, _ rowJ: UnsafePointer<Double>, end: Int,
    above bar: Double, to found: inout [Candidate]
  ) {
    // The sum is at most 2.
    guard bar < 2 else { return }
    let wide = SIMD4(repeating: bar)
    var k = 0
    while k < end {
      let sum = load4(rowI, k) + load4(rowJ, k)
      if any(sum .> wide) {
        for lane in 0..<4 where sum[lane] > bar {
          let vertex = k + lane
          guard vertex != i, vertex != j, vertex < end else { continue }
          found.append(
            Candidate(
              violation: Float(sum[lane] - bar), cut: SIMD4(Int16(vertex), Int16(i), Int16(j), 0)))
        }
      }
      k += 4
    }
  }

  /// All k < `end` with m_ik + m_jk below `floor`.
  @inline(__always)
  private func appendTriples(
    _ i: Int, _ j: Int, _ rowI: UnsafePointer<Double>, _ rowJ: UnsafePointer<Double>, end: Int,
    below floor: Double, to found: inout [Candidate]
  ) {
    guard floor > 0 else { return }
    for k in 0..<end where rowI[k] + rowJ[k] < floor {
      found.append(
        Candidate(
          violation: Float(floor - rowI[k] - rowJ[k]), cut: SIMD4(Int16(k), Int16(i), Int16(j), 1)))
    }
  }
}
