import ColocateModel

/// A line of a running solve.
public struct SolverProgress: Sendable {
  public let stage: Stage
  /// Who found the new incumbent of this line; nil where it has none.
  public let source: IncumbentSource?
  public let treeNodes: Int
  public let openTreeNodes: Int
  /// Crossings of the stage: the best found (nil before the first) and the bound (nil before the
  /// first).
  public let value: Int?
  public let bound: Int?
  /// On lines with a new incumbent, the best placement of the whole instance so far: valid, and
  /// within the load cap. While a staged answer is put together it is the incumbent's nodes with
  /// their GPUs filled in, or an earlier placement that is better. Whoever keeps the last one has a
  /// plan whatever happens to the run.
  public let placement: Placement?
  public let seconds: Double

  /// `(value - bound) / value`, 0 where `value` is 0; nil before there are both.
  public var gap: Double? { SolverOutcome.gap(value: value, bound: bound) }
}

/// What a progress callback answers.
public enum ProgressAction: Sendable {
  case proceed
  case stop
}
