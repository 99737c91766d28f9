/// The most tokens that one GPU may serve in a layer, as a multiple of its even share `tokens_l / P`.
///
/// `Σ_{e on g} tokens_l(e) ≤ ratio · tokens_l / P` for every layer `l` and GPU `g`. The ratio is kept as a fraction of integers, so
/// that a cap written as 1.2 means 12/10 exactly and not the double next to it.
public struct LoadCap: Hashable, Sendable {
  /// The fraction's numerator, positive.
  public let numerator: Int
  /// The fraction's denominator, positive.
  public let denominator: Int
  /// Where one layer cannot meet the ratio, use that layer's smallest possible cap instead.
  public let relaxedToFeasible: Bool

  /// - Throws: `ModelError.cap` where the ratio is not from 1 (even shares are the least that can be) to 1000.
  public init(
    numerator: Int, denominator: Int, relaxedToFeasible: Bool = false
  ) throws(ModelError) {
    guard denominator > 0, denominator <= 1_000_000_000, numerator >= denominator,
      numerator / 1000 <= denominator
    else {
      throw .cap("a load cap of \(numerator)/\(denominator): expected a ratio from 1 to 1000")
    }
    self.numerator = numerator
    self.denominator = denominator
    self.relaxedToFeasible = relaxedToFeasible
  }

  /// The decimal fraction that `ratio` prints as: `LoadCap(1.2)` is 12/10 exactly.
  /// - Throws: `ModelError.cap` where the ratio is below 1 or not a number.
  public init(_ ratio: Double, relaxedToFeasible: Bool = false) throws(ModelError) {
    guard ratio.isFinite, ratio >= 1, ratio <= 1_000 else {
      throw .cap("a load cap of \(ratio): expected a ratio from 1 to 1000")
    }
    let digits = "\(ratio)".split(separator: ".")
    let fraction = (digits.count == 2 ? digits[1] : "").prefix(9)
    var denominator = 1
    for _ in fraction { denominator *= 10 }
    try self.init(
      numerator: Int(digits[0])! * denominator + (Int(fraction) ?? 0), denominator: denominator,
      relaxedToFeasible: relaxedToFeasible)
  }

  /// The ratio as a double, for people.
  public var ratio: Double { Double(numerator) / Double(denominator) }

  /// `⌊ratio · tokens / groups⌋`: the cap in tokens.
  public func tokens(of tokens: Int, groups: Int) -> Int {
    let product = tokens.multipliedFullWidth(by: numerator)
    let divisor = denominator * groups
    return divisor.dividingFullWidth(product).quotient
  }
}
