import ColocateModel

/// The exact search on the path relaxation: bound, deletion, Russian dolls, and a tree where the
/// dolls overflow.
///
/// A tree node is a list of subsets per layer, kept as bits over the root's lists, with the prices
/// of its parent. Processing one means: a few stages of price optimisation, deletion by penalties,
/// and, where the bound is still above the incumbent, layered search with a small limit on states,
/// which closes most nodes and finds the placements in them. What overflows is branched on a pair
/// (`BranchDecision`). Nodes wait in a pool, the highest bound first; workers take them until none
/// is left. The incumbent is shared; objective and proved bound do not depend on the number of
/// workers, the number of tree nodes may.
package struct GroupingSearch: Sendable {
  package struct Options: Sendable {
    /// Stop when bound − incumbent is at most this many tokens; 0 asks for a proof.
    package var gapLimit = 0
    package var treeNodeLimit: Int?
    /// Keep the tree.
    package var keepsProof = false
    /// Subsets per layer up to which prices are optimised over all of them, and up to which a
    /// restricted master is tried.
    package var subsetLimit = 2_100
    package var generationLimit = 40_000
    package var generation = PathRelaxation.Generation()
    /// Good partitions per layer, to start a restricted master with; nil for none.
    package var partitions: (@Sendable (Int) -> [[Int]])?
    /// States of one layer in the layered search: at the root and at the other tree nodes.
    package var rootStates = 6_000_000
    package var treeNodeStates = 100_000
    /// A known solution that nothing may lose while it is better than the incumbent.
    package var known: KnownSolution?
    /// What a test puts in, to see that the known solution is missed.
    package var faults = PathFaults()
    package var effort = PathRelaxation.Effort()
    /// Whether the layered search and the tree may run.
    package var usesDolls = true
    package var branches = true

    package init() {}
  }

  package struct Result: Sendable {
    /// No placement keeps more. At least the incumbent.
    package let keptBound: Int
    package let stop: StopReason
    package let treeNodes: Int
    /// `path`: the root's bound closed it; `dolls`: layered search at the root; `tree`.
    package let method: BoundMethod
    /// Prices of the root's bound, for placements better than the incumbent.
    package let rootPrices: PathPrices
    /// The tree, where it was to be kept and the incumbent is proved.
    package let proof: ProofTree?
  }

  package let problem: GroupingProblem
  package let options: Options

  package init(problem: GroupingProblem, options: Options = Options()) {
    self.problem = problem
    self.options = options
  }

  /// Searches until the proof, the gap or a limit. Offers what it finds to `incumbent`.
  /// - Parameter progress: called by any of the workers, under no lock.
  /// - Returns: nil where the relaxation does not apply: too many subsets, counts too large, or one
  ///   group.
  package func run(
    incumbent: Incumbent, control: SearchControl,
    progress: @escaping @Sendable (TreeProgress) -> Void = { _ in }
  ) -> Result? {
    guard problem.groups >= 2, problem.experts <= 64 else { return nil }
    let stored = PathRelaxation(
      problem: problem, subsetLimit: options.subsetLimit, threads: control.threads,
      control: control)
    guard let root = stored ?? generated(control: control) else { return nil }
    root.faults = options.faults
    if let known = options.known {
      if root.contains(known.labels) {
        root.known = known
      } else {
        known.lost(to: "a list of subsets")
      }
    }
    let search = RootSearch(
      options: options, root: root, isGenerated: stored == nil, incumbent: incumbent,
      control: control, progress: progress)
    return search.run()
  }

  /// All subsets, more than can be swept often, where time or work is enough for a dozen
  /// evaluations over them.
  private func generated(control: SearchControl) -> PathRelaxation? {
    guard options.partitions != nil,
      let root = PathRelaxation(
        problem: problem, subsetLimit: options.generationLimit, threads: control.threads,
        control: control)
    else { return nil }
    // An evaluation sweeps all arcs twice, about 2·10⁹ a second and thread.
    let arcs = root.vertices.arcCount
    let seconds = Double(arcs) / 1e9 / Double(control.threads)
    return control.remaining > 12 * seconds && control.workLeft / 12 > arcs / 32 ? root : nil
  }
}
