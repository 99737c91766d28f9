import ColocateModel

/// What multipliers of the co-location relaxation prove, in parts (`ColocationMultipliers`):
///
///     B = eigenvalues + constant + Σ_x (the most that C_x·x can be).
///
/// In a placement a variable x does not take the value that C_x prefers costs it |C_x| exactly: B
/// holds for the placements with x so, less |C_x|, because no other term depends on x. That is what
/// `ColocationFixings` and `LossSearch` build on.
package struct ColocationEvaluation: Sendable {
  /// C_x by place of a `ColocationLayout` without padding, in units of 2^-q.
  package let coefficients: [Int]
  /// All that is known exactly and does not depend on x, in units of 2^-q.
  let constant: Int128
  /// q.
  package let fractionBits: Int
  /// An upper bound on the eigenvalues' part.
  let spectral: Double
  /// The sum of the magnitudes that `spectral` is made of.
  let spread: Double
  /// Of the matrices: 2E.
  let order: Int

  /// B as an integer, never above `total`; nil where it is beyond all sense.
  func keptBound(_ fixings: ColocationFixings, total: Int) -> Int? {
    let bound = units(fixings) >> Int128(fractionBits)
    return bound < Int128(Int.min) ? nil : Int(min(bound, Int128(total)))
  }

  /// B in units of 2^-q, rounded up.
  func units(_ fixings: ColocationFixings) -> Int128 {
    // The product is exact, and below 2^100.
    let scaled = (spectral * Double(1 << fractionBits)).rounded(.up)
    return constant + Int128(scaled) + fixings.most(coefficients)
  }

  /// What a placement that keeps at least `target` may lose against B at the most, in units of
  /// 2^-q; negative where there is none, at most 2^61.
  ///
  /// Rounded up generously, by far more than the margin of any checker that has routines of its own
  /// for eigenvalues (n²·2^-52 times a few times their magnitude): what is concluded here is
  /// concluded there.
  package func budget(_ fixings: ColocationFixings, target: Int) -> Int {
    let roundOff = spread * Double(order * order) * 0x1p-42 * Double(1 << fractionBits)
    let room = units(fixings) - (Int128(target) << Int128(fractionBits))
    if room < 0 { return -1 }
    return Int(min(room + Int128(roundOff.rounded(.up)), 1 << 61))
  }
}
