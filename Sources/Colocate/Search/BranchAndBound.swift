import Dispatch
import Synchronization

/// The exact search on the path relaxation: bound, deletion, Russian dolls, and a tree where the dolls overflow.
///
/// A node is a list of subsets per layer, kept as bits over the root's lists, with the prices of its parent. Processing a node means: a few stages of price
/// optimisation, deletion by penalties, and, where the bound is still above the incumbent, layered search with a small limit on states, which closes most
/// nodes and finds the placements in them. What overflows is branched on a pair (Branching.swift). Nodes wait in a pool, the
/// highest bound first; workers take them until none is left. The incumbent is shared; objective and proved bound do not depend on the number of workers,
/// the number of nodes may.
package struct GroupingSearch: Sendable {
  package struct Options: Sendable {
    /// Stop when bound − incumbent is at most this many tokens; 0 asks for a proof.
    package var gapLimit = 0
    package var nodesLimit: Int?
    /// Keep the tree.
    package var keepsProof = false
    /// Subsets per layer up to which prices are optimised over all of them, and up to which a restricted master is tried.
    package var subsetLimit = 2_100
    package var generationLimit = 40_000
    package var generation = PathRelaxation.Generation()
    /// Good partitions per layer, to start a restricted master with; nil for none.
    package var partitions: (@Sendable (Int) -> [[Int]])?
    /// States of one layer in the layered search: at the root and at the other nodes.
    package var rootStates = 6_000_000
    package var nodeStates = 100_000
    /// A known optimum that nothing may lose, for tests.
    package var knownOptimum: (kept: Int, labels: [Int])?
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

  /// Why a search ended.
  package enum Stop: Sendable {
    case proved
    case gap
    case nodes
    case time
    case work
    case cancelled
    /// A node's lists outgrew their limits and nothing was left to branch on.
    case finished
  }

  package struct Progress: Sendable {
    package let bound: Int
    package let nodes: Int
    package let openNodes: Int
  }

  package struct Result: Sendable {
    /// No placement keeps more. At least the incumbent.
    package let keptBound: Int
    package let stop: Stop
    package let nodes: Int
    /// The root's bound, before any tree.
    package let rootBound: Int
    /// "path": the root's bound closed it; "dolls": layered search at the root; "tree".
    package let method: String
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

  /// All subsets, more than can be swept often, where time or work is enough for a dozen evaluations over them.
  private func generated(control: SearchControl) -> PathRelaxation? {
    guard options.partitions != nil,
      let root = PathRelaxation(
        problem: problem, subsetLimit: options.generationLimit, threads: control.threads)
    else { return nil }
    // An evaluation sweeps all arcs twice, about 2·10⁹ a second and thread.
    let seconds = Double(root.arcCount) / 1e9 / Double(control.threads)
    return control.remaining > 12 * seconds && control.workLeft / 12 > root.arcCount / 32
      ? root : nil
  }

  /// Searches until the proof, the gap or a limit. Offers what it finds to `incumbent`.
  /// - Returns: nil where the relaxation does not apply: too many subsets, counts too large, or one group.
  package func run(
    incumbent: Incumbent, control: SearchControl,
    progress: @escaping (Progress) -> Void = { _ in }
  ) -> Result? {
    guard problem.groups >= 2, problem.experts <= 64 else { return nil }
    let stored = PathRelaxation(
      problem: problem, subsetLimit: options.subsetLimit, threads: control.threads)
    guard let root = stored ?? generated(control: control) else { return nil }
    root.knownOptimum = options.knownOptimum
    let total = problem.total
    let share = incumbent.kept > 0 ? Double(incumbent.kept) / Double(max(total, 1)) : 0.5
    let start = root.startPrices(share: share)
    let proof = ProofBuilder()
    func result(_ bound: Int, _ stop: Stop, nodes: Int, method: String) -> Result {
      Result(
        keptBound: max(min(bound, total), incumbent.kept), stop: stop, nodes: nodes,
        rootBound: max(root.bound, incumbent.kept), method: method, rootPrices: root.boundPrices,
        proof: options.keepsProof && stop == .proved ? proof.tree() : nil)
    }
    func stopReason() -> Stop? {
      if control.isCancelled { return .cancelled }
      if control.isTimeOver { return .time }
      return control.workSpent >= control.workLimit ? .work : nil
    }
    let best = { incumbent.kept }
    let report = { (root: PathRelaxation) in
      progress(Progress(bound: max(root.bound, incumbent.kept), nodes: 0, openNodes: 1))
    }
    var effort = options.effort
    if stored == nil, let partitions = options.partitions {
      root.optimiseByGeneration(
        from: start, partitions: (0..<problem.layers).map(partitions), incumbent: best,
        generation: options.generation, control: control, progress: report)
      if root.bound > incumbent.kept, root.meanCount > options.generation.enough {
        return result(root.bound, stopReason() ?? .finished, nodes: 1, method: "path")
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
      return result(root.bound, .proved, nodes: 1, method: "path")
    }
    if root.bound - incumbent.kept <= options.gapLimit {
      return result(root.bound, .gap, nodes: 1, method: "path")
    }
    if let stop = stopReason() { return result(root.bound, stop, nodes: 1, method: "path") }
    root.evaluate(root.boundPrices)
    var limits = RussianDolls.Limits()
    limits.states = options.rootStates
    let dolls = RussianDolls(
      relaxation: root, limits: limits, incumbent: { incumbent.kept }, control: control)
    let outcome =
      !options.usesDolls
      ? .overflow
      : dolls.run { dolls in
        progress(Progress(bound: max(dolls.bound, incumbent.kept), nodes: 1, openNodes: 1))
      }
    var rootBound = min(root.bound, dolls.bound)
    switch outcome {
    case .proved, .optimum:
      if case .optimum(let kept, let labels) = outcome {
        incumbent.offer(labels, kept: kept, source: .exact)
        if incumbent.kept < kept {
          // The best placement fails a condition that the relaxation does not know.
          return result(kept, .finished, nodes: 1, method: "dolls")
        }
      }
      proof.close(
        0,
        .exhausted(deletions: root.deletions, prices: root.prices, dolls: dolls.dolls))
      return result(incumbent.kept, .proved, nodes: 1, method: "dolls")
    case .stopped:
      return result(rootBound, stopReason() ?? .time, nodes: 1, method: "dolls")
    case .overflow: break
    }
    rootBound = max(rootBound, incumbent.kept)
    if rootBound - incumbent.kept <= options.gapLimit {
      return result(rootBound, .gap, nodes: 1, method: "dolls")
    }
    guard options.branches else { return result(rootBound, .finished, nodes: 1, method: "dolls") }
    let tree = SearchTree(
      root: root, rootBound: rootBound, options: options, incumbent: incumbent, control: control,
      proof: proof, progress: progress)
    let stop = tree.run()
    return result(tree.bound, stop ?? stopReason() ?? .finished, nodes: tree.nodes, method: "tree")
  }
}

/// The pool of open nodes and the workers on it.
private final class SearchTree: @unchecked Sendable {
  private struct Node {
    /// Bits over the root's subsets, per layer.
    let alive: [[UInt64]]
    let prices: PathPrices
    /// Of placements better than the incumbent, in tokens.
    let bound: Int
    /// The part of it that the prices alone prove: what a certificate can show without layered search.
    let priceBound: Int
    let number: Int
    let depth: Int
  }

  private let root: PathRelaxation
  private let options: GroupingSearch.Options
  private let incumbent: Incumbent
  private let control: SearchControl
  private let proof: ProofBuilder
  private let progress: (GroupingSearch.Progress) -> Void
  /// Bound of everything that dolls or the root proved already.
  private let rootBound: Int

  /// Guards everything below it.
  private let lock = DispatchSemaphore(value: 1)
  private let wake = DispatchSemaphore(value: 0)
  private var waiting = 0
  private var open: [Node] = []
  private var inWork: [Int: Int] = [:]
  /// Bounds of nodes that were given up.
  private var givenUp = Int.min
  private(set) var nodes = 1
  private var stop: GroupingSearch.Stop?

  init(
    root: PathRelaxation, rootBound: Int, options: GroupingSearch.Options, incumbent: Incumbent,
    control: SearchControl, proof: ProofBuilder,
    progress: @escaping (GroupingSearch.Progress) -> Void
  ) {
    self.root = root
    self.rootBound = rootBound
    self.options = options
    self.incumbent = incumbent
    self.control = control
    self.proof = proof
    self.progress = progress
  }

  /// No placement keeps more.
  var bound: Int {
    var bound = max(incumbent.kept, givenUp)
    for node in open { bound = max(bound, node.bound) }
    for (_, value) in inWork { bound = max(bound, value) }
    return min(bound, rootBound)
  }

  /// - Returns: why it ended; nil for a limit of `control`.
  func run() -> GroupingSearch.Stop? {
    guard branch(root, from: nil) else { return .finished }
    WorkerPool.run(control.threads, threads: control.threads) { _ in work() }
    if let stop { return stop }
    if !open.isEmpty || !inWork.isEmpty { return nil }
    return givenUp > incumbent.kept ? .finished : .proved
  }

  private func work() {
    lock.wait()
    while true {
      // Invariant: the lock is held, and every open node is in `open` or in `inWork`.
      if stop != nil || control.shouldStop || control.workSpent >= control.workLimit { break }
      let best = incumbent.kept
      open.removeAll { node in
        guard node.priceBound <= best || (node.bound <= best && !options.keepsProof) else {
          return false
        }
        proof.close(node.number, .bounded(deletions: [], prices: node.prices))
        return true
      }
      if open.isEmpty {
        if inWork.isEmpty { break }
        waiting += 1
        lock.signal()
        _ = wake.wait(timeout: .now() + .milliseconds(50))
        lock.wait()
        waiting -= 1
        continue
      }
      if bound - best <= options.gapLimit && options.gapLimit > 0 {
        stop = .gap
        break
      }
      if let limit = options.nodesLimit, nodes >= limit {
        stop = .nodes
        break
      }
      // The highest bound first; the deepest while there is no incumbent to prune with.
      let dives = best < 0
      let index = open.indices.max {
        let (a, b) = (open[$0], open[$1])
        return dives
          ? (a.depth, a.bound) < (b.depth, b.bound) : (a.bound, a.depth) < (b.bound, b.depth)
      }!
      let node = open.remove(at: index)
      inWork[node.number] = node.bound
      nodes += 1
      let report = GroupingSearch.Progress(
        bound: bound, nodes: nodes, openNodes: open.count + inWork.count)
      lock.signal()
      progress(report)
      process(node)
      lock.wait()
      if inWork[node.number] != nil {
        // Stopped on the way: it stays open.
        inWork[node.number] = nil
        open.append(node)
      }
      for _ in 0..<waiting { wake.signal() }
    }
    lock.signal()
    for _ in 0..<control.threads { wake.signal() }
  }

  /// Closes a node, or puts its children into the pool. Without the lock.
  private func process(_ node: Node) {
    var layers = [PathSubsets]()
    for l in 0..<root.problem.layers {
      let bits = node.alive[l]
      let kept = (0..<root.layers[l].count).filter { bits[$0 >> 6] >> UInt64($0 & 63) & 1 == 1 }
      layers.append(root.layers[l].selected(problem: root.problem, layer: l, kept))
    }
    let relaxation = PathRelaxation(root: root, layers: layers, threads: 1)
    relaxation.evaluate(node.prices)
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
    relaxation.evaluate(relaxation.boundPrices)
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
          lock.wait()
          givenUp = max(givenUp, kept)
          inWork[node.number] = nil
          lock.signal()
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
        lock.wait()
        givenUp = max(givenUp, relaxation.bound)
        inWork[node.number] = nil
        lock.signal()
      }
    }
  }

  private func finish(_ node: Node, _ leaf: ProofNode) {
    lock.wait()
    proof.close(node.number, leaf)
    inWork[node.number] = nil
    lock.signal()
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
    lock.wait()
    let numbers = proof.branch(
      node?.number ?? 0, deletions: relaxation.deletions, layer: decision.layer,
      first: decision.first, second: decision.second)
    for (number, bits) in [(numbers.together, together), (numbers.apart, apart)] {
      var child = alive
      child[decision.layer] = bits
      open.append(
        Node(
          alive: child, prices: relaxation.boundPrices, bound: childBound,
          priceBound: priceBound, number: number, depth: (node?.depth ?? 0) + 1))
    }
    if let node { inWork[node.number] = nil }
    lock.signal()
    return true
  }
}
