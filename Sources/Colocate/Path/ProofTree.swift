import ColocateModel

/// Why no placement keeps more than the incumbent, as data that a checker can follow without
/// trusting the search.
///
/// A checker walks the tree with, for each layer, the list of subsets that are still possible: at
/// the root all c-subsets that the load cap allows. At every node it first deletes: for each of
/// `deletions` in order it evaluates B over the present subsets at those prices and deletes what
/// has `pen(S) > B − incumbent − 1` (all in tokens; a tick is 1/64). Then:
///
/// * `bounded`: some layer has no subset left, or `B(prices) < incumbent + 1`.
/// * `exhausted`: the layered search (`RussianDolls`, where a partition's loss on cuts counts) at
///   `prices` with budget `B(prices) − incumbent − 1` reaches no partition of the last layer.
///   `dolls` are the losses (ticks, `[L + 1]`) that the search proved for its suffixes; a checker
///   that reruns it without them comes to the same end.
/// * `branch`: the children have the subsets of `layer` that hold both or neither of `first` and
///   `second`, and those that do not hold both.
///
/// The nodes are a list, and children are numbers: a tree can be as deep as there are pairs to
/// decide, and neither walking nor freeing it may need a stack of that depth.
package struct ProofTree: Sendable {
  package enum Node: Sendable {
    case bounded(deletions: [PathPrices], prices: PathPrices)
    case exhausted(deletions: [PathPrices], prices: PathPrices, dolls: [Int])
    case branch(deletions: [PathPrices], BranchDecision, together: Int, apart: Int)
  }

  /// The root first, children after their parents.
  package let nodes: [Node]

  /// A root that is closed at once.
  init(_ leaf: Node) { nodes = [leaf] }

  fileprivate init(nodes: [Node]) { self.nodes = nodes }
}

/// The tree while it grows: nodes by number, so that workers note theirs in any order. A search may
/// be stopped at any time, so a node is open until it is closed.
package struct ProofBuilder: Sendable {
  private var nodes: [ProofTree.Node?] = [nil]

  /// An open root.
  package init() {}

  package mutating func close(_ number: Int, _ leaf: ProofTree.Node) { nodes[number] = leaf }

  /// Makes two open children of a node.
  /// - Returns: their numbers.
  package mutating func branch(
    _ number: Int, deletions: [PathPrices], _ decision: BranchDecision
  ) -> (together: Int, apart: Int) {
    let together = nodes.count
    nodes += [nil, nil]
    nodes[number] = .branch(
      deletions: deletions, decision, together: together, apart: together + 1)
    return (together, together + 1)
  }

  /// The whole tree, or nil where a node is open.
  package func tree() -> ProofTree? {
    let closed = nodes.compactMap { $0 }
    return closed.count == nodes.count ? ProofTree(nodes: closed) : nil
  }
}
