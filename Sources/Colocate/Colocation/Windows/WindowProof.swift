import ColocateModel

/// What the windows' trees prove, as data.
package struct WindowProof: Sendable {
  package struct Node: Sendable {
    package enum Kind: Sendable {
      /// Experts `0 ..< 2E` of the window together or apart: places of the children in the list.
      case branch(first: Int, second: Int, together: Int, apart: Int)
      /// Multipliers that fix pairs against the window's `best`, and the layer from which a search
      /// with the last of them lists the rest.
      case leaf(steps: [ColocationMultipliers], search: Int?)
    }
    package let kind: Kind
  }

  package struct Tree: Sendable {
    /// In the window's units: what leaves are compared with.
    package let best: Int
    /// Root first, children after their parents.
    package let nodes: [Node]
  }

  package let split: WindowSplit
  package let trees: [Tree]
}

extension WindowSearch {
  package var proof: WindowProof { WindowProof(split: split, trees: trees.map(\.proof)) }
}

extension WindowTree {
  /// Nodes of which nothing is known but what their parent knew are left out.
  var proof: WindowProof.Tree {
    var list = [WindowProof.Node]()
    var waiting = [(node: 0, parent: -1, isTogether: true)]
    while let (number, parent, isTogether) = waiting.popLast() {
      let place = list.count
      if parent >= 0, case .branch(let a, let b, let one, let other) = list[parent].kind {
        list[parent] = WindowProof.Node(
          kind: .branch(
            first: a, second: b, together: isTogether ? place : one,
            apart: isTogether ? other : place))
      }
      let node = nodes[number]
      guard let children = node.children, isAnythingKnown(below: children) else {
        let known = node.children.map { nodes[$0.together].evidence } ?? node.evidence
        list.append(WindowProof.Node(kind: .leaf(steps: known.steps, search: known.search)))
        continue
      }
      let decision = nodes[children.together].decisions[node.decisions.count]
      list.append(
        WindowProof.Node(
          kind: .branch(
            first: decision.first, second: decision.second, together: -1, apart: -1)))
      waiting.append((children.apart, place, false))
      waiting.append((children.together, place, true))
    }
    return WindowProof.Tree(best: best, nodes: list)
  }

  private func isAnythingKnown(below children: (together: Int, apart: Int)) -> Bool {
    nodes[children.together].isSolved || nodes[children.apart].isSolved
  }
}
