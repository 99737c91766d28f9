import ColocateModel

/// Multipliers of the co-location relaxation as a certificate has them.
///
/// Write m_ij = 1 where experts i and j share a group, Z_l for the matrix of a layer and Y_l for
/// that between layers l and l+1. At boundary l the E + E experts are *vertices*: 0 ..< E of layer
/// l and E ..< 2E of layer l+1. With s_g the indicator vectors of the P groups,
///
///     M_l = [[Z_l, Y_l], [Y_lᵀ, Z_{l+1}]] = Σ_g s_g s_gᵀ,
///
/// where the s_g are orthogonal, each of squared length 2c, and each half of each sums to c. Let Q
/// project on the vectors whose halves both sum to 0. Σ_g s_g = 1 and Q 1 = 0, and s_g - 1/P has
/// halves that sum to 0, so R = M_l - J/P = Σ_g (s_g - 1/P)(s_g - 1/P)ᵀ = Q M_l Q satisfies
/// 0 ⪯ R ⪯ 2c·I, tr R = 2c(P-1), and therefore for every symmetric U
///
///     ⟨U, M_l⟩ = ⟨U, J⟩/P + ⟨Q U Q, R⟩
///              ≤ (Σ U)/P + 2c · (sum of the P-1 largest eigenvalues of Q U Q on the range of Q) .
///
/// (R/2c has eigenvalues in [0, 1] that add up to P-1: Ky Fan's principle.) M_l's diagonal is 1.
/// Each cut is an inequality a·m ≤ b that all placements satisfy; with λ ≥ 0, adding Σ λ·(b - a·m)
/// ≥ 0 and what U adds and takes away,
///
///     kept ≤ Σ_l [2c·(…) + (Σ U_l)/P - tr U_l] + Σ λ·b + Σ_x max(0, C_x),
///
///     C_x = W_l[i,j] - 2 U_l[i,E+j] - (Aᵀλ)_x                      for x = Y_l[i,j],
///     C_x = V_l[i,j] - 2 U_{l-1}[E+i,E+j] - 2 U_l[i,j] - (Aᵀλ)_x    for x = Z_l[i,j], i < j,
///
/// because every m is 0 or 1; a pair that cannot share a group within the cap has m = 0 and counts
/// nothing. U and λ are integers times 2^-q. All but the eigenvalues is exact, in Int128 with every
/// overflow refused; these come with the margin of `CertificateSpectrum`.
///
/// The spectral constraint is Donath and Hoffman's (IBM J. Res. Dev. 17, 1973).
package struct CertificateColocation: Sendable {
  /// The most experts a layer, and bits of the fraction, that evidence may have.
  package static let mostExperts = 512
  package static let mostBits = 40
  /// The most cuts.
  package static let mostCuts = 1 << 20

  /// q: all multipliers are in units of 2^-q.
  package var fractionBits: Int
  /// U's block of Z_l, its entries i ≤ j row by row, for each boundary.
  package var left: [[Int]]
  /// All of U's block of Y_l, row by row.
  package var between: [[Int]]
  /// U's block of Z_{l+1}, like `left`.
  package var right: [[Int]]
  package var cuts: [CertificateColocationCut]

  package init(
    fractionBits: Int, left: [[Int]], between: [[Int]], right: [[Int]],
    cuts: [CertificateColocationCut]
  ) {
    self.fractionBits = fractionBits
    self.left = left
    self.between = between
    self.right = right
    self.cuts = cuts
  }

  /// An upper bound on what placements keep, in units of 2^-(q + 20).
  package struct Bound: Sendable {
    /// The bound.
    var units: Int128
    /// How much of it is margin for the rounding of eigenvalues.
    var margin: Int128
    var bits: Int

    /// The largest integer that is not above it.
    package var floor: Int128 { units >> Int128(bits) }
    /// The same where the margin is four times as large. Another checker with other routines for
    /// eigenvalues finds a bound that is below this one.
    package var roomyFloor: Int128 { (units + 3 * margin) >> Int128(bits) }
  }

  /// Bits beyond q in which eigenvalue sums are rounded up.
  static let finer = 20

  /// The bound that these multipliers prove of `problem`.
  /// - Throws: where they are malformed, or so large that exact sums overflow.
  package func bound(
    of problem: CertifiedProblem, effort: CertificateEffort
  ) throws(CertificateError) -> Bound {
    let parts = try parts(of: problem, effort: effort)
    return try parts.bound(CertificateFixedPairs(problem))
  }

  /// The bound in its parts.
  struct Parts {
    /// C_x.
    var sums: ColocationSums
    /// All but what the pairs add, in units of 2^-(q + 20).
    var rest: Int128
    /// How much of it is margin for the rounding of eigenvalues.
    var margin: Int128
    var bits: Int

    /// With the most that the pairs can add.
    func bound(_ pairs: CertificateFixedPairs) throws(CertificateError) -> Bound {
      let most = try Checked.product(sums.most(pairs), 1 << Int128(CertificateColocation.finer))
      return Bound(units: try Checked.sum(rest, most), margin: margin, bits: bits)
    }
  }

  func parts(
    of problem: CertifiedProblem, effort: CertificateEffort
  ) throws(CertificateError) -> Parts {
    try checkShape(problem)
    let (sums, exact) = try exactPart(problem, effort: effort)
    let spectra = try effort.map(problem.layers - 1) { l in
      spectrum(boundary: l, problem: problem)
    }
    var (units, margin) = (exact, Int128(0))
    for (value, own) in spectra {
      // Beyond 2^100 nothing is lost by giving up; NaN fails the comparison too.
      guard value.magnitude < 0x1p100, own < 0x1p100 else {
        throw CertificateError("multipliers too large for a bound")
      }
      units = try Checked.sum(units, Int128(value.rounded(.up)))
      margin += Int128(own.rounded(.up))
    }
    return Parts(sums: sums, rest: units, margin: margin, bits: fractionBits + Self.finer)
  }

  private func checkShape(_ problem: CertifiedProblem) throws(CertificateError) {
    let (experts, boundaries) = (problem.experts, problem.layers - 1)
    guard (0...Self.mostBits).contains(fractionBits) else {
      throw CertificateError("\(fractionBits) fraction bits, expected 0 to \(Self.mostBits)")
    }
    guard problem.groups >= 2, experts <= Self.mostExperts, cuts.count <= Self.mostCuts else {
      throw CertificateError(
        "co-location evidence over \(problem.groups) groups of \(experts) experts with "
          + "\(cuts.count) cuts: beyond the checker's limits")
    }
    let half = experts * (experts + 1) / 2
    for (blocks, size) in [(left, half), (between, experts * experts), (right, half)] {
      guard blocks.count == boundaries, blocks.allSatisfy({ $0.count == size }) else {
        throw CertificateError("a block of U has the wrong size")
      }
      guard blocks.allSatisfy({ $0.allSatisfy { $0.magnitude < 1 << 52 } }) else {
        throw CertificateError("a multiplier beyond 2^52")
      }
    }
  }

  /// All entries of U_l, `[2E, 2E]`.
  private func matrix(_ l: Int, experts: Int) -> [Int] {
    let size = 2 * experts
    var u = [Int](repeating: 0, count: size * size)
    var next = 0
    for i in 0..<experts {
      for j in i..<experts {
        for (block, start) in [(left, 0), (right, experts)] {
          u[(start + i) * size + start + j] = block[l][next]
          u[(start + j) * size + start + i] = block[l][next]
        }
        next += 1
      }
      for j in 0..<experts {
        u[i * size + experts + j] = between[l][i * experts + j]
        u[(experts + j) * size + i] = between[l][i * experts + j]
      }
    }
    return u
  }

  /// 2c · (sum of the P-1 largest eigenvalues of Q U_l Q on the range of Q) in units of 2^-(q+20),
  /// from above, and its margin.
  ///
  /// E² times an entry of Q U Q is the integer E²·u_ij - E·(row sum) - E·(column sum) + (sum of the
  /// block). Outside the range of Q, which the two halves' vectors of ones span, Q U Q is 0; taking
  /// σ ≥ 0 off every entry of the diagonal blocks changes it only there, to -σE, and the largest
  /// sum on a part of the space is not larger than that on the whole.
  private func spectrum(boundary l: Int, problem: CertifiedProblem) -> (Double, Double) {
    let experts = problem.experts
    let size = 2 * experts
    let u = matrix(l, experts: experts)
    var centred = [Int128](repeating: 0, count: size * size)
    // Below 2^52 · 4 · 2^18.
    for (top, start) in [(0, 0), (0, experts), (experts, 0), (experts, experts)] {
      var rows = [Int128](repeating: 0, count: experts)
      var columns = rows
      for i in 0..<experts {
        for j in 0..<experts {
          let value = Int128(u[(top + i) * size + start + j])
          rows[i] += value
          columns[j] += value
        }
      }
      let all = rows.reduce(0, +)
      let count = Int128(experts)
      for i in 0..<experts {
        for j in 0..<experts {
          let place = (top + i) * size + start + j
          centred[place] = count * (count * Int128(u[place]) - rows[i] - columns[j]) + all
        }
      }
    }
    let norm = centred.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    let shift = Int128((norm / Double(experts)).rounded(.up))
    for half in [0, experts] {
      for i in 0..<experts {
        for j in 0..<experts { centred[(half + i) * size + half + j] -= shift }
      }
    }
    // One rounding an entry.
    let dense = centred.map { Double($0) }
    let sum = CertificateSpectrum.upperBound(
      dense, order: size, count: problem.groups - 1, relative: 0x1p-52)
    let square = Double(experts * experts)
    let factor = Double(2 * problem.groupSize) * Double(1 << Self.finer)
    let value = sum.value / square * factor
    // Two more roundings.
    let rounding = value.magnitude * 0x1p-50
    return (value + rounding, sum.margin / square * factor + 2 * rounding)
  }

  /// C_x, and everything but eigenvalues and pairs in units of 2^-(q+20), (ΣU)/P rounded up.
  private func exactPart(
    _ problem: CertifiedProblem, effort: CertificateEffort
  ) throws(CertificateError) -> (sums: ColocationSums, constant: Int128) {
    let (layers, experts) = (problem.layers, problem.experts)
    var sums = ColocationSums(problem: problem)
    var (constant, all) = (Int128(0), Int128(0))
    // Counts are below 2^56, multipliers below 2^52: nothing here comes near 2^127.
    for l in 0..<(layers - 1) {
      try effort.proceed()
      for i in 0..<experts {
        for j in 0..<experts {
          let weight = Int128(problem.weights[(l * experts + i) * experts + j]) << fractionBits
          let own = Int128(between[l][i * experts + j])
          sums[l, i, experts + j] += weight - 2 * own
          all += 2 * own
        }
      }
      var next = 0
      for i in 0..<experts {
        for j in i..<experts {
          for (start, value) in [(0, left[l][next]), (experts, right[l][next])] {
            all += Int128(value) * (i == j ? 1 : 2)
            if i == j {
              constant -= Int128(value)
            } else {
              sums[l, start + i, start + j] -= 2 * Int128(value)
            }
          }
          next += 1
        }
      }
    }
    sums.addCoactivation(bits: fractionBits)
    let cap = ColocationLoads(problem)
    for cut in cuts {
      try effort.proceed()
      guard cut.multiplier >= 0 else { throw CertificateError("a negative multiplier of a cut") }
      guard (0..<(layers - 1)).contains(cut.boundary) else {
        throw CertificateError("a cut of boundary \(cut.boundary)")
      }
      let row = try cut.row(of: problem, loads: cap)
      for (a, b, coefficient) in row.terms {
        let amount = try Checked.product(coefficient, Int128(cut.multiplier))
        sums[cut.boundary, a, b] = try Checked.difference(sums[cut.boundary, a, b], amount)
      }
      constant = try Checked.sum(
        constant, Checked.product(row.limit, Int128(cut.multiplier)))
    }
    constant = try Checked.product(constant, 1 << Int128(Self.finer))
    // ⌈(ΣU)·2^20 / P⌉.
    let (share, rest) = (all << Int128(Self.finer)).quotientAndRemainder(
      dividingBy: Int128(problem.groups))
    return (sums, try Checked.sum(constant, share + (rest > 0 ? 1 : 0)))
  }
}

/// Arithmetic that refuses what does not fit.
enum Checked {
  private static func exact(
    _ result: (partialValue: Int128, overflow: Bool)
  ) throws(CertificateError) -> Int128 {
    guard !result.overflow else { throw CertificateError("multipliers that overflow") }
    return result.partialValue
  }

  static func sum(_ a: Int128, _ b: Int128) throws(CertificateError) -> Int128 {
    try exact(a.addingReportingOverflow(b))
  }
  static func difference(_ a: Int128, _ b: Int128) throws(CertificateError) -> Int128 {
    try exact(a.subtractingReportingOverflow(b))
  }
  static func product(_ a: Int128, _ b: Int128) throws(CertificateError) -> Int128 {
    try exact(a.multipliedReportingOverflow(by: b))
  }
}
