import ColocateModel

/// Exponential and logarithm for the smoothed dual, without a C library.
///
/// exp: x = k·ln 2 + r with |r| ≤ ½ ln 2; eʳ by its Taylor polynomial; 2ᵏ by the exponent's bits.
/// log: x = 2ᵏ·m with m in [√½, √2), ln m = 2·artanh((m − 1)/(m + 1)) by its odd series. Both are
/// good to a few units in the last place, and nothing that is claimed about a bound depends on
/// them: the smoothed dual only finds prices, the bound is evaluated in integers.
package enum Elementary {
  /// eˣ; 0 below −708, and the largest exponent that doubles have beyond 709.
  @inline(__always)
  package static func exp(_ x: Double) -> Double {
    if x < -708 { return 0 }
    let clipped = x > 709 ? 709 : x
    let k = (clipped * 1.4426950408889634).rounded()
    let r = (clipped - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    var p = 1.0 / 6_227_020_800
    p = p * r + 1.0 / 479_001_600
    p = p * r + 1.0 / 39_916_800
    p = p * r + 1.0 / 3_628_800
    p = p * r + 1.0 / 362_880
    p = p * r + 1.0 / 40_320
    p = p * r + 1.0 / 5040
    p = p * r + 1.0 / 720
    p = p * r + 1.0 / 120
    p = p * r + 1.0 / 24
    p = p * r + 1.0 / 6
    p = p * r + 0.5
    p = p * r + 1
    p = p * r + 1
    return p * Double(bitPattern: UInt64(Int(k) + 1023) << 52)
  }

  /// ln x for positive, normal x.
  package static func log(_ x: Double) -> Double {
    var k = x.exponent
    var m = x.significand
    if m > 1.4142135623730951 {
      m *= 0.5
      k += 1
    }
    let z = (m - 1) / (m + 1)
    let z2 = z * z
    var p = 1.0 / 23
    for n in stride(from: 21, through: 1, by: -2) { p = p * z2 + 1 / Double(n) }
    return 2 * z * p + Double(k) * 0.6931471805599453
  }

  /// eˣ in each lane for −87 ≤ x ≤ 0, relative error below 1e-6; lanes below −87 give 0.
  @inline(__always)
  package static func exp(_ x: SIMD4<Float>) -> SIMD4<Float> {
    let low = SIMD4<Float>(repeating: -87)
    let clipped = x.replacing(with: low, where: x .< low)
    let magic = SIMD4<Float>(repeating: 12_582_912)  // 1.5 · 2²³: adding it rounds to an integer
    let shifted = clipped * 1.44269504 + magic
    let k = shifted - magic
    let r = (clipped - k * 0.693359375) + k * 2.12194440e-4
    var p = r * (1.0 / 720) + (1.0 / 120)
    p = p * r + (1.0 / 24)
    p = p * r + (1.0 / 6)
    p = p * r + 0.5
    p = p * r + 1
    p = p * r + 1
    let bits =
      (unsafeBitCast(shifted, to: SIMD4<Int32>.self) &- unsafeBitCast(magic, to: SIMD4<Int32>.self)
        &+ 127) &<< 23
    let value = p * unsafeBitCast(bits, to: SIMD4<Float>.self)
    return value.replacing(with: 0, where: x .< low)
  }
}
