import Dispatch

/// Routing traces of a made-up model whose structure is known: tokens with a slowly moving hidden
/// state, and balanced gates.
///
/// Each token has a unit vector `h_l ∈ ℝ^d`. It starts uniform on the sphere and drifts from layer
/// to layer,
///
///     h_{l+1} = normalise(ρ · h_l + √(1 - ρ²) · z / √d),     z ~ N(0, I_d)
///
/// and the gate of layer `l` picks the `k` experts with the largest `⟨g_{l,e}, h_l⟩ + b_{l,e}`,
/// with random directions `g` of its own. Near ρ = 1 a token that chose expert `i` sits in a small
/// region of the sphere, which the next layer's gates cut along other lines: the transition matrix
/// is far from uniform and no placement keeps everything, as in trained models. With ρ = 0 layers
/// are independent.
///
/// The biases `b` make loads even: stochastic approximation over batches of the tokens themselves,
/// `b_e -= η_n · (load_e / mean - 1)` with a step that falls as `1/√n` and the average of the
/// second half of the steps (Polyak and Juditsky, SIAM J. Control Optim. 1992), the way loss-free
/// balancing trains them (Wang et al., arXiv 2408.15664).
///
/// Normal numbers are sums of twelve uniforms less six: mean 0, variance 1, within ±6. The tails do
/// not matter here, and nothing but IEEE additions, products and square roots is used, so a seed
/// names the same trace on every machine.
public struct SyntheticTrace: Hashable, Sendable {
  /// MoE layers, `L ≥ 2`.
  public let layers: Int
  /// Experts per layer, `E`.
  public let experts: Int
  /// Tokens, `T`.
  public let tokens: Int
  /// Experts per token and layer, `k`, in the order of their scores.
  public let choices: Int
  /// `ρ`, 0 to 1: how slowly the hidden state moves.
  public let affinity: Double
  /// Names the trace.
  public let seed: UInt64

  /// `d`, the hidden state's dimension.
  static let dimensions = 8
  /// Layers that are worked on at the same time.
  static let layersAtATime = 4

  /// - Throws: `ModelError.sizes` where a size is out of range.
  public init(
    layers: Int, experts: Int, tokens: Int, choices: Int = 1, affinity: Double = 0.95,
    seed: UInt64 = 1
  ) throws(ModelError) {
    guard (2...4096).contains(layers) else {
      throw .sizes("\(layers) layers: expected 2 to 4096")
    }
    guard (1...TransitionAccumulator.mostExperts).contains(experts) else {
      throw .sizes("\(experts) experts: expected 1 to \(TransitionAccumulator.mostExperts)")
    }
    guard choices >= 1, choices <= min(experts, 256) else {
      throw .sizes("\(choices) experts per token: expected 1 to \(min(experts, 256))")
    }
    guard tokens >= 1, tokens <= (1 << 33) / (layers * choices) else {
      throw .sizes("\(tokens) tokens: expected 1 to \((1 << 33) / (layers * choices))")
    }
    guard affinity >= 0, affinity <= 1 else {
      throw .sizes("an affinity of \(affinity): expected 0 to 1")
    }
    self.layers = layers
    self.experts = experts
    self.tokens = tokens
    self.choices = choices
    self.affinity = affinity
    self.seed = seed
  }

  /// The trace: expert ids, shape `[T, L, k]`, row-major. O(T · L · E · d) time over all cores,
  /// `T · (2 · L · k + 128)` bytes.
  public func ids() -> [UInt16] {
    let (d, wave) = (Self.dimensions, Self.layersAtATime)
    let perLayer = tokens * d
    // [wave, T, d]: the last layer of one wave is where the next one starts.
    var states = [Float](repeating: 0, count: wave * perLayer)
    var ids = [UInt16](repeating: 0, count: tokens * layers * choices)
    states.withUnsafeMutableBufferPointer { states in
      ids.withUnsafeMutableBufferPointer { ids in
        for first in stride(from: 0, to: layers, by: wave) {
          let count = min(wave, layers - first)
          for l in first..<(first + count) {
            let to = states.start + (l - first) * perLayer
            let from = l == first ? states.start + (wave - 1) * perLayer : to - perLayer
            move(from: l == 0 ? nil : UnsafePointer(from), to: to, layer: l)
          }
          nonisolated(unsafe) let (h, out) = (UnsafePointer(states.start), ids.start)
          DispatchQueue.concurrentPerform(iterations: count) { index in
            route(h + index * perLayer, layer: first + index, into: out)
          }
        }
      }
    }
    return ids
  }

  /// The trace's transitions, all pairs of a token's experts in neighbouring layers.
  /// - Throws: `ModelError.counts` where the tables would be too large.
  public func counts() throws(ModelError) -> TransitionCounts {
    var accumulator = try TransitionAccumulator(layers: layers, choices: choices, experts: experts)
    let ids = ids()
    try ids.withUnsafeBufferPointer { ids throws(ModelError) in try accumulator.add(ids) }
    return try accumulator.counts()
  }

