import ColocateModel

/// What to spend, when to stop, and how to search. The defaults suit an interactive run.
public struct SolverOptions: Hashable, Sendable {
  /// Seconds of wall time; nil for no limit.
  public var timeLimit: Double? = 60
  /// Stop once `gap ≤ gapLimit` (see `SolverOutcome.gap`); 0 asks for a proof.
  public var gapLimit: Double = 0
  /// Nodes of the search tree; nil for no limit.
  public var treeNodeLimit: Int?
  /// Work in units that do not depend on the machine, each about one proposal of local search; nil
  /// for no limit. With a work limit and no time limit nothing depends on the clock, and the result
  /// is the same for any number of threads; except that where a tree is searched by several
  /// threads, what an unfinished tree has found when the work is used up may differ.
  public var workLimit: Int?
  /// Threads that may work at the same time. With 1 everything happens on the calling thread and
  /// none is made: what to ask for where a process may not make any (Dispatch waits for ever for a
  /// thread that it cannot have).
  public var threads: Int = 2
  /// Names the run's random numbers.
  public var seed: UInt64 = 1
  /// Whether to look for bounds and proofs, or for a good placement alone.
  public var proves: Bool = true
  /// Where to start from.
  public var warmStart: Placement?
  /// Weights at which a staged answer is compared with the joint objective; between nodes, inside a
  /// node.
  public var jointWeights = JointWeights()
  /// Keep what a certificate needs (prices, multipliers, the tree).
  public var keepsCertificate: Bool = false
  /// Which methods may run.
  public var methods = SolverMethods()
  /// Means to find faults of the solver.
  public var debug = SolverDebug()

  public init() {}
}
