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
/// * `exhausted`: the layered search (RussianDolls.swift, where a partition's loss on cuts counts)
///   at `prices` with budget `B(prices) − incumbent − 1` reaches no partition of the last layer.
///   `dolls` are the losses (ticks, `[L + 1]`) that the search proved for its suffixes; a checker
///   that reruns it without them comes to the same end.
/// * `branch`: the children have the subsets of `layer` that hold both or neither of `first` and
///   `second`, and those that do not hold both.
package indirect enum ProofNode: Sendable {
  case bounded(deletions: [PathPrices], prices: PathPrices)
  case exhausted(deletions: [PathPrices], prices: PathPrices, dolls: [Int])
  case branch(
    deletions: [PathPrices], layer: Int, first: Int, second: Int, together: ProofNode,
    apart: ProofNode)

  /// Nodes of the tree, this one included.
  package var count: Int {
    switch self {
    case .bounded, .exhausted: 1
    case .branch(_, _, _, _, let together, let apart): 1 + together.count + apart.count
    }
  }
}

/// The tree while it grows: nodes by number, so that workers note theirs in any order.
struct ProofBuilder: Sendable {
  private enum Entry: Sendable {
    case open
    case leaf(ProofNode)
    case branch(
      deletions: [PathPrices], layer: Int, first: Int, second: Int, together: Int, apart: Int)
  }

  private var entries: [Entry] = [.open]

  mutating func close(_ number: Int, _ leaf: ProofNode) { entries[number] = .leaf(leaf) }

  /// Makes two open children of a node.
  /// - Returns: their numbers.
  mutating func branch(
    _ number: Int, deletions: [PathPrices], layer: Int, first: Int, second: Int
  ) -> (together: Int, apart: Int) {
    let together = entries.count
    entries += [.open, .open]
    entries[number] = .branch(
      deletions: deletions, layer: layer, first: first, second: second, together: together,
      apart: together + 1)
    return (together, together + 1)
  }

  /// The whole tree, or nil where a node is open.
  func tree(from number: Int = 0) -> ProofNode? {
    switch entries[number] {
    case .open: return nil
    case .leaf(let leaf): return leaf
    case .branch(let deletions, let layer, let first, let second, let together, let apart):
      guard let left = tree(from: together), let right = tree(from: apart) else { return nil }
      return .branch(
        deletions: deletions, layer: layer, first: first, second: second, together: left,
        apart: right)
    }
  }
}
