import ColocateModel

/// Multipliers of the co-location relaxation, and the bound they prove.
///
/// Variables of the relaxation: `Z_l[i,j]`, whether experts i and j of layer l share a group, and
/// `Y_l[i,j]`, whether expert i of layer l and expert j of layer l+1 do. Every placement gives, for
/// each boundary, a matrix of order 2E
///
///     M_l = [[Z_l, Y_l], [Y_lᵀ, Z_{l+1}]] = J/P + R_l,   R_l = Q R_l Q,   0 ⪯ R_l ⪯ 2c·I,   tr R_l = 2c(P-1),
///
/// where Q projects onto the vectors that sum to 0 in each half: M_l = Σ_g s_g s_gᵀ with the P
/// orthogonal indicator vectors s_g of norm² 2c, whose halves all sum to c. Its entries lie in [0,
/// 1], its diagonal is 1, and it satisfies the cuts a·X ≤ b of `ColocationCut`. Hence for any
/// symmetric U_l and any λ ≥ 0
///
///     kept ≤ Σ_l [ 2c · (sum of the P-1 largest eigenvalues of Q U_l Q on the range of Q) + (Σ U_l)/P ]
///            + Σ_cuts λ·b + Σ_x max(0, C_x) - Σ diag U,
///
///     C_x = W_l[i,j] - 2 U_l[i,j] - (Aᵀλ)_x           for x = Y_l[i,j]
///     C_x = V_l[i,j] - 2 U_{l-1} - 2 U_l - (Aᵀλ)_x    for x = Z_l[i,j], i < j (the two blocks that hold Z_l), 0 where i, j exceed the cap together
///
/// (the sum of the k largest eigenvalues is the maximum of ⟨·, R⟩ over 0 ⪯ R ⪯ I, tr R = k: Ky Fan;
/// Overton and Womersley, Math. Programming 62, 1993). U and λ are integers times 2^-q, so
/// everything but the eigenvalues is exact integer arithmetic; these come with the margin of
/// `EigenvalueSum`. The spectral constraint is Donath and Hoffman's (1973), the triple cuts are
/// Grötschel and Wakabayashi's (1990).
package struct ColocationMultipliers: Sendable {
  package let layers: Int
  package let experts: Int
  package let groups: Int
  /// `q`: all multipliers are in units of 2^-q.
  package var fractionBits: Int
  /// U, `[L-1, 3, E, E]`: the blocks of Z_l (symmetric), Y_l, Z_{l+1} (symmetric).
  package var dual: [Int]
  /// Cuts with their multipliers.
  package var cuts: [ColocationCut]

  package init(
    layers: Int, experts: Int, groups: Int, fractionBits: Int, dual: [Int], cuts: [ColocationCut]
  ) {
    self.layers = layers
    self.experts = experts
    self.groups = groups
    self.fractionBits = fractionBits
    self.dual = dual
    self.cuts = cuts
  }

  /// Multipliers stay below this: they are exact in doubles, and a coefficient (a weight below
  /// 2^60, four of them) is in `Int`.
  package static let limit = 1 << 52

  /// The largest integer that `kept` can be, by these multipliers; nil where they are malformed or
  /// so large that the exact sums overflow, and where `control` stops it.
  package func keptBound(for problem: GroupingProblem, control: SearchControl) -> Int? {
    guard layers == problem.layers, experts == problem.experts, groups == problem.groups,
      dual.count == (layers - 1) * 3 * experts * experts, (0...40).contains(fractionBits)
    else { return nil }
    let limit = Self.limit
    guard dual.allSatisfy({ -limit < $0 && $0 < limit }) else { return nil }
    guard let exact = exactPart(problem), let spectral = spectralPart(control: control) else {
      return nil
    }
    return Self.floorOfSum(
      exact: exact, bits: fractionBits, spectral: spectral, total: problem.total)
  }

  /// `⌊exact · 2^-q + spectral⌋`, rounded up where doubles are not exact, and never above `total`.
  static func floorOfSum(exact: Int128, bits: Int, spectral: Double, total: Int) -> Int? {
    guard spectral.isFinite, abs(spectral) < 0x1p60 else { return nil }
    // Split the integer first, so that the doubles to be added are small in number and their
    // rounding is covered by one factor.
    let whole = exact >> Int128(bits)
    let rest = Double(Int(exact - (whole << Int128(bits)))) / Double(1 << bits)
    let sum = spectral + rest
    let rounded = (sum + abs(sum) * 0x1p-50 + 0x1p-60).rounded(.down)
    let bound = whole + Int128(rounded)
    return bound < Int128(Int.min) ? nil : Int(min(bound, Int128(total)))
  }

  /// Everything but eigenvalues, in units of 2^-q, (ΣU)/P rounded up. Coefficients are `Int`: a
  /// weight below 2^60 and four multipliers fit, what cuts add is checked. Sums over all of them
  /// are `Int128`.
  private func exactPart(_ problem: GroupingProblem) -> Int128? {
    let layout = ColocationLayout(layers: layers, experts: experts)
    let square = experts * experts
    guard problem.total <= (1 << 60) >> fractionBits else { return nil }
    var coefficients = [Int](repeating: 0, count: layout.count)
    var constant: Int128 = 0
    var sumU: Int128 = 0
    for l in 0..<(layers - 1) {
      let left = 3 * l * square
      for i in 0..<experts {
        for j in 0..<experts {
          let between = dual[left + square + i * experts + j]
          sumU += Int128(2 * between)
          coefficients[layout.between(l, i, j)] =
            (problem.weights[l * square + i * experts + j] << fractionBits) - 2 * between
          for half in [0, 2] {
            let value = dual[left + half * square + i * experts + j]
            guard value == dual[left + half * square + j * experts + i] else { return nil }
            sumU += Int128(value)
            if i == j {
              constant -= Int128(value)
            } else if i < j {
              coefficients[layout.inside(l + half / 2, i, j)] -= 2 * value
            }
          }
        }
      }
    }
    if !problem.coactivation.isEmpty {
      for l in 0..<layers {
        for i in 0..<experts {
          for j in (i + 1)..<max(experts, i + 1) {
            coefficients[layout.inside(l, i, j)] +=
              problem.coactivation[l * square + i * experts + j] << fractionBits
          }
        }
      }
    }
    let sets = ColocationCut.Context(problem: problem)
    for cut in cuts {
      guard cut.multiplier >= 0, let row = cut.expanded(sets) else { return nil }
      if cut.multiplier == 0 { continue }
      for (index, coefficient) in row.terms {
        let (product, over) = coefficient.multipliedReportingOverflow(by: cut.multiplier)
        let (sum, over2) = coefficients[index].subtractingReportingOverflow(product)
        if over || over2 { return nil }
        coefficients[index] = sum
      }
      constant += Int128(row.limit) * Int128(cut.multiplier)
    }
    for index in sets.apart { coefficients[index] = 0 }
    for value in coefficients where value > 0 { constant += Int128(value) }
    // (ΣU)/P, rounded up.
    let parts = Int128(groups)
    return constant + (sumU >= 0 ? (sumU + parts - 1) / parts : -(-sumU / parts))
  }

  /// `Σ_l 2c · (sum of the P-1 largest eigenvalues)` with its margin. Parallel over boundaries.
  private func spectralPart(control: SearchControl) -> Double? {
    guard groups > 1 else { return 0 }
    let square = experts * experts
    let unit = 1 / Double(1 << fractionBits)
    let dual = dual
    let (experts, groups) = (experts, groups)
    let parts = concurrentMap(layers - 1, threads: control.threads) { l -> Double in
      // One that is stopped answers infinity.
      if control.shouldStop { return .infinity }
      let evaluator = SpectralBound(experts: experts, groups: groups, control: control)
      return dual.withUnsafeBufferPointer { u in
        let base = u.baseAddress! + 3 * l * square
        return evaluator.upperBound { block, i, j in
          Double(base[block * square + i * experts + j]) * unit
        }
      }
    }
    let sum = parts.reduce(0, +)
    return sum + parts.reduce(0) { $0 + abs($1) } * Double(layers) * 0x1p-52
  }
}

