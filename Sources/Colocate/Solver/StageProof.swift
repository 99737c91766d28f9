import ColocateModel

/// What a certificate needs from one stage: the problem, the placement, and the evidence for its
/// bound.
package struct StageProof: Sendable {
  /// The evidence, by method.
  package enum Evidence: Sendable {
    /// All partitions, with their value function; or P = E.
    case chain(ChainProgram.Answer)
    /// Prices of the path relaxation: `B(u)` at the root.
    case path(prices: PathPrices)
    /// The tree of `GroupingSearch`.
    case tree(ProofTree)
    /// Multipliers of the co-location relaxation.
    case colocation(ColocationMultipliers)
  }

  package let stage: Stage
  package let problem: GroupingProblem
  /// `[L, E]`, groups `0 ..< P`.
  package let labels: [Int]
  package let evidence: Evidence
}
