import ColocateModel

/// All groups of small reduced cost, by a depth-first search of the checker's own.
///
/// Experts are taken in order of falling load. With `r` experts still to be chosen, `M1_i` the
/// uncovered tokens with expert `i` and `M2_ij` those with both: two experts cover exactly
/// `M1_i + M1_j − M2_ij` more. More than two, `B`, cover `Σ_{i∈B} Σ_{t∋i} w / |B ∩ t|`, and since
/// `1/s ≥ (2m + 1 − s) / (m (m + 1))` for whole `s, m ≥ 1`, at least
///
///     Σ_{i∈B} [ 2m M1_i − (the r − 1 largest M2_ij) ] / (m (m + 1))        for every m,
///
/// so the sum of the `r` smallest of these, less prices, bounds what a branch can reach. Whole
/// numbers throughout, rounded down.
struct DestinationGroups {
  /// A group, with its experts as bits.
  typealias Priced = (mask: UInt64, reduced: Int)

  private let problem: DestinationPart
  private let prices: [Int]
  private let order: [Int]
  private let effort: CertificateEffort
  private var isCovered: [Bool]
  private var stepsLeft = DestinationEvidence.mostSteps
  private var looks = 0
  private var limit = Int.max
  private var keepsAll = false
  private var found: [Priced] = []
  private var fault: CertificateError?

  init(_ problem: DestinationPart, prices: [Int], effort: CertificateEffort) {
    self.problem = problem
    self.prices = prices
    self.effort = effort
    order = (0..<problem.experts).sorted { (problem.loads[$0], $1) > (problem.loads[$1], $0) }
    isCovered = [Bool](repeating: false, count: problem.sets.count)
  }

  /// The smallest reduced cost of a group within the cap, `Int.max` where there is no group.
  mutating func least() throws(CertificateError) -> Int {
    (limit, keepsAll, found) = (.max, false, [])
    try start()
    return found.map(\.reduced).min() ?? .max
  }

  /// Every group whose reduced cost is at most `limit`.
  mutating func list(upTo limit: Int) throws(CertificateError) -> [Priced] {
    (self.limit, keepsAll, found) = (limit, true, [])
    try start()
    return found
  }

  /// Uncovered tokens: with an expert, and with a pair, `[E]` and `[E, E]`.
  private struct Moments {
    var single: [Int]
    var pair: [Int]
  }

  private mutating func start() throws(CertificateError) {
    let experts = problem.experts
    var moments = Moments(
      single: [Int](repeating: 0, count: experts),
      pair: [Int](repeating: 0, count: experts * experts))
    for t in problem.sets.indices { Self.add(t, problem, 1, &moments) }
    search(order[...], moments, left: problem.size, base: 0, load: 0, mask: 0)
    if let fault { throw fault }
  }

  private static func add(_ t: Int, _ problem: DestinationPart, _ sign: Int, _ m: inout Moments) {
    let weight = sign * problem.weights[t]
    for i in problem.sets[t] {
      m.single[i] += weight
      for j in problem.sets[t] where j != i { m.pair[i * problem.experts + j] += weight }
    }
  }

  private mutating func spend(_ steps: Int) -> Bool {
    stepsLeft -= steps
    looks += 1
    if fault == nil, stepsLeft <= 0 {
      fault = CertificateError(
        "prices of groups of \(problem.size) among \(problem.experts) experts: too large to check")
    } else if fault == nil, looks & 1023 == 0, effort.isOver {
      fault = CertificateError(
        "not checked within \(effort.seconds) seconds: a longer --time-limit may be enough")
    }
    return fault == nil
  }

  private mutating func search(
    _ list: ArraySlice<Int>, _ m: Moments, left: Int, base: Int, load: Int, mask: UInt64
  ) {
    guard list.count >= left, spend(list.count) else { return }
    if left == 0 { return keep(mask, base, load) }
    if left == 2 { return pairs(list, m, base: base, load: load, mask: mask) }
    if left > 2, bound(list, m, left: left, base: base) > limit { return }
    for position in list.indices where list.endIndex - position >= left {
      let e = list[position]
      let newLoad = load + problem.loads[e]
      guard newLoad <= problem.cap else { continue }
      var inner = m
      var newly = [Int]()
      for t in problem.setsOf[e] where !isCovered[t] {
        isCovered[t] = true
        newly.append(t)
        Self.add(t, problem, -1, &inner)
      }
      let more = m.single[e] * DestinationEvidence.scale - prices[e]
      search(
        list[(position + 1)...], inner, left: left - 1, base: base + more, load: newLoad,
        mask: mask | (1 << UInt64(e)))
      for t in newly { isCovered[t] = false }
      if fault != nil { return }
    }
  }

  private mutating func keep(_ mask: UInt64, _ reduced: Int, _ load: Int) {
    guard reduced <= limit, load <= problem.cap else { return }
    if !keepsAll {
      // Only a smaller one is of interest from now on.
      found = [(mask, reduced)]
      limit = reduced - 1
      return
    }
    found.append((mask, reduced))
    if found.count > DestinationEvidence.mostGroups, fault == nil {
      fault = CertificateError(
        "more than \(DestinationEvidence.mostGroups) groups within the prices: too large to check")
    }
  }

  private mutating func pairs(
    _ list: ArraySlice<Int>, _ m: Moments, base: Int, load: Int, mask: UInt64
  ) {
    let scale = DestinationEvidence.scale
    for a in list.indices {
      let i = list[a]
      let first = base + m.single[i] * scale - prices[i]
      for j in list[(a + 1)...] {
        let tokens = m.single[j] - m.pair[i * problem.experts + j]
        let reduced = first + tokens * scale - prices[j]
        guard reduced <= limit else { continue }
        let bits = (1 << UInt64(i)) | (1 << UInt64(j)) as UInt64
        keep(mask | bits, reduced, load + problem.loads[i] + problem.loads[j])
        if fault != nil { return }
      }
    }
  }

  /// No group below the node has a smaller reduced cost.
  private func bound(_ list: ArraySlice<Int>, _ m: Moments, left: Int, base: Int) -> Int {
    let scale = DestinationEvidence.scale
    var worths = [Int]()
    for i in list {
      var partners = [Int]()
      for j in list where j != i { partners.append(m.pair[i * problem.experts + j]) }
      partners.sort(by: >)
      let most = partners.prefix(left - 1).reduce(0, +)
      var best = Int.min
      for slope in 1...3 {
        let product = slope * (slope + 1)
        let numerator = (2 * slope * m.single[i] - most) * scale
        // Rounded down, for negative numbers too.
        let quotient = numerator >= 0 ? numerator / product : (numerator - product + 1) / product
        best = max(best, quotient)
      }
      worths.append(best - prices[i])
    }
    worths.sort()
    return base + worths.prefix(left).reduce(0, +)
  }
}
