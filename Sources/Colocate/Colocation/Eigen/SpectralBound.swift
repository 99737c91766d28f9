import ColocateModel

/// `2c · (sum of the P-1 largest eigenvalues of Q U Q on the range of Q)`, from above, for one
/// boundary's matrix U of the co-location relaxation (`ColocationMultipliers`).
///
/// Q takes the mean of each half from a vector of length 2E. So Q U Q works block by block: an
/// entry becomes
///
///     u_ij - (mean of row i) - (mean of column j) + (mean of all),
///
/// means taken inside the block. In doubles an entry is off by less than 8·γ_{2E+8}·max|U|, where
/// γ_m = m·u/(1 - m·u) and u is the unit roundoff, so the matrix is off by at most 2E times that in
/// norm.
///
/// Q U Q has two eigenvectors outside the range of Q, the constants of either half, with eigenvalue
/// 0. They are moved out of the way by adding -κ·(1 1ᵀ)/E to both diagonal blocks with
/// κ = ‖Q U Q‖_F: their eigenvalues become -κ, no other is below that, and the range of Q, of
/// dimension 2E-2 ≥ P-1, has enough of the others. Should rounding leave one of the two among the
/// P-1 largest of all, the sum is no smaller than that over the range of Q alone: it is an upper
/// bound in any case.
///
/// The eigenvalues themselves are bounded by `EigenvalueSum`.
final class SpectralBound {
  private let experts: Int
  private let groups: Int
  private let sum: EigenvalueSum
  /// Q U Q, its lower triangle of blocks, `[2E, 2E]`.
  private let matrix: AlignedRows
  /// Means of a block's rows and of its columns, `[2, E]`.
  private let means: AlignedRows

  /// - Parameters:
  ///   - experts: `E`.
  ///   - groups: `P ≥ 2`.
  ///   - control: where it says stop, the bound is infinity.
  init(experts: Int, groups: Int, control: SearchControl) {
    self.experts = experts
    self.groups = groups
    sum = EigenvalueSum(order: 2 * experts, count: groups - 1, control: control)
    matrix = AlignedRows(rows: 2 * experts, stride: 2 * experts)
    means = AlignedRows(rows: 2, stride: experts)
  }

  /// - Parameter entry: U's entry `(block, i, j)`, exactly.
  func upperBound(_ entry: (ColocationLayout.Block, Int, Int) -> Double) -> Double {
    var largest = 0.0
    for block in ColocationLayout.Block.allCases {
      largest = max(largest, center(block, entry))
    }
    let gamma = Double(2 * experts + 10) * 0x1p-52
    let error = 2 * Double(experts) * 8 * gamma * 4 * largest
    let shift = moveConstantsAway()
    let moved = 4 * Double(experts) * 0x1p-52 * (shift + 4 * largest)
    let value = sum.upperBound(matrix.base, stride: matrix.stride, error: error + moved)
    return 2 * Double(experts / groups) * value * (1 + 0x1p-50 * (value >= 0 ? 1 : -1))
  }

  /// One block of Q U Q; of the off-diagonal ones the lower, Y_lᵀ.
  /// - Returns: the largest entry of U's block in magnitude.
  private func center(
    _ block: ColocationLayout.Block, _ entry: (ColocationLayout.Block, Int, Int) -> Double
  ) -> Double {
    // The transposed block has its rows and columns exchanged.
    let (firstRow, firstColumn) = (block.columnHalf * experts, block.rowHalf * experts)
    let inverse = 1 / Double(experts)
    let (rows, columns) = (means.row(0), means.row(1))
    var largest = 0.0
    for i in 0..<means.count { means[i] = 0 }
    for i in 0..<experts {
      let line = matrix.row(firstRow + i) + firstColumn
      for j in 0..<experts {
        let value = block == .between ? entry(block, j, i) : entry(block, i, j)
        line[j] = value
        largest = max(largest, abs(value))
        rows[i] += value
        columns[j] += value
      }
    }
    for i in 0..<means.count { means[i] *= inverse }
    var mean = 0.0
    for i in 0..<experts { mean += rows[i] }
    mean *= inverse
    for i in 0..<experts {
      let line = matrix.row(firstRow + i) + firstColumn
      for j in 0..<experts { line[j] += mean - rows[i] - columns[j] }
    }
    return largest
  }

  /// Adds -κ/E to the entries of the diagonal blocks' lower triangles; answers κ/E.
  private func moveConstantsAway() -> Double {
    var kappa = 0.0
    for place in 0..<matrix.count { kappa += matrix[place] * matrix[place] }
    kappa.formSquareRoot()
    let shift = kappa * (1 / Double(experts))
    for i in 0..<matrix.rows {
      for j in (i < experts ? 0 : experts)...i { matrix[i, j] -= shift }
    }
    return shift
  }
}
