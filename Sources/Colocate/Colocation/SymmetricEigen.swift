import ColocateModel

/// Eigenvalues and chosen eigenvectors of a real symmetric matrix.
///
/// The co-location relaxation needs, for each boundary and iteration, all eigenvalues of a matrix
/// of order 2(E-1) but only the vectors above a threshold that the eigenvalues define. So:
/// Householder reflections to tridiagonal form (Martin, Reinsch, Wilkinson, Numer. Math. 11, 1968;
/// 4/3·n³ operations), eigenvalues alone by implicit QL with Wilkinson's shift (O(n²)), the wanted
/// vectors by inverse iteration on the tridiagonal matrix with orthogonalisation inside clusters
/// (Peters and Wilkinson, 1971; O(n) each), and the reflections applied to those vectors (2·n²
/// each).
///
/// Dropped: QL that accumulates all vectors (6·n³, four times the reduction itself), and Jacobi
/// sweeps warm-started from the last iteration's vectors (three to five sweeps of 4·n³).
///
/// Nothing here is trusted by a proof: `EigenvalueSum` turns approximate vectors into a rigorous
/// bound. Vectors of a tight cluster may be inaccurate in rare cases; the bound gets looser then,
/// never wrong.
package final class SymmetricEigen {
  /// `n`.
  package let order: Int
  /// Doubles from one row to the next.
  package let stride: Int
  /// The matrix, `[n, stride]`: fill the lower triangle (`column ≤ row`). `reduce` overwrites it
  /// with the reflections.
  package let matrix: UnsafeMutablePointer<Double>
  /// After `reduce`: all eigenvalues, largest first, `[n]`.
  package let values: UnsafeMutablePointer<Double>

  private let storage: UnsafeMutableRawPointer
  private let diagonal: UnsafeMutablePointer<Double>
  private let beside: UnsafeMutablePointer<Double>
  private let tau: UnsafeMutablePointer<Double>
  private let reflector: UnsafeMutablePointer<Double>
  private let product: UnsafeMutablePointer<Double>
  private let work: UnsafeMutablePointer<Double>
  private var scale = 1.0
  /// Off-diagonal entries below this are rounding noise: 2^-60 of the largest entry.
  private var noise = 0.0

  private let control: SearchControl?

  /// - Parameter control: looked at in the reduction and for every vector; where it says stop, what
  ///   comes out means nothing. nil for never.
  package init(order: Int, control: SearchControl? = nil) {
    precondition(order >= 1)
    self.control = control
    self.order = order
    let stride = (order + 7) & ~7
    self.stride = stride
    let count = stride * (order + 14)
    storage = .allocate(byteCount: count * 8, alignment: 64)
    matrix = storage.bindMemory(to: Double.self, capacity: count)
    matrix.initialize(repeating: 0, count: count)
    values = matrix + stride * order
    diagonal = values + stride
    beside = diagonal + stride
    tau = beside + stride
    reflector = tau + stride
    product = reflector + stride
    work = product + stride
  }

  deinit { storage.deallocate() }

  /// Reduces `matrix` to tridiagonal form and finds all eigenvalues.
  package func reduce() {
    rescale()
    tridiagonalise()
    if control?.shouldStop ?? false {
      for i in 0..<order { values[i] = 0 }
      return
    }
    findValues()
  }

  /// Powers of two, so that squares neither overflow nor vanish.
  private func rescale() {
    var largest = 0.0
    for i in 0..<order {
      for j in 0...i { largest = max(largest, abs(matrix[i * stride + j])) }
    }
    scale = 1
    noise = max(largest * 0x1p-60, 0x1p-400)
    guard largest > 0, largest < 0x1p-200 || largest > 0x1p200 else { return }
    let exponent = max(-1000, min(1000, Int(largest.exponent)))
    scale = Double(sign: .plus, exponent: exponent, significand: 1)
    let inverse = Double(sign: .plus, exponent: -exponent, significand: 1)
    noise = max(largest * inverse * 0x1p-60, 0x1p-400)
    for i in 0..<order {
      for j in 0...i { matrix[i * stride + j] *= inverse }
    }
  }

  // MARK: Reduction

  private func tridiagonalise() {
    for i in Swift.stride(from: order - 1, through: 2, by: -1) {
      if i & 7 == 7, control?.shouldStop ?? false { break }
      let row = matrix + i * stride
      diagonal[i] = row[i]
      let corner = row[i - 1]
      var tail = 0.0
      for j in 0..<(i - 1) { tail += row[j] * row[j] }
      guard tail > noise * noise else {
        beside[i] = corner
        tau[i] = 0
        continue
      }
      // H = 1 - τ v vᵀ maps the row to (0, …, 0, β).
      let norm = (tail + corner * corner).squareRoot()
      beside[i] = corner >= 0 ? -norm : norm
      row[i - 1] = corner - beside[i]
      let t = 1 / (norm * (norm + abs(corner)))
      tau[i] = t
      for j in 0..<i { reflector[j] = row[j] }
      multiply(i)
      var dot = 0.0
      for j in 0..<i { dot += product[j] * reflector[j] }
      let half = 0.5 * t * t * dot
      for j in 0..<i { product[j] = t * product[j] - half * reflector[j] }
      update(i)
    }
    diagonal[0] = matrix[0]
    beside[0] = 0
    if order > 1 {
      diagonal[1] = matrix[stride + 1]
      beside[1] = matrix[stride]
      tau[1] = 0
    }
  }

  /// `product = A v` for the leading `size` rows, from the lower triangle, four rows at a time.
  private func multiply(_ size: Int) {
    let v = reflector
    let y = product
    for j in 0..<((size + 1) & ~1) { y[j] = 0 }
    var i = 0
    while i + 4 <= size {
      let a0 = matrix + i * stride
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
      let (w0, w1, w2, w3) = (v[i], v[i + 1], v[i + 2], v[i + 3])
      y[i] += s0.sum() + a0[i] * w0 + a1[i] * w1 + a2[i] * w2 + a3[i] * w3
      y[i + 1] += s1.sum() + a1[i] * w0 + a1[i + 1] * w1 + a2[i + 1] * w2 + a3[i + 1] * w3
      y[i + 2] += s2.sum() + a2[i] * w0 + a2[i + 1] * w1 + a2[i + 2] * w2 + a3[i + 2] * w3
      y[i + 3] += s3.sum() + a3[i] * w0 + a3[i + 1] * w1 + a3[i + 2] * w2 + a3[i + 3] * w3
      i += 4
    }
    while i < size {
      let row = matrix + i * stride
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

  /// `A -= v qᵀ + q vᵀ` on the lower triangle of the leading `size` rows, `q` in `product`.
  private func update(_ size: Int) {
    let v = reflector
    let q = product
    var i = 0
    while i + 4 <= size {
      let a0 = matrix + i * stride
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
      i += 4
    }
    while i < size {
      let row = matrix + i * stride
      for j in 0...i { row[j] -= v[i] * q[j] + q[i] * v[j] }
      i += 1
    }
  }

  // MARK: Eigenvalues

  /// Implicit QL on copies of the diagonals.
  private func findValues() {
    let d = values
    let e = work
    for i in 0..<order { d[i] = diagonal[i] }
    for i in 1..<max(order, 1) { e[i - 1] = beside[i] }
    e[order - 1] = 0
    for l in 0..<order {
      var rounds = 0
      while true {
        var m = l
        while m < order - 1 {
          let size = abs(d[m]) + abs(d[m + 1])
          if abs(e[m]) <= max(0x1p-53 * size, noise) { break }
          m += 1
        }
        if m == l || rounds == 60 { break }
        rounds += 1
        var g = (d[l + 1] - d[l]) / (2 * e[l])
        let root = (g * g + 1).squareRoot()
        g = d[m] - d[l] + e[l] / (g + (g >= 0 ? root : -root))
        var (s, c, p) = (1.0, 1.0, 0.0)
        var i = m - 1
        var cut = false
        while i >= l {
          let f = s * e[i]
          let b = c * e[i]
          let r = (f * f + g * g).squareRoot()
          e[i + 1] = r
          if r == 0 {
            d[i + 1] -= p
            e[m] = 0
            cut = true
            break
          }
          let inverse = 1 / r
          s = f * inverse
          c = g * inverse
          g = d[i + 1] - p
          let t = (d[i] - g) * s + 2 * c * b
          p = s * t
          d[i + 1] = g + p
          g = c * t - b
          i -= 1
        }
        if cut { continue }
        d[l] -= p
        e[l] = g
        e[m] = 0
      }
    }
    var sorted = UnsafeMutableBufferPointer(start: d, count: order)
    sorted.sort(by: >)
    if scale != 1 { for i in 0..<order { d[i] *= scale } }
  }

  // MARK: Vectors

  /// Approximate unit eigenvectors of the `count` largest eigenvalues, to rows of `vectors`,
  /// `[count, vectorStride]`. Needs `reduce`.
  package func vectors(
    count: Int, into vectors: UnsafeMutablePointer<Double>, stride vectorStride: Int
  ) {
    guard count > 0 else { return }
    var norm = 0.0
    for i in 0..<order {
      norm = max(norm, abs(diagonal[i]) + abs(beside[i]) + (i + 1 < order ? abs(beside[i + 1]) : 0))
    }
    let tiny = max(norm * 0x1p-52, 0x1p-900)
    // Neighbours further apart come out orthogonal to 10⁻⁹ by themselves.
    let cluster = norm * 1e-6
    var first = 0
    var previous = Double.infinity
    var state: UInt64 = 0x1234_5678_9ABC_DEF1
    for k in 0..<count {
      if control?.shouldStop ?? false { return }
      let value = values[k] / scale
      if k > 0 && values[k - 1] / scale - value > cluster { first = k }
      // Equal shifts would give equal vectors.
      let shift = k > first ? min(value, previous - 2 * tiny) : value
      previous = shift
      let x = vectors + k * vectorStride
      for i in 0..<order {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        x[i] = 0.5 + Double(state >> 40) * 0x1p-24
      }
      factor(shift, tiny)
      for round in 0..<3 {
        solve(x, forward: round > 0)
        // Twice is enough (Parlett): once may leave what cancellation brought back.
        for _ in 0..<(k - first > 8 ? 2 : 1) {
          for other in first..<k {
            let y = vectors + other * vectorStride
            removeComponent(x, along: y, factor: 1, length: order)
          }
        }
        var largest = 0.0
        for i in 0..<order { largest = max(largest, abs(x[i])) }
        guard largest > 0, largest.isFinite else {
          for i in 0..<order { x[i] = i == k ? 1 : 0 }
          break
        }
        let inverse = 1 / largest
        var sum = 0.0
        for i in 0..<order {
          x[i] *= inverse
          sum += x[i] * x[i]
        }
        let unit = 1 / sum.squareRoot()
        for i in 0..<order { x[i] *= unit }
      }
    }
    // x = H_{n-1} ⋯ H_2 z: the reflections in the order opposite to the reduction.
    for i in 2..<max(order, 2) where tau[i] != 0 {
      let v = matrix + i * stride
      for k in 0..<count {
        let x = vectors + k * vectorStride
        removeComponent(x, along: v, factor: tau[i], length: i)
      }
    }
  }

  /// `x -= factor · (x·v) · v` over the first `length` entries.
  @inline(__always)
  private func removeComponent(
    _ x: UnsafeMutablePointer<Double>, along v: UnsafeMutablePointer<Double>, factor: Double,
    length: Int
  ) {
    let even = length & ~7
    var (sum0, sum1) = (SIMD2<Double>.zero, SIMD2<Double>.zero)
    var (sum2, sum3) = (sum0, sum1)
    var j = 0
    while j < even {
      sum0 += load2(x, j) * load2(v, j)
      sum1 += load2(x, j + 2) * load2(v, j + 2)
      sum2 += load2(x, j + 4) * load2(v, j + 4)
      sum3 += load2(x, j + 6) * load2(v, j + 6)
      j += 8
    }
    var dot = ((sum0 + sum1) + (sum2 + sum3)).sum()
    while j < length {
      dot += x[j] * v[j]
      j += 1
    }
    let scaled = factor * dot
    let wide = SIMD2(repeating: scaled)
    j = 0
    while j < even {
      store2(x, j, load2(x, j) - wide * load2(v, j))
      store2(x, j + 2, load2(x, j + 2) - wide * load2(v, j + 2))
      store2(x, j + 4, load2(x, j + 4) - wide * load2(v, j + 4))
      store2(x, j + 6, load2(x, j + 6) - wide * load2(v, j + 6))
      j += 8
    }
    while j < length {
      x[j] -= scaled * v[j]
      j += 1
    }
  }

  /// LU with partial pivoting of the tridiagonal matrix minus `shift`. Rows of `work`: upper
  /// diagonals u0 (inverted), u1, u2, multipliers, swaps.
  private func factor(_ shift: Double, _ tiny: Double) {
    let (u0, u1, u2) = (work + stride, work + 2 * stride, work + 3 * stride)
    let (multiplier, swap) = (work + 4 * stride, work + 5 * stride)
    var p = diagonal[0] - shift
    var q = order > 1 ? beside[1] : 0
    for i in 0..<(order - 1) {
      let a = beside[i + 1]
      let b = diagonal[i + 1] - shift
      let c = i + 2 < order ? beside[i + 2] : 0
      if abs(a) > abs(p) {
        let m = p / a
        u0[i] = 1 / a
        u1[i] = b
        u2[i] = c
        multiplier[i] = m
        swap[i] = 1
        p = q - m * b
        q = -m * c
      } else {
        if abs(p) < tiny { p = tiny }
        let inverse = 1 / p
        let m = a * inverse
        u0[i] = inverse
        u1[i] = q
        u2[i] = 0
        multiplier[i] = m
        swap[i] = 0
        p = b - m * q
        q = c
      }
    }
    if abs(p) < tiny { p = tiny }
    u0[order - 1] = 1 / p
    u1[order - 1] = 0
    u2[order - 1] = 0
  }

  /// Solves with the factors of `factor`; without `forward` the upper factor only (the usual start
  /// of inverse iteration).
  private func solve(_ x: UnsafeMutablePointer<Double>, forward: Bool) {
    let (u0, u1, u2) = (work + stride, work + 2 * stride, work + 3 * stride)
    let (multiplier, swap) = (work + 4 * stride, work + 5 * stride)
    if forward {
      for i in 0..<(order - 1) {
        if swap[i] != 0 {
          let t = x[i]
          x[i] = x[i + 1]
          x[i + 1] = t - multiplier[i] * x[i]
        } else {
          x[i + 1] -= multiplier[i] * x[i]
        }
      }
    }
    var (above, above2) = (0.0, 0.0)
    for i in Swift.stride(from: order - 1, through: 0, by: -1) {
      let value = (x[i] - u1[i] * above - u2[i] * above2) * u0[i]
      x[i] = value
      above2 = above
      above = value
    }
  }
}
