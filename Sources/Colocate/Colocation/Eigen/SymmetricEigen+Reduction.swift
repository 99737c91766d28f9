/// Reduction of a symmetric matrix to tridiagonal form by Householder reflections (Martin, Reinsch,
/// Wilkinson, Numer. Math. 11, 1968), from the last row to the third.
///
/// Row i of the leading matrix of order i+1 has i entries x beside the diagonal. The reflection
///
///     H = 1 - τ v vᵀ,    v = x - β·e_{i-1},    β = -sign(x_{i-1})·‖x‖,    τ = 2/‖v‖²
///
/// takes x to β·e_{i-1}: all but one entry of the row become 0, and the signs of β and x_{i-1}
/// differ so that v has no cancellation. The rest of the matrix, A of order i, becomes
///
///     H A H = A - v qᵀ - q vᵀ,    q = τ·A v - (τ²/2)·(vᵀ A v)·v,
///
/// a product of a symmetric matrix with a vector, and an update of rank two. These two are all the
/// cost, 2/3·n³ operations each. Both go over the lower triangle alone, four rows at a time, so
/// that each entry of a vector that is loaded serves four rows.
extension SymmetricEigen {
  func tridiagonalise() {
    for i in Swift.stride(from: order - 1, through: 2, by: -1) {
      if i & 7 == 7, isStopped { break }
      diagonal[i] = matrix[i, i]
      reflect(row: i)
    }
    diagonal[0] = matrix[0, 0]
    beside[0] = 0
    if order > 1 {
      diagonal[1] = matrix[1, 1]
      beside[1] = matrix[1, 0]
      tau[1] = 0
    }
  }

  private func reflect(row i: Int) {
    let row = matrix.row(i)
    let corner = row[i - 1]
    var tail = 0.0
    for j in 0..<(i - 1) { tail += row[j] * row[j] }
    guard tail > noise * noise else {
      beside[i] = corner
      tau[i] = 0
      return
    }
    let norm = (tail + corner * corner).squareRoot()
    let beta = corner >= 0 ? -norm : norm
    beside[i] = beta
    row[i - 1] = corner - beta
    // ‖v‖² = 2·‖x‖·(‖x‖ + |x_{i-1}|).
    let t = 1 / (norm * (norm + abs(corner)))
    tau[i] = t
    let (v, q) = (reflector.base, product.base)
    for j in 0..<i { v[j] = row[j] }
    multiply(i)
    var dot = 0.0
    for j in 0..<i { dot += q[j] * v[j] }
    let half = 0.5 * t * t * dot
    for j in 0..<i { q[j] = t * q[j] - half * v[j] }
    update(i)
  }

  /// `product = A v` for the leading `size` rows.
  private func multiply(_ size: Int) {
    let (v, y) = (reflector.base, product.base)
    for j in 0..<((size + 1) & ~1) { y[j] = 0 }
    var i = 0
    while i + 4 <= size {
      multiplyFourRows(i, v, y)
      i += 4
    }
    while i < size {
      let row = matrix.row(i)
      let w = v[i]
      var s = 0.0
      for j in 0..<i {
        s += row[j] * v[j]
        y[j] += row[j] * w
      }
      y[i] += s + row[i] * w
      i += 1
    }
  }

  /// Rows i … i+3 of the lower triangle: their products with v, and those of their mirror images.
  @inline(__always)
  private func multiplyFourRows(
    _ i: Int, _ v: UnsafeMutablePointer<Double>, _ y: UnsafeMutablePointer<Double>
  ) {
    let a0 = matrix.row(i)
    let a1 = a0 + stride
    let a2 = a1 + stride
    let a3 = a2 + stride
    let v0 = SIMD2(repeating: v[i])
    let v1 = SIMD2(repeating: v[i + 1])
    let v2 = SIMD2(repeating: v[i + 2])
    let v3 = SIMD2(repeating: v[i + 3])
    var s0 = SIMD2<Double>.zero
    var s1 = s0
    var s2 = s0
    var s3 = s0
    var j = 0
    while j < i {
      let vj = load2(v, j)
      let b0 = load2(a0, j)
      let b1 = load2(a1, j)
      let b2 = load2(a2, j)
      let b3 = load2(a3, j)
      s0 += b0 * vj
      s1 += b1 * vj
      s2 += b2 * vj
      s3 += b3 * vj
      store2(y, j, load2(y, j) + (b0 * v0 + b1 * v1) + (b2 * v2 + b3 * v3))
      j += 2
    }
    // The four by four at the diagonal.
    let (w0, w1, w2, w3) = (v[i], v[i + 1], v[i + 2], v[i + 3])
    y[i] += s0.sum() + a0[i] * w0 + a1[i] * w1 + a2[i] * w2 + a3[i] * w3
    y[i + 1] += s1.sum() + a1[i] * w0 + a1[i + 1] * w1 + a2[i + 1] * w2 + a3[i + 1] * w3
    y[i + 2] += s2.sum() + a2[i] * w0 + a2[i + 1] * w1 + a2[i + 2] * w2 + a3[i + 2] * w3
    y[i + 3] += s3.sum() + a3[i] * w0 + a3[i + 1] * w1 + a3[i + 2] * w2 + a3[i + 3] * w3
  }

  /// `A -= v qᵀ + q vᵀ` on the leading `size` rows, `q` in `product`.
  private func update(_ size: Int) {
    let (v, q) = (reflector.base, product.base)
    var i = 0
    while i + 4 <= size {
      updateFourRows(i, v, q)
      i += 4
    }
    while i < size {
      let row = matrix.row(i)
      for j in 0...i { row[j] -= v[i] * q[j] + q[i] * v[j] }
      i += 1
    }
  }

  /// Rows i … i+3 of the lower triangle.
  @inline(__always)
  private func updateFourRows(
    _ i: Int, _ v: UnsafeMutablePointer<Double>, _ q: UnsafeMutablePointer<Double>
  ) {
    let a0 = matrix.row(i)
    let a1 = a0 + stride
    let a2 = a1 + stride
    let a3 = a2 + stride
    let (v0, q0) = (SIMD2(repeating: v[i]), SIMD2(repeating: q[i]))
    let (v1, q1) = (SIMD2(repeating: v[i + 1]), SIMD2(repeating: q[i + 1]))
    let (v2, q2) = (SIMD2(repeating: v[i + 2]), SIMD2(repeating: q[i + 2]))
    let (v3, q3) = (SIMD2(repeating: v[i + 3]), SIMD2(repeating: q[i + 3]))
    var j = 0
    while j < i {
      let vj = load2(v, j)
      let qj = load2(q, j)
      store2(a0, j, load2(a0, j) - (v0 * qj + q0 * vj))
      store2(a1, j, load2(a1, j) - (v1 * qj + q1 * vj))
      store2(a2, j, load2(a2, j) - (v2 * qj + q2 * vj))
      store2(a3, j, load2(a3, j) - (v3 * qj + q3 * vj))
      j += 2
    }
    for k in 0..<4 {
      let row = a0 + k * stride
      for j in i...(i + k) { row[j] -= v[i + k] * q[j] + q[i + k] * v[j] }
    }
  }
}
