/// Prices of the path relaxation in units of 1/64: one for each expert, and one for each subset-row cut.
///
/// A subset-row cut (Jepsen, Petersen, Spoorendonk, Pisinger, 2008): of an odd set O of experts of a layer, groups of a partition satisfy
/// Σ ⌊|S ∩ O|/2⌋ ≤ ⌊|O|/2⌋. At price v ≥ 0 it adds ⌊|O|/2⌋·v to B and takes ⌊|S ∩ O|/2⌋·v off the value of a subset.
package struct CertificatePrices: Hashable, Sendable {
  package struct Cut: Hashable, Sendable {
    package var layer: Int
    /// O as a bit set.
    package var members: UInt64
    package var price: Int

    package init(layer: Int, members: UInt64, price: Int) {
      self.layer = layer
      self.members = members
      self.price = price
    }
  }

  /// u, `[L, E]`.
  package var experts: [Int]
  package var cuts: [Cut]

  package init(experts: [Int], cuts: [Cut] = []) {
    self.experts = experts
    self.cuts = cuts
  }
}

/// A search tree over the path relaxation. At each node the subsets with pen(S) > B - 64·(incumbent + 1) are deleted at each of `deletions` in order, as no
/// better placement uses them. A leaf is `bounded` where a layer has no subset left or B(prices) < 64·(incumbent + 1), and `exhausted` where the layered search
/// over partitions inside the loss B(prices) - 64·(incumbent + 1) comes to no end; `dolls[k]` is claimed to be at most the loss of any completion from layer
/// k on and is checked first. The children of a branch keep the subsets of `layer` that hold both or neither of two experts, and those that do not hold
/// both.
package indirect enum CertificateTree: Sendable {
  case bounded(deletions: [CertificatePrices], prices: CertificatePrices)
  case exhausted(deletions: [CertificatePrices], prices: CertificatePrices, dolls: [Int])
  case branch(
    deletions: [CertificatePrices], layer: Int, first: Int, second: Int,
    together: CertificateTree, apart: CertificateTree)

  /// Whether some leaf takes a layered search.
  var isLayered: Bool {
    switch self {
    case .bounded: false
    case .exhausted: true
    case .branch(_, _, _, _, let together, let apart): together.isLayered || apart.isLayered
    }
  }
}

/// Exact evaluation of path prices over lists of subsets, by the plainest loops.
struct CertificatePaths: Sendable {
  let problem: GroupingProblem
  let control: SearchControl
  /// Subsets that are still possible, `[L][n]` bit sets.
  private(set) var subsets: [[UInt64]]

  /// All c-subsets within the cap.
  init(_ problem: GroupingProblem, control: SearchControl) throws(CertificateError) {
    self.problem = problem
    self.control = control
    let (experts, size) = (problem.experts, problem.groupSize)
    var count = 1.0
    for k in 0..<size { count *= Double(experts - k) / Double(k + 1) }
    guard experts <= 64, count < 60_000 else {
      throw CertificateError("path evidence over \(Int(count)) subsets a layer: out of range")
    }
    subsets = (0..<problem.layers).map { l in
      var list = [UInt64]()
      func choose(_ set: UInt64, _ load: Int, _ left: Int, _ after: Int) {
        if left == 0 {
          if load <= problem.caps?[l] ?? Int.max { list.append(set) }
          return
        }
        guard experts - after >= left else { return }
        for e in after...(experts - left) {
          choose(
            set | 1 << UInt64(e), load + problem.loads[l * experts + e], left - 1, e + 1)
        }
      }
      choose(0, 0, size, 0)
      return list
    }
  }

  private var isEmpty: Bool { subsets.contains(where: \.isEmpty) }

  /// Potentials of one price vector.
  struct Potentials {
    /// Longest path to each subset, its own value included, and from it on, without: `[L][n]`.
    var forward: [[Int]]
    var backward: [[Int]]
    /// λ.
    var longest: Int
    /// B.
    var bound: Int
  }

