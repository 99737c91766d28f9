import ColocateModel

/// The search tree of one window (`WindowSplit`).
///
/// A node is the window's co-location relaxation under decisions that two experts are together, or
/// apart. It goes on from its parent's state, fixes pairs against the best known placement of the
/// window (`ColocationFixings`) and may list what is left (`LossSearch`). Its bound is about all
/// placements that meet its decisions; where it does not exceed the best known value the node is
/// closed. Otherwise the pair to branch on is the one with the largest
///
///     min(m, 1 - m) · |A_ab - (mean of a's row) - (mean of b's row) + (mean of all)|
///
/// in the relaxation's X: undecided itself, and one on which much depends. Means are those of the
/// blocks of A, the objective: rows of M sum to a constant in each block, so what a whole row has
/// in common decides nothing. (Taking pairs between experts with many undecided pairs instead,
/// min(m, 1 - m)·√(f_a·f_b) with f_a = Σ_b min(m_ab, 1 - m_ab)·|A_ab|, left windows open after 300
/// nodes that this closes in 20 to 50.) The window's bound is the largest of its leaves, and the
/// best known value.
final class WindowTree {
  /// Experts a and b of the window, `0 ..< 2E`.
  struct Decision: Sendable {
    let first: Int
    let second: Int
    let isTogether: Bool
  }

  /// Why a leaf's bound holds.
  struct Evidence: Sendable {
    var steps: [ColocationMultipliers] = []
    var search: Int?
  }

  struct Node {
    let decisions: [Decision]
    /// In the window's units.
    var bound: Int
    var evidence: Evidence
    /// What it starts from, its parent's; nil where there is none, and once it is solved.
    var state: ColocationState?
    /// Numbers of the children, and what they decide.
    var children: (together: Int, apart: Int)?
    var isSolved = false
  }

  let window: WindowSplit.Window
  let number: Int
  /// The best that is known to be kept.
  private(set) var best: Int
  private(set) var nodes: [Node]
  /// Nodes solved.
  private(set) var solvedCount = 0
  /// Placements, each better than what was known of the window before, `[2, E]`.
  private(set) var found: [[Int]] = []
  var problem: GroupingProblem { window.problem }

  init(_ window: WindowSplit.Window, number: Int, best: Int) {
    self.window = window
    self.number = number
    self.best = best
    nodes = [
      Node(decisions: [], bound: window.problem.total, evidence: Evidence())
    ]
  }

  /// No placement of the window keeps more.
  var bound: Int {
    nodes.reduce(best) { $1.children == nil ? max($0, $1.bound) : $0 }
  }

  func isOpen(_ node: Int) -> Bool {
    nodes[node].children == nil && nodes[node].bound > best
  }

  /// What solving a node has found.
  struct Solved {
    /// No placement that meets the node's decisions keeps more, or more than `best`.
    let bound: Int
    let iterations: Int
    let best: Int
    /// A placement that keeps `best`, where one was found that is better than what was known.
    let placement: [Int]?
    let branch: (Int, Int)?
    /// What children start from, where there is a pair to branch on.
    let state: ColocationState?
    /// Why the relaxation's bound holds, where that is to be kept.
    let evidence: Evidence?
  }

  /// Takes a solved node and branches where it is not closed.
  /// - Returns: numbers of the new nodes.
  func take(_ solved: Solved, of node: Int) -> [Int] {
    if let placement = solved.placement, solved.best > best { found.append(placement) }
    best = max(best, solved.best)
    solvedCount += 1
    nodes[node].isSolved = true
    if solved.bound <= nodes[node].bound {
      nodes[node].bound = solved.bound
      if let evidence = solved.evidence { nodes[node].evidence = evidence }
    }
    guard isOpen(node), let (a, b) = solved.branch else { return [] }
    let first = nodes.count
    nodes[node].children = (first, first + 1)
    for isTogether in [true, false] {
      nodes.append(
        Node(
          decisions: nodes[node].decisions + [
            Decision(first: a, second: b, isTogether: isTogether)
          ],
          bound: nodes[node].bound, evidence: nodes[node].evidence, state: solved.state))
    }
    nodes[node].evidence = Evidence()
    return [first, first + 1]
  }

  /// Lets go of the state that a node would start from.
  func release(_ node: Int) { nodes[node].state = nil }

  // MARK: Branching

  /// The pair to branch on; nil where every pair is fixed.
  static func branch(_ relaxation: ColocationRelaxation) -> (Int, Int)? {
    let (layout, fixed) = (relaxation.layout, relaxation.fixings.layout)
    let vertices = 2 * layout.experts
    func share(_ a: Int, _ b: Int) -> Double {
      let m = clippedToUnit(relaxation.values[layout.pair(0, a, b)])
      return min(m, 1 - m)
    }
    let means = BlockMeans(relaxation)
    var best: (pair: (Int, Int), value: Double)?
    for a in 0..<vertices {
      for b in 0..<a where relaxation.fixings[fixed.pair(0, a, b)] == .free {
        let amount = abs(relaxation.objective[layout.pair(0, a, b)] - means.common(a, b))
        let value = (share(a, b) + 1e-6) * (amount + 1e-6)
        if value > best?.value ?? -1 { best = ((b, a), value) }
      }
    }
    return best?.pair
  }
}

/// What pairs of a window's objective have in common with the other pairs of their experts.
private struct BlockMeans {
  private let experts: Int
  /// Of a vertex' pairs with each layer, `[2E, 2]`.
  private var row: [Double]
  /// Of all pairs inside the first layer, between the two, inside the second.
  private var block = [0.0, 0.0, 0.0]

  init(_ relaxation: ColocationRelaxation) {
    experts = relaxation.experts
    row = [Double](repeating: 0, count: 4 * experts)
    for a in 0..<(2 * experts) {
      for b in 0..<(2 * experts) where a != b {
        row[2 * a + b / experts] += relaxation.objective[relaxation.layout.pair(0, a, b)]
      }
      for half in 0..<2 {
        // A vertex has no pair with itself.
        row[2 * a + half] /= Double(max(1, a / experts == half ? experts - 1 : experts))
      }
      block[2 * (a / experts)] += row[2 * a + a / experts] / Double(experts)
      if a < experts { block[1] += row[2 * a + 1] / Double(experts) }
    }
  }

  func common(_ a: Int, _ b: Int) -> Double {
    let (p, q) = (a / experts, b / experts)
    return row[2 * a + q] + row[2 * b + p] - block[p + q]
  }
}

extension ColocationFixings {
  /// What holds under decisions about a window's experts.
  init(problem: GroupingProblem, decisions: [WindowTree.Decision]) {
    self.init(problem: problem)
    for decision in decisions {
      fix(
        layout.pair(0, decision.first, decision.second),
        decision.isTogether ? .together : .apart)
    }
  }
}
