/// A subset-row cut of the path relaxation, with its price.
///
/// **Subset-row cuts** (Jepsen, Petersen, Spoorendonk, Pisinger, Operations Research 2008). Let O
/// be an odd number of experts of one layer. The groups of a partition are disjoint, so the pairs
/// that they take out of O are disjoint too, and no more than ⌊|O|/2⌋ of them fit:
///
///     Σ_groups ⌊|S ∩ O|/2⌋ ≤ ⌊|O|/2⌋
///
/// Of three experts, at most one group holds two. Fractional covers by paths violate this: three
/// groups, each half used, each holding another two of the three.
///
/// **What a price does.** Whatever v ≥ 0 is, a placement does not lose when it is granted
/// `v·(⌊|O|/2⌋ − Σ_S ⌊|S ∩ O|/2⌋) ≥ 0` for the cut. The first term is a constant of the bound, and
/// the second takes `⌊|S ∩ O|/2⌋·v` off the weight of every subset S: the vertices have other
/// weights, and the chain structure stays as it is.
package struct PathCut: Hashable, Sendable {
  /// Layer.
  package let layer: Int
  /// The experts of O as a bit set, an odd number of them.
  package let members: UInt64
  /// v ≥ 0 in ticks.
  package var price: Int

  package init(layer: Int, members: UInt64, price: Int) {
    self.layer = layer
    self.members = members
    self.price = price
  }

  /// ⌊|O|/2⌋.
  package var most: Int { members.nonzeroBitCount / 2 }

  /// ⌊|S ∩ O|/2⌋.
  @inline(__always)
  package func count(_ subset: UInt64) -> Int { (subset & members).nonzeroBitCount / 2 }
}
