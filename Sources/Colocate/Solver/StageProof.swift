import ColocateModel

/// What a certificate needs from one stage: the problem, the placement, and the evidence for its
/// bound.
package struct StageProof: Sendable {
  /// The evidence, by method.
  package enum Kind: Sendable {
    /// All partitions, with their value function; or P = E.
    case chain(ChainProgram.Answer)
    /// Prices of the path relaxation: `B(u)` at the root.
    case path(prices: PathPrices)
    /// The tree of `GroupingSearch`.
    case tree(ProofNode)
    /// Multipliers of the co-location relaxation.
    case colocation(ColocationMultipliers)
  }

  /// The stage's name, as in `StageOutcome`.
  package let name: String
  package let problem: GroupingProblem
  /// `[L, E]`, groups `0 ..< P`.
  package let labels: [Int]
  package let kind: Kind
}
