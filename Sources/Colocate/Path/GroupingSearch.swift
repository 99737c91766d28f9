import ColocateModel

/// The exact search on the path relaxation: bound, deletion, Russian dolls, and a tree where the
/// dolls overflow.
///
/// A node is a list of subsets per layer, kept as bits over the root's lists, with the prices of
/// its parent. Processing a node means: a few stages of price optimisation, deletion by penalties,
/// and, where the bound is still above the incumbent, layered search with a small limit on states,
/// which closes most nodes and finds the placements in them. What overflows is branched on a pair
/// (Branching.swift). Nodes wait in a pool, the highest bound first; workers take them until none
/// is left. The incumbent is shared; objective and proved bound do not depend on the number of
/// workers, the number of nodes may.
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
    /// States of one layer in the layered search: at the root and at the other nodes.
    package var rootStates = 6_000_000
    package var nodeStates = 100_000
    /// A known solution that nothing may lose while it is better than the incumbent.
    package var known: KnownSolution?
    package var effort = PathRelaxation.Effort()
    /// Whether the layered search and the tree may run.
    package var usesDolls = true
    package var branches = true

    package init(methods: SolverMethods = SolverMethods()) {
      subsetLimit = methods.pathSubsets
      if !methods.pathGeneration { generationLimit = 0 }
      rootStates = methods.dollStates
      nodeStates = methods.treeStates
      effort.evaluationsPerStage = methods.pathEvaluations
      effort.deepEvaluations = 10 * methods.pathEvaluations
      effort.deletes = methods.pathDeletion
      effort.cutRounds = methods.pathCutRounds
      usesDolls = methods.dolls
      branches = methods.tree
    }
  }

  package struct Result: Sendable {
    /// No placement keeps more. At least the incumbent.
    package let keptBound: Int
    package let stop: StopReason
    package let treeNodes: Int
    /// The root's bound, before any tree.
    package let rootBound: Int
    /// `path`: the root's bound closed it; `dolls`: layered search at the root; `tree`.
    package let method: BoundMethod
    /// Prices of the root's bound, for placements better than the incumbent.
    package let rootPrices: PathPrices
    /// The tree, where it was to be kept and the incumbent is proved.
    package let proof: ProofNode?
  }

  package let problem: GroupingProblem
  package let options: Options

  package init(problem: GroupingProblem, options: Options = Options()) {
    self.problem = problem
    self.options = options
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
    let seconds = Double(root.arcCount) / 1e9 / Double(control.threads)
    return control.remaining > 12 * seconds && control.workLeft / 12 > root.arcCount / 32
      ? root : nil
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
    if let known = options.known {
      if root.contains(known.labels) {
        root.known = known
      } else {
        known.lost(to: "a list of subsets")
      }
    }
    let total = problem.total
    let share = incumbent.kept > 0 ? Double(incumbent.kept) / Double(max(total, 1)) : 0.5
    let start = root.startPrices(share: share)
    var proof = ProofBuilder()
    func result(_ bound: Int, _ stop: StopReason, treeNodes: Int, method: BoundMethod) -> Result {
      Result(
        keptBound: max(min(bound, total), incumbent.kept), stop: stop, treeNodes: treeNodes,
        rootBound: max(min(root.bound, total), incumbent.kept), method: method,
        rootPrices: root.boundPrices,
        proof: options.keepsProof && stop == .proved ? proof.tree() : nil)
    }
    func stopReason() -> StopReason? {
      if control.isCancelled { return .cancelled }
      if control.isTimeOver { return .time }
      return control.workSpent >= control.workLimit ? .work : nil
    }
    let best = { incumbent.kept }
    let report = { (root: PathRelaxation) in
      progress(TreeProgress(bound: max(root.bound, incumbent.kept), treeNodes: 0, openTreeNodes: 1))
    }
    var effort = options.effort
    if stored == nil, let partitions = options.partitions {
      root.optimiseByGeneration(
        from: start, partitions: (0..<problem.layers).map(partitions), incumbent: best,
        generation: options.generation, control: control, progress: report)
      if root.bound > incumbent.kept, root.meanCount > options.generation.enough {
        return result(root.bound, stopReason() ?? .finished, treeNodes: 1, method: .path)
      }
      effort.firstShare /= 8
    } else {
      root.evaluate(experts: start)
    }
    if root.bound > incumbent.kept {
      root.optimise(incumbent: best, effort: effort, control: control, progress: report)
    }
    if root.bound <= incumbent.kept {
      proof.close(0, .bounded(deletions: root.deletions, prices: root.boundPrices))
      return result(root.bound, .proved, treeNodes: 1, method: .path)
    }
    // Stopped before the first evaluation there is no bound to measure a gap with.
    if let stop = stopReason() { return result(root.bound, stop, treeNodes: 1, method: .path) }
    if min(root.bound, total) - incumbent.kept <= options.gapLimit {
      return result(root.bound, .gap, treeNodes: 1, method: .path)
    }
    guard root.evaluate(root.boundPrices) else {
      return result(root.bound, stopReason() ?? .time, treeNodes: 1, method: .path)
    }
    var limits = RussianDolls.Limits()
    limits.states = options.rootStates
    let dolls = RussianDolls(
      relaxation: root, limits: limits, incumbent: { incumbent.kept }, control: control)
    let outcome =
      !options.usesDolls
      ? .overflow
      : dolls.run { dolls in
        progress(
          TreeProgress(bound: max(dolls.bound, incumbent.kept), treeNodes: 1, openTreeNodes: 1))
      }
    var rootBound = min(root.bound, dolls.bound)
    switch outcome {
    case .proved, .optimum:
      if case .optimum(let kept, let labels) = outcome {
        incumbent.offer(labels, kept: kept, source: .exact)
        if incumbent.kept < kept {
          // The best placement fails a condition that the relaxation does not know.
          return result(kept, .finished, treeNodes: 1, method: .dolls)
        }
      }
      proof.close(
        0,
        .exhausted(deletions: root.deletions, prices: root.prices, dolls: dolls.dolls))
      return result(incumbent.kept, .proved, treeNodes: 1, method: .dolls)
    case .stopped:
      return result(rootBound, stopReason() ?? .time, treeNodes: 1, method: .dolls)
    case .overflow: break
    }
    rootBound = max(rootBound, incumbent.kept)
    if rootBound - incumbent.kept <= options.gapLimit {
      return result(rootBound, .gap, treeNodes: 1, method: .dolls)
    }
    guard options.branches else {
      return result(rootBound, .finished, treeNodes: 1, method: .dolls)
    }
    let tree = SearchTree(
      root: root.shared, rootBound: rootBound, options: options, incumbent: incumbent,
      control: control, proof: proof, progress: progress)
    let end = tree.run(from: root)
    proof = end.proof
    return result(
      end.bound, end.stop ?? stopReason() ?? .finished, treeNodes: end.treeNodes, method: .tree)
  }
}
