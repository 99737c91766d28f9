/// Eigenvectors of the largest eigenvalues by inverse iteration (Peters and Wilkinson, Handbook for
/// Automatic Computation II/18, 1971).
///
/// T is the tridiagonal form and λ an eigenvalue that is known to working precision. Solving (T -
/// λ) x' = x multiplies the component along that eigenvector by 1/(error of λ) and any other by
/// 1/(distance of its eigenvalue): two or three rounds from a random start leave nothing else,
/// unless other eigenvalues are as near. In such a cluster the shifts are moved apart by a few
/// units in the last place, so that the systems differ, and each vector is orthogonalised against
/// the earlier ones of its cluster. T - λ is factorised once, with row exchanges, because without
/// them it can break down at a pivot although the solution is harmless; a pivot of 0 is replaced by
/// a tiny one, which is within the error of λ.
///
/// The eigenvector of the matrix itself is H_{n-1} ⋯ H_2 z: the reflections of the reduction,
/// applied to the vector z of T in the opposite order (`SymmetricEigen+BackTransformation`).
extension SymmetricEigen {
  /// Approximate unit eigenvectors of the `count` largest eigenvalues, to the first rows of `out`,
  /// `[≥ count, ≥ stride]`. Needs `reduce`.
  package func vectors(count: Int, into out: borrowing AlignedRows) {
    guard count > 0 else { return }
    let norm = normOfT()
    let tiny = max(norm * 0x1p-52, 0x1p-900)
    // Neighbours further apart come out orthogonal to 10⁻⁹ by themselves.
    let cluster = norm * 1e-6
    var first = 0
    var previous = Double.infinity
    var start = StartVectors()
    for k in 0..<count {
      if isStopped { return }
      let value = values[k] / scale
      if k > 0 && values[k - 1] / scale - value > cluster { first = k }
      // Equal shifts would give equal vectors.
      let shift = k > first ? min(value, previous - 2 * tiny) : value
      previous = shift
      start.fill(out.row(k), count: order)
      factor(shift, tiny)
      iterate(k, cluster: first, out)
    }
    applyReflections(count: count, to: out)
  }

  /// The largest sum of magnitudes in a row of T.
  private func normOfT() -> Double {
    var norm = 0.0
    for i in 0..<order {
      norm = max(norm, abs(diagonal[i]) + abs(beside[i]) + (i + 1 < order ? abs(beside[i + 1]) : 0))
    }
    return norm
  }

  /// Random numbers in [0.5, 1.5), the same in every run (Knuth's multiplier modulo 2^64).
  private struct StartVectors {
    private var state: UInt64 = 0x1234_5678_9ABC_DEF1

    mutating func fill(_ x: UnsafeMutablePointer<Double>, count: Int) {
      for i in 0..<count {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        x[i] = 0.5 + Double(state >> 40) * 0x1p-24
      }
    }
  }

  /// Three rounds for vector `k`, orthogonal to vectors `first ..< k`.
  private func iterate(_ k: Int, cluster first: Int, _ out: borrowing AlignedRows) {
    let x = out.row(k)
    // Twice is enough (Parlett): once may leave what cancellation brought back.
    let passes = k - first > 8 ? 2 : 1
    for round in 0..<3 {
      solve(x, forward: round > 0)
      for _ in 0..<passes {
        for other in first..<k {
          removeComponent(x, along: out.row(other), factor: 1, length: order)
        }
      }
      guard normalise(x) else {
        for i in 0..<order { x[i] = i == k ? 1 : 0 }
        return
      }
    }
  }

  /// Makes `x` a unit vector; false where it is 0 or not finite.
  private func normalise(_ x: UnsafeMutablePointer<Double>) -> Bool {
    var largest = 0.0
    for i in 0..<order { largest = max(largest, abs(x[i])) }
    guard largest > 0, largest.isFinite else { return false }
    // Its square could overflow.
    let inverse = 1 / largest
    var sum = 0.0
    for i in 0..<order {
      x[i] *= inverse
      sum += x[i] * x[i]
    }
    let unit = 1 / sum.squareRoot()
    for i in 0..<order { x[i] *= unit }
    return true
  }

  /// `x -= factor · (x·v) · v` over the first `length` entries.
  @inline(__always)
  func removeComponent(
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

  // MARK: The tridiagonal system

  /// The rows of `factors`: the three diagonals of the upper factor, the first of them inverted,
  /// the multipliers of the lower one, and 1 where a row was exchanged with the next.
  private var tridiagonalFactors:
    (
      u0: UnsafeMutablePointer<Double>, u1: UnsafeMutablePointer<Double>,
      u2: UnsafeMutablePointer<Double>, multiplier: UnsafeMutablePointer<Double>,
      swap: UnsafeMutablePointer<Double>
    )
  { (factors.row(0), factors.row(1), factors.row(2), factors.row(3), factors.row(4)) }

  /// LU with partial pivoting of T - shift.
  private func factor(_ shift: Double, _ tiny: Double) {
    let (u0, u1, u2, multiplier, swap) = tridiagonalFactors
    // Row i as it stands after the elimination of the rows above: p on the diagonal, q beside it.
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
    let (u0, u1, u2, multiplier, swap) = tridiagonalFactors
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
