import ColocateModel

/// The search tree of one window (`WindowSplit`).
///
/// A node is the window's co-location relaxation under decisions that two experts are together, or
/// apart. It goes on from its parent's state, fixes pairs against the best known placement of the
/// window (`ColocationFixings`) and may list what is left (`LossSearch`). Its bound is about all
/// placements that meet its decisions; where it does not exceed the best known value the node is
/// closed. Otherwise the pair to branch on is the one with the largest
///
///     min(m, 1 - m) · √(f_a·f_b),     f_a = Σ_b min(m_ab, 1 - m_ab)·|A_ab|,
///
/// in the relaxation's X: undecided itself, and between experts whose undecided pairs matter to the
/// objective A. The window's bound is the largest of its leaves, and the best known value.
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
    /// What children start from; nil before the node is solved, and once both are.
    var relaxation: ColocationRelaxation?
    /// Numbers of the children, and what they decide.
    var children: (together: Int, apart: Int)?
    var isSolved = false
  }

  let window: WindowSplit.Window
  let number: Int
  /// The best that is known to be kept.
  private(set) var best: Int
  private(set) var nodes: [Node]
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

  func raise(best kept: Int) { best = max(best, kept) }

  func isOpen(_ node: Int) -> Bool {
    nodes[node].children == nil && nodes[node].bound > best
  }

  /// What solving a node has found.
  struct Solved {
    let relaxation: ColocationRelaxation
    let best: Int
    let branch: (Int, Int)?
  }

  /// Takes a solved node and branches where it is not closed.
  /// - Returns: numbers of the new nodes.
  func take(_ solved: Solved, of node: Int, keepsEvidence: Bool) -> [Int] {
    best = max(best, solved.best)
    let relaxation = solved.relaxation
    nodes[node].isSolved = true
    if relaxation.keptBound <= nodes[node].bound {
      nodes[node].bound = relaxation.keptBound
      if keepsEvidence { nodes[node].evidence = Self.evidence(relaxation) }
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
          bound: nodes[node].bound, evidence: nodes[node].evidence, relaxation: relaxation))
    }
    nodes[node].evidence = Evidence()
    return [first, first + 1]
  }

  /// Lets go of the state that a node started from.
  func release(_ node: Int) { nodes[node].relaxation = nil }

  private static func evidence(_ relaxation: ColocationRelaxation) -> Evidence {
    Evidence(steps: relaxation.evidenceSteps, search: relaxation.searchStart)
  }

  // MARK: Branching

  /// The pair to branch on; nil where every pair is fixed.
  static func branch(_ relaxation: ColocationRelaxation) -> (Int, Int)? {
    let (layout, fixed) = (relaxation.layout, relaxation.fixings.layout)
    let vertices = 2 * layout.experts
    func share(_ a: Int, _ b: Int) -> Double {
      let m = clippedToUnit(relaxation.values[layout.pair(0, a, b)])
      return min(m, 1 - m)
    }
    var weight = [Double](repeating: 0, count: vertices)
    for a in 0..<vertices {
      for b in 0..<a where relaxation.fixings[fixed.pair(0, a, b)] == .free {
        let amount = share(a, b) * abs(relaxation.objective[layout.pair(0, a, b)])
        weight[a] += amount
        weight[b] += amount
      }
    }
    var best: (pair: (Int, Int), value: Double)?
    for a in 0..<vertices {
      for b in 0..<a where relaxation.fixings[fixed.pair(0, a, b)] == .free {
        let value = (share(a, b) + 1e-6) * (weight[a] * weight[b]).squareRoot()
        if value > best?.value ?? -1 { best = ((b, a), value) }
      }
    }
    return best?.pair
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
