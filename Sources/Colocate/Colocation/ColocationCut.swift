import ColocateModel

/// A valid inequality `a·X ≤ b` on the co-location variables of one boundary, with its multiplier.
///
/// Nodes `0 ..< E` are the experts of layer l, `E ..< 2E` those of layer l+1, and m_ij says whether
/// two nodes share a group.
package struct ColocationCut: Hashable, Sendable {
  package enum Shape: Hashable, Sendable {
    /// Grötschel and Wakabayashi's 2-partition inequality: Σ_{S×T} m - Σ_{pairs of S} m - Σ_{pairs
    /// of T} m ≤ min(|S|, |T|), S and T disjoint. With |S| = 1, |T| = 2 it is the triangle m_ij +
    /// m_ik - m_jk ≤ 1.
    case partition([Int], [Int])
    /// Of the nodes Q some must share a group: Σ_{pairs of Q} m ≥ P·a(a-1)/2 + r·a with |Q| = aP +
    /// r (pigeonhole).
    case crowd([Int])
    /// Whoever shares i's group shares k's if i and k share one: (c - |rest|)·m_ik ≤ Σ_{j∈first}
    /// m_ij + Σ_{j∈second} m_kj, where first, second and rest make up layer l (`half` 0) or l+1
    /// (`half` 1) and neither i nor k is in first or second. If m_ik = 1, both sums count members
    /// of the one group, of which at most |rest| are elsewhere; if m_ik = 0 the left side is 0. It
    /// is what min(m_ij, m_kj, m_ik) ≥ "i, j and k together" sums up to.
    case company(Int, Int, half: Int, first: [Int], second: [Int])
    /// The load that the group of node `node` has in layer l (`half` 0) or l+1 (`half` 1) is at
    /// most the cap, or (`atMost` false) at least what the other groups cannot take.
    case load(node: Int, half: Int, atMost: Bool)
    /// Loads of the groups of i and k in layer l (`half` 0) or l+1 (`half` 1), by whether they are
    /// one group: with loads in [low, cap] that add up to T,
    ///     difference:  load(i) - load(k) ≤ (cap - low)·(1 - m_ik)
    ///     most:        load(i) + load(k) ≤ 2·cap·m_ik + min(2·cap, T - (P-2)·low)·(1 - m_ik)
    ///     least:       load(i) + load(k) ≥ 2·low·m_ik + max(2·low, T - (P-2)·cap)·(1 - m_ik)
    case loadPair(Int, Int, half: Int, relation: PairRelation)
    /// Σ_g load_g(l + first) · load_g(l + second), at most or at least its extreme value over loads
    /// within the cap.
    case loadProduct(first: Int, second: Int, atMost: Bool)
  }

  /// Which inequality of `Shape.loadPair`.
  package enum PairRelation: Int, Hashable, Sendable, CaseIterable {
    case difference = 0
    case most = 1
    case least = 2
  }

  /// l.
  package let boundary: Int
  package let shape: Shape
  /// λ ≥ 0 in units of 2^-q.
  package var multiplier: Int

  package init(boundary: Int, shape: Shape, multiplier: Int) {
    self.boundary = boundary
    self.shape = shape
    self.multiplier = multiplier
  }

  /// The inequality `Σ coefficient · X[index] ≤ limit` of `ColocationLayout`.
  package struct Row: Sendable {
    package var terms: [(index: Int, coefficient: Int)]
    package var limit: Int

    package init(terms: [(index: Int, coefficient: Int)], limit: Int) {
      self.terms = terms
      self.limit = limit
    }
  }

  /// What the rows need to know of the problem.
  package struct Context: Sendable {
    package let problem: GroupingProblem
    package let layout: ColocationLayout
    /// Sum of loads of each layer.
    package let loads: [Int]
    /// Indices of the pairs inside a layer that are over the cap even with the smallest company.
    package let apart: [Int]

    package init(problem: GroupingProblem, stride: Int? = nil) {
      self.problem = problem
      let layout = ColocationLayout(
        layers: problem.layers, experts: problem.experts, stride: stride)
      self.layout = layout
      let experts = problem.experts
      loads = (0..<problem.layers).map { l in
        problem.loads[(l * experts)..<((l + 1) * experts)].reduce(0, +)
      }
      var apart = [Int]()
      if let caps = problem.caps, problem.groupSize >= 2 {
        let company = problem.groupSize - 2
        for l in 0..<problem.layers {
          let load = Array(problem.loads[(l * experts)..<((l + 1) * experts)])
          let order = (0..<experts).sorted { (load[$0], $0) < (load[$1], $1) }
          for i in 0..<experts {
            for j in (i + 1)..<max(experts, i + 1) {
              var sum = load[i] + load[j]
              var left = company
              for e in order where left > 0 && e != i && e != j {
                sum += load[e]
                left -= 1
              }
              if sum > caps[l] { apart.append(layout.inside(l, i, j)) }
            }
          }
        }
      }
      self.apart = apart
    }

    /// A group's least and most load in layer l.
    func range(_ l: Int) -> (low: Int, high: Int)? {
      guard let cap = problem.caps?[l] else { return nil }
      let high = min(cap, loads[l])
      return (loads[l] - taken(by: problem.groups - 1, at: high, of: l), high)
    }

    /// What `groups` groups at `load` each take of layer l: all there is at the most, so that the
    /// product cannot overflow.
    fileprivate func taken(by groups: Int, at load: Int, of l: Int) -> Int {
      let (product, overflow) = groups.multipliedReportingOverflow(by: load)
      return overflow ? loads[l] : min(product, loads[l])
    }

    /// The most unequal loads within the cap, largest first: as many groups as possible at the cap,
    /// one with the rest, the others at the least. Every vector of loads is a convex combination of
    /// permutations of it.
    func extremeLoads(_ l: Int) -> [Int]? {
      guard let (low, high) = range(l), taken(by: problem.groups, at: high, of: l) == loads[l]
      else { return nil }
      var rest = loads[l] - problem.groups * low
      return (0..<problem.groups).map { _ in
        let more = min(rest, high - low)
        rest -= more
        return low + more
      }
    }
  }

  /// The row, or nil where the cut is malformed.
  package func expanded(_ context: Context) -> Row? {
    let problem = context.problem
    let experts = problem.experts
    guard 0 <= boundary, boundary < problem.layers - 1 else { return nil }
    let nodes = 0..<(2 * experts)
    func index(_ a: Int, _ b: Int) -> Int { context.layout.pair(boundary, a, b) }
    switch shape {
    case .partition(let first, let second):
      guard !first.isEmpty, !second.isEmpty, first.count + second.count <= 64 else { return nil }
      let all = first + second
      guard all.allSatisfy(nodes.contains), Set(all).count == all.count else { return nil }
      var terms = [(index: Int, coefficient: Int)]()
      for a in first {
        for b in second { terms.append((index(a, b), 1)) }
      }
      for side in [first, second] {
        for (rank, a) in side.enumerated() {
          for b in side[..<rank] { terms.append((index(a, b), -1)) }
        }
      }
      return Row(terms: terms, limit: min(first.count, second.count))
    case .crowd(let crowd):
      guard crowd.count <= 64, crowd.allSatisfy(nodes.contains), Set(crowd).count == crowd.count
      else { return nil }
      let (a, r) = crowd.count.quotientAndRemainder(dividingBy: problem.groups)
      var terms = [(index: Int, coefficient: Int)]()
      for (rank, x) in crowd.enumerated() {
        for y in crowd[..<rank] { terms.append((index(x, y), -1)) }
      }
      return Row(terms: terms, limit: -(problem.groups * (a * (a - 1) / 2) + r * a))
    case .company(let i, let k, let half, let first, let second):
      let all = first + second
      guard i != k, nodes.contains(i), nodes.contains(k), half == 0 || half == 1,
        all.allSatisfy({
          (half * experts..<(half + 1) * experts).contains($0) && $0 != i && $0 != k
        }),
        Set(all).count == all.count
      else { return nil }
      var terms = [(index: Int, coefficient: Int)]()
      let lead = problem.groupSize - (experts - all.count)
      if lead != 0 { terms.append((index(i, k), lead)) }
      for j in first { terms.append((index(i, j), -1)) }
      for j in second { terms.append((index(k, j), -1)) }
      return Row(terms: terms, limit: 0)
    case .load(let node, let half, let atMost):
      guard nodes.contains(node), half == 0 || half == 1,
        let (low, high) = context.range(boundary + half)
      else { return nil }
      let sign = atMost ? 1 : -1
      var limit = atMost ? high : -low
      var terms = [(index: Int, coefficient: Int)]()
      for e in 0..<experts {
        let load = problem.loads[(boundary + half) * experts + e]
        guard load > 0 else { continue }
        if half * experts + e == node {
          limit -= sign * load
        } else {
          terms.append((index(node, half * experts + e), sign * load))
        }
      }
      return Row(terms: terms, limit: limit)
    case .loadPair(let i, let k, let half, let relation):
      guard i != k, nodes.contains(i), nodes.contains(k), half == 0 || half == 1,
        let (low, high) = context.range(boundary + half)
      else { return nil }
      // (P - 2)·high may be more than there is: then nothing is left, which the other term of the
      // maximum is not below.
      let apart =
        context.loads[boundary + half]
        - context.taken(
          by: problem.groups - 2, at: relation == .least ? high : low, of: boundary + half)
      // Σ_j t_j (±m_ij ± m_kj) + pair · m_ik ≤ limit.
      let (signI, signK, pair): (Int, Int, Int)
      var limit: Int
      switch relation {
      case .difference: (signI, signK, pair, limit) = (1, -1, high - low, high - low)
      case .most:
        limit = min(2 * high, apart)
        (signI, signK, pair) = (1, 1, limit - 2 * high)
      case .least:
        limit = -max(2 * low, apart)
        (signI, signK, pair) = (-1, -1, limit + 2 * low)
      }
      var lead = pair
      var terms = [(index: Int, coefficient: Int)]()
      for e in 0..<experts {
        let load = problem.loads[(boundary + half) * experts + e]
        guard load > 0 else { continue }
        let node = half * experts + e
        for (end, sign) in [(i, signI), (k, signK)] {
          if node == end {
            limit -= sign * load
          } else if node == i || node == k {
            lead += sign * load
          } else {
            terms.append((index(node, end), sign * load))
          }
        }
      }
      if lead != 0 { terms.append((index(i, k), lead)) }
      return Row(terms: terms, limit: limit)
    case .loadProduct(let first, let second, let atMost):
      guard (0...1).contains(first), (first...1).contains(second),
        let one = context.extremeLoads(boundary + first),
        let two = context.extremeLoads(boundary + second),
        context.loads[boundary + first] < 1 << 24, context.loads[boundary + second] < 1 << 24
      else { return nil }
      let sign = atMost ? 1 : -1
      var limit = 0
      if first == second, !atMost {
        // Equal loads are the least; their squares add up to at least T²/P.
        let total = context.loads[boundary + first]
        limit = (total * total + problem.groups - 1) / problem.groups
      } else {
        for (a, b) in zip(one, atMost ? two : two.reversed()) { limit += a * b }
      }
      limit *= sign
      var terms = [(index: Int, coefficient: Int)]()
      for i in 0..<experts {
        let a = problem.loads[(boundary + first) * experts + i]
        for j in 0..<experts {
          let product = a * problem.loads[(boundary + second) * experts + j]
          if product == 0 { continue }
          if first != second {
            terms.append((index(i, experts + j), sign * product))
          } else if i == j {
            limit -= sign * product
          } else if i < j {
            terms.append(
              (index(first * experts + i, first * experts + j), sign * 2 * product))
          }
        }
      }
      return Row(terms: terms, limit: limit)
    }
  }
}

