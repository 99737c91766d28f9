/// How much rounding may tell apart two runs that compute the same sums.
///
/// With the same routes, the runs of `verify` compute the same products and sums in float32 and
/// differ in two things only: a token's partial sums are added up in the order of the ranks that
/// computed them, and matrix products of other numbers of rows may group their additions
/// differently. Each of the 2 L + 1 parts of a pass (attention and experts of every layer, the
/// output head) so contributes a fresh, independent relative error of a few units of roundoff u =
/// 2⁻²⁴ to the residual stream, and independent errors add up like the root of their number:
///
///     |Δ logit| ≤ 32 · u · √(2 L + 1) · scale
///
/// The scale is the largest magnitude of the baseline's logits. 32 is not derived: the largest
/// factor seen on seven checkpoints with 2 to 8 ranks is 3.7 (Benchmarks/results/rounding.md). It
/// is tight enough to see messages of lower precision: the unit roundoff of bfloat16, 2⁻⁸, is 2048
/// times the allowance of a part, that of float16, 2⁻¹¹, 256 times.
///
/// A router's scores are sums of the same kind, so their errors are at most that share of their own
/// scale S, and a softmax turns errors of ε in its scores into errors of at most ε / 2 in its
/// probabilities: |∂p_i/∂s_j| sums to 2 p_i (1 − p_i) ≤ 1/2 over j.
struct Rounding {
  /// The largest relative difference that rounding explains.
  let relative: Float

  init(layers: Int) {
    relative = 32 * 0x1p-24 * Float(2 * layers + 1).squareRoot()
  }

  /// The largest difference of a logit, given the largest magnitude of the logits.
  func logits(scale: Float) -> Float { relative * scale }

  /// The largest difference of a router's probability, given the largest magnitude of its scores.
  func probabilities(scoreScale: Float) -> Float { relative * scoreScale / 2 }
}
