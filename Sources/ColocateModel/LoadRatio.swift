/// A load over a GPU's even share of its layer, `load · P / tokens`, as a fraction of integers:
/// exact, so that what is printed of it works when it is typed in again.
package struct LoadRatio: Comparable, Sendable {
  private let numerator: Int128
  private let denominator: Int128

  /// Even shares.
  package static let one = LoadRatio(load: 1, tokens: 1, gpus: 1)

  /// - Parameter tokens: of the layer; without any every load is its share.
  package init(load: Int, tokens: Int, gpus: Int) {
    numerator = tokens == 0 ? 1 : Int128(load) * Int128(gpus)
    denominator = tokens == 0 ? 1 : Int128(tokens)
  }

  package static func < (a: LoadRatio, b: LoadRatio) -> Bool {
    a.numerator * b.denominator < b.numerator * a.denominator
  }

  package static func == (a: LoadRatio, b: LoadRatio) -> Bool {
    a.numerator * b.denominator == b.numerator * a.denominator
  }

  /// `⌊ratio · tokens / P⌋`: the largest load within it in another layer.
  package func tokens(of tokens: Int, gpus: Int) -> Int {
    Int(clamping: numerator * Int128(tokens) / (denominator * Int128(gpus)))
  }

  /// As a double, for people.
  package var value: Double { Double(numerator) / Double(denominator) }

  /// The decimal fraction with at most `digits` digits next to it: at or above it with `up`, so
  /// that a cap typed so is met, and at or below it without, so that "at least" is true. Zeros at
  /// the end are left out.
  package func decimal(digits: Int, up: Bool) -> String {
    var scale: Int128 = 1
    for _ in 0..<digits { scale *= 10 }
    let (whole, rest) = (numerator * scale).quotientAndRemainder(dividingBy: denominator)
    let scaled = rest > 0 && up ? whole + 1 : whole
    var fraction = String(scaled % scale)
    fraction = String(repeating: "0", count: digits - fraction.count) + fraction
    while fraction.count > 1, fraction.hasSuffix("0") { fraction.removeLast() }
    return "\(scaled / scale).\(fraction)"
  }
}
