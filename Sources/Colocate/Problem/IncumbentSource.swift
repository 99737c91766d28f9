/// Who found an incumbent.
public enum IncumbentSource: String, Hashable, Sendable, CaseIterable {
  /// A placement that costs nothing to make (`FirstPlacement`).
  case baseline
  /// The placement that the run was given to start from.
  case warmStart = "warm_start"
  case localSearch = "local_search"
  /// Partitions of several solutions, recombined (`PartitionPool`).
  case pool
  /// An exact method: the chain, an assignment, the dolls.
  case exact
  /// The search tree.
  case tree
}
