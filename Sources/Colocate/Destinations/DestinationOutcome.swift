import ColocateModel

/// What to spend on destinations, and when to stop.
public struct DestinationOptions: Sendable {
  /// Seconds of wall time; nil for no limit.
  public var timeLimit: Double? = 60
  /// Work in units that do not depend on the machine, each about one proposal of local search; nil
  /// for no limit. It is split evenly over the layers. With a work limit and no time limit the
  /// result is the same for any number of threads.
  public var workLimit: Int?
  /// Layers that may be worked on at the same time.
  public var threads: Int = 2
  /// Names the run's random numbers.
  public var seed: UInt64 = 1
  /// Whether to look for bounds and proofs, or for a good placement alone.
  public var proves: Bool = true
  /// Where to start from; used where it meets the cap.
  public var warmStart: Placement?
  /// Starts of the local search in each layer.
  public var starts: Int = 4

  public init() {}
}

/// What is known of one layer.
public struct DestinationLayerOutcome: Hashable, Sendable {
  /// The objective's value of this layer.
  public let value: Int
  /// No placement of this layer has a smaller value; nil where nothing is known. For `staged` it
  /// bounds the second stage given the first.
  public let bound: Int?
  /// `optimal` where value and bound meet. For `staged`: where both stages are proved, each given
  /// the one before.
  public let status: SolverStatus
  /// Seconds of one thread.
  public let seconds: Double
  /// What proves the bounds; empty where nothing was priced. The first is the node stage of a
  /// staged answer, then node after node; for one level there is one.
  public let prices: [DestinationPrices]

  /// `(value − bound) / value`, 0 where `value` is 0; nil where the bound is.
  public var gap: Double? { SolverOutcome.gap(value: value, bound: bound) }
}

/// The answer of a run of `DestinationSolver`.
public struct DestinationOutcome: Sendable {
  /// `optimal` where every layer is; `feasible` otherwise.
  public let status: SolverStatus
  /// Why the run ended.
  public let stopReason: StopReason
  /// The best placement found.
  public let placement: Placement
  /// Its destinations, by the definition in `Destinations.swift`.
  public let destinations: Destinations
  /// `DestinationObjective.value(of:)` of the placement.
  public let value: Int
  /// No placement has a smaller value; nil where a layer has no bound, and for `staged`, whose
  /// stages are bounded one after the other and not together.
  public let bound: Int?
  /// `[L]`.
  public let layers: [DestinationLayerOutcome]
  /// The most tokens of a GPU in each layer, `[L]`; nil without a cap.
  public let caps: [Int]?
  /// Seconds of wall time.
  public let seconds: Double
  /// Work spent, in the units of `DestinationOptions.workLimit`.
  public let work: Int

  /// `(value − bound) / value`, 0 where `value` is 0; nil where the bound is.
  public var gap: Double? { SolverOutcome.gap(value: value, bound: bound) }
}

/// A layer that is done, or the start of a run.
public struct DestinationProgress: Sendable {
  /// The layer, with what is known of it now; nil at the start.
  public let layer: Int?
  public let outcome: DestinationLayerOutcome?
  /// The objective's value of `placement`.
  public let value: Int
  /// What is known of all layers together: `Σ` of their bounds, with 0 for layers that have none
  /// yet. For `staged` it bounds nothing but the second stage.
  public let bound: Int
  /// Layers, and those proved so far.
  public let layers: Int
  public let proved: Int
  /// The best placement so far: valid, and within the load cap.
  public let placement: Placement
  /// Seconds since the start.
  public let seconds: Double
}
