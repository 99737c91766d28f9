import ColocateModel

/// The path relaxation over lists of subsets, evaluated exactly by the plainest loops.
///
/// The contents of one group are a path S_0 → … → S_{L-1} of c-subsets within the cap, and a
/// placement is P of them that hold every expert of every layer once. With a price u on every
/// expert, λ(u) the value of the longest path under Σ_l w_l(S_l, S_{l+1}) + inside(S_l) - u(S_l),
///
///     kept ≤ B(u) = Σ u + P · λ(u),
///
/// since the prices that the paths pay add up to Σ u. In units of 1/64 everything is an integer.
///
/// With R = 64·total + the most that prices can add to a path, every path value is within ±R and
/// pen(S) = λ - forward(S) - backward(S) within 3R; R < 2^60 is checked, so Int is exact. B adds up
/// prices of all experts and is an Int128.
struct CertificatePaths: Sendable {
  /// The most subsets of a layer that path evidence may be about: C(32, 4) is 35,960.
  static let mostSubsets = 60_000
  static let mostCuts = 1 << 16

  let problem: CertifiedProblem
  let effort: CertificateEffort
  /// Subsets that are still possible, `[L][n]` bit sets.
  var subsets: [[UInt64]]

  /// All c-subsets within the cap.
  init(_ problem: CertifiedProblem, effort: CertificateEffort) throws(CertificateError) {
    self.problem = problem
    self.effort = effort
    let (experts, size) = (problem.experts, problem.groupSize)
    guard experts <= 64, problem.subsetCount <= Double(Self.mostSubsets) else {
      throw CertificateError(
        "path evidence over more than \(Self.mostSubsets) subsets a layer: "
          + "beyond the checker's limit")
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
          choose(set | 1 << UInt64(e), load + problem.loads[l * experts + e], left - 1, e + 1)
        }
      }
      choose(0, 0, size, 0)
      return list
    }
  }

  var isEmpty: Bool { subsets.contains(where: \.isEmpty) }

  /// Potentials of one price vector.
  struct Potentials {
    /// Longest path to each subset, its own value included, and from it on, without: `[L][n]`.
    var forward: [[Int]]
    var backward: [[Int]]
    /// λ.
    var longest: Int
    /// B.
    var bound: Int128

    /// λ - forward(S) - backward(S): what a path through S loses at least.
    func penalty(_ l: Int, _ s: Int) -> Int { longest - forward[l][s] - backward[l][s] }
  }

  /// B(prices) in units of 1/64; the least Int128 where a layer has no subset.
  func bound(_ prices: CertificatePrices) throws(CertificateError) -> Int128 {
    try evaluate(prices, both: false).bound
  }

  /// Value of each subset of a layer: what it keeps inside minus its prices.
  func values(_ prices: CertificatePrices, _ l: Int) -> [Int] {
    let experts = problem.experts
    let cuts = prices.cuts.filter { $0.layer == l && $0.price > 0 }
    return subsets[l].map { set in
      var value = 64 * problem.together(l, set)
      var rest = set
      while rest != 0 {
        value -= prices.experts[l * experts + rest.trailingZeroBitCount]
        rest &= rest - 1
      }
      for cut in cuts { value -= cut.value(set) }
      return value
    }
  }

  /// That the prices are prices, and small enough for exact sums.
  private func verify(_ prices: CertificatePrices) throws(CertificateError) {
    let (experts, size) = (problem.experts, problem.groupSize)
    guard prices.experts.count == problem.layers * experts else {
      throw CertificateError(
        "\(prices.experts.count) prices, expected \(problem.layers * experts)")
    }
    guard prices.cuts.count <= Self.mostCuts else {
      throw CertificateError("\(prices.cuts.count) cuts, expected at most \(Self.mostCuts)")
    }
    var reach = 64 * Int128(problem.total)
    for l in 0..<problem.layers {
      let most = prices.experts[(l * experts)..<((l + 1) * experts)].map(\.magnitude).max() ?? 0
      reach += Int128(size) * Int128(most)
    }
    for cut in prices.cuts {
      guard (0..<problem.layers).contains(cut.layer), cut.price >= 0,
        cut.members.nonzeroBitCount % 2 == 1, experts == 64 || cut.members >> UInt64(experts) == 0
      else { throw CertificateError("a malformed subset-row cut in layer \(cut.layer)") }
      reach += Int128(cut.members.nonzeroBitCount / 2) * Int128(cut.price)
    }
    guard reach < 1 << 60 else {
      throw CertificateError("counts and prices that add up to more than 2^60/64")
    }
  }

  func evaluate(
    _ prices: CertificatePrices, both: Bool
  ) throws(CertificateError) -> Potentials {
    try verify(prices)
    try effort.proceed()
    if isEmpty { return Potentials(forward: [], backward: [], longest: 0, bound: Int128.min) }
    let layers = problem.layers
    let value = (0..<layers).map { values(prices, $0) }
    var forward = [value[0]]
    for l in 0..<(layers - 1) {
      let reached = try longest(
        boundary: l, from: subsets[l], start: forward[l], to: subsets[l + 1], transposed: false)
      forward.append(zip(reached, value[l + 1]).map { $0 + $1 })
    }
    var backward = [[Int]]()
    if both {
      backward = [[Int](repeating: 0, count: subsets[layers - 1].count)]
      for l in stride(from: layers - 2, through: 0, by: -1) {
        let start = zip(backward[0], value[l + 1]).map { $0 + $1 }
        backward.insert(
          try longest(
            boundary: l, from: subsets[l + 1], start: start, to: subsets[l], transposed: true),
          at: 0)
      }
    }
    guard let most = forward[layers - 1].max() else {
      throw CertificateError("no subset of the last layer is within the cap")
    }
    let sum =
      prices.experts.reduce(into: Int128(0)) { $0 += Int128($1) }
      + prices.cuts.reduce(into: Int128(0)) { $0 += Int128($1.constant) }
    return Potentials(
      forward: forward, backward: backward, longest: most,
      bound: sum + Int128(problem.groups) * Int128(most))
  }

  /// max over S of start(S) + 64·w(S, T) for each T.
  ///
  /// Lists are in lexicographic order, so neighbours often differ in their last member alone: the
  /// sum over the others is taken once for a run of them.
  private func longest(
    boundary: Int, from: [UInt64], start: [Int], to: [UInt64], transposed: Bool
  ) throws(CertificateError) -> [Int] {
    let runs = Runs(to)
    let parts = min(effort.threads * 4, max(1, from.count))
    let best = try effort.map(parts) { part -> [Int] in
      var best = [Int](repeating: Int.min, count: to.count)
      var sums = [Int](repeating: 0, count: problem.experts)
      best.withUnsafeMutableBufferPointer { best in
        for s in stride(from: part, to: from.count, by: parts) {
          if effort.isOver { return }
          fillSums(boundary, from[s], transposed, &sums)
          sums.withUnsafeBufferPointer { runs.raise(best, from: start[s], by: $0) }
        }
      }
      return best
    }
    try effort.proceed()
    return best.dropFirst().reduce(best[0]) { zip($0, $1).map { max($0, $1) } }
  }

  /// 64 · Σ_{i∈set} W[i, j] (or W[j, i]) for every j.
  private func fillSums(_ boundary: Int, _ set: UInt64, _ transposed: Bool, _ sums: inout [Int]) {
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
}

