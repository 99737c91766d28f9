import ColocateModel

/// Prices of the path relaxation in units of 1/64: one for each expert, and one for each subset-row
/// cut.
///
/// A subset-row cut (Jepsen, Petersen, Spoorendonk, Pisinger, Operations Research 2008): the groups
/// of a partition are disjoint, so of an odd set O of experts of a layer they hold together
/// Σ ⌊|S ∩ O|/2⌋ ≤ ⌊|O|/2⌋ pairs. At price v ≥ 0 it adds ⌊|O|/2⌋·v to B and takes ⌊|S ∩ O|/2⌋·v off
/// the value of a subset.
package struct CertificatePrices: Hashable, Sendable {
  package struct Cut: Hashable, Sendable {
    package var layer: Int
    /// O as a bit set.
    package var members: UInt64
    package var price: Int

    package init(layer: Int, members: UInt64, price: Int) {
      self.layer = layer
      self.members = members
      self.price = price
    }

    /// ⌊|S ∩ O|/2⌋ · v.
    func value(_ set: UInt64) -> Int { (set & members).nonzeroBitCount / 2 * price }
    /// ⌊|O|/2⌋ · v.
    var constant: Int { members.nonzeroBitCount / 2 * price }
  }

  /// u, `[L, E]`.
  package var experts: [Int]
  package var cuts: [Cut]

  package init(experts: [Int], cuts: [Cut] = []) {
    self.experts = experts
    self.cuts = cuts
  }
}

/// A search tree over the path relaxation, as a list of its nodes with the root first and children
/// after their parents.
///
/// At each node the subsets with pen(S) > B - target are deleted at each of `deletions` in order,
/// as no better placement uses them; `target` is the least that a better placement can keep, in
/// units of 1/64. Then a `bounded` leaf has a layer without subsets, or B(prices) < target; at an
/// `exhausted` leaf the layered search over partitions inside the loss B(prices) - target comes to
/// no end, where `dolls[k]` is claimed to be at most the loss of any completion from layer k on and
/// is checked first; and the children of a `branch` have the subsets of `layer` that hold both or
/// neither of two experts, and those that do not hold both.
package struct CertificateTree: Sendable {
  package enum Kind: Sendable {
    case bounded(prices: CertificatePrices)
    case exhausted(prices: CertificatePrices, dolls: [Int])
    /// `together` and `apart` are places in the list.
    case branch(layer: Int, first: Int, second: Int, together: Int, apart: Int)
  }

  package struct Node: Sendable {
    package var deletions: [CertificatePrices]
    package var kind: Kind

    package init(deletions: [CertificatePrices] = [], kind: Kind) {
      self.deletions = deletions
      self.kind = kind
    }
  }

  package var nodes: [Node]

  package init(nodes: [Node]) { self.nodes = nodes }

  /// Whether the checker can follow it for so many groups: layered searches, which some leaves may
  /// take, have a limit.
  package func isWithinLimits(groups: Int) -> Bool {
    groups <= CertificatePaths.mostGroups
      || !nodes.contains { if case .exhausted = $0.kind { true } else { false } }
  }
}
