import ColocateModel

/// How good an answer is.
public enum SolverStatus: String, Hashable, Sendable, Codable, CaseIterable {
  /// Proved: no placement is better.
  case optimal
  /// A valid placement; how far from the best it can be is in the gap.
  case feasible
  /// Proved: no placement meets the load cap.
  case infeasible
  /// No placement that meets the load cap was found, and it was not proved that there is none.
  case unknown
}

/// What one stage, or one node's sub-problem, of an answer is worth. All values are crossings, to
/// be minimised.
public struct StageOutcome: Hashable, Sendable {
  public let stage: Stage
  public let status: SolverStatus
  public let stopReason: StopReason
  /// What the placement costs in this stage; nil where there is none.
  public let value: Int?
  /// No answer of this stage costs less; nil where nothing is known.
  public let bound: Int?
  /// Who proved the bound; nil where nothing is known.
  public let boundMethod: BoundMethod?
  /// Tree nodes looked at.
  public let treeNodes: Int
  public let seconds: Double

  /// `(value - bound) / value`, 0 where `value` is 0; nil where the bound is.
  public var gap: Double? { SolverOutcome.gap(value: value, bound: bound) }
}

/// The answer of a run.
public struct SolverOutcome: Sendable {
  public let status: SolverStatus
  public let stopReason: StopReason
  /// The best placement found; nil only where `status` is `infeasible` or `unknown`.
  public let placement: Placement?
  /// Its crossings, by `Objective.swift`.
  public let crossings: Crossings?
  /// `Objective.value(of:)` of the placement.
  public let value: Int?
  /// No placement has a smaller value; nil where nothing is known. Always nil for a staged answer
  /// of two steps: those minimise two numbers one after the other, and no single number bounds the
  /// crossings of every placement. What is proved of it is each step's own bound, in `stages`, and
  /// what any placement costs when both levels count at once, in `joint`.
  public let bound: Int?
  /// One entry for flat and joint; for staged one for the nodes, one for each node's inside.
  public let stages: [StageOutcome]
  /// For a staged answer: how it stands against the joint objective; nil for other objectives, or
  /// without bounds.
  public let joint: JointComparison?
  /// An invariant that failed: what was found, in one line; nil where all is well. The placement is
  /// valid all the same (it is counted anew), the bound is withdrawn.
  public let internalFault: String?
  /// The evidence for a certificate, one for each stage that has any; empty unless
  /// `keepsCertificate`.
  package let proofs: [StageProof]
  /// Tree nodes, work and seconds spent.
  public let statistics: Statistics

  /// `(value - bound) / value` on crossings; 0 where the value is 0, nil where the bound is.
  public var gap: Double? { Self.gap(value: value, bound: bound) }

  static func gap(value: Int?, bound: Int?) -> Double? {
    guard let value, let bound else { return nil }
    return value == 0 ? 0 : Double(value - bound) / Double(value)
  }

  public struct Statistics: Hashable, Sendable {
    public var treeNodes = 0
    public var work = 0
    public var seconds = 0.0
    public init() {}
  }
}

/// What a staged answer, which minimises one level after the other, is worth when both count at
/// once.
public struct JointComparison: Hashable, Sendable {
  public let weights: JointWeights
  /// `JointWeights.value(of:)` of the staged answer.
  public let value: Int
  /// No placement whatever has a smaller joint value; nil where nothing is known.
  public let bound: Int?

  /// `(value - bound) / value`, 0 where `value` is 0; nil where the bound is.
  public var gap: Double? { SolverOutcome.gap(value: value, bound: bound) }
}
