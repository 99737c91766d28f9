/// The steps between the matrix products, eight floats at a time: RMSNorm, RoPE, softmax, SwiGLU,
/// argmax.
///
/// Only what SSE2 has is used (no fused multiply-add, no rounding instruction), so that the default
/// build runs everywhere.

typealias Floats = UnsafeMutablePointer<Float>
typealias Lanes = SIMD8<Float>

enum VectorMath {
  @inline(__always)
  static func load(_ p: UnsafePointer<Float>) -> Lanes {
    UnsafeRawPointer(p).loadUnaligned(as: Lanes.self)
  }

  @inline(__always)
  static func store(_ value: Lanes, _ p: Floats) {
    UnsafeMutableRawPointer(p).storeBytes(of: value, as: Lanes.self)
  }

  // The standard library's pointwiseMax and max() are calls that go lane by lane; these are an
  // instruction or a few.

  @inline(__always)
  static func larger(_ a: Lanes, _ b: Lanes) -> Lanes { a.replacing(with: b, where: b .> a) }

  @inline(__always)
  static func largest(_ v: Lanes) -> Float {
    let four = v.lowHalf.replacing(with: v.highHalf, where: v.highHalf .> v.lowHalf)
    let two = four.lowHalf.replacing(with: four.highHalf, where: four.highHalf .> four.lowHalf)
    return Swift.max(two[0], two[1])
  }

  /// eˣ = 2ⁿ · eʳ with n = round(x / ln 2), |r| ≤ ln 2 / 2; eʳ by the polynomial of Cephes' expf.
  /// Relative error below 2e-7; 0 below −87.3 (where eˣ leaves the normal floats), +large above 88.
  @inline(__always)
  static func exp(_ value: Lanes) -> Lanes {
    let magic = Lanes(repeating: 0x1.8p23)  // adding it rounds to a whole number in the low bits
    let low = Lanes(repeating: -87.3)
    let high = Lanes(repeating: 88)
    let x = larger(value.replacing(with: high, where: value .> high), low)
    let shifted = x * 1.442_695_04 + magic
    let n = shifted - magic
    let r = (x - n * 0.693_359_375) - n * -2.121_944_4e-4
    var p = r * 1.987_569_15e-4 + 1.398_199_95e-3
    p = p * r + 8.333_451_9e-3
    p = p * r + 4.166_579_6e-2
    p = p * r + 1.666_666_55e-1
    p = p * r + 5.000_000_1e-1
    p = p * r * r + r + 1
    let exponent =
      unsafeBitCast(shifted, to: SIMD8<Int32>.self) &- SIMD8<Int32>(repeating: 0x4B40_0000)
    let scale = unsafeBitCast((exponent &+ 127) &<< 23, to: Lanes.self)
    return (p * scale).replacing(with: 0, where: value .< -87.3)
  }

  @inline(__always)
  static func exp(_ value: Float) -> Float { exp(Lanes(repeating: value))[0] }

  /// y = x · w / √(mean(x²) + ε), over `width` values. `y` may be `x`.
  static func rmsNorm(
    _ x: UnsafePointer<Float>, _ w: UnsafePointer<Float>, _ y: Floats, width: Int, epsilon: Float
  ) {
    var squares = Lanes(repeating: 0)
    var i = 0
    while i &+ 8 <= width {
      let v = load(x + i)
      squares += v * v
      i &+= 8
    }
    var sum = squares.sum()
    while i < width {
      sum += x[i] * x[i]
      i &+= 1
    }
    let scale = 1 / (sum / Float(width) + epsilon).squareRoot()
    i = 0
    while i &+ 8 <= width {
      store(load(w + i) * (load(x + i) * scale), y + i)
      i &+= 8
    }
    while i < width {
      y[i] = w[i] * (x[i] * scale)
      i &+= 1
    }
  }

