import ColocateModel

/// A rigorous upper bound on the sum of the `k` largest eigenvalues of a symmetric matrix, computed
/// in doubles.
///
/// **Duality.** By semidefinite duality (Ky Fan), for any t and any X ⪰ 0 with S = t·I + X - A ⪰ 0,
///
///     λ_1(A) + … + λ_k(A) ≤ k·t + tr X .
///
/// For the left side is the maximum of ⟨A, R⟩ over 0 ⪯ R ⪯ I, tr R = k, and there ⟨A, R⟩ = t·k +
/// ⟨X, R⟩ - ⟨S, R⟩ ≤ t·k + tr X. Any approximate eigenvectors v_i and weights w_i ≥ 0 give X = Σ
/// w_i v_i v_iᵀ with tr X = Σ w_i ‖v_i‖²: neither orthogonality nor accuracy is assumed. With w_i =
/// λ_i - t and t near λ_{k+1} the bound is the sum itself, up to rounding.
///
/// **Rounding.** What has to be proved is S ⪰ 0, and a Cholesky factorisation in floating point
/// proves it up to a margin (Rump, BIT 46, 2006; Higham, Accuracy and Stability of Numerical
/// Algorithms, theorem 10.3): if it runs to its end on Ŝ of order n, then
///
///     λ_min(Ŝ) ≥ -γ_{n+1}/(1 - γ_{n+1}) · tr Ŝ,      γ_m = m·u/(1 - m·u),  u = 2⁻⁵³ .
///
/// Ŝ itself is rounded: entry by entry the error is at most γ_{k+3}·(|t| + Σ w_i |v_i||v_i|ᵀ +
/// |A|), whose norm is at most γ_{k+3}·(|t| + Σ w_i ‖v_i‖² + ‖A‖_F). Both margins are added to t,
/// so the value returned is
///
///     k·(t + margins) + Σ w_i ‖v_i‖²,   itself rounded up by γ_{n+k+8} of its terms' magnitudes.
///
/// A failed factorisation raises t and tries again: the bound gets looser, never wrong. Doubling
/// the unit roundoff (u = 2⁻⁵²) in the code covers the few operations that the formulas above do
/// not mention.
package final class EigenvalueSum {
  private let order: Int
  private let eigen: SymmetricEigen
  /// Ŝ, then its Cholesky factor: lower triangle, `[n, eigen.stride]`.
  private let factor: AlignedRows
  /// v_i, `[k, eigen.stride]`.
  private let vectors: AlignedRows
  private let count: Int
  private let control: SearchControl?

  /// - Parameters:
  ///   - order: `n`.
  ///   - count: `k`, `1 ... n`.
  ///   - control: looked at in every part that costs O(n³); nil for never.
  package init(order: Int, count: Int, control: SearchControl? = nil) {
    precondition(1 <= count && count <= order, "a matrix of order n has 1 ... n eigenvalues")
    self.order = order
    self.count = count
    self.control = control
    eigen = SymmetricEigen(order: order, control: control)
    factor = AlignedRows(rows: order, stride: eigen.stride)
    vectors = AlignedRows(rows: count, stride: eigen.stride)
  }

  /// - Parameters:
  ///   - matrix: lower triangle of A, `[n, rowStride]`; upper entries are not read.
  ///   - error: a bound on the spectral norm of (the matrix meant) - (the matrix given).
  /// - Returns: an upper bound on the sum of the `k` largest eigenvalues of the matrix meant;
  ///   infinity where stopped.
  package func upperBound(
    _ matrix: UnsafePointer<Double>, stride rowStride: Int, error: Double = 0
  ) -> Double {
    var largest = 0.0
    for i in 0..<order {
      for j in 0...i { largest = max(largest, abs(matrix[i * rowStride + j])) }
    }
    // Squares would vanish or overflow: Gershgorin's discs.
    guard largest > 0x1p-400, largest < 0x1p400 else {
      return Double(count) * (Double(order) * largest * (1 + 1e-9) + error)
    }
    let norm = decompose(matrix, stride: rowStride)
    if isStopped { return .infinity }
    let unit = 0x1p-52
    let n = Double(order)
    let base = count < order ? eigen.values[count] : eigen.values[order - 1]
    let weightSum = traceOfX(base: base)
    var lift = 8 * n * unit * norm
    while lift < 16 * norm {
      let t = base + lift
      // Higham's γ; the first for Ŝ, the second for its factorisation.
      let rounding = (Double(count) + 4) * unit
      let assembled = rounding / (1 - rounding) * (abs(t) + weightSum + norm)
      guard let trace = assemble(matrix, stride: rowStride, base: base, t: t) else {
        return .infinity
      }
      if factorise() {
        let gamma = (n + 2) * unit / (1 - (n + 2) * unit)
        let margin = assembled + gamma / (1 - gamma) * trace * (1 + 1e-9) + 0x1p-1000 + error
        let sum = Double(count) * (t + margin) + weightSum
        return sum + (n + Double(count) + 8) * unit
          * (Double(count) * (abs(t) + margin) + weightSum)
      }
      if isStopped { return .infinity }
      lift *= 8
    }
    // Gershgorin's last resort: every eigenvalue is at most the norm.
    return Double(count) * (norm + error) * (1 + 1e-9)
  }

  private var isStopped: Bool { control?.shouldStop ?? false }

  /// Approximate eigenvalues and the vectors of the `k` largest.
  /// - Returns: the matrix' Frobenius norm, rounded up.
  private func decompose(_ matrix: UnsafePointer<Double>, stride rowStride: Int) -> Double {
    var frobenius = 0.0
    for i in 0..<order {
      let row = matrix + i * rowStride
      let copy = eigen.matrix.row(i)
      for j in 0..<i {
        copy[j] = row[j]
        frobenius += 2 * row[j] * row[j]
      }
      copy[i] = row[i]
      frobenius += row[i] * row[i]
    }
    eigen.reduce()
    eigen.vectors(count: count, into: vectors)
    return frobenius.squareRoot() * (1 + 1e-9)
  }

  /// w_i.
  private func weight(_ i: Int, base: Double) -> Double { max(0, eigen.values[i] - base) }

  /// `tr X = Σ w_i ‖v_i‖²`.
  private func traceOfX(base: Double) -> Double {
    var sum = 0.0
    for i in 0..<count {
      let v = vectors.row(i)
      var square = 0.0
      for j in 0..<order { square += v[j] * v[j] }
      sum += weight(i, base: base) * square
    }
    return sum
  }

  /// `Ŝ = t·I + X - A` into `factor`.
  /// - Returns: its trace; nil where stopped.
  private func assemble(
    _ matrix: UnsafePointer<Double>, stride rowStride: Int, base: Double, t: Double
  ) -> Double? {
    for i in 0..<order {
      let row = factor.row(i)
      let given = matrix + i * rowStride
      for j in 0...i { row[j] = -given[j] }
      row[i] += t
    }
    for k in 0..<count {
      if isStopped { return nil }
      let v = vectors.row(k)
      let weight = weight(k, base: base)
      for i in 0..<order {
        let row = factor.row(i)
        let scaled = weight * v[i]
        for j in 0...i { row[j] += scaled * v[j] }
      }
    }
    var trace = 0.0
    for i in 0..<order { trace += abs(factor[i, i]) }
    return trace
  }

  /// Cholesky in place, row by row; false where a pivot is not positive, or stopped.
  private func factorise() -> Bool {
    for i in 0..<order {
      if i & 15 == 15, isStopped { return false }
      let row = factor.row(i)
      for j in 0..<i {
        let other = factor.row(j)
        row[j] = (row[j] - dot(row, other, length: j)) / other[j]
      }
      let pivot = row[i] - dot(row, row, length: i)
      guard pivot > 0, pivot.isFinite else { return false }
      row[i] = pivot.squareRoot()
    }
    return true
  }

  /// `Σ a_k b_k` over the first `length` entries.
  @inline(__always)
  private func dot(
    _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, length: Int
  ) -> Double {
    let even = length & ~3
    var sum0 = SIMD2<Double>.zero
    var sum1 = sum0
    var k = 0
    while k < even {
      sum0 += load2(a, k) * load2(b, k)
      sum1 += load2(a, k + 2) * load2(b, k + 2)
      k += 4
    }
    var sum = (sum0 + sum1).sum()
    while k < length {
      sum += a[k] * b[k]
      k += 1
    }
    return sum
  }
}
