/// How much two vertices of one boundary share a group in the relaxation's X: the point from which
/// violated cuts are separated.
package struct BoundaryMarginals: ~Copyable {
  /// l.
  let boundary: Int
  /// `E`; vertices `0 ..< E` are layer l's, `E ..< 2E` layer l+1's.
  package let experts: Int
  /// Whether cuts among vertices of layer l+1 alone are this boundary's. They are the last
  /// boundary's; elsewhere the next boundary has the same variables and finds the same cuts.
  package let ownsRight: Bool
  /// m_ab in [0, 1], `[2E, ≥ 2E]`, rows padded to four: symmetric, 0 on the diagonal and in the
  /// padding.
  let rows: AlignedRows

  /// `2E`.
  package var vertices: Int { 2 * experts }

  /// - Parameter values: X by place, not yet clipped.
  package init(boundary: Int, values: UnsafePointer<Double>, layout: ColocationLayout) {
    self.boundary = boundary
    experts = layout.experts
    ownsRight = boundary == layout.boundaries - 1
    let vertices = 2 * layout.experts
    rows = AlignedRows(rows: vertices, stride: (vertices + 3) & ~3)
    for a in 0..<vertices {
      for b in 0..<a {
        let value = clippedToUnit(values[layout.pair(boundary, a, b)])
        rows[a, b] = value
        rows[b, a] = value
      }
    }
  }

  /// The vertices of layer l (`half` 0) or l+1 (`half` 1).
  func vertices(half: Int) -> Range<Int> { (half * experts)..<((half + 1) * experts) }

  /// m_ab.
  @inline(__always)
  package subscript(_ a: Int, _ b: Int) -> Double { rows[a, b] }
}
