import ColocateModel

/// Multipliers of the co-location relaxation, and the bound they prove.
///
/// **The relaxation.** It does not see which group an expert is in, only who shares one. Variables
/// are `Z_l[i,j]`, whether experts i and j of layer l share a group, and `Y_l[i,j]`, whether expert
/// i of layer l and expert j of layer l+1 do. For boundary l let s_g, of length 2E, mark the
/// members of group g in layers l and l+1. Then
///
///     M_l = [[Z_l, Y_l], [Y_lᵀ, Z_{l+1}]] = Σ_g s_g s_gᵀ .
///
/// The P vectors s_g are orthogonal with norm² 2c, they add up to the vector 1 of ones, and each of
/// their halves sums to c. So M_l is 2c times the projector onto their span, which holds 1, and
/// J/P with J = 11ᵀ is 2c times the projector onto 1 alone (‖1‖² = 2E = 2cP). With Q the projector
/// onto the vectors whose two halves each sum to 0, to which all of s_g - 1/P belong,
///
///     M_l = J/P + R_l,    R_l = Q R_l Q,    0 ⪯ R_l ⪯ 2c·I,    tr R_l = 2c(P-1).
///
/// The entries of M_l lie in [0, 1], those of its diagonal are 1, and it satisfies the cuts a·X ≤ b
/// of `ColocationCut`. The relaxation keeps these facts and forgets the placement.
///
/// **Any multipliers prove a bound.** Let X be the variables of a placement, X_l their matrix in
/// boundary l, U_l any symmetric matrices and λ ≥ 0. As M_l = X_l and b - AX ≥ 0,
///
///     kept(X)  ≤  Σ_l ⟨U_l, M_l⟩ + [ kept(X) - Σ_l ⟨U_l, X_l⟩ + λ·(b - AX) ].
///
/// ⟨U_l, M_l⟩ = ⟨U_l, J⟩/P + ⟨Q U_l Q, R_l⟩, and the maximum of ⟨·, R⟩ over 0 ⪯ R ⪯ I, tr R = k is
/// the sum of the k largest eigenvalues (Ky Fan; Overton and Womersley, Math. Programming 62,
/// 1993). The bracket is linear in X, so each variable adds at most its coefficient C_x where that
/// is positive. Hence no placement keeps more than
///
///     Σ_l [ 2c · (sum of the P-1 largest eigenvalues of Q U_l Q on the range of Q) + (Σ U_l)/P ]
///       + Σ_cuts λ·b + Σ_x max(0, C_x) - Σ_l tr U_l,
///
///     C_x = W_l[i,j] - 2·U_l[i,j] - (Aᵀλ)_x               for x = Y_l[i,j]
///     C_x = V_l[i,j] - 2·(U_{l-1} + U_l)[i,j] - (Aᵀλ)_x   for x = Z_l[i,j], i < j,
///
/// with the entries of U_{l-1} and U_l in the blocks that hold Z_l; a variable that the cap fixes
/// at 0 adds nothing.
///
/// **Rigour.** U and λ are integers times 2^-q, so everything but the eigenvalues is exact integer
/// arithmetic; the eigenvalues come from `SpectralBound` with a margin for every rounding. How the
/// multipliers were found does not matter.
///
/// The spectral constraint is Donath and Hoffman's (IBM J. Res. Dev. 17, 1973), the first cuts are
/// Grötschel and Wakabayashi's (Math. Programming 47, 1990).
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

  /// An entry of U_l.
  @inline(__always)
  func entry(_ l: Int, _ block: ColocationLayout.Block, _ i: Int, _ j: Int) -> Int {
    dual[((3 * l + block.rawValue) * experts + i) * experts + j]
  }

  /// The largest integer that `kept` can be, by these multipliers; nil where they are malformed or
  /// so large that the exact sums overflow, and where `control` stops it.
  package func keptBound(for problem: GroupingProblem, control: SearchControl) -> Int? {
    guard layers == problem.layers, experts == problem.experts, groups == problem.groups,
      dual.count == (layers - 1) * 3 * experts * experts, (0...40).contains(fractionBits),
      problem.total <= (1 << 60) >> fractionBits
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

  // MARK: The exact part

  /// Everything but eigenvalues, in units of 2^-q, (ΣU)/P rounded up. Sums over all variables are
  /// `Int128`.
  private func exactPart(_ problem: GroupingProblem) -> Int128? {
    let layout = ColocationLayout(layers: layers, experts: experts)
    var coefficients = weightCoefficients(problem, layout)
    guard let dual = subtractDual(from: &coefficients, layout) else { return nil }
    let context = ColocationCut.Context(problem: problem)
    guard let limits = subtractCuts(from: &coefficients, context) else { return nil }
    for index in context.apart { coefficients[index] = 0 }
    var constant = limits - dual.trace
    for value in coefficients where value > 0 { constant += Int128(value) }
    // (ΣU)/P, rounded up.
    let parts = Int128(groups)
    return constant + (dual.sum >= 0 ? (dual.sum + parts - 1) / parts : -(-dual.sum / parts))
  }

  /// W and V by place, in units of 2^-q.
  private func weightCoefficients(_ problem: GroupingProblem, _ layout: ColocationLayout) -> [Int] {
    var coefficients = [Int](repeating: 0, count: layout.count)
    for l in 0..<layout.boundaries {
      for i in 0..<experts {
        for j in 0..<experts {
          coefficients[layout.between(l, i, j)] = problem.weight(l, i, j) << fractionBits
        }
      }
    }
    guard !problem.coactivation.isEmpty else { return coefficients }
    for l in 0..<layers {
      for i in 0..<experts {
        for j in (i + 1)..<max(experts, i + 1) {
          coefficients[layout.inside(l, i, j)] = problem.coactivation(l, i, j) << fractionBits
        }
      }
    }
    return coefficients
  }

  /// Takes 2·U from the coefficients, which cannot overflow: a weight below 2^60 and four
  /// multipliers fit.
  /// - Returns: Σ_l ΣU_l and Σ_l tr U_l; nil where a block of some Z is not symmetric.
  private func subtractDual(
    from coefficients: inout [Int], _ layout: ColocationLayout
  ) -> (sum: Int128, trace: Int128)? {
    var (sum, trace) = (Int128(0), Int128(0))
    for l in 0..<layout.boundaries {
      for i in 0..<experts {
        for j in 0..<experts {
          // Y_l stands for Y_lᵀ too.
          let value = entry(l, .between, i, j)
          sum += Int128(2 * value)
          coefficients[layout.between(l, i, j)] -= 2 * value
        }
      }
      for block in [ColocationLayout.Block.left, .right] {
        guard let symmetric = subtractSymmetric(l, block, from: &coefficients, layout) else {
          return nil
        }
        sum += symmetric.sum
        trace += symmetric.trace
      }
    }
    return (sum, trace)
  }

  private func subtractSymmetric(
    _ l: Int, _ block: ColocationLayout.Block, from coefficients: inout [Int],
    _ layout: ColocationLayout
  ) -> (sum: Int128, trace: Int128)? {
    let layer = l + block.rowHalf
    var (sum, trace) = (Int128(0), Int128(0))
    for i in 0..<experts {
      trace += Int128(entry(l, block, i, i))
      for j in 0..<experts {
        let value = entry(l, block, i, j)
        guard value == entry(l, block, j, i) else { return nil }
        sum += Int128(value)
        if i < j { coefficients[layout.inside(layer, i, j)] -= 2 * value }
      }
    }
    return (sum, trace)
  }

  /// Takes Aᵀλ from the coefficients.
  /// - Returns: λ·b; nil where a cut is malformed, its multiplier negative, or a coefficient
  ///   overflows.
  private func subtractCuts(
    from coefficients: inout [Int], _ context: ColocationCut.Context
  ) -> Int128? {
    var limits = Int128(0)
    for cut in cuts {
      guard cut.multiplier >= 0, let row = cut.row(in: context) else { return nil }
      if cut.multiplier == 0 { continue }
      for (index, coefficient) in row.terms {
        let (product, over) = coefficient.multipliedReportingOverflow(by: cut.multiplier)
        let (rest, over2) = coefficients[index].subtractingReportingOverflow(product)
        if over || over2 { return nil }
        coefficients[index] = rest
      }
      limits += Int128(row.limit) * Int128(cut.multiplier)
    }
    return limits
  }

  // MARK: The spectral part

  /// `Σ_l 2c · (sum of the P-1 largest eigenvalues)` with its margin. Parallel over boundaries.
  private func spectralPart(control: SearchControl) -> Double? {
    guard groups > 1 else { return 0 }
    let unit = 1 / Double(1 << fractionBits)
    let parts = concurrentMap(layers - 1, threads: control.threads) { l -> Double in
      // One that is stopped answers infinity.
      if control.shouldStop { return .infinity }
      let bound = SpectralBound(experts: experts, groups: groups, control: control)
      return bound.upperBound { block, i, j in Double(entry(l, block, i, j)) * unit }
    }
    let sum = parts.reduce(0, +)
    return sum + parts.reduce(0) { $0 + abs($1) } * Double(layers) * 0x1p-52
  }
}
