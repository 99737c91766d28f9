import ColocateModel

/// Means to find faults of the solver itself.
public struct SolverDebug: Hashable, Sendable {
  /// A placement that is known to be good, for the same model and machines and within the load cap;
  /// it changes no answer. Whenever a step of the run excludes solutions (a deletion, a cut, a
  /// bound, a branch …) while this one is better than the incumbent, it must survive that step;
  /// where it does not, the run stops and `SolverOutcome.internalFault` names the step.
  public var knownSolution: Placement?

  /// Faults that a test puts into the path search, to see that the known solution is missed.
  package var pathFaults = PathFaults()

  /// Windows' trees at moved shares are given up as soon as they are compared with the first ones.
  package var givesTreesUp = false

  public init() {}
}
