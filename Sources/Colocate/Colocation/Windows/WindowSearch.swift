import ColocateModel

/// Branch and bound over all windows at once (`WindowSplit`, `WindowTree`).
///
/// **Best first.** The bound on the whole is the sum of the windows' bounds, so the node whose
/// bound exceeds what is known of its window by the most comes next, from whatever window: closing
/// it lowers the sum the most. Open nodes wait in a heap.
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
    /// Bytes that the states of open nodes may take.
    package var mostBytes = 1e9
    package var keepsEvidence = false
    package var nodeLimit = Int.max
    package init() {}
  }

  package let split: WindowSplit
  let control: SearchControl
  let parameters: Parameters
  let trees: [WindowTree]
  private let whole: ColocationRelaxation
  private var open = OpenNodes()
  /// Nodes solved.
  package private(set) var solved = 0
  /// Iterations of all of them.
  package private(set) var iterations = 0
  /// No placement keeps more; never above what the relaxation of the whole proved.
  package var keptBound: Int { split.keptBound(trees.map(\.bound)) }
  /// Nodes that wait.
  package var openCount: Int { open.count }

  /// - Parameters:
  ///   - whole: a relaxation with multipliers.
  ///   - incumbent: `[L, E]`.
  package init?(
    whole: ColocationRelaxation, incumbent: [Int], parameters: Parameters, control: SearchControl
  ) {
    guard let multipliers = whole.multipliers,
      let split = WindowSplit(problem: whole.problem, multipliers: multipliers)
    else { return nil }
    self.whole = whole
    self.split = split
    self.control = control
    self.parameters = parameters
    trees = (0..<(whole.problem.layers - 1)).map { w in
      let window = split.windows[w]
      return WindowTree(
        window, number: w, best: window.problem.kept(split.labels(incumbent, window: w)))
    }
  }

  /// Better placements of the windows than the incumbent's part.
  /// - Parameter improve: finds a placement of a window and says what it keeps; called by several
  ///   threads.
  package func improve(_ improve: @Sendable (GroupingProblem, _ window: Int) -> Int) {
    let problems = trees.map(\.problem)
    let found = concurrentMap(problems.count, threads: control.threads) {
      improve(problems[$0], $0)
    }
    for (tree, kept) in zip(trees, found) { tree.raise(best: kept) }
  }

  /// Solves nodes until none is open, a limit is reached, or `onRound`, called after each round,
  /// returns false.
  package func run(onRound: (WindowSearch) -> Bool) {
    for tree in trees { push(tree, 0) }
    while open.count > 0, solved < parameters.nodeLimit, !control.shouldStop, !control.isWorkOver {
      let size = min(parameters.roundSize, parameters.nodeLimit - solved)
      var round = [(tree: WindowTree, node: Int)]()
      while round.count < size, let next = open.pop() {
        let tree = trees[next.window]
        if tree.isOpen(next.node) { round.append((tree, next.node)) }
      }
      let tasks = round.map { tree, node in
        Task(tree: tree, node: node, search: self)
      }
      let results = concurrentMap(tasks.count, threads: control.threads) { tasks[$0].solve() }
      // What a stopped relaxation leaves behind is no worse than nothing.
      for ((tree, node), result) in zip(round, results) {
        solved += 1
        iterations += result.relaxation.iterations
        control.spend(
          result.relaxation.iterations * ColocationRelaxation.iterationWork(tree.problem))
        let children = tree.take(result, of: node, keepsEvidence: parameters.keepsEvidence)
        tree.release(node)
        for child in children { push(tree, child) }
      }
      if !onRound(self) { return }
    }
  }

  private func push(_ tree: WindowTree, _ node: Int) {
    let excess = tree.nodes[node].bound - tree.best
    guard excess > 0 else { return }
    if Double(open.count) * bytesOfNode > parameters.mostBytes { return }
    open.push(OpenNodes.Entry(excess: excess, window: tree.number, node: node))
  }

  /// A parent's state, roughly: four blocks of three, and cuts.
  private var bytesOfNode: Double {
    Double(whole.experts * whole.experts) * 8 * 30
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
        control: SearchControl(part: .infinity, of: search.control, threads: 1))
      relaxation.parameters.maxIterations =
        node == 0 ? parameters.rootIterations : parameters.nodeIterations
      relaxation.parameters.firstCuts = 5
      relaxation.parameters.firstSparse = 5
      relaxation.parameters.separateEvery = 10
      relaxation.parameters.evaluateEvery = 15
      relaxation.parameters.coverViolation = search.whole.parameters.coverViolation
      relaxation.parameters.hypermetric = search.whole.parameters.hypermetric
      relaxation.parameters.hypermetric.walksPerVertex = min(
        2, relaxation.parameters.hypermetric.walksPerVertex)
      relaxation.parameters.searchStates = parameters.searchStates
      relaxation.keepsFixingSteps = parameters.keepsEvidence
      relaxation.incumbent = tree.best
      relaxation.fixings = ColocationFixings(problem: tree.problem, decisions: entry.decisions)
      if let parent = entry.relaxation {
        relaxation.start(from: parent)
      } else {
        relaxation.start(
          fromBoundary: tree.number, of: search.whole, window: tree.window,
          fractionBits: search.split.fractionBits)
      }
      relaxation.run(targetKept: tree.best)
      let isClosed = relaxation.keptBound <= relaxation.incumbent
      return WindowTree.Solved(
        relaxation: relaxation, best: relaxation.incumbent,
        branch: isClosed ? nil : WindowTree.branch(relaxation))
    }
  }
}

/// Open nodes of all windows, the one with the largest excess on top (a binary heap); of equals the
/// first window's first node.
struct OpenNodes {
  struct Entry: Sendable {
    /// What the node's bound exceeds the best known value of its window by.
    let excess: Int
    let window: Int
    let node: Int

    func isBefore(_ other: Entry) -> Bool {
      (-excess, window, node) < (-other.excess, other.window, other.node)
    }
  }

  private var heap = [Entry]()
  var count: Int { heap.count }

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