/// `2c · (sum of the P-1 largest eigenvalues of Q U Q on the range of Q)`, from above.
///
/// Q U Q is formed in doubles: each entry is u_ij - (row mean) - (column mean) + (mean) of its
/// block, with an error below 8·γ_{2E+8}·max|U|, so the matrix is off by at most 2E times that in
/// norm. The two directions outside Q's range are moved below every eigenvalue by adding -κ (1
/// 1ᵀ)/E to the diagonal blocks, κ = ‖Q U Q‖_F, so that they are not among the P-1 ≤ E-1 largest.
/// (Were they, the sum would only grow.)
final class SpectralBound {
  private let experts: Int
  private let groups: Int
  private let sum: EigenvalueSum
  private var dense: [Double]
  private var rows: [Double]

  init(experts: Int, groups: Int, control: SearchControl) {
    self.experts = experts
    self.groups = groups
    sum = EigenvalueSum(order: 2 * experts, count: groups - 1, control: control)
    dense = [Double](repeating: 0, count: 4 * experts * experts)
    rows = [Double](repeating: 0, count: 4 * experts)
  }

  /// - Parameter entry: U's entry `(block, i, j)`, blocks 0 (Z_l), 1 (Y_l), 2 (Z_{l+1}), exactly.
  func upperBound(_ entry: (Int, Int, Int) -> Double) -> Double {
    let size = 2 * experts
    let inverse = 1 / Double(experts)
    var largest = 0.0
    // Lower triangle: Z_l above, then [Y_lᵀ, Z_{l+1}].
    for block in 0..<3 {
      let (rowStart, columnStart) = (block == 0 ? 0 : experts, block == 2 ? experts : 0)
      for i in 0..<(2 * experts) { rows[i] = 0 }
      var mean = 0.0
      for i in 0..<experts {
        for j in 0..<experts {
          let value = block == 1 ? entry(1, j, i) : entry(block, i, j)
          dense[(rowStart + i) * size + columnStart + j] = value
          largest = max(largest, abs(value))
          rows[i] += value
          rows[experts + j] += value
        }
      }
      for i in 0..<(2 * experts) { rows[i] *= inverse }
      for i in 0..<experts { mean += rows[i] }
      mean *= inverse
      for i in 0..<experts {
        for j in 0..<experts {
          dense[(rowStart + i) * size + columnStart + j] += mean - rows[i] - rows[experts + j]
        }
      }
    }
    let gamma = Double(2 * experts + 10) * 0x1p-52
    let error = 2 * Double(experts) * 8 * gamma * 4 * largest
    var kappa = 0.0
    for value in dense { kappa += value * value }
    kappa.formSquareRoot()
    let shift = kappa * inverse
    for i in 0..<size {
      let start = i < experts ? 0 : experts
      for j in start...i { dense[i * size + j] -= shift }
    }
    let moved = 4 * Double(experts) * 0x1p-52 * (shift + 4 * largest)
    let value = dense.withUnsafeBufferPointer {
      sum.upperBound($0.baseAddress!, stride: size, error: error + moved)
    }
    return 2 * Double(experts / groups) * value * (1 + 0x1p-50 * (value >= 0 ? 1 : -1))
  }
}
