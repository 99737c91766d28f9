import ColocateModel
import Dispatch
import Synchronization

/// The pool of open nodes of `GroupingSearch` and the workers on it.
///
/// A node is a list of subsets per layer, kept as bits over the root's lists, with the prices of
/// its parent. Everything that workers share is in `state`, behind its lock, or does not change.
final class SearchTree: Sendable {
  private struct Node: Sendable {
    /// Bits over the root's subsets, per layer.
    let alive: [[UInt64]]
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
    var proof: ProofBuilder
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
    let proof: ProofBuilder
  }

  private let root: PathRelaxation.Shared
  /// Bound of everything that dolls or the root proved already.
  private let rootBound: Int
  private let options: GroupingSearch.Options
  private let incumbent: Incumbent
  private let control: SearchControl
  private let progress: @Sendable (TreeProgress) -> Void
  private let state: Mutex<State>
  private let wake = DispatchSemaphore(value: 0)

  init(
    root: PathRelaxation.Shared, rootBound: Int, options: GroupingSearch.Options,
    incumbent: Incumbent, control: SearchControl, proof: ProofBuilder,
    progress: @escaping @Sendable (TreeProgress) -> Void
  ) {
    self.root = root
    self.rootBound = rootBound
    self.options = options
    self.incumbent = incumbent
    self.control = control
    self.progress = progress
    state = Mutex(State(proof: proof))
  }

