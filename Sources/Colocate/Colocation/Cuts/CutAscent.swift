/// Dual ascent on cuts, one cut at a time: what it reads and changes.
///
/// With the spectral part and U held, the relaxation's step in X is, up to constants, to minimise
///
///     ½ Σ_x h_x (x - x̂_x)²    over  0 ≤ X ≤ 1,  AX ≤ b,
///
/// where x̂ is the maximiser without bounds and cuts and h_x the number of matrix entries that are
/// x (`ColocationLayout.entries`). For multipliers λ ≥ 0 of the cuts the minimiser over the box is
/// clip(x̂ - Aᵀλ/h), and the dual function of λ is concave with gradient AX - b there. Along one
/// multiplier λ_k, as long as no variable of the cut enters or leaves the bounds, it is a parabola
/// with curvature Σ_x a_kx²/h_x, so its exact ascent step is
///
///     λ_k ← max(0, λ_k + (a_k·X - b_k) / Σ_x a_kx²/h_x).
///
/// Cuts are visited one after the other, each seeing the others' changes (Hildreth, Naval Research
/// Logistics Quarterly 4, 1957; inside ADMM for graph partitioning: de Meijer, Sotirov, Wiegele,
/// Zhao, 2023). A gradient step on all cuts at once would need a step twenty times shorter, because
/// many cuts share a variable.
struct CutAscent {
  /// x̂ - Aᵀλ/h by place, not clipped.
  let values: UnsafeMutablePointer<Double>
  /// Aᵀλ by place.
  let sums: UnsafeMutablePointer<Double>
  /// 1/h by place.
  let inverse: UnsafePointer<Double>

  /// Calls of `purge` in a row at which a multiplier is 0 before its cut is dropped.
  static let patience: UInt8 = 3
}
