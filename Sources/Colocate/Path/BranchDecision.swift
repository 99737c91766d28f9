import ColocateModel

/// A decision of the search tree: two experts of a layer are on one GPU, or they are not (Ryan,
/// Foster 1981, for set partitioning).
///
/// **Why nothing is lost.** In every placement the two experts are on one GPU or on different ones.
/// In the first case every group of the layer holds both or neither, in the second no group holds
/// both. Either case is thus a filter on the subsets of that one layer: each child is again a path
/// relaxation with fewer vertices, every placement of the parent is in exactly one of them, and a
/// subset that holds one of the two, or both, goes from one of them at least. A layer whose every
/// pair is decided has one partition left, so a tree is finite.
///
/// **Which pair.** The one whose probability of being together, in the smoothed dual at the last
/// prices, is nearest ½, weighted with the root of the load of its lighter expert: pairs of
/// near-empty experts tie endlessly and decide nothing.
package struct BranchDecision: Hashable, Sendable {
  package let layer: Int
  package let first: Int
  package let second: Int

  package init(layer: Int, first: Int, second: Int) {
    (self.layer, self.first, self.second) = (layer, first, second)
  }

  /// Subsets of `layer` that the "together" child keeps: both or neither.
  @inline(__always)
  func keepsTogether(_ set: ExpertSet) -> Bool { set.contains(first) == set.contains(second) }

  /// Subsets of `layer` that the "apart" child keeps: not both.
  @inline(__always)
  func keepsApart(_ set: ExpertSet) -> Bool { !(set.contains(first) && set.contains(second)) }
}

extension PathEvaluation {
  /// A pair to branch on, or nil where the subsets decide every pair already.
  /// - Parameter mu: of the smoothed dual that says how likely pairs are, in ticks.
  package func branchDecision(mu: Double) -> BranchDecision? {
    let kernel = PathSmoothing(self, mu: mu, cutoff: 20, arcLimit: 300_000)
    var unused = [Double](repeating: 0, count: prices.count)
    guard kernel.evaluate(prices.vector, gradient: &unused) != nil else { return undecidedPair() }
    var best: (score: Double, decision: BranchDecision)?
    for l in layers.indices {
      let together = kernel.together(layer: l)
      // The prices may be far from the minimum and cover an expert less than once: what the
      // subsets decide already is not asked again.
      for (e, f) in undecidedPairs(l) {
        let probability = together[e * experts + f]
        let doubt = min(probability, 1 - probability)
        guard doubt > 0.02 else { continue }
        let load = min(problem.load(l, e), problem.load(l, f))
        let score = doubt * Double(load + 1).squareRoot()
        if score > best?.score ?? 0 {
          best = (score, BranchDecision(layer: l, first: f, second: e))
        }
      }
    }
    return best?.decision ?? undecidedPair()
  }

  /// The pairs e > f of a layer that some subset holds together and some other subset apart, by e,
  /// then f.
  private func undecidedPairs(_ l: Int) -> [(Int, Int)] {
    var some = [ExpertSet](repeating: ExpertSet(), count: experts)
    var all = [ExpertSet](repeating: .all(64), count: experts)
    for s in 0..<layers[l].count {
      let set = layers[l].set(s)
      for e in set {
        some[e].bits |= set.bits
        all[e].bits &= set.bits
      }
    }
    // They meet somewhere, and some subset has the one without the other.
    return (0..<experts).flatMap { e in
      (0..<e).filter { f in
        some[e].contains(f) && !(all[e].contains(f) && all[f].contains(e))
      }.map { (e, $0) }
    }
  }

  /// Any pair that is undecided.
  private func undecidedPair() -> BranchDecision? {
    for l in layers.indices {
      if let (e, f) = undecidedPairs(l).first {
        return BranchDecision(layer: l, first: f, second: e)
      }
    }
    return nil
  }
}
