/// Vectors of the tridiagonal form taken back to the matrix: H_{n-1} ⋯ H_2 z for each vector z.
///
/// One reflection of one vector, z ← z - τ·(v·z)·v, reads v and z twice and writes z for 4·n
/// operations, so the loads cost more than the arithmetic. Four reflections H_4 H_3 H_2 H_1 of two
/// vectors at a time read a quarter of that. All the products v_r·z are of the vector as it was
/// before: by induction H_s ⋯ H_1 z = z - Σ_{r≤s} c_r·v_r with
///
///     c_s = τ_s·(v_s·z - Σ_{r<s} c_r·(v_s·v_r)),
///
/// so the four coefficients follow from four products with z and the six products of the
/// reflections with one another, which all vectors share. (The representation is that of Schreiber
/// and Van Loan, SIAM J. Sci. Stat. Comput. 10, 1989, with its triangular factor applied by forward
/// substitution.)
///
/// v_i has i entries, and the rows are read to a common length, a multiple of 8: what lies beyond
/// is set to 0 first. It is the diagonal and the upper triangle, where nothing is left that anybody
/// reads.
extension SymmetricEigen {
  /// Applies all reflections to the first `count` rows of `out`.
  func applyReflections(count: Int, to out: borrowing AlignedRows) {
    // Rows 0 and 1 have none (`tau` is 0); those past the last are left out.
    var first = 0
    while first + 4 <= order {
      if isStopped { return }
      applyFour(from: first, count: count, to: out)
      first += 4
    }
    while first < order {
      clear(row: first, upTo: length(of: first))
      for k in 0..<count where tau[first] != 0 {
        removeComponent(
          out.row(k), along: matrix.row(first), factor: tau[first], length: length(of: first))
      }
      first += 1
    }
  }

  /// Entries of row `i` that are read.
  private func length(of i: Int) -> Int { min((i + 7) & ~7, stride) }

  private func clear(row i: Int, upTo length: Int) {
    let row = matrix.row(i)
    for j in i..<max(i, length) { row[j] = 0 }
  }

  /// The reflections of four rows.
  private func applyFour(from first: Int, count: Int, to out: borrowing AlignedRows) {
    let length = length(of: first + 3)
    for i in first..<(first + 4) { clear(row: i, upTo: length) }
    let v = matrix.row(first)
    let tau = SIMD4(tau[first], tau[first + 1], tau[first + 2], tau[first + 3])
    guard tau != .zero else { return }
    let (v1, v2, v3) = (v + stride, v + 2 * stride, v + 3 * stride)
    let shared = Shared(
      tau: tau, v10: dot(v1, v, length), v20: dot(v2, v, length), v21: dot(v2, v1, length),
      v30: dot(v3, v, length), v31: dot(v3, v1, length), v32: dot(v3, v2, length))
    var k = 0
    while k + 2 <= count {
      reflect(out.row(k), out.row(k + 1), v, length, shared)
      k += 2
    }
    if k < count {
      // The pair's other half is scratch.
      for j in 0..<length { product[j] = 0 }
      reflect(out.row(k), product.base, v, length, shared)
    }
  }

  /// What the coefficients of every vector need: τ and the products of the reflections.
  private struct Shared {
    let tau: SIMD4<Double>
    let v10, v20, v21, v30, v31, v32: Double

    /// c, from the products with one vector.
    @inline(__always)
    func coefficients(_ d: SIMD4<Double>) -> SIMD4<Double> {
      let c0 = tau[0] * d[0]
      let c1 = tau[1] * (d[1] - c0 * v10)
      let c2 = tau[2] * (d[2] - c0 * v20 - c1 * v21)
      let c3 = tau[3] * (d[3] - c0 * v30 - c1 * v31 - c2 * v32)
      return SIMD4(c0, c1, c2, c3)
    }
  }

  private func dot(
    _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ length: Int
  ) -> Double {
    var sum = SIMD4<Double>.zero
    var j = 0
    while j < length {
      sum += load4(a, j) * load4(b, j)
      j += 4
    }
    return sum.sum()
  }

  /// Four reflections, in rows from `v` on, of two vectors.
  private func reflect(
    _ x: UnsafeMutablePointer<Double>, _ y: UnsafeMutablePointer<Double>,
    _ v: UnsafePointer<Double>, _ length: Int, _ shared: Shared
  ) {
    let (v1, v2, v3) = (v + stride, v + 2 * stride, v + 3 * stride)
    let zero = SIMD2<Double>.zero
    var (x0, x1, x2, x3) = (zero, zero, zero, zero)
    var (y0, y1, y2, y3) = (zero, zero, zero, zero)
    var j = 0
    while j < length {
      let (xj, yj) = (load2(x, j), load2(y, j))
      let (a, b, c, d) = (load2(v, j), load2(v1, j), load2(v2, j), load2(v3, j))
      x0 += a * xj
      y0 += a * yj
      x1 += b * xj
      y1 += b * yj
      x2 += c * xj
      y2 += c * yj
      x3 += d * xj
      y3 += d * yj
      j += 2
    }
    let p = shared.coefficients(SIMD4(x0.sum(), x1.sum(), x2.sum(), x3.sum()))
    let q = shared.coefficients(SIMD4(y0.sum(), y1.sum(), y2.sum(), y3.sum()))
    let (p0, p1) = (SIMD2(repeating: p[0]), SIMD2(repeating: p[1]))
    let (p2, p3) = (SIMD2(repeating: p[2]), SIMD2(repeating: p[3]))
    let (q0, q1) = (SIMD2(repeating: q[0]), SIMD2(repeating: q[1]))
    let (q2, q3) = (SIMD2(repeating: q[2]), SIMD2(repeating: q[3]))
    j = 0
    while j < length {
      let (a, b, c, d) = (load2(v, j), load2(v1, j), load2(v2, j), load2(v3, j))
      store2(x, j, load2(x, j) - ((p0 * a + p1 * b) + (p2 * c + p3 * d)))
      store2(y, j, load2(y, j) - ((q0 * a + q1 * b) + (q2 * c + q3 * d)))
      j += 2
    }
  }
}
