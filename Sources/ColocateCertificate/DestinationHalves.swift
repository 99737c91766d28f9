import ColocateModel

/// Whether two groups of a small layer can have fewer cut tokens than a number: all placements,
/// half of the experts at a time. For claims that come without prices.
///
/// With two groups, `S` and the others, a token costs 1, and 1 more where it has experts in both.
/// The `h` experts with the most tokens are the lower half, the others the upper. What `S` takes of
/// the lower half, `A`, cuts the tokens that have lower experts both inside and outside `A`. Where
/// these alone are as many as the target, no choice in the upper half helps. More can be said: a
/// token with lower experts on one side alone is cut by each of its upper experts on the other
/// side, so each of its `q` upper experts can be made to pay a q-th of it there; and `h − |A|` of
/// the upper experts are in `S`, at best those that pay least for it. If `A` is still of interest,
/// the tokens that stay whole are counted for every `B` of `h − |A|` upper experts at once: those
/// inside `A ∪ B`, and those outside of it, both by sums over subsets (Yates' method, one pass for
/// each upper expert).
///
/// Of two placements that differ in the names of the groups alone one is looked at: the busiest
/// expert is in `S`. Sums are at most the tokens of the layer in units, below `2^31`, or it is too
/// large.
struct DestinationHalves {
  static let mostExperts = 32

  private let problem: DestinationPart
  private let half: Int
  private let effort: CertificateEffort
  /// Each set's lower experts and upper experts as bits.
  private let lower: [Int]
  private let upper: [Int]
  private let total: Int
  /// Tokens of each expert, the busiest first.
  private let loads: [Int]

  /// - Throws: `CertificateError` where the layer is too large to be checked in this way.
  init(_ problem: DestinationPart, effort: CertificateEffort) throws(CertificateError) {
    self.problem = problem
    self.effort = effort
    half = problem.size
    total = problem.weights.reduce(0, +)
    guard problem.groups == 2, problem.experts <= Self.mostExperts, total < Int32.max else {
      throw CertificateError(
        "\(problem.groups) groups of \(half) experts, \(total) tokens: without prices only two "
          + "groups of at most \(Self.mostExperts / 2) can be checked")
    }
    let (half, mask) = (half, (1 << half) - 1)
    let order = (0..<problem.experts).sorted { (problem.loads[$0], $1) > (problem.loads[$1], $0) }
    loads = order.map { problem.loads[$0] }
    var place = [Int](repeating: 0, count: order.count)
    for (index, expert) in order.enumerated() { place[expert] = index }
    let bits = problem.sets.map { $0.reduce(0) { $0 | 1 << place[$1] } }
    lower = bits.map { $0 & mask }
    upper = bits.map { $0 >> half }
  }

  /// Whether a placement within the cap cuts fewer than `target` tokens.
  func beats(_ target: Int) throws(CertificateError) -> Bool {
    guard half > 0 else { return target > 0 }
    let full = (1 << half) - 1
    let lowerLoads = Self.loads(loads[..<half])
    let upperLoads = Self.loads(loads[half...])
    let all = lowerLoads[full] + upperLoads[full]
    let touched = tokens { _ in 1 }
    let touching = touched[full]
    let paid = (0..<half).map { expert in
      tokens { upper[$0] >> expert & 1 == 0 ? 0 : Self.share / upper[$0].nonzeroBitCount }
    }
    for chosen in stride(from: 1, through: full, by: 2) {
      let cut = touching - touched[chosen] - touched[full ^ chosen]
      let stay = paid.map { $0[chosen] }
      let leave = zip(paid, stay).map { $0[full ^ chosen] - $1 }.sorted()
      let more = stay.reduce(0, +) + leave.prefix(half - chosen.nonzeroBitCount).reduce(0, +)
      guard cut * Self.share + more < target * Self.share else { continue }
      try effort.proceed()
      let (inside, outside) = whole(chosen)
      for more in 0...full where more.nonzeroBitCount == half - chosen.nonzeroBitCount {
        guard total - Int(inside[more]) - Int(outside[full ^ more]) < target else { continue }
        let load = lowerLoads[chosen] + upperLoads[more]
        if load <= problem.cap, all - load <= problem.cap { return true }
      }
    }
    return false
  }

  /// A token's parts; those of up to seven experts, or eight, come out even.
  private static let share = 840

  /// Over the tokens with lower experts, and those in each lower subset alone: `weight · parts`.
  private func tokens(_ parts: (Int) -> Int) -> [Int] {
    var sums = [Int](repeating: 0, count: 1 << half)
    for index in lower.indices where lower[index] != 0 {
      sums[lower[index]] += problem.weights[index] * parts(index)
    }
    Self.sumOverSubsets(&sums)
    return sums
  }

  /// Tokens whose experts are all in `chosen` and in each upper subset; all outside `chosen` and
  /// in each upper subset.
  private func whole(_ chosen: Int) -> ([Int32], [Int32]) {
    var inside = [Int32](repeating: 0, count: 1 << half)
    var outside = inside
    for index in lower.indices {
      let weight = Int32(problem.weights[index])
      if lower[index] & ~chosen == 0 { inside[upper[index]] += weight }
      if lower[index] & chosen == 0 { outside[upper[index]] += weight }
    }
    Self.sumOverSubsets(&inside)
    Self.sumOverSubsets(&outside)
    return (inside, outside)
  }

  private static func sumOverSubsets<Sum: FixedWidthInteger>(_ sums: inout [Sum]) {
    let count = sums.count
    sums.withUnsafeMutableBufferPointer { sums in
      var step = 1
      while step < count {
        for start in stride(from: 0, to: count, by: 2 * step) {
          for place in start..<(start + step) { sums[place + step] &+= sums[place] }
        }
        step *= 2
      }
    }
  }

  private static func loads(_ experts: ArraySlice<Int>) -> [Int] {
    experts.reduce([0]) { sums, load in sums + sums.map { $0 + load } }
  }
}
