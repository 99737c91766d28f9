import ColocateModel

/// Whose bound or proof it is.
public enum BoundMethod: String, Hashable, Sendable, Codable, CaseIterable {
  /// Crossings are never negative, and the answer has none.
  case trivial
  /// One expert a GPU: every boundary is an assignment problem of its own.
  case assignment
  /// Dynamic programming over all partitions of a layer.
  case chain
  /// The path relaxation.
  case path
  /// Layered search at the root of the path relaxation.
  case dolls
  /// The search tree on the path relaxation.
  case tree
  /// The co-location relaxation.
  case colocation = "co-location"
  /// Layered search on the losses of the co-location relaxation.
  case colocationSearch = "co-location search"
  /// Search trees over the windows of the co-location relaxation.
  case windows
  /// The weighted sum of a bound on GPU crossings and one on node crossings.
  case gpusAndNodes = "gpus + nodes"
}
