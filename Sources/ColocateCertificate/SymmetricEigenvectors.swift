import ColocateModel

/// All eigenvalues and eigenvectors of a symmetric matrix, approximately: Householder reflections
/// to a tridiagonal matrix, then implicit QL steps with Wilkinson's shift (Golub and Van Loan,
/// Matrix Computations, §8.3). Nothing relies on its accuracy: `CertificateSpectrum` measures it.
enum SymmetricEigenvectors {
  /// - Parameter matrix: `[n, n]`, symmetric, entries of about 1.
  /// - Returns: eigenvectors as rows, `[n, n]`, and eigenvalues, `[n]`, in no order.
  static func compute(_ matrix: [Double], order n: Int) -> (vectors: [Double], values: [Double]) {
    var a = matrix
    var diagonal = [Double](repeating: 0, count: n)
    var beside = [Double](repeating: 0, count: n)
    var vectors = [Double](repeating: 0, count: n * n)
    a.withUnsafeMutableBufferPointer { a in
      vectors.withUnsafeMutableBufferPointer { q in
        diagonal.withUnsafeMutableBufferPointer { d in
          beside.withUnsafeMutableBufferPointer { e in
            tridiagonalise(a, d, e, q, n)
            iterate(d, e, q, n)
          }
        }
      }
    }
    return (vectors, diagonal)
  }

  private typealias Buffer = UnsafeMutableBufferPointer<Double>

  /// A = Q T Qᵀ. T's diagonal goes to `d`, what is beside it to `e` (`e[i]` between i and i+1), and
  /// the rows of `q` become those of Qᵀ.
  private static func tridiagonalise(_ a: Buffer, _ d: Buffer, _ e: Buffer, _ q: Buffer, _ n: Int) {
    var factors = [Double](repeating: 0, count: n)
    withUnsafeTemporaryAllocation(of: Double.self, capacity: n) { p in
      for k in 0..<max(0, n - 2) {
        // The reflection I - β v vᵀ turns row k beyond the diagonal into (α, 0, …, 0).
        let v = a.start + k * n
        var square = 0.0
        for j in (k + 1)..<n { square += v[j] * v[j] }
        let alpha = v[k + 1] > 0 ? -square.squareRoot() : square.squareRoot()
        e[k] = alpha
        guard square > 0 else { continue }
        v[k + 1] -= alpha
        var length = 0.0
        for j in (k + 1)..<n { length += v[j] * v[j] }
        guard length > 0 else { continue }
        let beta = 2 / length
        factors[k] = beta
        // A' = A - v wᵀ - w vᵀ on the rest, w = β A v - (β/2)(β vᵀA v) v.
        for j in 0..<n { p[j] = 0 }
        for i in (k + 1)..<n {
          let (factor, row) = (beta * v[i], a.start + i * n)
          for j in (k + 1)..<n { p[j] += factor * row[j] }
        }
        var inner = 0.0
        for j in (k + 1)..<n { inner += p[j] * v[j] }
        let half = beta / 2 * inner
        for j in (k + 1)..<n { p[j] -= half * v[j] }
        for i in (k + 1)..<n {
          let (one, two, row) = (v[i], p[i], a.start + i * n)
          for j in (k + 1)..<n { row[j] -= one * p[j] + two * v[j] }
        }
      }
      for i in 0..<n { d[i] = a[i * n + i] }
      if n >= 2 { e[n - 2] = a[(n - 2) * n + n - 1] }
      e[n - 1] = 0
      // Q = H_0 H_1 … as rows, from the last reflection on; then transposed in place.
      for i in 0..<(n * n) { q[i] = 0 }
      for i in 0..<n { q[i * n + i] = 1 }
      for k in stride(from: n - 3, through: 0, by: -1) where factors[k] > 0 {
        let v = a.start + k * n
        for j in (k + 1)..<n { p[j] = 0 }
        for i in (k + 1)..<n {
          let (factor, row) = (v[i], q.start + i * n)
          for j in (k + 1)..<n { p[j] += factor * row[j] }
        }
        for i in (k + 1)..<n {
          let (factor, row) = (factors[k] * v[i], q.start + i * n)
          for j in (k + 1)..<n { row[j] -= factor * p[j] }
        }
      }
    }
    for i in 0..<n { for j in 0..<i { q.swapAt(i * n + j, j * n + i) } }
  }

  /// Diagonalises T, turning the rows of `q` along. A row that does not settle in 50 steps is left
  /// as it is.
  private static func iterate(_ d: Buffer, _ e: Buffer, _ q: Buffer, _ n: Int) {
    for l in 0..<n {
      for _ in 0..<50 {
        var m = l
        while m < n - 1, e[m].magnitude > 0x1p-53 * (d[m].magnitude + d[m + 1].magnitude) { m += 1 }
        if m == l { break }
        let ratio = (d[l + 1] - d[l]) / (2 * e[l])
        let root = (ratio * ratio + 1).squareRoot()
        var g = d[m] - d[l] + e[l] / (ratio + (ratio < 0 ? -root : root))
        var (sine, cosine, shift) = (1.0, 1.0, 0.0)
        var wasCut = false
        for i in stride(from: m - 1, through: l, by: -1) {
          let (f, b) = (sine * e[i], cosine * e[i])
          let r = (f * f + g * g).squareRoot()
          e[i + 1] = r
          if r == 0 {
            d[i + 1] -= shift
            e[m] = 0
            wasCut = true
            break
          }
          (sine, cosine) = (f / r, g / r)
          g = d[i + 1] - shift
          let s = (d[i] - g) * sine + 2 * cosine * b
          shift = sine * s
          d[i + 1] = g + shift
          g = cosine * s - b
          let (low, high) = (q.start + i * n, q.start + (i + 1) * n)
          for j in 0..<n {
            let (x, y) = (low[j], high[j])
            high[j] = sine * x + cosine * y
            low[j] = cosine * x - sine * y
          }
        }
        if wasCut { continue }
        d[l] -= shift
        e[l] = g
        e[m] = 0
      }
    }
  }
}
