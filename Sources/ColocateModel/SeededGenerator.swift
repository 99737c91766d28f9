/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a small generator whose whole state is one word.
///
/// Everything random in the package draws from this generator, so that a seed names one result on
/// every machine. It is not for cryptography.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
  var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z &>> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z &>> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z &>> 31)
  }

  /// A uniform number in `0 ..< bound` by multiply and shift; the bias is below `bound / 2⁶⁴`.
  @inline(__always)
  public mutating func next(below bound: Int) -> Int {
    Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(truncatingIfNeeded: bound)).high)
  }

  /// A uniform double in `[0, 1)` with 53 random bits.
  @inline(__always)
  public mutating func nextUnit() -> Double { Double(next() &>> 11) * 0x1p-53 }

  /// An independent stream for worker `index` of this seed.
  public static func stream(seed: UInt64, index: Int) -> SeededGenerator {
    var mixer = SeededGenerator(
      seed: seed ^ (UInt64(truncatingIfNeeded: index) &* 0xD1B5_4A32_D192_ED03))
    return SeededGenerator(seed: mixer.next())
  }
}