/// Subsets in order, grouped by all members but the largest.
private struct Runs: Sendable {
  /// Ends of the runs in the list.
  private var ends = [Int]()
  /// The members but the largest of each run, one run after the other, c - 1 each.
  private var shared = [Int]()
  /// The largest member of each subset.
  private var last = [Int]()

  init(_ sets: [UInt64]) {
    var prefix: UInt64?
    for set in sets {
      let top = 63 - set.leadingZeroBitCount
      let others = set & ~(1 << UInt64(top))
      if others != prefix {
        if prefix != nil { ends.append(last.count) }
        prefix = others
        for e in 0..<top where others >> UInt64(e) & 1 == 1 { shared.append(e) }
      }
      last.append(top)
    }
    ends.append(last.count)
  }

  /// `best[T] = max(best[T], start + Σ_{j∈T} sums[j])`.
  func raise(
    _ best: UnsafeMutableBufferPointer<Int>, from start: Int, by sums: UnsafeBufferPointer<Int>
  ) {
    let each = ends.isEmpty ? 0 : shared.count / ends.count
    var t = 0
    for (run, end) in ends.enumerated() {
      var base = start
      for k in (run * each)..<((run + 1) * each) { base += sums[shared[k]] }
      while t < end {
        let value = base + sums[last[t]]
        if value > best[t] { best[t] = value }
        t += 1
      }
    }
  }
}
