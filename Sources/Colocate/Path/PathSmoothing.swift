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
  /// μ, ū in ticks.
  let mu: Double
  let reference: PathPrices
  private let longest: Double
  /// Arcs of each boundary by rows.
  private let boundaries: [Boundary]
  /// exp(−pen/μ) at the last layer, up to the common factor exp(λ/μ).
  private let ends: Block<Double>
  private let alpha: [Block<Double>]
  private let beta: [Block<Double>]
  private let scale: [Block<Double>]
  /// Arcs kept, and the κ of each boundary.
  let arcs: Int
  let cutoffs: [Double]
  /// Per layer, `[n_l + 1]` starts of the rows of `cutIndex`: the cuts that a subset counts in, as
  /// often as it counts.
  private let cutStart: [Block<Int32>]
  private let cutIndex: [Block<Int32>]

  private struct Boundary: Sendable {
    let rowStart: Block<Int32>
    let target: Block<UInt16>
    let value: Block<Float>
    /// κ.
    let cutoff: Double
  }

  /// Kernel at the prices of `relaxation`, which must have been evaluated.
  /// - Parameters:
  ///   - arcLimit: arcs per boundary to keep at most (the ones with the smallest penalties).
  ///   - previous: κ that the arc limit allowed each boundary the last time, or nothing.
  package init(
    relaxation: PathRelaxation, mu: Double, cutoff: Double, arcLimit: Int, previous: [Double] = []
  ) {
    layers = relaxation.layers
    experts = relaxation.experts
    groups = relaxation.groups
    threads = relaxation.threads
    self.mu = mu
    reference = relaxation.prices
    longest = relaxation.longest
    let count = layers.count - 1
    let scan = relaxation.scan
    boundaries = concurrentMap(count, threads: threads) { l in
      var cut = min(cutoff, (l < previous.count ? previous[l] : cutoff) * 1.4) * mu
      var rows = Rows(scan: scan, boundary: l, cut: cut, limit: arcLimit)
      while rows.isOverfull {
        cut *= 0.7
        rows = Rows(scan: scan, boundary: l, cut: cut, limit: arcLimit)
      }
      rows.exponentiate(mu: mu)
      return Boundary(
        rowStart: rows.rowStart, target: rows.target!, value: rows.value!, cutoff: cut / mu)
    }
    arcs = boundaries.reduce(0) { $0 + $1.target.count }
    cutoffs = boundaries.map(\.cutoff)
    let last = layers[count]
    ends = Block(last.count, 0)
    for s in 0..<last.count { ends[s] = Elementary.exp(-relaxation.penalty(count, s) / mu) }
    var cutStart = [Block<Int32>]()
    var cutIndex = [Block<Int32>]()
    for l in 0...count {
      let start = Block(layers[l].count + 1, Int32(0))
      var index = GrowingList<Int32>()
      let cuts = relaxation.prices.cuts.enumerated().filter { $0.element.layer == l }
      for s in 0..<layers[l].count {
        for (number, cut) in cuts {
          for _ in 0..<cut.count(layers[l].masks[s]) { index.append(Int32(number)) }
        }
        start[s + 1] = Int32(index.count)
      }
      let list = Block(index.count, Int32(0))
      list.base.update(from: index.base, count: index.count)
      index.deallocate()
      cutStart.append(start)
      cutIndex.append(list)
    }
    self.cutStart = cutStart
    self.cutIndex = cutIndex
    alpha = layers.map { Block($0.count, 0) }
    beta = layers.map { Block($0.count, 0) }
    scale = layers.map { Block($0.count, 0) }
  }

  /// F_μ at `prices` (`PathPrices.vector`); writes its gradient. Nil where the prices are too far
  /// from ū for doubles.
  package func evaluate(_ prices: UnsafePointer<Double>, gradient: UnsafeMutablePointer<Double>)
    -> Double?
  {
    var sum = 0.0
    let ownPrices = layers.count * experts
    let cuts = reference.cuts
    let factors = Block(ownPrices + cuts.count, 0.0)
    for index in 0..<ownPrices {
      sum += prices[index]
      factors[index] = Elementary.exp(-(prices[index] - Double(reference.experts[index])) / mu)
    }
    for index in 0..<cuts.count {
      sum += prices[ownPrices + index] * Double(cuts[index].most)
      factors[ownPrices + index] = Elementary.exp(
        -(prices[ownPrices + index] - Double(cuts[index].price)) / mu)
      gradient[ownPrices + index] = Double(cuts[index].most)
    }
    for l in 0..<layers.count {
      let subsets = layers[l]
      let size = subsets.size
      let own = factors.base + l * experts
      let members = subsets.members.base
      let scaled = scale[l].base
      for s in 0..<subsets.count {
        var product = 1.0
        for k in 0..<size { product *= own[Int(members[s * size + k])] }
        for index in Int(cutStart[l][s])..<Int(cutStart[l][s + 1]) {
          product *= factors[ownPrices + Int(cutIndex[l][index])]
        }
        scaled[s] = product
      }
    }
    concurrentFor(2, threads: arcs > 20_000 ? threads : 1) { _, pass in
      if pass == 0 { forwardPass() } else { backwardPass() }
    }
    var mass = 0.0
    let last = layers.count - 1
    for s in 0..<layers[last].count { mass += alpha[last][s] * ends[s] }
    guard mass > 1e-250, mass < 1e250 else { return nil }
    for l in 0..<layers.count {
      let subsets = layers[l]
      let size = subsets.size
      let own = gradient + l * experts
      for e in 0..<experts { own[e] = 0 }
      var layerMass = 0.0
      for s in 0..<subsets.count {
        let weight = alpha[l][s] * beta[l][s]
        layerMass += weight
        for k in 0..<size { own[Int(subsets.members[s * size + k])] += weight }
      }
      // The layer's own sum: the same number up to rounding, and never 0/0.
      let factor = Double(groups) / layerMass
      if !cuts.isEmpty {
        for s in 0..<subsets.count {
          let weight = alpha[l][s] * beta[l][s] * factor
          for index in Int(cutStart[l][s])..<Int(cutStart[l][s + 1]) {
            gradient[ownPrices + Int(cutIndex[l][index])] -= weight
          }
        }
      }
      for e in 0..<experts { own[e] = 1 - own[e] * factor }
    }
    return sum + Double(groups) * (longest + mu * Elementary.log(mass))
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
    let scaled = Block(layers.map(\.count).max()!, 0.0)
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

  /// The odd sets of three experts whose cut is violated by more than `tolerance` at the last
  /// evaluation, the worst `most` of each layer. `control` is looked at for every layer.
  func violatedTriples(tolerance: Double, most: Int, control: SearchControl) -> [PathCut] {
    var found = [PathCut]()
    for l in 0..<layers.count where !control.shouldStop {
      let subsets = layers[l]
      let known = Set(reference.cuts.filter { $0.layer == l }.map(\.members))
      var mass = 0.0
      for s in 0..<subsets.count { mass += alpha[l][s] * beta[l][s] }
      // Subsets that carry anything, with their share.
      var carrying = [(mask: UInt64, share: Double)]()
      for s in 0..<subsets.count {
        let share = Double(groups) * alpha[l][s] * beta[l][s] / mass
        if share > 1e-3 { carrying.append((subsets.masks[s], share)) }
      }
      var worst = [(violation: Double, members: UInt64)]()
      for a in 0..<experts {
        for b in 0..<a {
          for c in 0..<b {
            let members = UInt64(1) << UInt64(a) | UInt64(1) << UInt64(b) | UInt64(1) << UInt64(c)
            var sum = 0.0
            for subset in carrying where (subset.mask & members).nonzeroBitCount >= 2 {
              sum += subset.share
            }
            if sum > 1 + tolerance && !known.contains(members) { worst.append((sum, members)) }
          }
        }
      }
      worst.sort { ($0.violation, $0.members) > ($1.violation, $1.members) }
      for triple in worst.prefix(most) {
        found.append(PathCut(layer: l, members: triple.members, price: 0))
      }
    }
    return found
  }

  /// Probability of each pair of a layer's experts to be in one group, as of the last evaluation.
  /// `[E, E]`, below the diagonal.
  func together(layer: Int, into result: inout [Double]) {
    let subsets = layers[layer]
    let size = subsets.size
    for index in result.indices { result[index] = 0 }
    var mass = 0.0
    for s in 0..<subsets.count { mass += alpha[layer][s] * beta[layer][s] }
    guard mass > 0 else { return }
    for s in 0..<subsets.count {
      let share = Double(groups) * alpha[layer][s] * beta[layer][s] / mass
      if share < 1e-9 { continue }
      for a in 0..<size {
        for b in 0..<a {
          let e = Int(subsets.members[s * size + a])
          let f = Int(subsets.members[s * size + b])
          result[e * experts + f] += share
        }
      }
    }
  }

  /// The arcs of one boundary with a penalty of at most `cut`.
  private final class Rows {
    let rowStart: Block<Int32>
    var target: Block<UInt16>?
    var value: Block<Float>?
    var isOverfull = false

    init(scan: PathScan, boundary l: Int, cut: Double, limit: Int) {
      rowStart = Block(scan.layers[l].count + 1, 0)
      var found = GrowingList<UInt16>(capacity: 4096)
      var slack = GrowingList<Float>(capacity: 4096)
      defer {
        found.deallocate()
        slack.deallocate()
      }
      scan.scanArcs(boundary: l, cut: cut) { s, t, exact in
        found.append(t)
        slack.append(Float(exact))
      } endOfRow: { s in
        rowStart[s + 1] = Int32(truncatingIfNeeded: found.count)
        isOverfull = found.count > limit
        return !isOverfull
      }
      if isOverfull { return }
      let target = Block(found.count, UInt16(0))
      target.base.update(from: found.base, count: found.count)
      let value = Block((found.count + 3) / 4 * 4, Float(0))
      value.base.update(from: slack.base, count: found.count)
      self.target = target
      self.value = value
    }

    /// Slack → exp(−slack/μ).
    func exponentiate(mu: Double) {
      guard let value else { return }
      let factor = SIMD4<Float>(repeating: Float(-1 / mu))
      for index in stride(from: 0, to: value.count, by: 4) {
        let lanes = SIMD4<Float>(value[index], value[index + 1], value[index + 2], value[index + 3])
        let result = Elementary.exp(lanes * factor)
        for lane in 0..<4 { value[index + lane] = result[lane] }
      }
    }
  }
}
