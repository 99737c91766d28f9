import ColocateModel

/// Branch and bound over all windows at once (`WindowSplit`, `WindowTree`).
///
/// **Which node next.** A window's bound is the largest of its open nodes, so of a window that node
/// comes first: open nodes wait in a heap for each window. The bound on the whole is the sum of the
/// windows' bounds. A window that has taken n nodes so far is expected to take as many again to
/// lose what its bound still exceeds its best known value by, so the window comes next for which
///
///     (bound - best) / (n + 8)
///
/// is largest: easy windows are closed first, and hard ones share what is left. (The node with the
/// largest excess of all windows would leave many easy windows open for a few hard ones.)
///
/// **Parallel.** Nodes are taken in rounds of a fixed number, solved side by side, each by one
/// thread, and their results are taken in order. So the result does not depend on the number of
/// threads, and a limit on work or tree nodes ends it at the same node. A round is several times as
/// large as the threads are many, so that they wait for each other little.
///
/// **Invariant** of the loop: every leaf of every tree is closed, or in the heap, or has no pair
/// left to branch on; and `keptBound` is what the leaves' bounds add up to.
package final class WindowSearch {
  package struct Parameters: Sendable {
    /// Iterations of the relaxation of a window without decisions, and of a node below it.
    package var rootIterations = 150
    package var nodeIterations = 60
    /// Nodes that are solved in one round.
    package var roundSize = 16
    /// Partitions that a node's search on losses may hold.
    package var searchStates = 20_000
    /// Bytes that the states of open nodes may take. Nodes beyond them start from the whole's, with
    /// as many iterations as a root.
    package var mostBytes = 1_500_000_000
    package var keepsEvidence = false
    package var nodeLimit = Int.max
    package init() {}
  }

  package let split: WindowSplit
  let control: SearchControl
  package var parameters: Parameters
  let trees: [WindowTree]
  private let whole: ColocationRelaxation
  private var open: [OpenNodes]
  /// Nodes solved.
  package private(set) var solved = 0
  /// Bytes of the open nodes' states. Two children share one, and each counts half.
  package private(set) var bytes = 0
  /// Iterations of all of them.
  package private(set) var iterations = 0
  /// No placement keeps more.
  package var keptBound: Int { split.keptBound(trees.map(\.bound)) }
  /// Nodes that wait.
  package var openCount: Int { open.reduce(0) { $0 + $1.count } }
  /// What the windows' trees are closed against now.
  package var bests: [Int] { trees.map(\.best) }
  /// Placements of each window that are better than what was known of it, `[2, E]`.
  package var found: [[[Int]]] { trees.map(\.found) }

  /// - Parameters:
  ///   - whole: a relaxation, from whose state the windows' relaxations start.
  ///   - bests: what each window's trees are to be closed against, in the split's units: the best
  ///     known value, or a little more.
  package init(
    whole: ColocationRelaxation, split: WindowSplit, bests: [Int], parameters: Parameters,
    control: SearchControl
  ) {
    self.whole = whole
    self.split = split
    self.control = control
    self.parameters = parameters
    trees = zip(split.windows, bests).enumerated().map { w, window in
      WindowTree(window.0, number: w, best: window.1)
    }
    open = trees.map { _ in OpenNodes() }
  }

  /// Solves nodes until none is open, a limit is reached, or `onRound`, called after each round,
  /// returns false. Called again it goes on.
  package func run(onRound: (WindowSearch) -> Bool) {
    if solved == 0 {
      for tree in trees { push(tree, 0) }
    }
    while openCount > 0, solved < parameters.nodeLimit, !control.shouldStop, !control.isWorkOver {
      let size = min(parameters.roundSize, parameters.nodeLimit - solved)
      var round = [(tree: WindowTree, node: Int)]()
      var taken = trees.map(\.solvedCount)
      while round.count < size, let window = nextWindow(taken), let next = open[window].pop() {
        guard trees[window].isOpen(next.node) else {
          release(next.node, of: trees[window])
          continue
        }
        round.append((trees[window], next.node))
        taken[window] += 1
      }
      let tasks = round.map { tree, node in
        Task(tree: tree, node: node, search: self)
      }
      let results = concurrentMap(tasks.count, threads: control.threads) { tasks[$0].solve() }
      for ((tree, node), result) in zip(round, results) {
        solved += 1
        iterations += result.iterations
        control.spend(result.iterations * ColocationRelaxation.iterationWork(tree.problem))
        let children = tree.take(result, of: node)
        release(node, of: tree)
        for child in children { push(tree, child) }
        // A better placement may have closed what waits.
        if let top = open[tree.number].top, top.bound <= tree.best { clear(tree) }
      }
      if !onRound(self) { return }
    }
  }

  /// The window whose best open node comes next, with the nodes that each has taken; nil where none
  /// is open.
  private func nextWindow(_ taken: [Int]) -> Int? {
    var next: (window: Int, value: Double)?
    for (w, tree) in trees.enumerated() {
      guard let top = open[w].top else { continue }
      let value = Double(top.bound - tree.best) / Double(taken[w] + 8)
      if value > next?.value ?? -.infinity { next = (w, value) }
    }
    return next?.window
  }

  private func push(_ tree: WindowTree, _ node: Int) {
    let bound = tree.nodes[node].bound
    guard bound > tree.best else { return tree.release(node) }
    let more = (tree.nodes[node].state?.bytes ?? 0) / 2
    if bytes + more > parameters.mostBytes { tree.release(node) } else { bytes += more }
    open[tree.number].push(OpenNodes.Entry(bound: bound, node: node))
  }

  /// Forgets a window's open nodes.
  private func clear(_ tree: WindowTree) {
    while let next = open[tree.number].pop() { release(next.node, of: tree) }
  }

  /// Lets go of the state of a node that is no longer open.
  private func release(_ node: Int, of tree: WindowTree) {
    bytes -= (tree.nodes[node].state?.bytes ?? 0) / 2
    tree.release(node)
  }

  /// q of the windows' multipliers, whose units are the split's already: more digits make a
  /// certificate larger and no bound better. Only cuts of load caps need them, with coefficients as
  /// large as products of loads and multipliers as small in turn.
  private var multiplierBits: Int {
    max(0, (split.problem.caps == nil ? 16 : 28) - split.fractionBits)
  }

  /// What one call solves, with all that it reads: nothing of it changes while calls run.
  private struct Task: @unchecked Sendable {
    let tree: WindowTree
    let node: Int
    let search: WindowSearch

    func solve() -> WindowTree.Solved {
      let (entry, parameters) = (tree.nodes[node], search.parameters)
      let relaxation = ColocationRelaxation(
        problem: tree.problem,
        control: SearchControl(part: .infinity, of: search.control, threads: 1),
        fractionBits: search.multiplierBits)
      relaxation.parameters.maxIterations =
        entry.state == nil ? parameters.rootIterations : parameters.nodeIterations
      relaxation.parameters.firstCuts = 5
      relaxation.parameters.firstSparse = 5
      relaxation.parameters.separateEvery = 10
      relaxation.parameters.evaluateEvery = 15
      relaxation.parameters.sparseViolation = 0.05
      relaxation.parameters.sparsePerExpert = 4
      relaxation.parameters.coverViolation = search.whole.parameters.coverViolation
      relaxation.parameters.hypermetric = search.whole.parameters.hypermetric
      relaxation.parameters.hypermetric.walksPerVertex = min(
        2, relaxation.parameters.hypermetric.walksPerVertex)
      relaxation.parameters.searchStates = parameters.searchStates
      relaxation.keepsFixingSteps = parameters.keepsEvidence
      relaxation.incumbent = tree.best
      let known = ColocationFixings(problem: tree.problem, decisions: entry.decisions)
      relaxation.fixings = known
      if let state = entry.state {
        relaxation.start(from: state)
      } else {
        relaxation.start(
          fromBoundary: tree.number, of: search.whole, window: tree.window,
          fractionBits: search.split.fractionBits)
      }
      var placement: (labels: [Int], kept: Int)?
      relaxation.onPlacement = { placement = ($0, $1) }
      relaxation.run(targetKept: tree.best)
      if let kept = placement?.kept, kept <= tree.best { placement = nil }
      let isClosed = relaxation.keptBound <= relaxation.incumbent
      let branch = isClosed ? nil : WindowTree.branch(relaxation)
      return WindowTree.Solved(
        bound: relaxation.keptBound, iterations: relaxation.iterations, best: relaxation.incumbent,
        placement: placement?.labels, branch: branch,
        state: branch == nil ? nil : ColocationState(of: relaxation),
        evidence: parameters.keepsEvidence
          ? WindowEvidence(
            relaxation: relaxation, known: known, best: relaxation.incumbent,
            searchStates: parameters.searchStates
          ).shortest() : nil)
    }
  }
}

/// Open nodes of a window, the one with the largest bound on top (a binary heap); of equals the
/// first.
struct OpenNodes {
  struct Entry: Sendable {
    let bound: Int
    let node: Int

    func isBefore(_ other: Entry) -> Bool { (-bound, node) < (-other.bound, other.node) }
  }

  private var heap = [Entry]()
  var count: Int { heap.count }
  var top: Entry? { heap.first }

  mutating func push(_ entry: Entry) {
    heap.append(entry)
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].isBefore(heap[parent]) else { return }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  mutating func pop() -> Entry? {
    guard let top = heap.first else { return nil }
    let last = heap.removeLast()
    guard !heap.isEmpty else { return top }
    heap[0] = last
    var parent = 0
    while 2 * parent + 1 < heap.count {
      var child = 2 * parent + 1
      if child + 1 < heap.count, heap[child + 1].isBefore(heap[child]) { child += 1 }
      guard heap[child].isBefore(heap[parent]) else { break }
      heap.swapAt(child, parent)
      parent = child
    }
    return top
  }
}
