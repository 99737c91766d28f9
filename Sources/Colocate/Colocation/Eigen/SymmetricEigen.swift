import ColocateModel

/// Eigenvalues and chosen eigenvectors of a real symmetric matrix.
///
/// The co-location relaxation needs, for each boundary and iteration, all eigenvalues of a matrix
/// of order 2(E-1), but of the vectors only those above a threshold that the eigenvalues define. So
/// the work is done in three steps, each in a file of its own:
///
/// 1. `SymmetricEigen+Reduction`: A = H T Hᵀ with T tridiagonal and H a product of Householder
///    reflections; 4/3·n³ operations.
/// 2. `SymmetricEigen+Values`: the eigenvalues of T alone, by implicit QL; O(n²).
/// 3. `SymmetricEigen+Vectors`: the wanted vectors z of T by inverse iteration, O(n) each and more
///    inside clusters.
/// 4. `SymmetricEigen+BackTransformation`: H z, 2·n² each.
///
/// What was tried and dropped: QL that accumulates all vectors (6·n³ operations, four times the
/// reduction itself), and Jacobi sweeps that start from the last iteration's vectors (three to five
/// sweeps of 4·n³).
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
  /// with the reflections: row i, columns `0 ..< i`, holds v of the reflection of row i. What is
  /// on and above the diagonal then means nothing.
  package let matrix: AlignedRows
  /// After `reduce`: all eigenvalues, largest first, `[n]`.
  package let values: AlignedRows

  /// T: its diagonal, and beside it T[i, i-1] at i ≥ 1, `[n]`.
  let diagonal: AlignedRows
  let beside: AlignedRows
  /// τ of the reflection 1 - τ v vᵀ of each row; 0 where there is none, `[n]`.
  let tau: AlignedRows
  /// One reflection's v, and the product A v, `[n]`.
  let reflector: AlignedRows
  let product: AlignedRows
  /// The side diagonal while QL works on it, `[n]`.
  let side: AlignedRows
  /// T - shift in factors (`SymmetricEigen+Vectors`), `[5, n]`.
  let factors: AlignedRows
  /// What the eigenvalues of T are multiplied by: a power of two.
  var scale = 1.0
  /// Off-diagonal entries below this are rounding noise: 2^-60 of the largest entry.
  var noise = 0.0
  let control: SearchControl?

  /// - Parameters:
  ///   - order: `n ≥ 1`.
  ///   - control: looked at in the reduction and for every vector; where it says stop, what comes
  ///     out means nothing. nil for never.
  package init(order: Int, control: SearchControl? = nil) {
    precondition(order >= 1, "a matrix has at least one row")
    self.control = control
    self.order = order
    stride = (order + 7) & ~7
    matrix = AlignedRows(rows: order, stride: stride)
    values = AlignedRows(stride: stride)
    diagonal = AlignedRows(stride: stride)
    beside = AlignedRows(stride: stride)
    tau = AlignedRows(stride: stride)
    reflector = AlignedRows(stride: stride)
    product = AlignedRows(stride: stride)
    side = AlignedRows(stride: stride)
    factors = AlignedRows(rows: 5, stride: stride)
  }

  /// Reduces `matrix` to tridiagonal form and finds all eigenvalues.
  package func reduce() {
    rescale()
    tridiagonalise()
    if isStopped {
      for i in 0..<order { values[i] = 0 }
      return
    }
    findValues()
  }

  var isStopped: Bool { control?.shouldStop ?? false }

  /// Divides a matrix of very large or very small entries by a power of two, so that squares
  /// neither overflow nor vanish.
  private func rescale() {
    var largest = 0.0
    for i in 0..<order {
      for j in 0...i { largest = max(largest, abs(matrix[i, j])) }
    }
    scale = 1
    noise = max(largest * 0x1p-60, 0x1p-400)
    guard largest > 0, largest < 0x1p-200 || largest > 0x1p200 else { return }
    let exponent = max(-1000, min(1000, Int(largest.exponent)))
    scale = Double(sign: .plus, exponent: exponent, significand: 1)
    let inverse = Double(sign: .plus, exponent: -exponent, significand: 1)
    noise = max(largest * inverse * 0x1p-60, 0x1p-400)
    for i in 0..<order {
      for j in 0...i { matrix[i, j] *= inverse }
    }
  }
}
