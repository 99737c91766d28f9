import ColocateModel

/// What placements keep as a sum over windows of two layers, each bounded by a search tree.
///
/// Window w has the layers w and w+1. With any numbers S_l on the pairs of experts of an inner
/// layer l, and V_l the co-activation,
///
///     kept = Σ_w [ ⟨W_w, Y_w⟩ + ⟨S_w, Z_w⟩ + ⟨V_{w+1} - S_{w+1}, Z_{w+1}⟩ ],
///
/// where an end layer has all of V: each S is added in one window and taken off in the next. So no
/// placement keeps more than the sum of the windows' maxima, or of upper bounds on them. S is in
/// units of 2^-bits, and so are the windows' weights. Of each layer P·c(c-1)/2 pairs share a group,
/// so a window's weights of a layer's pairs may all be raised by a constant, which makes none of
/// them negative: then a window is a problem like any other.
///
/// A tree branches on two experts of the window being together or apart, one of which every
/// placement has. Of its leaves the largest bound holds, by `CertificateFixing` with the decisions
/// as pairs that are known, and `best`, which is any number, in place of an incumbent.
package struct CertificateWindows: Sendable {
  package struct Node: Sendable {
    package enum Kind: Sendable {
      /// Vertices of the window, 0 ..< 2E, and places of the children in the list.
      case branch(first: Int, second: Int, together: Int, apart: Int)
      /// Without steps nothing is known but the total.
      case leaf(CertificateFixing)
    }
    package var kind: Kind
    package init(kind: Kind) { self.kind = kind }
  }

  package struct Tree: Sendable {
    package var best: Int
    /// Root first, children after their parents.
    package var nodes: [Node]
    package init(best: Int, nodes: [Node]) {
      self.best = best
      self.nodes = nodes
    }
  }

  package static let mostBits = 20

  /// S and the windows' weights are in units of 2^-bits.
  package var fractionBits: Int
  /// S of the layers 1 … L-2, each its pairs i < j row by row.
  package var shares: [[Int]]
  package var trees: [Tree]

  package init(fractionBits: Int, shares: [[Int]], trees: [Tree]) {
    self.fractionBits = fractionBits
    self.shares = shares
    self.trees = trees
  }

  /// An upper bound on what placements keep.
  /// - Parameter isRoomy: as of `CertificateFixing.bound`.
  package func bound(
    of problem: CertifiedProblem, isRoomy: Bool = false, effort: CertificateEffort
  ) throws(CertificateError) -> Int {
    let pairs = problem.experts * (problem.experts - 1) / 2
    guard (0...Self.mostBits).contains(fractionBits), trees.count == problem.layers - 1,
      shares.count == problem.layers - 2, shares.allSatisfy({ $0.count == pairs }),
      shares.allSatisfy({ $0.allSatisfy { $0.magnitude < 1 << 55 } }),
      problem.total <= (1 << 56) >> fractionBits
    else { throw CertificateError("malformed windows") }
    var sum = Int128(0)
    for (w, tree) in trees.enumerated() {
      do throws(CertificateError) {
        let (window, constant) = try window(w, of: problem)
        sum += Int128(try bound(of: tree, window, isRoomy: isRoomy, effort: effort)) - constant
      } catch {
        throw CertificateError("window \(w): \(error.description)")
      }
    }
    return Int(clamping: min(sum >> Int128(fractionBits), Int128(problem.total)))
  }

  // MARK: Windows

  /// A window, and what its raised weights add to every placement.
  private func window(
    _ w: Int, of problem: CertifiedProblem
  ) throws(CertificateError) -> (CertifiedProblem, constant: Int128) {
    let (experts, square) = (problem.experts, problem.experts * problem.experts)
    var (together, constant) = ([Int](), Int128(0))
    for l in [w, w + 1] {
      let share = l == 0 || l == problem.layers - 1 ? nil : shares[l - 1]
      var (block, next) = ([Int](repeating: 0, count: square), 0)
      var least = Int.max
      for i in 0..<experts {
        for j in (i + 1)..<max(experts, i + 1) {
          let own =
            problem.coactivation.isEmpty
            ? 0 : problem.coactivation[(l * experts + i) * experts + j] << fractionBits
          let part = share.map { l == w ? $0[next] : own - $0[next] } ?? own
          next += 1
          least = min(least, part)
          block[i * experts + j] = part
        }
      }
      if least == .max { least = 0 }
      var total = Int128(0)
      for i in 0..<experts {
        for j in (i + 1)..<max(experts, i + 1) {
          block[i * experts + j] -= least
          block[j * experts + i] = block[i * experts + j]
          total += Int128(2 * block[i * experts + j])
        }
      }
      guard total < 1 << 60 else { throw CertificateError("weights beyond 2^60") }
      constant -=
        Int128(least) * Int128(problem.groups * problem.groupSize * (problem.groupSize - 1) / 2)
      together += block
    }
    let window = try CertifiedProblem(
      layers: 2, experts: experts, groups: problem.groups,
      weights: problem.weights[(w * square)..<((w + 1) * square)].map { $0 << fractionBits },
      coactivation: together,
      loads: Array(problem.loads[(w * experts)..<((w + 2) * experts)]),
      caps: problem.caps.map { [$0[w], $0[w + 1]] })
    return (window, constant)
  }

  // MARK: Trees

  private func bound(
    of tree: Tree, _ window: CertifiedProblem, isRoomy: Bool, effort: CertificateEffort
  ) throws(CertificateError) -> Int {
    guard (-1..<(1 << 60)).contains(tree.best) else { throw CertificateError("a best value") }
    try checkShape(tree)
    var open = [(place: 0, pairs: CertificateFixedPairs(window))]
    var bound = tree.best
    while let (place, pairs) = open.popLast() {
      try effort.proceed()
      switch tree.nodes[place].kind {
      case .leaf(let fixing):
        if pairs.isExhausted { continue }
        guard !fixing.steps.isEmpty else {
          bound = max(bound, window.total)
          continue
        }
        do throws(CertificateError) {
          bound = max(
            bound,
            try fixing.bound(
              of: window, incumbent: tree.best, known: pairs, isRoomy: isRoomy, effort: effort))
        } catch {
          throw CertificateError("node \(place): \(error.description)")
        }
      case .branch(let first, let second, let together, let apart):
        let vertices = 0..<(2 * window.experts)
        guard vertices.contains(first), vertices.contains(second), first != second else {
          throw CertificateError("node \(place): a branch that names no pair of experts")
        }
        for (child, state) in [
          (apart, CertificateFixedPairs.State.apart), (together, .together),
        ] {
          var known = pairs
          known[first, second] = state
          open.append((child, known))
        }
      }
    }
    return bound
  }

  /// That the list is a tree: every node but the root is the child of exactly one before it.
  private func checkShape(_ tree: Tree) throws(CertificateError) {
    guard !tree.nodes.isEmpty else { throw CertificateError("a tree without nodes") }
    var parents = [Int](repeating: 0, count: tree.nodes.count)
    for (place, node) in tree.nodes.enumerated() {
      guard case .branch(_, _, let together, let apart) = node.kind else { continue }
      for child in [together, apart] {
        guard child > place, child < parents.count else {
          throw CertificateError("node \(place) names node \(child) as a child")
        }
        parents[child] += 1
      }
    }
    if let place = parents.indices.dropFirst().first(where: { parents[$0] != 1 }) {
      throw CertificateError(
        "node \(place) is the child of \(parents[place]) nodes, expected 1")
    }
  }
}
