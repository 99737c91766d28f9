/// Why the run ended.
public enum StopReason: String, Hashable, Sendable, Codable, CaseIterable {
  /// Nothing better exists.
  case proved
  /// The gap asked for is met.
  case gap
  /// The time limit.
  case time
  /// The limit on tree nodes.
  case treeNodes = "tree_nodes"
  /// The work limit.
  case work
  /// Somebody cancelled.
  case cancelled
  /// Everything that was to be tried has been, without a proof (`proves == false`, or a proof is
  /// out of reach).
  case finished
  /// A fault of the program. `Solver` never answers this: a plan says it that was written when the
  /// program crashed.
  case internalError = "internal_error"
}
