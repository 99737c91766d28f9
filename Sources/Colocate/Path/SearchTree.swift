import ColocateModel
import Dispatch
import Synchronization

/// The pool of open tree nodes of `GroupingSearch` and the workers on it.
///
/// A node is a list of subsets per layer, kept as bits over the root's lists, with the prices of
/// its parent. It is closed by a bound, closed by the layered search, branched, or given up with
/// its bound; so the largest bound of the nodes that are open, in work or given up, and the
/// incumbent, bound every placement at any time. Everything that workers share is in `state`,
/// behind its lock, or does not change.
final class SearchTree: Sendable {
  private struct Node: Sendable {
    /// Of the root's vertices.
    let alive: VertexSelection
    let prices: PathPrices
    /// Of placements better than the incumbent, in tokens.
    let bound: Int
    /// The part of it that the prices alone prove: what a certificate can show without layered
    /// search.
    let priceBound: Int
    let number: Int
    let depth: Int
  }

  /// What the workers share.
  private struct State {
    var open: [Node] = []
    /// Bounds of the nodes that workers have in hand, by number.
    var inWork: [Int: Int] = [:]
    /// The largest bound of a node that was given up.
    var givenUp = Int.min
    var treeNodes = 1
    var waiting = 0
    var stop: StopReason?
    var proof = ProofBuilder()
  }

  /// What a worker is to do next.
  private enum Step {
    case process(Node, TreeProgress)
    /// Others have all open nodes in hand.
    case wait
    case done
  }

  /// How the search ended.
  struct End {
    /// No placement keeps more.
    let bound: Int
    /// Why; nil for a limit of the control.
    let stop: StopReason?
    let treeNodes: Int
    /// nil where a node is open.
    let proof: ProofTree?
  }

  private let model: PathModel
  /// The root's vertices and prices as they were when the dolls gave it up; all nodes' subsets are
  /// among them.
  private let layers: [PathSubsets]
  private let rootPrices: PathPrices
  /// In tokens.
  private let deepestMu: Double?
  private let known: KnownSolution?
  /// Bound of everything that dolls or the root proved already.
  private let rootBound: Int
  /// The part of it that the root's prices alone prove.
  private let rootPriceBound: Int
  private let options: GroupingSearch.Options
  private let incumbent: Incumbent
  private let control: SearchControl
  private let progress: @Sendable (TreeProgress) -> Void
  private let state: Mutex<State>
  private let wake = DispatchSemaphore(value: 0)

  /// - Parameter root: as it was when the dolls gave it up.
  init(
    root: PathRelaxation, rootBound: Int, options: GroupingSearch.Options, incumbent: Incumbent,
    control: SearchControl, progress: @escaping @Sendable (TreeProgress) -> Void
  ) {
    model = root.model
    layers = root.layers
    rootPrices = root.boundPrices
    deepestMu = root.deepestMu
    known = root.known
    self.rootBound = rootBound
    rootPriceBound = root.bound
    self.options = options
    self.incumbent = incumbent
    self.control = control
    self.progress = progress
    state = Mutex(State())
  }

  /// Searches below the root.
  /// - Parameter evaluation: of the root, at the prices of its bound.
  func run(from evaluation: PathEvaluation) -> End {
    guard
      branch(
        evaluation, from: nil, bound: min(rootBound, rootPriceBound), priceBound: rootPriceBound)
    else {
      // Nothing to branch on, nothing proved below the root: its bound stands.
      return End(bound: rootBound, stop: .finished, treeNodes: 1, proof: nil)
    }
    concurrentFor(control.threads, threads: control.threads) { _, _ in work() }
    return state.withLock { state in
      let isClosed = state.open.isEmpty && state.inWork.isEmpty
      let isProved = state.givenUp <= incumbent.kept
      return End(
        bound: bound(state),
        stop: state.stop ?? (isClosed ? (isProved ? .proved : .finished) : nil),
        treeNodes: state.treeNodes, proof: state.proof.tree())
    }
  }

  /// No placement keeps more.
  private func bound(_ state: borrowing State) -> Int {
    var bound = max(incumbent.kept, state.givenUp)
    for node in state.open { bound = max(bound, node.bound) }
    for (_, value) in state.inWork { bound = max(bound, value) }
    return min(bound, rootBound)
  }

