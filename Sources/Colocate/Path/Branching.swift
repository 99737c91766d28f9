import ColocateModel

/// Decisions of the search tree: two experts of a layer are on one GPU, or they are not (Ryan,
/// Foster 1981, for set partitioning).
///
/// Either decision is a filter on the subsets of one layer, so a child is again a path relaxation.
/// The pair is the one whose probability of being together, in the smoothed dual at the last
/// prices, is nearest ½, weighted with the load of its lighter expert: pairs of near-empty experts
/// tie endlessly and decide nothing.
package struct BranchDecision: Hashable, Sendable {
  package let layer: Int
  package let first: Int
  package let second: Int

  /// Subsets of `layer` that the "together" child keeps: both or neither.
  @inline(__always)
  func keepsTogether(_ mask: UInt64) -> Bool {
    (mask >> UInt64(first)) & 1 == (mask >> UInt64(second)) & 1
  }

  /// Subsets of `layer` that the "apart" child keeps: not both.
  @inline(__always)
  func keepsApart(_ mask: UInt64) -> Bool {
    (mask >> UInt64(first)) & (mask >> UInt64(second)) & 1 == 0
  }
}

extension PathRelaxation {
  /// A pair to branch on, or nil where the subsets decide every pair already. The relaxation must
  /// have been evaluated.
  package func branchDecision(mu: Double) -> BranchDecision? {
    let smooth = PathSmoothing(relaxation: self, mu: mu, cutoff: 20, arcLimit: 300_000)
    let unused = Block(prices.count, 0.0)
    guard smooth.evaluate(prices.vector, gradient: unused.base) != nil else {
      return undecidedPair()
    }
    var best: (score: Double, decision: BranchDecision)?
    var together = [Double](repeating: 0, count: experts * experts)
    for l in 0..<problem.layers {
      smooth.together(layer: l, into: &together)
      let undecided = undecidedPairs(l)
      for e in 0..<experts {
        // The prices may be far from the minimum and cover an expert less than once: what the
        // subsets decide already is not asked again.
        for f in 0..<e where undecided[e] >> UInt64(f) & 1 == 1 {
          let probability = together[e * experts + f]
          let doubt = min(probability, 1 - probability)
          guard doubt > 0.02 else { continue }
          let load = min(problem.loads[l * experts + e], problem.loads[l * experts + f])
          let score = doubt * Double(load + 1).squareRoot()
          if score > best?.score ?? 0 {
            best = (score, BranchDecision(layer: l, first: f, second: e))
          }
        }
      }
    }
    return best?.decision ?? undecidedPair()
  }

  /// For each expert, the experts that some subset holds together with it and some subset apart
  /// from it, as bit sets.
  private func undecidedPairs(_ l: Int) -> [UInt64] {
    var some = [UInt64](repeating: 0, count: experts)
    var all = [UInt64](repeating: .max, count: experts)
    for s in 0..<layers[l].count {
      let mask = layers[l].masks[s]
      for e in 0..<experts where mask >> UInt64(e) & 1 == 1 {
        some[e] |= mask
        all[e] &= mask
      }
    }
    // f is open for e where they meet somewhere, and some subset has e without f or f without e.
    return (0..<experts).map { e in
      var open: UInt64 = 0
      for f in 0..<experts where f != e && some[e] >> UInt64(f) & 1 == 1 {
        if all[e] >> UInt64(f) & 1 == 0 || all[f] >> UInt64(e) & 1 == 0 { open |= 1 << UInt64(f) }
      }
      return open
    }
  }

  /// Any pair that some subset holds together and some other subset holds apart.
  private func undecidedPair() -> BranchDecision? {
    for l in 0..<problem.layers {
      let undecided = undecidedPairs(l)
      for e in 0..<experts {
        let below = undecided[e] & ((1 << UInt64(e)) - 1)
        if below != 0 {
          return BranchDecision(layer: l, first: below.trailingZeroBitCount, second: e)
        }
      }
    }
    return nil
  }
}
