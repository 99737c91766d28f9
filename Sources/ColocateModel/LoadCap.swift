/// The most tokens that one GPU may serve in a layer, as a multiple of its even share
/// `tokens_l / P`.
///
/// `Σ_{e on g} tokens_l(e) ≤ ratio · tokens_l / P` for every layer `l` and GPU `g`. The ratio is
/// kept as a fraction of integers, so that a cap written as 1.2 means 12/10 exactly and not the
/// double next to it.
public struct LoadCap: Hashable, Sendable {
  /// The fraction's numerator, positive.
  public let numerator: Int
  /// The fraction's denominator, positive.
  public let denominator: Int
  /// Where one layer cannot meet the ratio, use that layer's smallest possible cap instead.
  public let relaxedToFeasible: Bool

  /// Digits after the point that a decimal fraction may have.
  static let mostDigits = 15

  /// - Throws: `ModelError.cap` where the ratio is not from 1 (even shares are the least that can
  ///   be) to 1000, or its denominator is above 10^15.
  public init(
    numerator: Int, denominator: Int, relaxedToFeasible: Bool = false
  ) throws(ModelError) {
    guard denominator > 0, denominator <= 1_000_000_000_000_000, numerator >= denominator,
      numerator / 1000 <= denominator
    else {
      throw .cap("a load cap of \(numerator)/\(denominator): expected a ratio from 1 to 1000")
    }
    self.numerator = numerator
    self.denominator = denominator
    self.relaxedToFeasible = relaxedToFeasible
  }

  /// The decimal fraction that `ratio` prints as: `LoadCap(1.2)` is 12/10 exactly.
  /// - Throws: `ModelError.cap` where the ratio is not from 1 to 1000.
  public init(_ ratio: Double, relaxedToFeasible: Bool = false) throws(ModelError) {
    guard ratio.isFinite, ratio >= 1, ratio <= 1_000 else {
      throw .cap("a load cap of \(ratio): expected a ratio from 1 to 1000")
    }
    // A double just above 1 prints with 16 digits after the point.
    let text = "\(ratio)".split(separator: ".")
    try self.init(
      decimal: text[0] + "." + text[1].prefix(Self.mostDigits),
      relaxedToFeasible: relaxedToFeasible)
  }

  /// The decimal fraction as it is written, such as "1.0011": exact.
  /// - Throws: `ModelError.cap` where it is none, has more than 15 digits after the point, or is
  ///   not from 1 to 1000.
  public init(decimal text: String, relaxedToFeasible: Bool = false) throws(ModelError) {
    let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let whole = parts[0]
    var fraction = parts.count == 2 ? parts[1] : ""
    while fraction.hasSuffix("0") { fraction.removeLast() }
    func isDigits(_ part: Substring) -> Bool { part.utf8.allSatisfy { 48...57 ~= $0 } }
    guard isDigits(whole), isDigits(fraction), !whole.isEmpty, whole.count <= 4,
      fraction.count <= Self.mostDigits, let integer = Int128(whole)
    else {
      throw .cap(
        "a load cap of \(text): expected a ratio from 1 to 1000, such as 1.2, with at most "
          + "\(Self.mostDigits) digits after the point"
      )
    }
    var denominator = 1
    for _ in fraction { denominator *= 10 }
    // Below 10⁴ · 10¹⁵: 9999 with 15 digits would not fit, and is no ratio either.
    let number = integer * Int128(denominator) + (Int128(fraction) ?? 0)
    guard number <= 1000 * Int128(denominator), number >= Int128(denominator) else {
      throw .cap("a load cap of \(text): expected a ratio from 1 to 1000")
    }
    try self.init(
      numerator: Int(number), denominator: denominator, relaxedToFeasible: relaxedToFeasible)
  }

  /// The ratio as a double, for people.
  public var ratio: Double { Double(numerator) / Double(denominator) }

  /// The ratio as people write it: a decimal fraction where it is one.
  package var text: String {
    let decimal = LoadRatio(load: numerator, tokens: denominator, gpus: 1)
    let written = decimal.decimal(digits: Self.mostDigits, up: false)
    return written == decimal.decimal(digits: Self.mostDigits, up: true)
      ? written : "\(numerator)/\(denominator)"
  }

  /// `⌊ratio · tokens / groups⌋`: the cap in tokens, `Int.max` where it is beyond that.
  public func tokens(of tokens: Int, groups: Int) -> Int {
    Int(clamping: Int128(tokens) * Int128(numerator) / (Int128(denominator) * Int128(groups)))
  }
}
