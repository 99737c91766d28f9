/// The points of a layer in a step, in the order in which they are reached.
public enum StepPoint: Sendable {
  /// Every local token's experts are known.
  case routed
  /// The tokens are on the ranks of their experts.
  case dispatched
  /// Every rank has applied its experts to what it got.
  case applied
  /// The partial sums are where the tokens go on.
  case combined
}

/// Watches an engine's steps from outside: to count, or to measure. Nothing of a step depends on
/// it.
public protocol StepObserver: AnyObject {
  /// The engine has reached a point of a layer, on this rank.
  func reached(_ point: StepPoint, layer: Int, of engine: Engine)
}
