import ColocateModel

/// The checker's own bound on sums of eigenvalues: all of them computed in doubles, with a margin
/// that what was computed proves about itself.
///
/// Let A be symmetric of order n, V and D = diag(d) what some computation takes for its
/// eigenvectors and eigenvalues, R = A V - V D and F = VᵀV - I with ‖F‖ < 1. By the polar
/// decomposition V = Q H with Q orthogonal and H = (VᵀV)^½, ‖H - I‖ ≤ ‖F‖, ‖H⁻¹‖ ≤ (1 - ‖F‖)^-½.
/// Then
///
///     Qᵀ A Q - D = (H D - D H) H⁻¹ + Qᵀ R H⁻¹,   so
///     ‖QᵀAQ - D‖_F ≤ ε = (‖R‖_F + 2·max|d|·‖F‖_F) / √(1 - ‖F‖_F) .
///
/// The sum of the k largest eigenvalues is a convex function of the matrix that grows by at most
/// the sum of the k largest of the difference (Ky Fan), which is at most √k times its Frobenius
/// norm:
///
///     λ_1(A) + … + λ_k(A) ≤ d_(1) + … + d_(k) + √k · ε .
///
/// In floating point with u = 2^-53 a sum of n products is off by at most γ_n times the sum of
/// their absolute values, γ_m = m·u/(1 - m·u), whatever the order (Higham, Accuracy and Stability,
/// §3.1). With v = ‖V‖_F this moves R by at most γ_{n+2}·(‖A‖_F + max|d|)·v and F by γ_{n+1}·v².
/// Each norm is itself off by a factor of at most 1 + γ_{n²+2}. Doubling u covers what is not named
/// here.
enum CertificateSpectrum {
  /// An upper bound on the sum of the `count` largest eigenvalues of the symmetric matrix that
  /// `matrix` (`[n, n]`) stands for: entry by entry the two differ by at most `relative` times the
  /// magnitude of the one given. With it how much of it is margin for rounding, which depends on
  /// the matrix and hardly on who computes. Infinite where nothing can be said.
  static func upperBound(
    _ matrix: [Double], order n: Int, count: Int, relative: Double
  ) -> (value: Double, margin: Double) {
    let largest = matrix.reduce(0) { max($0, $1.magnitude) }
    guard largest > 0 else { return (0, 0) }
    guard largest.isFinite, largest < 0x1p500 else { return (.infinity, .infinity) }
    // Scaled by a power of two, which is exact, so that squares neither overflow nor vanish.
    let scale = Double(sign: .plus, exponent: -largest.exponent, significand: 1)
    let a = matrix.map { $0 * scale }
    let (vectors, d) = SymmetricEigenvectors.compute(a, order: n)
    let unit = 0x1p-52
    func gamma(_ m: Int) -> Double { Double(m) * unit / (1 - Double(m) * unit) }
    let norm = gamma(n * n + 2) + 1
    let most = d.reduce(0) { max($0, $1.magnitude) }
    let (residual, defect) = residuals(a, vectors, d, order: n)
    let size = frobenius(a) * norm
    let length = frobenius(vectors) * norm
    let r = residual * norm + gamma(n + 2) * (size + most) * length
    let f = defect * norm + gamma(n + 1) * length * length
    guard most.isFinite, r.isFinite, f < 0.5 else { return (.infinity, .infinity) }
    // The matrix meant differs from `a` by at most `relative·size` in norm; products that
    // underflow, by at most n·2^-1074 an entry.
    let error = (r + 2 * most * f) / (1 - f).squareRoot() + relative * size + 0x1p-900
    let top = d.sorted(by: >).prefix(count)
    let spread = Double(count).squareRoot() * error
    let slack = gamma(count + 8) * (top.reduce(0) { $0 + $1.magnitude } + spread)
    return ((top.reduce(0, +) + spread + slack) / scale, (spread + slack) / scale)
  }

  private static func frobenius(_ a: [Double]) -> Double {
    a.reduce(0) { $0 + $1 * $1 }.squareRoot()
  }

  /// ‖A V - V D‖_F and ‖VᵀV - I‖_F as computed. `vectors` has the eigenvectors as its rows.
  private static func residuals(
    _ a: [Double], _ vectors: [Double], _ d: [Double], order n: Int
  ) -> (residual: Double, defect: Double) {
    var (residual, defect) = (0.0, 0.0)
    // Columns of V, so that rows can be added up.
    var columns = [Double](repeating: 0, count: n * n)
    for i in 0..<n { for j in 0..<n { columns[j * n + i] = vectors[i * n + j] } }
    a.withUnsafeBufferPointer { a in
      columns.withUnsafeBufferPointer { columns in
        for i in 0..<n {
          let v = vectors[(i * n)..<((i + 1) * n)]
          // Row i of Vᵀ A - D Vᵀ, and of Vᵀ V - I.
          residual += squaredNorm(of: v, times: a, less: d[i], at: nil, order: n)
          defect += squaredNorm(of: v, times: columns, less: 1, at: i, order: n)
        }
      }
    }
    return (residual.squareRoot(), defect.squareRoot())
  }

  /// ‖v·B - s·v‖², or ‖v·B - s·e_at‖² where `at` names a place.
  private static func squaredNorm(
    of v: ArraySlice<Double>, times b: UnsafeBufferPointer<Double>, less s: Double, at: Int?,
    order n: Int
  ) -> Double {
    var row = [Double](repeating: 0, count: n)
    if let at { row[at] = -s } else { for (j, x) in v.enumerated() { row[j] = -s * x } }
    row.withUnsafeMutableBufferPointer { row in
      for (k, factor) in v.enumerated() {
        let base = k * n
        for j in 0..<n { row[j] += factor * b[base + j] }
      }
    }
    return row.reduce(0) { $0 + $1 * $1 }
  }
}
