import ColocateModel

/// The search at the root, step by step: prices, layered search, and what is left to the tree. Each
/// step answers with a result where it is the last.
struct RootSearch {
  let options: GroupingSearch.Options
  let root: PathRelaxation
  /// Whether the root has more subsets than can be swept often.
  let isGenerated: Bool
  let incumbent: Incumbent
  let control: SearchControl
  let progress: @Sendable (TreeProgress) -> Void

  private var total: Int { root.problem.total }

  func run() -> GroupingSearch.Result {
    if let result = optimise() { return result }
    guard let evaluation = root.evaluate(root.boundPrices) else {
      return result(root.bound, stopReason ?? .time, .path)
    }
    var limits = RussianDolls.Limits()
    limits.states = options.rootStates
    let dolls = RussianDolls(
      evaluation, limits: limits, incumbent: { [incumbent] in incumbent.kept }, control: control,
      known: root.known, faults: root.faults)
    if options.usesDolls, let result = search(dolls) { return result }
    return branch(evaluation, bound: max(min(root.bound, dolls.bound), incumbent.kept))
  }

  private func result(
    _ bound: Int, _ stop: StopReason, _ method: BoundMethod, treeNodes: Int = 1,
    proof: ProofTree? = nil
  ) -> GroupingSearch.Result {
    GroupingSearch.Result(
      keptBound: max(min(bound, total), incumbent.kept), stop: stop, treeNodes: treeNodes,
      method: method, rootPrices: root.boundPrices,
      proof: options.keepsProof && stop == .proved ? proof : nil)
  }

  /// The limit that is reached, if one is.
  private var stopReason: StopReason? {
    if control.isCancelled { return .cancelled }
    if control.isTimeOver { return .time }
    return control.isWorkOver ? .work : nil
  }

  /// Prices, and deletion on the way.
  private func optimise() -> GroupingSearch.Result? {
    let share = incumbent.kept > 0 ? Double(incumbent.kept) / Double(max(total, 1)) : 0.5
    let start = root.startPrices(share: share)
    let best = { [incumbent] in incumbent.kept }
    let report = { [incumbent, progress] (root: PathRelaxation) in
      progress(
        TreeProgress(bound: max(root.bound, incumbent.kept), treeNodes: 0, openTreeNodes: 1))
    }
    var effort = options.effort
    let evaluation: PathEvaluation?
    if isGenerated, let partitions = options.partitions {
      evaluation = root.optimiseByGeneration(
        from: start, partitions: (0..<root.problem.layers).map(partitions), incumbent: best,
        generation: options.generation, control: control, progress: report)
      if root.bound > incumbent.kept,
        root.vertices.meanCount > options.generation.enough
      {
        return result(root.bound, stopReason ?? .finished, .path)
      }
      effort.firstShare /= 8
    } else {
      evaluation = root.evaluate(experts: start)
    }
    if let evaluation, root.bound > incumbent.kept {
      root.optimise(
        from: evaluation, incumbent: best, effort: effort, control: control, progress: report)
    }
    if root.bound <= incumbent.kept {
      let leaf = ProofTree.Node.bounded(
        deletions: root.vertices.deletions, prices: root.boundPrices)
      return result(root.bound, .proved, .path, proof: ProofTree(leaf))
    }
    // Stopped before the first evaluation there is no bound to measure a gap with.
    if let stopReason { return result(root.bound, stopReason, .path) }
    if min(root.bound, total) - incumbent.kept <= options.gapLimit {
      return result(root.bound, .gap, .path)
    }
    return nil
  }

  /// Layered search at the root.
  private func search(_ dolls: RussianDolls) -> GroupingSearch.Result? {
    let outcome = dolls.run { [incumbent, progress] dolls in
      progress(
        TreeProgress(bound: max(dolls.bound, incumbent.kept), treeNodes: 1, openTreeNodes: 1))
    }
    switch outcome {
    case .optimum(let kept, let labels):
      incumbent.offer(labels, kept: kept, source: .exact)
      // It may fail a condition that the relaxation does not know: its value stays as a bound.
      guard incumbent.kept >= kept else { return result(kept, .finished, .dolls) }
    case .proved: break
    case .stopped: return result(min(root.bound, dolls.bound), stopReason ?? .time, .dolls)
    case .overflow: return nil
    }
    let leaf = ProofTree.Node.exhausted(
      deletions: dolls.evaluation.vertices.deletions, prices: dolls.evaluation.prices,
      dolls: dolls.dolls)
    return result(incumbent.kept, .proved, .dolls, proof: ProofTree(leaf))
  }

  /// The tree below the root.
  private func branch(_ evaluation: PathEvaluation, bound: Int) -> GroupingSearch.Result {
    guard bound - incumbent.kept > options.gapLimit else { return result(bound, .gap, .dolls) }
    guard options.branches else { return result(bound, .finished, .dolls) }
    let tree = SearchTree(
      root: root, rootBound: bound, options: options, incumbent: incumbent, control: control,
      progress: progress)
    let end = tree.run(from: evaluation)
    return result(
      end.bound, end.stop ?? stopReason ?? .finished, .tree, treeNodes: end.treeNodes,
      proof: end.proof)
  }
}