  /// The states of layer `layer` (`[T, d]`) from those of the layer before it, or from nothing.
  private func move(
    from: UnsafePointer<Float>?, to: UnsafeMutablePointer<Float>, layer: Int
  ) {
    let d = Self.dimensions
    var random = SeededGenerator.stream(seed: seed, index: 2 * layer)
    let keep = Float(affinity)
    let move = Float((1 - affinity * affinity).squareRoot() / Double(d).squareRoot())
    for t in 0..<tokens {
      let h = to + t * d
      if let from {
        for x in 0..<d { h[x] = keep * from[t * d + x] + move * Self.normal(&random) }
      } else {
        for x in 0..<d { h[x] = Self.normal(&random) }
      }
      Self.normalise(h)
    }
  }

  /// Balances the gate of layer `layer` for `states` and writes the tokens' experts to their places
  /// in `ids`.
  private func route(
    _ states: UnsafePointer<Float>, layer: Int, into ids: UnsafeMutablePointer<UInt16>
  ) {
    var gate = Gate(
      experts: experts, choices: choices, random: .stream(seed: seed, index: 2 * layer + 1))
    gate.balance(states, tokens: tokens)
    for t in 0..<tokens {
      gate.route(states + t * Self.dimensions)
      let to = ids + (t * layers + layer) * choices
      for k in 0..<choices { to[k] = UInt16(truncatingIfNeeded: gate.chosen[k]) }
    }
  }

  /// Sum of twelve 16-bit uniforms, less their mean.
  @inline(__always)
  static func normal(_ random: inout SeededGenerator) -> Float {
    var sum = 0
    for _ in 0..<3 {
      let word = random.next()
      sum &+= Int(truncatingIfNeeded: word & 0xFFFF)
      sum &+= Int(truncatingIfNeeded: (word &>> 16) & 0xFFFF)
      sum &+= Int(truncatingIfNeeded: (word &>> 32) & 0xFFFF)
      sum &+= Int(truncatingIfNeeded: word &>> 48)
    }
    return Float(sum - 6 * 0xFFFF) * 0x1p-16
  }

  @inline(__always)
  static func normalise(_ h: UnsafeMutablePointer<Float>) {
    var square: Float = 0
    for x in 0..<dimensions { square += h[x] * h[x] }
    let scale = square > 0 ? 1 / square.squareRoot() : 0
    for x in 0..<dimensions { h[x] *= scale }
  }

  /// One layer's gate: directions, biases, and room for one token's scores.
  struct Gate {
    let experts: Int
    /// `g`, `[d, E]`: experts side by side, so that the scores of one token are d scaled additions
    /// of rows.
    let directions: [Float]
    /// `b`, `[E]`.
    var biases: [Float]
    /// Scores of the last token, `[E]`; the chosen ones are overwritten.
    var scores: [Float]
    /// Experts of the last token, best first, `[k]`.
    var chosen: [Int]

    init(experts: Int, choices: Int, random: SeededGenerator) {
      var random = random
      self.experts = experts
      directions = (0..<(dimensions * experts)).map { _ in normal(&random) }
      biases = [Float](repeating: 0, count: experts)
      scores = biases
      chosen = [Int](repeating: 0, count: choices)
    }

    /// Chooses experts for the token with state `h` (`[d]`).
    mutating func route(_ h: UnsafePointer<Float>) {
      for e in 0..<experts { scores[e] = biases[e] }
      directions.withUnsafeBufferPointer { directions in
        scores.withUnsafeMutableBufferPointer { scores in
          for x in 0..<dimensions {
            let (row, scale) = (directions.start + x * scores.count, h[x])
            for e in 0..<scores.count { scores[e] += scale * row[e] }
          }
        }
      }
      for k in chosen.indices {
        var best = 0
        for e in 1..<max(experts, 1) where scores[e] > scores[best] { best = e }
        chosen[k] = best
        scores[best] = -.infinity
      }
    }

    /// Sets the biases so that the `tokens` states (`[T, d]`) load the experts evenly.
    mutating func balance(_ states: UnsafePointer<Float>, tokens: Int) {
      guard experts > chosen.count else { return }
      // Enough tokens for 8 choices an expert: fewer make the steps noise, more make them dear.
      let size = min(tokens, max(512, 8 * experts / chosen.count))
      let steps = 120
      let mean = Float(size * chosen.count) / Float(experts)
      var sum = [Float](repeating: 0, count: experts)
      var load = [Float](repeating: 0, count: experts)
      var start = 0
      for step in 0..<steps {
        for e in 0..<experts { load[e] = 0 }
        for t in 0..<size {
          route(states + (start + t) % tokens * dimensions)
          for e in chosen { load[e] += 1 }
        }
        start = (start + size) % tokens
        let rate = 0.3 / (1 + 0.3 * Float(step)).squareRoot()
        for e in 0..<experts { biases[e] -= rate * max(-1, min(1, load[e] / mean - 1)) }
        if step >= steps / 2 {
          for e in 0..<experts { sum[e] += biases[e] }
        }
      }
      let averaged = Float(steps - steps / 2)
      for e in 0..<experts { biases[e] = sum[e] / averaged }
    }
  }
}