  /// B(prices) in units of 1/64.
  func bound(_ prices: CertificatePrices) throws(CertificateError) -> Int {
    try evaluate(prices, both: false).bound
  }

  /// Value of each subset of a layer: what it keeps inside minus its prices.
  func values(_ prices: CertificatePrices, _ l: Int) -> [Int] {
    let experts = problem.experts
    let cuts = prices.cuts.filter { $0.layer == l }
    return subsets[l].map { set in
      var value = 64 * Certificate.together(problem, l, set)
      var rest = set
      while rest != 0 {
        value -= prices.experts[l * experts + rest.trailingZeroBitCount]
        rest &= rest - 1
      }
      for cut in cuts { value -= (set & cut.members).nonzeroBitCount / 2 * cut.price }
      return value
    }
  }

  private func verify(_ prices: CertificatePrices) throws(CertificateError) {
    let experts = problem.experts
    guard prices.experts.count == problem.layers * experts else {
      throw CertificateError(
        "\(prices.experts.count) prices, expected \(problem.layers * experts)")
    }
    guard prices.experts.allSatisfy({ abs($0) < 1 << 44 }), prices.cuts.count < 1 << 16 else {
      throw CertificateError("a price is out of range")
    }
    for cut in prices.cuts {
      guard (0..<problem.layers).contains(cut.layer), cut.price >= 0, cut.price < 1 << 44,
        cut.members.nonzeroBitCount % 2 == 1, experts == 64 || cut.members >> UInt64(experts) == 0
      else { throw CertificateError("a malformed subset-row cut in layer \(cut.layer)") }
    }
  }

  func evaluate(_ prices: CertificatePrices, both: Bool) throws(CertificateError) -> Potentials {
    try verify(prices)
    if isEmpty { return Potentials(forward: [], backward: [], longest: 0, bound: Int.min) }
    let layers = problem.layers
    let value = (0..<layers).map { values(prices, $0) }
    var forward = [value[0]]
    for l in 0..<(layers - 1) {
      let reached = longest(
        boundary: l, from: subsets[l], start: forward[l], to: subsets[l + 1], transposed: false)
      forward.append(zip(reached, value[l + 1]).map { $0 + $1 })
    }
    var backward = [[Int]]()
    if both {
      backward = [[Int](repeating: 0, count: subsets[layers - 1].count)]
      for l in stride(from: layers - 2, through: 0, by: -1) {
        let start = zip(backward[0], value[l + 1]).map { $0 + $1 }
        backward.insert(
          longest(
            boundary: l, from: subsets[l + 1], start: start, to: subsets[l], transposed: true),
          at: 0)
      }
    }
    let most = forward[layers - 1].max()!
    let sum =
      prices.experts.reduce(0, +)
      + prices.cuts.reduce(0) { $0 + $1.members.nonzeroBitCount / 2 * $1.price }
    return Potentials(
      forward: forward, backward: backward, longest: most, bound: sum + problem.groups * most)
  }

  /// max over S of start(S) + 64·w(S, T) for each T.
  private func longest(
    boundary: Int, from: [UInt64], start: [Int], to: [UInt64], transposed: Bool
  ) -> [Int] {
    let (experts, size) = (problem.experts, problem.groupSize)
    var members = [Int]()
    for set in to {
      var rest = set
      while rest != 0 {
        members.append(rest.trailingZeroBitCount)
        rest &= rest - 1
      }
    }
    let parts = min(control.threads * 4, max(1, from.count))
    let (targets, targetCount) = (members, to.count)
    let best = concurrentMap(parts, threads: control.threads) { part -> [Int] in
      var best = [Int](repeating: Int.min, count: targetCount)
      var sums = [Int](repeating: 0, count: experts)
      best.withUnsafeMutableBufferPointer { best in
        targets.withUnsafeBufferPointer { targets in
          sums.withUnsafeMutableBufferPointer { sums in
            for s in stride(from: part, to: from.count, by: parts) {
              fillSums(boundary, from[s], transposed, sums)
              var at = 0
              for t in 0..<targetCount {
                var weight = start[s]
                for k in at..<(at + size) { weight += sums[targets[k]] }
                at += size
                if weight > best[t] { best[t] = weight }
              }
            }
          }
        }
      }
      return best
    }
    return best.dropFirst().reduce(best[0]) { zip($0, $1).map { max($0, $1) } }
  }

