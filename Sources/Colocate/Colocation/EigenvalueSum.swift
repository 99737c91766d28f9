import ColocateModel

/// A rigorous upper bound on the sum of the `k` largest eigenvalues of a symmetric matrix, computed
/// in doubles.
///
/// By semidefinite duality (Ky Fan), for any t and any X ⪰ 0 with  S = t·I + X - A ⪰ 0,
///
///     λ_1(A) + … + λ_k(A) ≤ k·t + tr X .
///
/// Any approximate eigenvectors v_i and weights w_i ≥ 0 give X = Σ w_i v_i v_iᵀ with tr X = Σ w_i
/// ‖v_i‖²: neither orthogonality nor accuracy is assumed. With w_i = λ_i - t and t near λ_{k+1} the
/// bound is the sum itself, up to rounding. What has to be proved is S ⪰ 0, and a Cholesky
/// factorisation in floating point proves it up to a margin (Rump, BIT 46, 2006; Higham, Accuracy
/// and Stability, Theorem 10.3): if it runs to its end on Ŝ, then
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
  private let stride: Int
  private let eigen: SymmetricEigen
  private let factor: UnsafeMutablePointer<Double>
  private let storage: UnsafeMutableRawPointer
  private let vectors: UnsafeMutablePointer<Double>
  private let count: Int
  private let control: SearchControl?

  /// - Parameters:
  ///   - order: `n`.
  ///   - count: `k`, `1 ... n`.
  ///   - control: looked at in every part that costs O(n³); nil for never.
  package init(order: Int, count: Int, control: SearchControl? = nil) {
    precondition(1 <= count && count <= order)
    self.order = order
    self.count = count
    self.control = control
    eigen = SymmetricEigen(order: order, control: control)
    stride = eigen.stride
    let size = stride * (order + count)
    storage = .allocate(byteCount: size * 8, alignment: 64)
    factor = storage.bindMemory(to: Double.self, capacity: size)
    factor.initialize(repeating: 0, count: size)
    vectors = factor + stride * order
  }

  deinit { storage.deallocate() }

  /// - Parameters:
  ///   - matrix: lower triangle of A, `[n, rowStride]`; upper entries are not read.
  ///   - error: a bound on the spectral norm of (the matrix meant) - (the matrix given).
  /// - Returns: an upper bound on the sum of the `k` largest eigenvalues of the matrix meant;
  ///   infinity where stopped.
  package func upperBound(
    _ matrix: UnsafePointer<Double>, stride rowStride: Int, error: Double = 0
  ) -> Double {
    var frobenius = 0.0
    var largest = 0.0
    for i in 0..<order {
      for j in 0...i { largest = max(largest, abs(matrix[i * rowStride + j])) }
    }
    // Squares would vanish or overflow: Gershgorin's discs.
    guard largest > 0x1p-400, largest < 0x1p400 else {
      return Double(count) * (Double(order) * largest * (1 + 1e-9) + error)
    }
    for i in 0..<order {
      let row = matrix + i * rowStride
      for j in 0..<i {
        eigen.matrix[i * stride + j] = row[j]
        frobenius += 2 * row[j] * row[j]
      }
      eigen.matrix[i * stride + i] = row[i]
      frobenius += row[i] * row[i]
    }
    let norm = frobenius.squareRoot() * (1 + 1e-9)
    eigen.reduce()
    eigen.vectors(count: count, into: vectors, stride: stride)
    if isStopped { return .infinity }
    let unit = 0x1p-52
    let n = Double(order)
    let base = count < order ? eigen.values[count] : eigen.values[order - 1]
    var lift = 8 * n * unit * norm
    while lift < 16 * norm {
      let t = base + lift
      var weightSum = 0.0
      for i in 0..<count {
        let v = vectors + i * stride
        var square = 0.0
        for j in 0..<order { square += v[j] * v[j] }
        weightSum += max(0, eigen.values[i] - base) * square
      }
      // Higham's γ; the first for Ŝ, the second for its factorisation.
      let rounding = (Double(count) + 4) * unit
      let assembled = rounding / (1 - rounding) * (abs(t) + weightSum + norm)
      var trace = 0.0
      for i in 0..<order {
        let row = factor + i * stride
        let given = matrix + i * rowStride
        for j in 0...i { row[j] = -given[j] }
        row[i] += t
      }
      for k in 0..<count {
        if isStopped { return .infinity }
        let v = vectors + k * stride
        let weight = max(0, eigen.values[k] - base)
        for i in 0..<order {
          let row = factor + i * stride
          let scaled = weight * v[i]
          for j in 0...i { row[j] += scaled * v[j] }
        }
      }
      for i in 0..<order { trace += abs(factor[i * stride + i]) }
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

  /// Cholesky in place, row by row; false where a pivot is not positive, or stopped.
  private func factorise() -> Bool {
    for i in 0..<order {
      if i & 15 == 15, isStopped { return false }
      let row = factor + i * stride
      var j = 0
      while j <= i {
        let other = factor + j * stride
        let even = j & ~3
        var sum0 = SIMD2<Double>.zero
        var sum1 = sum0
        var k = 0
        while k < even {
          sum0 += load2(row, k) * load2(other, k)
          sum1 += load2(row, k + 2) * load2(other, k + 2)
          k += 4
        }
        var sum = (sum0 + sum1).sum()
        while k < j {
          sum += row[k] * other[k]
          k += 1
        }
        if j < i {
          row[j] = (row[j] - sum) / other[j]
        } else {
          let pivot = row[i] - sum
          guard pivot > 0, pivot.isFinite else { return false }
          row[i] = pivot.squareRoot()
        }
        j += 1
      }
    }
    return true
  }
}
