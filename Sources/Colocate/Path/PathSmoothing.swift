import ColocateModel

/// The smoothed dual of the path relaxation, on the arcs that matter.
///
///     F_μ(u) = Σ u + P·μ·log Σ_paths exp(length/μ)  ≥  B(u),      ∂F/∂u_{l,e} = 1 − P·Pr(e ∈ S_l)
///
/// where a path is drawn with probability ∝ exp(length/μ): one forward and one backward pass of
/// matrix–vector products with the kernel `K(S,T) = exp(−slack(S,T)/μ)`, the slack taken at
/// reference prices ū whose potentials f̄, b̄ are exact:
///
///     slack(S,T) = f̄(T) − own(T) − w(S,T) − f̄(S) ≥ 0,    arc penalty = slack(S,T) + pen(T) ≥ 0
///
/// Prices that differ from ū by d scale vertex S by `Π_{e∈S} exp(−d_e/μ)`, so the kernel stays
/// while the prices move by a few μ.
///
/// An arc with a penalty of κμ carries at most e^{−κ} of the weight, and nearly all arcs are that
/// bad: only those below κ = 40 (`Effort.cutoff`) are kept (compressed rows), which makes an
/// evaluation 10 to 100 times cheaper than with the dense kernel and is a smooth function of its
/// own. The bound never comes from here, and the next exact evaluation over all arcs brings in what
/// became important. (The dense kernel in single precision was the prototype; at C(16,4) it is
/// bound by memory bandwidth.)
package final class PathSmoothing: Sendable {
  private let layers: [PathSubsets]
  private let experts: Int
  private let groups: Int
  private let threads: Int
  /// μ in ticks.
  private let mu: Double
  /// ū, in ticks.
  private let reference: PathPrices
  private let longest: Double
  /// Arcs of each boundary by rows.
  private let boundaries: [Boundary]
  /// exp(−pen/μ) at the last layer, up to the common factor exp(λ/μ).
  private let ends: SharedBuffer<Double>
  private let alpha: [SharedBuffer<Double>]
  private let beta: [SharedBuffer<Double>]
  private let scale: [SharedBuffer<Double>]
  /// Arcs kept, and the κ of each boundary.
  let arcs: Int
  let cutoffs: [Double]
  /// Of each layer.
  private let counts: [CutCounts]

  /// The arcs of one boundary with their kernel values.
  private struct Boundary: Sendable {
    /// `[n_l + 1]`.
    let rowStart: SharedBuffer<Int32>
    let target: SharedBuffer<UInt16>
    /// exp(−slack/μ).
    let value: SharedBuffer<Float>

    /// Those with a penalty of at most `cut`; nil where there are more than `limit`.
    init?(_ evaluation: PathEvaluation, boundary l: Int, cut: Double, limit: Int, mu: Double) {
      let start = SharedBuffer(repeating: Int32(0), count: evaluation.layers[l].count + 1)
      var found = GrowingBuffer<UInt16>(capacity: 4096)
      var slack = GrowingBuffer<Float>(capacity: 4096)
      var isOverfull = false
      evaluation.scanArcs(boundary: l, cut: cut) { s, t, exact in
        found.append(t)
        slack.append(Float(exact))
      } endOfRow: { s in
        start[s + 1] = Int32(truncatingIfNeeded: found.count)
        isOverfull = found.count > limit
        return !isOverfull
      }
      if isOverfull { return nil }
      rowStart = start
      target = SharedBuffer(found, filler: 0)
      // Whole vectors of four.
      value = SharedBuffer(slack, filler: 0, count: (slack.count + 3) / 4 * 4)
      let factor = SIMD4<Float>(repeating: Float(-1 / mu))
      let values = value.base
      for at in stride(from: 0, to: value.count, by: 4) {
        let lanes = SIMD4<Float>(values[at], values[at + 1], values[at + 2], values[at + 3])
        let result = Elementary.exp(lanes * factor)
        for lane in 0..<4 { values[at + lane] = result[lane] }
      }
    }
  }

  /// The cuts that each subset of a layer counts in, as often as it counts.
  private struct CutCounts: Sendable {
    /// `[n_l + 1]`, starts of the rows of `index`.
    let start: SharedBuffer<Int32>
    /// Numbers of cuts.
    let index: SharedBuffer<Int32>

    init(_ subsets: PathSubsets, layer l: Int, cuts: [PathCut]) {
      let start = SharedBuffer(repeating: Int32(0), count: subsets.count + 1)
      var index = GrowingBuffer<Int32>()
      let own = cuts.enumerated().filter { $0.element.layer == l }
      for s in 0..<subsets.count {
        for (number, cut) in own {
          for _ in 0..<cut.count(subsets.masks[s]) { index.append(Int32(number)) }
        }
        start[s + 1] = Int32(index.count)
      }
      self.start = start
      self.index = SharedBuffer(index, filler: 0)
    }

    @inline(__always)
    func range(_ s: Int) -> Range<Int> { Int(start.base[s])..<Int(start.base[s + 1]) }
  }

  /// Kernel at the prices of `evaluation`.
  /// - Parameters:
  ///   - mu: in ticks.
  ///   - arcLimit: arcs per boundary to keep at most (the ones with the smallest penalties).
  ///   - previous: κ that the arc limit allowed each boundary the last time, or nothing.
  package init(
    _ evaluation: PathEvaluation, mu: Double, cutoff: Double, arcLimit: Int,
    previous: [Double] = []
  ) {
    layers = evaluation.layers
    experts = evaluation.experts
    groups = evaluation.groups
    threads = evaluation.threads
    self.mu = mu
    reference = evaluation.prices
    longest = evaluation.longest
    let last = layers.count - 1
    let kept = concurrentMap(last, threads: threads) { l in
      var cut = min(cutoff, (l < previous.count ? previous[l] : cutoff) * 1.4) * mu
      while true {
        if let boundary = Boundary(evaluation, boundary: l, cut: cut, limit: arcLimit, mu: mu) {
          return (boundary: boundary, cutoff: cut / mu)
        }
        cut *= 0.7
      }
    }
    boundaries = kept.map(\.boundary)
    arcs = boundaries.reduce(0) { $0 + $1.target.count }
    cutoffs = kept.map(\.cutoff)
    ends = SharedBuffer(
      (0..<layers[last].count).map { Elementary.exp(-evaluation.penalty(last, $0) / mu) },
      filler: 0)
    let cuts = reference.cuts
    counts = layers.enumerated().map { CutCounts($0.element, layer: $0.offset, cuts: cuts) }
    alpha = layers.map { SharedBuffer(repeating: 0, count: $0.count) }
    beta = layers.map { SharedBuffer(repeating: 0, count: $0.count) }
    scale = layers.map { SharedBuffer(repeating: 0, count: $0.count) }
  }

  // MARK: - Evaluating

  /// F_μ at `prices` (`PathPrices.vector`, with the cuts of ū); writes its gradient, as long as the
  /// prices. Nil where the prices are too far from ū for doubles.
  package func evaluate(_ prices: [Double], gradient: inout [Double]) -> Double? {
    let sum = rescale(prices)
    concurrentFor(2, threads: arcs > 20_000 ? threads : 1) { _, pass in
      if pass == 0 { forwardPass() } else { backwardPass() }
    }
    let last = layers.count - 1
    var mass = 0.0
    for s in 0..<layers[last].count { mass += alpha[last][s] * ends[s] }
    guard mass > 1e-250, mass < 1e250 else { return nil }
    writeGradient(&gradient)
    return sum + Double(groups) * (longest + mu * Elementary.log(mass))
  }

  /// Sets every vertex's scale `Π exp(−d/μ)` over its experts and the cuts it counts in.
  /// - Returns: what the prices add to F themselves.
  private func rescale(_ prices: [Double]) -> Double {
    var sum = 0.0
    let ownPrices = layers.count * experts
    let cuts = reference.cuts
    let factors = Buffer(repeating: 0.0, count: ownPrices + cuts.count)
    for index in 0..<ownPrices {
      sum += prices[index]
      factors.base[index] = Elementary.exp(
        -(prices[index] - Double(reference.experts[index])) / mu)
    }
    for index in cuts.indices {
      sum += prices[ownPrices + index] * Double(cuts[index].most)
      factors.base[ownPrices + index] = Elementary.exp(
        -(prices[ownPrices + index] - Double(cuts[index].price)) / mu)
    }
    let cutFactors = factors.base + ownPrices
    for l in 0..<layers.count {
      let subsets = layers[l]
      let size = subsets.size
      let own = factors.base + l * experts
      let members = subsets.members.base
      let scaled = scale[l].base
      let index = counts[l].index.base
      for s in 0..<subsets.count {
        var product = 1.0
        for k in 0..<size { product *= own[Int(members[s * size + k])] }
        for place in counts[l].range(s) { product *= cutFactors[Int(index[place])] }
        scaled[s] = product
      }
    }
    return sum
  }

  /// `1 − P·Pr(e ∈ S_l)` for every expert, `⌊|O|/2⌋ − P·E[⌊|S∩O|/2⌋]` for every cut, from α and β.
  private func writeGradient(_ gradient: inout [Double]) {
    let ownPrices = layers.count * experts
    for (index, cut) in reference.cuts.enumerated() {
      gradient[ownPrices + index] = Double(cut.most)
    }
    gradient.withUnsafeMutableBufferPointer { gradient in
      guard let base = gradient.baseAddress else { return }
      for l in 0..<layers.count { writeGradient(base, ownPrices: ownPrices, layer: l) }
    }
  }

  private func writeGradient(
    _ gradient: UnsafeMutablePointer<Double>, ownPrices: Int, layer l: Int
  ) {
    let subsets = layers[l]
    let size = subsets.size
    let own = gradient + l * experts
    let members = subsets.members.base
    let (alpha, beta) = (alpha[l].base, beta[l].base)
    for e in 0..<experts { own[e] = 0 }
    var layerMass = 0.0
    for s in 0..<subsets.count {
      let weight = alpha[s] * beta[s]
      layerMass += weight
      for k in 0..<size { own[Int(members[s * size + k])] += weight }
    }
    // The layer's own sum: the same number up to rounding, and never 0/0.
    let factor = Double(groups) / layerMass
    if !reference.cuts.isEmpty {
      let index = counts[l].index.base
      for s in 0..<subsets.count {
        let weight = alpha[s] * beta[s] * factor
        for place in counts[l].range(s) { gradient[ownPrices + Int(index[place])] -= weight }
      }
    }
    for e in 0..<experts { own[e] = 1 - own[e] * factor }
  }

  /// α_l(S)·exp(f̄_l(S)/μ) is the weight of all paths that end in S.
  private func forwardPass() {
    for s in 0..<layers[0].count { alpha[0][s] = scale[0][s] }
    for l in 0..<boundaries.count {
      let boundary = boundaries[l]
      let target = boundary.target.base
      let value = boundary.value.base
      let from = alpha[l].base
      let to = alpha[l + 1].base
      for t in 0..<layers[l + 1].count { to[t] = 0 }
      for s in 0..<layers[l].count {
        let weight = from[s]
        for arc in Int(boundary.rowStart[s])..<Int(boundary.rowStart[s + 1]) {
          to[Int(target[arc])] += weight * Double(value[arc])
        }
      }
      for t in 0..<layers[l + 1].count { to[t] *= scale[l + 1][t] }
    }
  }

  private func backwardPass() {
    let last = layers.count - 1
    for s in 0..<layers[last].count { beta[last][s] = ends[s] }
    let memory = Buffer(repeating: 0.0, count: layers.map(\.count).max() ?? 0)
    let scaled = memory.base
    for l in stride(from: last - 1, through: 0, by: -1) {
      let boundary = boundaries[l]
      let target = boundary.target.base
      let value = boundary.value.base
      for t in 0..<layers[l + 1].count { scaled[t] = beta[l + 1][t] * scale[l + 1][t] }
      for s in 0..<layers[l].count {
        var even = 0.0
        var odd = 0.0
        var arc = Int(boundary.rowStart[s])
        let end = Int(boundary.rowStart[s + 1])
        while arc + 1 < end {
          even += scaled[Int(target[arc])] * Double(value[arc])
          odd += scaled[Int(target[arc + 1])] * Double(value[arc + 1])
          arc += 2
        }
        if arc < end { even += scaled[Int(target[arc])] * Double(value[arc]) }
        beta[l][s] = even + odd
      }
    }
  }

  // MARK: - Probabilities

  /// Subsets of a layer that are likelier than `least` to be what a GPU holds, times P: what they
  /// carry of the fractional cover, as of the last evaluation.
  private func shares(layer l: Int, above least: Double) -> [(subset: Int, share: Double)] {
    var mass = 0.0
    for s in 0..<layers[l].count { mass += alpha[l][s] * beta[l][s] }
    guard mass > 0 else { return [] }
    return (0..<layers[l].count).compactMap { s in
      let share = Double(groups) * alpha[l][s] * beta[l][s] / mass
      return share > least ? (s, share) : nil
    }
  }

  /// The odd sets of three experts whose cut is violated by more than `tolerance` at the last
  /// evaluation, the worst `most` of each layer. `control` is looked at for every layer.
  func violatedTriples(tolerance: Double, most: Int, control: SearchControl) -> [PathCut] {
    var found = [PathCut]()
    let triples = Self.triples(experts)
    for l in layers.indices where !control.shouldStop {
      let known = Set(reference.cuts.filter { $0.layer == l }.map(\.members))
      let carrying = shares(layer: l, above: 1e-3).map { (layers[l].masks[$0.subset], $0.share) }
      var worst = [(violation: Double, members: UInt64)]()
      for triple in triples where !known.contains(triple.bits) {
        var sum = 0.0
        for (mask, share) in carrying where (mask & triple.bits).nonzeroBitCount >= 2 {
          sum += share
        }
        if sum > 1 + tolerance { worst.append((sum, triple.bits)) }
      }
      worst.sort { ($0.violation, $0.members) > ($1.violation, $1.members) }
      found += worst.prefix(most).map { PathCut(layer: l, members: $0.members, price: 0) }
    }
    return found
  }

  private static func triples(_ experts: Int) -> [ExpertSet] {
    (0..<experts).flatMap { a in
      (0..<a).flatMap { b in (0..<b).map { ExpertSet(bits: (1 << a) | (1 << b) | (1 << $0)) } }
    }
  }

  /// Probability of each pair of a layer's experts to be in one group, as of the last evaluation.
  /// `[E, E]`, below the diagonal.
  func together(layer l: Int) -> [Double] {
    var result = [Double](repeating: 0, count: experts * experts)
    for (subset, share) in shares(layer: l, above: 1e-9) {
      let row = layers[l].row(subset)
      for a in row {
        // Ascending: the experts of the row before a.
        for b in row where b < a { result[Int(a) * experts + Int(b)] += share }
      }
    }
    return result
  }
}