  private func work() {
    while true {
      switch state.withLock({ next(&$0) }) {
      case .done:
        for _ in 0..<control.threads { wake.signal() }
        return
      case .wait:
        _ = wake.wait(timeout: .now() + .milliseconds(50))
        state.withLock { $0.waiting -= 1 }
      case .process(let node, let report):
        progress(report)
        process(node)
        let waiting = state.withLock { state in
          // Stopped on the way: it stays open.
          if state.inWork.removeValue(forKey: node.number) != nil { state.open.append(node) }
          return state.waiting
        }
        for _ in 0..<waiting { wake.signal() }
      }
    }
  }

  /// Invariant: every node that is not closed is in `open` or in `inWork`, or its bound is in
  /// `givenUp`.
  private func next(_ state: inout State) -> Step {
    if state.stop != nil || control.shouldStop || control.isWorkOver { return .done }
    let best = incumbent.kept
    state.open.removeAll { node in
      guard node.priceBound <= best || (node.bound <= best && !options.keepsProof) else {
        return false
      }
      if holds(node.alive) { known?.lost(to: "a prune of the tree", incumbent: best) }
      state.proof.close(node.number, .bounded(deletions: [], prices: node.prices))
      return true
    }
    if state.open.isEmpty {
      if state.inWork.isEmpty { return .done }
      state.waiting += 1
      return .wait
    }
    if options.gapLimit > 0 && bound(state) - best <= options.gapLimit {
      state.stop = .gap
      return .done
    }
    if let limit = options.treeNodeLimit, state.treeNodes >= limit {
      state.stop = .treeNodes
      return .done
    }
    guard let node = takeBest(&state.open, dives: best < 0) else { return .done }
    state.inWork[node.number] = node.bound
    state.treeNodes += 1
    return .process(
      node,
      TreeProgress(
        bound: bound(state), treeNodes: state.treeNodes,
        openTreeNodes: state.open.count + state.inWork.count))
  }

  /// The node with the highest bound, or (`dives`: while there is no incumbent to prune with) the
  /// deepest.
  private func takeBest(_ open: inout [Node], dives: Bool) -> Node? {
    let index = open.indices.max {
      let (a, b) = (open[$0], open[$1])
      return dives
        ? (a.depth, a.bound) < (b.depth, b.bound) : (a.bound, a.depth) < (b.bound, b.depth)
    }
    return index.map { open.remove(at: $0) }
  }

  // MARK: - One node

  /// Closes a node, or puts its children into the pool.
  private func process(_ node: Node) {
    let relaxation = PathRelaxation(
      model: model, layers: subsets(of: node), threads: 1, prices: rootPrices, known: known,
      faults: options.faults)
    if !relaxation.isEmpty {
      guard let evaluation = relaxation.evaluate(node.prices) else { return }
      relaxation.optimise(
        from: evaluation, incumbent: { [incumbent] in incumbent.kept }, effort: effort(relaxation),
        control: control)
    }
    if relaxation.bound <= incumbent.kept {
      finish(
        node,
        .bounded(deletions: relaxation.vertices.deletions, prices: relaxation.boundPrices))
      return
    }
    if control.shouldStop { return }
    guard let evaluation = relaxation.evaluate(relaxation.boundPrices) else { return }
    search(evaluation, of: node, bound: relaxation.bound, known: relaxation.known)
  }

  /// The root's effort, a little above its last μ: the parent's prices are near already.
  private func effort(_ relaxation: PathRelaxation) -> PathRelaxation.Effort {
    var effort = options.effort
    let mu = deepestMu ?? relaxation.model.lastMu
    effort.firstMu = mu * 4
    effort.lastMu = mu
    effort.deepShare = 1
    effort.evaluationsPerStage = 25
    effort.cutRounds = min(1, effort.cutRounds)
    return effort
  }