  /// Searches below `relaxation`, the root as it was when the dolls gave it up.
  func run(from relaxation: PathRelaxation) -> End {
    guard branch(relaxation, from: nil) else {
      // Nothing to branch on, nothing proved below the root: its bound stands.
      return state.withLock { state in
        End(bound: rootBound, stop: .finished, treeNodes: state.treeNodes, proof: state.proof)
      }
    }
    concurrentFor(control.threads, threads: control.threads) { _, _ in work() }
    return state.withLock { state in
      let isClosed = state.open.isEmpty && state.inWork.isEmpty
      let isProved = state.givenUp <= incumbent.kept
      return End(
        bound: bound(state),
        stop: state.stop ?? (isClosed ? (isProved ? .proved : .finished) : nil),
        treeNodes: state.treeNodes, proof: state.proof)
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
      if holds(node.alive) { root.known?.lost(to: "a prune of the tree", incumbent: best) }
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
    // The highest bound first; the deepest while there is no incumbent to prune with.
    let dives = best < 0
    let open = state.open
    let index = open.indices.max {
      let (a, b) = (open[$0], open[$1])
      return dives
        ? (a.depth, a.bound) < (b.depth, b.bound) : (a.bound, a.depth) < (b.bound, b.depth)
    }!
    let node = state.open.remove(at: index)
    state.inWork[node.number] = node.bound
    state.treeNodes += 1
    return .process(
      node,
      TreeProgress(
        bound: bound(state), treeNodes: state.treeNodes,
        openTreeNodes: state.open.count + state.inWork.count))
  }

  /// Closes a node, or puts its children into the pool.
  private func process(_ node: Node) {
    let relaxation = PathRelaxation(root: root, layers: subsets(of: node), threads: 1)
    guard relaxation.evaluate(node.prices) else { return }
    var effort = options.effort
    let mu = root.deepestMu ?? relaxation.defaultLastMu
    effort.firstMu = mu * 4
    effort.lastMu = mu
    effort.deepShare = 1
    effort.evaluationsPerStage = 25
    effort.cutRounds = min(1, effort.cutRounds)
    relaxation.optimise(
      incumbent: { [incumbent] in incumbent.kept }, effort: effort, control: control)
    if relaxation.bound <= incumbent.kept {
      finish(node, .bounded(deletions: relaxation.deletions, prices: relaxation.boundPrices))
      return
    }
    if control.shouldStop { return }
    guard relaxation.evaluate(relaxation.boundPrices) else { return }
    var limits = RussianDolls.Limits()
    limits.states = options.nodeStates
    limits.arcs = 20_000_000
    let dolls = RussianDolls(
      relaxation: relaxation, limits: limits, incumbent: { [incumbent] in incumbent.kept },
      control: control)
    let outcome = options.usesDolls ? dolls.run() : .overflow
    switch outcome {
    case .proved, .optimum:
      if case .optimum(let kept, let labels) = outcome {
        incumbent.offer(labels, kept: kept, source: .tree)
        if incumbent.kept < kept {
          // It fails a condition that the relaxation does not know: its value stays as a bound.
          giveUp(node, bound: kept)
          return
        }
      }
      finish(
        node,
        .exhausted(
          deletions: relaxation.deletions, prices: relaxation.prices, dolls: dolls.dolls))
    case .stopped: return
    case .overflow:
      if !branch(relaxation, from: node, bound: min(dolls.bound, node.bound)) {
        giveUp(node, bound: min(relaxation.bound, node.bound))
      }
    }
  }

  /// Whether a node has all groups of the known solution.
  private func holds(_ alive: [[UInt64]]) -> Bool {
    guard let known = root.known else { return false }
    let (experts, groups) = (root.problem.experts, root.problem.groups)
    return (0..<root.problem.layers).allSatisfy { l in
      var masks = [UInt64](repeating: 0, count: groups)
      for e in 0..<experts { masks[known.labels[l * experts + e]] |= 1 << UInt64(e) }
      let subsets = root.layers[l]
      let held = (0..<subsets.count).filter {
        alive[l][$0 >> 6] >> UInt64($0 & 63) & 1 == 1 && masks.contains(subsets.masks[$0])
      }
      return held.count == groups
    }
  }

  /// The node's lists, of the root's.
  private func subsets(of node: Node) -> [PathSubsets] {
    (0..<root.problem.layers).map { l in
      let bits = node.alive[l]
      let kept = (0..<root.layers[l].count).filter { bits[$0 >> 6] >> UInt64($0 & 63) & 1 == 1 }
      return root.layers[l].selected(problem: root.problem, layer: l, kept)
    }
  }

  private func finish(_ node: Node, _ leaf: ProofNode) {
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

  /// Children of a node (nil: the root). Answers false where no pair is undecided.
  private func branch(_ relaxation: PathRelaxation, from node: Node?, bound: Int = .max) -> Bool {
    guard let decision = relaxation.branchDecision(mu: relaxation.defaultLastMu * 64) else {
      return false
    }
    // Both lists are in the same order: a walk finds the root's number of every subset.
    var alive = [[UInt64]]()
    var together = [UInt64]()
    var apart = [UInt64]()
    for l in 0..<root.problem.layers {
      let all = root.layers[l]
      let present = relaxation.layers[l]
      var bits = [UInt64](repeating: 0, count: (all.count + 63) / 64)
      var left = bits
      var right = bits
      var next = 0
      for s in 0..<present.count {
        while all.masks[next] != present.masks[s] { next += 1 }
        bits[next >> 6] |= 1 << UInt64(next & 63)
        if decision.keepsTogether(present.masks[s]) { left[next >> 6] |= 1 << UInt64(next & 63) }
        if decision.keepsApart(present.masks[s]) { right[next >> 6] |= 1 << UInt64(next & 63) }
      }
      alive.append(bits)
      if l == decision.layer { (together, apart) = (left, right) }
    }
    let priceBound = min(relaxation.bound, node?.priceBound ?? .max)
    let childBound = min(priceBound, bound, node?.bound ?? rootBound)
    var children = [alive, alive]
    children[0][decision.layer] = together
    children[1][decision.layer] = apart
    if let known = relaxation.known, !children.contains(where: holds) {
      known.lost(to: "a branch of the tree", incumbent: incumbent.kept)
    }
    state.withLock {
      [children, deletions = relaxation.deletions, prices = relaxation.boundPrices] state in
      let numbers = state.proof.branch(
        node?.number ?? 0, deletions: deletions, layer: decision.layer,
        first: decision.first, second: decision.second)
      for (number, bits) in zip([numbers.together, numbers.apart], children) {
        state.open.append(
          Node(
            alive: bits, prices: prices, bound: childBound, priceBound: priceBound,
            number: number, depth: (node?.depth ?? 0) + 1))
      }
      if let node { state.inWork[node.number] = nil }
    }
    return true
  }
}