  /// 64 · Σ_{i∈set} W[i, j] (or W[j, i]) for every j.
  private func fillSums(
    _ boundary: Int, _ set: UInt64, _ transposed: Bool, _ sums: UnsafeMutableBufferPointer<Int>
  ) {
    let experts = problem.experts
    let base = boundary * experts * experts
    for j in 0..<experts { sums[j] = 0 }
    var rest = set
    while rest != 0 {
      let i = rest.trailingZeroBitCount
      for j in 0..<experts {
        sums[j] += 64 * problem.weights[base + (transposed ? j * experts + i : i * experts + j)]
      }
      rest &= rest - 1
    }
  }

  /// 64 · w(S, T).
  func weight(_ boundary: Int, _ from: UInt64, _ to: UInt64) -> Int {
    let experts = problem.experts
    var sum = 0
    for i in 0..<experts where from >> UInt64(i) & 1 == 1 {
      for j in 0..<experts where to >> UInt64(j) & 1 == 1 {
        sum += problem.weights[(boundary * experts + i) * experts + j]
      }
    }
    return 64 * sum
  }

  // MARK: Trees

  /// Follows the tree to its leaves.
  func check(_ tree: CertificateTree, incumbent: Int, depth: Int = 0) throws(CertificateError) {
    guard depth < 10_000 else { throw CertificateError("a tree of more than 10000 levels") }
    let target = 64 * (incumbent + 1)
    switch tree {
    case .bounded(let deletions, let prices):
      let rest = try deleting(deletions, target: target)
      if rest.isEmpty { return }
      let bound = try rest.bound(prices)
      guard bound < target else {
        throw CertificateError(
          "a leaf at depth \(depth) has a bound of \(bound)/64, not below \(target)/64")
      }
    case .exhausted(let deletions, let prices, let dolls):
      let rest = try deleting(deletions, target: target)
      if rest.isEmpty { return }
      try rest.checkExhausted(prices, dolls: dolls, target: target)
    case .branch(let deletions, let layer, let first, let second, let together, let apart):
      guard (0..<problem.layers).contains(layer), (0..<problem.experts).contains(first),
        (0..<problem.experts).contains(second), first != second
      else { throw CertificateError("a branch at depth \(depth) names no pair of experts") }
      let rest = try deleting(deletions, target: target)
      let both: UInt64 = 1 << UInt64(first) | 1 << UInt64(second)
      var one = rest
      one.subsets[layer].removeAll { $0 & both != 0 && $0 & both != both }
      var other = rest
      other.subsets[layer].removeAll { $0 & both == both }
      try one.check(together, incumbent: incumbent, depth: depth + 1)
      try other.check(apart, incumbent: incumbent, depth: depth + 1)
    }
  }

  private func deleting(_ deletions: [CertificatePrices], target: Int)
    throws(CertificateError) -> CertificatePaths
  {
    var paths = self
    for prices in deletions where !paths.isEmpty {
      let potentials = try paths.evaluate(prices, both: true)
      let budget = potentials.bound - target
      for l in 0..<problem.layers {
        var kept = [UInt64]()
        for (s, set) in paths.subsets[l].enumerated()
        where potentials.longest - potentials.forward[l][s] - potentials.backward[l][s] <= budget {
          kept.append(set)
        }
        paths.subsets[l] = kept
      }
    }
    return paths
  }
}
