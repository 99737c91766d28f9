/// The nearest matrix of a boundary's spectral set: ADMM's step in M_l.
///
/// The set holds M = J/P + R with R = Q R Q, 0 ⪯ R ⪯ 2c·I and tr R = 2c(P-1), where Q projects onto
/// the vectors whose two halves, of length E, each sum to 0 (`ColocationMultipliers`). J/P lies
/// outside Q's range, so what is nearest to a target T is J/P plus the R nearest to Q T Q. That R
/// has the eigenvectors of Q T Q, and its eigenvalues are the vector nearest to the eigenvalues λ
/// of Q T Q with entries in [0, 2c] and sum 2c(P-1): by Lagrange's rule
///
///     M = J/P + Σ_k g_k f_k f_kᵀ,    g_k = clip(λ_k - t, 0, 2c),    Σ g_k = 2c(P-1).
///
/// The sum falls as t rises, so t is found by bisection. Only the eigenvectors with g_k > 0 are
/// needed, often a third of all or fewer.
///
/// **Basis.** The range of Q has dimension 2(E-1). The reflection
///
///     H = 1 - β v vᵀ,    v_1 = 1 + u,  v_i = u for i > 1,  u = 1/√E,    β = 1/(1 + u) = 2/‖v‖²
///
/// takes the constant unit vector to -e_1, so its columns 2 … E are an orthonormal basis of the
/// vectors that sum to 0. One for each half: to change the basis of a block B of T is to take H B H
/// without its first row and column,
///
///     (H B H)_ij = B_ij - βu·(vᵀB)_j - βu·(B v)_i + (βu)²·vᵀB v,
///
/// which costs O(E²) instead of the O(E³) of a product with a stored basis. An eigenvector z comes
/// back as H·(0, z) in each half: the first entry is -u·Σz, the others are z_i - βu·(u·Σz).
///
/// One projection belongs to one thread: set the three blocks of the target, `decompose`, and read
/// the three blocks of M.
package final class SpectralProjection {
  private let experts: Int
  private let groups: Int
  /// Doubles in a row of a block, a multiple of 4.
  private let width: Int
  private let eigen: SymmetricEigen
  /// z, `[2(E-1), eigen.stride]`.
  private let vectors: AlignedRows
  /// 1, then f, `[2(E-1) + 1, 2·width]`: the halves start at 0 and at `width`.
  private let full: AlignedRows
  /// 1/P, then g, `[2(E-1) + 1]`.
  private let gains: AlignedRows
  /// How many rows of `full` and `gains` are used.
  private var rank = 0
  /// A block B of the target, `[E, width]`; vᵀB and B v, `[width]`.
  private let target: AlignedRows
  private let columns: AlignedRows
  private let rows: AlignedRows
  /// u, v_1 = 1 + u and β.
  private let u: Double
  private let beta: Double

  /// - Parameters:
  ///   - experts: `E ≥ 2`.
  ///   - width: doubles in a row of the blocks that come and go, a multiple of 4.
  package init(experts: Int, groups: Int, width: Int, control: SearchControl) {
    self.experts = experts
    self.groups = groups
    self.width = width
    let order = 2 * (experts - 1)
    eigen = SymmetricEigen(order: order, control: control)
    vectors = AlignedRows(rows: order, stride: eigen.stride)
    full = AlignedRows(rows: order + 1, stride: 2 * width)
    gains = AlignedRows(stride: order + 1)
    target = AlignedRows(rows: experts, stride: width)
    columns = AlignedRows(stride: width)
    rows = AlignedRows(stride: width)
    u = 1 / Double(experts).squareRoot()
    beta = 1 / (1 + u)
  }

  // MARK: The target

  /// Sets a block of the target, clip(x, 0, 1) + dual, both `[E, width]`.
  package func setTarget(
    _ block: ColocationLayout.Block, x: UnsafePointer<Double>, dual: UnsafePointer<Double>
  ) {
    let (columns, rows) = (columns.base, rows.base)
    for j in 0..<width { columns[j] = 0 }
    for i in 0..<experts {
      let offset = i * width
      let t = target.row(i)
      let weight = SIMD4(repeating: i == 0 ? 1 + u : u)
      var sum = SIMD4<Double>.zero
      var j = 0
      while j < width {
        let value = clippedToUnit(load4(x, offset + j)) + load4(dual, offset + j)
        store4(t, j, value)
        sum += value
        store4(columns, j, load4(columns, j) + weight * value)
        j += 4
      }
      rows[i] = u * sum.sum() + t[0]
    }
    changeBasis(block)
  }

  /// H B H without its first row and column, to the eigen-solver's lower triangle. The vertices of
  /// layer l+1 come first there, so that the rows of Y_l are rows.
  private func changeBasis(_ block: ColocationLayout.Block) {
    let (columns, rows) = (columns.base, rows.base)
    var s = 0.0
    for j in 0..<experts { s += columns[j] }
    s = u * s + columns[0]
    let bu = beta * u
    let corner = bu * bu * s
    let half = experts - 1
    let rowStart = (1 - block.rowHalf) * half
    let columnStart = (1 - block.columnHalf) * half
    for i in 1..<experts {
      let out = eigen.matrix.row(rowStart + i - 1) + columnStart - 1
      let line = target.row(i)
      let shift = corner - bu * rows[i]
      let end = block == .between ? experts : i + 1
      for j in 1..<end { out[j] = line[j] + shift - bu * columns[j] }
    }
  }

  // MARK: The projection

  /// Finds g and f; false where stopped.
  package func decompose() -> Bool {
    eigen.reduce()
    if eigen.isStopped { return false }
    let cap = Double(2 * (experts / groups))
    let t = threshold(cap: cap, sum: cap * Double(groups - 1))
    var wanted = 0
    while wanted < eigen.order && eigen.values[wanted] > t { wanted += 1 }
    eigen.vectors(count: wanted, into: vectors)
    for j in 0..<full.stride { full[j] = j % width < experts ? 1 : 0 }
    gains[0] = 1 / Double(groups)
    for k in 0..<wanted {
      gains[k + 1] = min(cap, eigen.values[k] - t)
      restoreBasis(vectors.row(k), full.row(k + 1))
    }
    rank = wanted + 1
    return true
  }

  /// t with Σ clip(λ - t, 0, cap) = `sum`.
  private func threshold(cap: Double, sum wanted: Double) -> Double {
    let order = eigen.order
    var low = eigen.values[order - 1] - cap
    var high = eigen.values[0]
    for _ in 0..<100 {
      let t = 0.5 * (low + high)
      if t <= low || t >= high { break }
      var sum = 0.0
      for k in 0..<order {
        let over = eigen.values[k] - t
        if over <= 0 { break }
        sum += min(over, cap)
      }
      if sum > wanted { low = t } else { high = t }
    }
    return 0.5 * (low + high)
  }

  /// f = H·(0, z) in each half; layer l+1's half of z comes first.
  private func restoreBasis(
    _ z: UnsafeMutablePointer<Double>, _ f: UnsafeMutablePointer<Double>
  ) {
    let half = experts - 1
    for side in 0..<2 {
      let from = z + side * half
      let to = f + side * width
      var sum = 0.0
      for i in 0..<half { sum += from[i] }
      let q = u * sum
      to[0] = -q
      for i in 0..<half { to[i + 1] = from[i] - beta * u * q }
    }
  }

  // MARK: The result

  /// Writes a block of M, `[E, width]`: entries Σ_k g_k f_k[i] f_k[j], two rows and four columns in
  /// registers at a time.
  package func write(_ block: ColocationLayout.Block, to out: UnsafeMutablePointer<Double>) {
    let firstRow = full.base + (1 - block.rowHalf) * width
    let firstColumn = full.base + (1 - block.columnHalf) * width
    let (wide, rank, gains) = (full.stride, rank, gains.base)
    var i = 0
    while i < experts {
      let two = i + 1 < experts
      let a = firstRow + i
      let step = two ? 1 : 0
      var j = 0
      while j < width {
        let b = firstColumn + j
        var s0 = SIMD4<Double>.zero
        var s1 = s0
        for k in 0..<rank {
          let line = load4(b, k * wide)
          let g = gains[k]
          s0 += SIMD4(repeating: g * a[k * wide]) * line
          s1 += SIMD4(repeating: g * a[k * wide + step]) * line
        }
        store4(out, i * width + j, s0)
        if two { store4(out, (i + 1) * width + j, s1) }
        j += 4
      }
      i += 2
    }
  }
}
