import ColocateModel

/// What a bounding method answers about a stage.
struct BoundReport: Sendable {
  /// Who proved the bound.
  let method: BoundMethod
  /// No placement keeps more.
  let keptBound: Int
  /// Why, as data; nil where it was not to be kept, or where there is none.
  let evidence: StageProof.Evidence?
  /// The limit that ended the method, where it was one of its own; nil where it came to its end or
  /// the run's control ended it.
  var stop: StopReason?
}
