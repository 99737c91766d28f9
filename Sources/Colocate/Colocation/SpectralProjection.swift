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
/// needed, often a third of all or fewer. With √g_k in the vectors an entry of M is a plain product
/// of two columns, and four rows by four columns at a time need one load for two multiplications.
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
  /// √(1/P)·1, then √g_k·f_k, four entries of each at a time: `[2, width / 4, 2(E-1) + 1, 4]`, the
  /// half, the four entries, k, and which of the four.
  private let panels: AlignedRows
  /// One panel with each number twice, `[2(E-1) + 1, 4, 2]`.
  private let doubled: AlignedRows
  /// How many vectors the panels hold.
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
    panels = AlignedRows(rows: 2 * (width / 4), stride: 4 * (order + 1))
    doubled = AlignedRows(stride: 8 * (order + 1))
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
    let constant = (1 / Double(groups)).squareRoot()
    for side in 0..<2 {
      for i in 0..<experts { panel(side, i / 4)[i % 4] = constant }
    }
    for k in 0..<wanted {
      restoreBasis(vectors.row(k), times: min(cap, eigen.values[k] - t).squareRoot(), to: k + 1)
    }
    rank = wanted + 1
    return true
  }

  private var tiles: Int { width / 4 }

  private func panel(_ side: Int, _ tile: Int) -> UnsafeMutablePointer<Double> {
    panels.row(side * tiles + tile)
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

  /// f = H·(0, z) in each half, times a factor, to number `k` of the panels; layer l+1's half of z
  /// comes first.
  private func restoreBasis(_ z: UnsafePointer<Double>, times factor: Double, to k: Int) {
    let half = experts - 1
    for side in 0..<2 {
      let from = z + side * half
      var sum = 0.0
      for i in 0..<half { sum += from[i] }
      let q = u * sum
      panel(side, 0)[4 * k] = -q * factor
      for i in 1...half {
        panel(side, i / 4)[4 * k + i % 4] = (from[i - 1] - beta * u * q) * factor
      }
    }
  }

  // MARK: The result

  /// Writes a block of M, `[E, width]`.
  package func write(_ block: ColocationLayout.Block, to out: UnsafeMutablePointer<Double>) {
    for tile in 0..<tiles {
      let rows = panel(1 - block.rowHalf, tile)
      for k in 0..<rank {
        for r in 0..<4 { store2(doubled.base, 8 * k + 2 * r, SIMD2(repeating: rows[4 * k + r])) }
      }
      let isSymmetric = block != .between
      for other in 0..<(isSymmetric ? tile + 1 : tiles) {
        let square = Square(doubled.base, panel(1 - block.columnHalf, other), count: rank)
        square.write(to: out + 4 * tile * width + 4 * other, rows: experts - 4 * tile, width)
        if isSymmetric && other < tile {
          square.writeTransposed(to: out + 4 * other * width + 4 * tile, width)
        }
      }
    }
  }

  /// The entries of four rows and four columns: Σ_k a_k[i]·b_k[j], in eight registers.
  private struct Square {
    private var s00, s01, s10, s11, s20, s21, s30, s31: SIMD2<Double>

    /// - Parameters:
    ///   - a: four rows, each number twice, `[count, 4, 2]`.
    ///   - b: four columns, `[count, 4]`.
    @inline(__always)
    init(_ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, count: Int) {
      (s00, s01, s10, s11) = (.zero, .zero, .zero, .zero)
      (s20, s21, s30, s31) = (.zero, .zero, .zero, .zero)
      for k in 0..<count {
        let (b0, b1) = (load2(b, 4 * k), load2(b, 4 * k + 2))
        let (a0, a1) = (load2(a, 8 * k), load2(a, 8 * k + 2))
        let (a2, a3) = (load2(a, 8 * k + 4), load2(a, 8 * k + 6))
        s00 += a0 * b0
        s01 += a0 * b1
        s10 += a1 * b0
        s11 += a1 * b1
        s20 += a2 * b0
        s21 += a2 * b1
        s30 += a3 * b0
        s31 += a3 * b1
      }
    }

    /// - Parameter rows: how many there are, where they are fewer than four.
    @inline(__always)
    func write(to out: UnsafeMutablePointer<Double>, rows: Int, _ width: Int) {
      store2(out, 0, s00)
      store2(out, 2, s01)
      guard rows > 1 else { return }
      store2(out, width, s10)
      store2(out, width + 2, s11)
      guard rows > 2 else { return }
      store2(out, 2 * width, s20)
      store2(out, 2 * width + 2, s21)
      guard rows > 3 else { return }
      store2(out, 3 * width, s30)
      store2(out, 3 * width + 2, s31)
    }

    @inline(__always)
    func writeTransposed(to out: UnsafeMutablePointer<Double>, _ width: Int) {
      store2(out, 0, SIMD2(s00[0], s10[0]))
      store2(out, 2, SIMD2(s20[0], s30[0]))
      store2(out, width, SIMD2(s00[1], s10[1]))
      store2(out, width + 2, SIMD2(s20[1], s30[1]))
      store2(out, 2 * width, SIMD2(s01[0], s11[0]))
      store2(out, 2 * width + 2, SIMD2(s21[0], s31[0]))
      store2(out, 3 * width, SIMD2(s01[1], s11[1]))
      store2(out, 3 * width + 2, SIMD2(s21[1], s31[1]))
    }
  }
}
