/// Eigenvalues of a symmetric tridiagonal matrix by implicit QL with Wilkinson's shift (Dubrulle,
/// Martin, Wilkinson, Numer. Math. 12, 1968).
///
/// A step of QL replaces T - σ = QL by LQ, which is Qᵀ(T - σ)Q and so has the same eigenvalues as T
/// - σ; it is tridiagonal again. With σ the eigenvalue of the leading two by two that is nearer to
/// the first diagonal entry, the entry beside that one converges to 0 cubically in nearly all
/// cases, and the eigenvalue can be read off and left behind. The step is done without forming T -
/// σ: a first rotation of the last two rows, which the shift defines, fills one entry outside the
/// three diagonals, and rotations chase it up to the first row.
///
/// In the code: `d` is the diagonal, `e[i]` the entry between rows i and i+1; `s` and `c` are the
/// rotation's sine and cosine, and `p` what it has still to take from the next diagonal entry.
/// Entry by entry the block `l ... m` is treated whose side entries are not negligible.
extension SymmetricEigen {
  /// All eigenvalues of T to `values`, largest first.
  func findValues() {
    let (d, e) = (values.base, side.base)
    for i in 0..<order { d[i] = diagonal[i] }
    for i in 1..<max(order, 1) { e[i - 1] = beside[i] }
    e[order - 1] = 0
    for l in 0..<order {
      // Three or four steps are usual.
      for _ in 0..<60 {
        let m = endOfBlock(from: l)
        if m == l { break }
        chase(l, m)
      }
    }
    var found = UnsafeMutableBufferPointer(start: d, count: order)
    found.sort(by: >)
    if scale != 1 { for i in 0..<order { d[i] *= scale } }
  }

  /// The first row from `l` on whose entry to the next one is negligible.
  private func endOfBlock(from l: Int) -> Int {
    let (d, e) = (values.base, side.base)
    var m = l
    while m < order - 1 {
      let size = abs(d[m]) + abs(d[m + 1])
      if abs(e[m]) <= max(0x1p-53 * size, noise) { break }
      m += 1
    }
    return m
  }

  /// One step of QL on rows `l ... m`.
  private func chase(_ l: Int, _ m: Int) {
    let (d, e) = (values.base, side.base)
    var g = (d[l + 1] - d[l]) / (2 * e[l])
    let root = (g * g + 1).squareRoot()
    g = d[m] - d[l] + e[l] / (g + (g >= 0 ? root : -root))
    var (s, c, p) = (1.0, 1.0, 0.0)
    for i in Swift.stride(from: m - 1, through: l, by: -1) {
      let f = s * e[i]
      let b = c * e[i]
      let r = (f * f + g * g).squareRoot()
      e[i + 1] = r
      if r == 0 {
        // The matrix falls apart here.
        d[i + 1] -= p
        e[m] = 0
        return
      }
      let inverse = 1 / r
      s = f * inverse
      c = g * inverse
      g = d[i + 1] - p
      let t = (d[i] - g) * s + 2 * c * b
      p = s * t
      d[i + 1] = g + p
      g = c * t - b
    }
    d[l] -= p
    e[l] = g
    e[m] = 0
  }
}
