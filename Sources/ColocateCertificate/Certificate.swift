import ColocateModel

/// An answer with the evidence for its bound, so that somebody else can check it without trusting
/// the search.
///
/// A stage is one partition problem that follows from the counts and the placement: all GPUs, all
/// nodes, or the GPUs of one node among the experts that the placement puts there. For each the
/// certificate claims what the placement keeps and what no placement of that stage exceeds. The
/// checker (`Certificate+Check.swift`) derives the problems anew, counts what the placement keeps,
/// recomputes the bound from the evidence, and refuses a claim that is stronger than what it found.
///
/// This module sees the model and nothing of the solver; what a run kept becomes evidence in the
/// solver's own `CertificateFromOutcome.swift`. Everything here may come from a hostile file: no
/// arithmetic on it can overflow unnoticed, and every loop over it has a stated limit or asks
/// `CertificateEffort`.
package struct Certificate: Sendable {
  /// Why no placement of a stage keeps more than `keptBound`.
  package enum Evidence: Sendable {
    /// P = 1: every placement keeps everything.
    case oneGroup
    /// P = E, by duality of the assignment problem: rows and columns, `[L-1, E]` each, with
    /// r_i + s_j ≥ W_l[i,j] bound boundary l by Σr + Σs.
    case assignment(rows: [Int], columns: [Int])
    /// A value function of the chain of partitions, `[L][partitions]` in the order of
    /// `CertificatePartitions`: f_0(Π) ≥ inside(Π) and
    /// f_{l+1}(Π') ≥ f_l(Π) + θ_l(Π, Π') + inside(Π'), so nothing exceeds max f_{L-1}.
    case chain(values: [[Int]])
    /// Prices of the path relaxation (`CertificatePaths`), in units of 1/64.
    case path(CertificatePrices)
    /// Multipliers of the co-location relaxation.
    case colocation(CertificateColocation)
    /// A search tree over the path relaxation: no placement keeps more than this one.
    case tree(CertificateTree)

    /// The name in the file and in messages.
    package var name: String {
      switch self {
      case .oneGroup: "one-group"
      case .assignment: "assignment"
      case .chain: "chain"
      case .path: "path"
      case .colocation: "co-location"
      case .tree: "tree"
      }
    }
  }

  /// What is claimed of one stage, and why it is true.
  package struct Claim: Sendable {
    package var stage: Stage
    /// What the placement keeps in this stage.
    package var kept: Int
    /// What no placement of this stage exceeds.
    package var keptBound: Int
    /// The evidence is about the counts divided by this, which must divide every one of them.
    package var unit: Int
    /// The same for the loads; caps are divided too and rounded down, since loads are multiples.
    package var loadUnit: Int
    package var evidence: Evidence

    package init(
      stage: Stage = .gpus, kept: Int, keptBound: Int, unit: Int = 1, loadUnit: Int = 1,
      evidence: Evidence
    ) {
      self.stage = stage
      self.kept = kept
      self.keptBound = keptBound
      self.unit = unit
      self.loadUnit = loadUnit
      self.evidence = evidence
    }
  }

  package var placement: Placement
  package var objective: Objective
  package var loadCap: LoadCap?
  /// The most tokens of a GPU in each layer, `[L]`; nil without a cap.
  package var caps: [Int]?
  package var claims: [Claim]

  package init(
    placement: Placement, objective: Objective, loadCap: LoadCap?, caps: [Int]?, claims: [Claim]
  ) {
    self.placement = placement
    self.objective = objective
    self.loadCap = loadCap
    self.caps = caps
    self.claims = claims
  }
}

/// The first thing in a certificate that is not true, or that is too large to be checked.
package struct CertificateError: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