  /// RoPE in Hugging Face's order (first half with second half): for i < hd/2
  ///     x_i ← x_i cos θ_i − x_{i+hd/2} sin θ_i,    x_{i+hd/2} ← x_{i+hd/2} cos θ_i + x_i sin θ_i
  /// - Parameter table: `[hd]`: the position's cosines `[hd/2]`, then its sines `[hd/2]`.
  @inline(__always)
  static func rotate(_ x: Floats, _ table: UnsafePointer<Float>, headWidth: Int) {
    let half = headWidth / 2
    var i = 0
    while i &+ 8 <= half {
      let (a, b) = (load(x + i), load(x + half + i))
      let (c, s) = (load(table + i), load(table + half + i))
      store(a * c - b * s, x + i)
      store(b * c + a * s, x + half + i)
      i &+= 8
    }
    while i < half {
      let (a, b, c, s) = (x[i], x[half + i], table[i], table[half + i])
      x[i] = a * c - b * s
      x[half + i] = b * c + a * s
      i &+= 1
    }
  }

  /// p_i = e^{s·(x_i − max x)} / Σ, in place, over `count` values.
  static func softmax(_ x: Floats, count: Int, scale: Float = 1) {
    let largest = largest(of: x, count: count)
    var sums = Lanes(repeating: 0)
    var i = 0
    while i &+ 8 <= count {
      let e = exp((load(x + i) - largest) * scale)
      sums += e
      store(e, x + i)
      i &+= 8
    }
    var sum = sums.sum()
    while i < count {
      x[i] = exp((x[i] - largest) * scale)
      sum += x[i]
      i &+= 1
    }
    multiply(x, by: 1 / sum, count: count)
  }

  @inline(__always)
  static func multiply(_ x: Floats, by factor: Float, count: Int) {
    var i = 0
    while i &+ 8 <= count {
      store(load(x + i) * factor, x + i)
      i &+= 8
    }
    while i < count {
      x[i] *= factor
      i &+= 1
    }
  }

  /// SwiGLU: g ← s · u · g / (1 + e^{−g}), over `count` values; `s` is the token's gate weight.
  @inline(__always)
  static func swiGLU(_ g: Floats, _ u: UnsafePointer<Float>, count: Int, scale: Float) {
    var i = 0
    while i &+ 8 <= count {
      let v = load(g + i)
      store(v * load(u + i) * scale / (exp(-v) + 1), g + i)
      i &+= 8
    }
    while i < count {
      g[i] = g[i] * u[i] * scale / (exp(-g[i]) + 1)
      i &+= 1
    }
  }

  /// y ← y + x, over `count` values.
  @inline(__always)
  static func add(_ x: UnsafePointer<Float>, to y: Floats, count: Int) {
    var i = 0
    while i &+ 8 <= count {
      store(load(y + i) + load(x + i), y + i)
      i &+= 8
    }
    while i < count {
      y[i] += x[i]
      i &+= 1
    }
  }

  /// Clips `count` values to ± `limit`.
  static func clip(_ x: Floats, to limit: Float, count: Int) {
    for i in 0..<count { x[i] = min(max(x[i], -limit), limit) }
  }

  /// Index of the largest value, the first of equals.
  static func argmax(_ x: UnsafePointer<Float>, count: Int) -> Int {
    let largest = largest(of: x, count: count)
    var i = 0
    while i < count, x[i] != largest { i &+= 1 }
    return i < count ? i : 0
  }

  /// The largest of `count` values.
  @inline(__always)
  private static func largest(of x: UnsafePointer<Float>, count: Int) -> Float {
    var i = 0
    var largest = -Float.infinity
    if count >= 8 {
      var most = load(x)
      i = 8
      while i &+ 8 <= count {
        most = larger(most, load(x + i))
        i &+= 8
      }
      largest = Self.largest(most)
    }
    while i < count {
      largest = max(largest, x[i])
      i &+= 1
    }
    return largest
  }
}