  /// Layered search in a node; branches it where that overflows.
  private func search(
    _ evaluation: PathEvaluation, of node: Node, bound priceBound: Int, known: KnownSolution?
  ) {
    var limits = RussianDolls.Limits()
    limits.states = options.treeNodeStates
    limits.arcs = 20_000_000
    let dolls = RussianDolls(
      evaluation, limits: limits, incumbent: { [incumbent] in incumbent.kept }, control: control,
      known: known, faults: options.faults)
    switch options.usesDolls ? dolls.run() : .overflow {
    case .optimum(let kept, let labels):
      incumbent.offer(labels, kept: kept, source: .tree)
      guard incumbent.kept >= kept else {
        // It fails a condition that the relaxation does not know: its value stays as a bound.
        giveUp(node, bound: kept)
        return
      }
    case .proved: break
    case .stopped: return
    case .overflow:
      let priceBound = min(priceBound, node.priceBound)
      let bound = min(priceBound, dolls.bound, node.bound)
      if !branch(evaluation, from: node, bound: bound, priceBound: priceBound) {
        giveUp(node, bound: bound)
      }
      return
    }
    finish(
      node,
      .exhausted(
        deletions: evaluation.vertices.deletions, prices: evaluation.prices, dolls: dolls.dolls))
  }

  private func finish(_ node: Node, _ leaf: ProofTree.Node) {
    state.withLock { state in
      state.proof.close(node.number, leaf)
      state.inWork[node.number] = nil
    }
  }

  private func giveUp(_ node: Node, bound: Int) {
    state.withLock { state in
      state.givenUp = max(state.givenUp, bound)
      state.inWork[node.number] = nil
    }
  }

  // MARK: - Branching

  /// Children of a node (nil: the root) with these bounds.
  /// - Returns: false where no pair is undecided.
  private func branch(
    _ evaluation: PathEvaluation, from node: Node?, bound: Int, priceBound: Int
  ) -> Bool {
    let mu = model.lastMu * Double(PathSubsets.ticks)
    guard let decision = evaluation.branchDecision(mu: mu) else { return false }
    let children = children(of: evaluation, decision)
    if let known, !children.contains(where: holds),
      evaluation.vertices.places(
        of: Labels(known.labels, experts: model.experts), groups: model.groups) != nil
    {
      known.lost(to: "a branch of the tree", incumbent: incumbent.kept)
    }
    let most = options.faults.lowersBounds ? incumbent.kept : .max
    state.withLock { state in
      let numbers = state.proof.branch(
        node?.number ?? 0, deletions: evaluation.vertices.deletions, decision)
      for (number, alive) in zip([numbers.together, numbers.apart], children) {
        state.open.append(
          Node(
            alive: alive, prices: evaluation.prices, bound: min(bound, most),
            priceBound: min(priceBound, most), number: number, depth: (node?.depth ?? 0) + 1))
      }
      if let node { state.inWork[node.number] = nil }
    }
    return true
  }

  /// The vertices of an evaluation, among the root's, that keep the two experts together, and those
  /// that keep them apart.
  private func children(
    of evaluation: PathEvaluation, _ decision: BranchDecision
  ) -> [VertexSelection] {
    var together = VertexSelection(noneOf: layers)
    var apart = together
    for l in layers.indices {
      // Both lists are in the same order: a walk finds the root's number of every subset.
      let present = evaluation.layers[l]
      var next = 0
      for s in 0..<present.count {
        let set = present.set(s)
        while layers[l].set(next) != set { next += 1 }
        if let fault = options.faults.unbranched, fault.layer == l, fault.members == set {
          continue
        }
        let isOpen = l != decision.layer
        if isOpen || decision.keepsTogether(set) { together.insert(next, layer: l) }
        if isOpen || decision.keepsApart(set) { apart.insert(next, layer: l) }
      }
    }
    return [together, apart]
  }

  /// The node's lists, of the root's.
  private func subsets(of node: Node) -> [PathSubsets] {
    layers.indices.map { l in
      layers[l].selected(
        problem: model.problem, layer: l,
        node.alive.numbers(layer: l, of: layers[l].count))
    }
  }

  // MARK: - The known solution

  /// The numbers of its groups among the root's vertices, where they are.
  private var knownPlaces: [[Int]]? {
    known.flatMap {
      PathVertices(layers: layers).places(
        of: Labels($0.labels, experts: model.experts), groups: model.groups)
    }
  }

  /// Whether a node has all groups of the known solution.
  private func holds(_ alive: VertexSelection) -> Bool {
    guard let places = knownPlaces else { return false }
    return places.enumerated().allSatisfy { l, numbers in
      numbers.allSatisfy { alive.contains($0, layer: l) }
    }
  }
}