/// Where a co-location variable is: `Y_l[i,j]` first, `[L-1, E, stride]`, then `Z_l[i,j]`,
/// `[L, E, stride]`, of which i < j is used.
package struct ColocationLayout: Sendable {
  package let layers: Int
  package let experts: Int
  package let stride: Int
  /// All places, used and unused.
  package var count: Int { (2 * layers - 1) * experts * stride }

  package init(layers: Int, experts: Int, stride: Int? = nil) {
    self.layers = layers
    self.experts = experts
    self.stride = stride ?? experts
  }

  @inline(__always)
  package func between(_ l: Int, _ i: Int, _ j: Int) -> Int { (l * experts + i) * stride + j }

  /// i ≠ j in any order.
  @inline(__always)
  package func inside(_ l: Int, _ i: Int, _ j: Int) -> Int {
    ((layers - 1 + l) * experts + min(i, j)) * stride + max(i, j)
  }

  /// Nodes of boundary l, `a ≠ b` in `0 ..< 2E`.
  @inline(__always)
  package func pair(_ l: Int, _ a: Int, _ b: Int) -> Int {
    let (low, high) = a < b ? (a, b) : (b, a)
    if high < experts { return inside(l, low, high) }
    if low >= experts { return inside(l + 1, low - experts, high - experts) }
    return between(l, low, high - experts)
  }

  /// Half the curvature of the augmented Lagrangian in this variable over ρ: how many matrix
  /// entries hold it.
  @inline(__always)
  package func copies(_ index: Int) -> Int {
    let row = index / (experts * stride)
    guard row >= layers - 1 else { return 2 }
    let l = row - (layers - 1)
    return l == 0 || l == layers - 1 ? 2 : 4
  }
}
