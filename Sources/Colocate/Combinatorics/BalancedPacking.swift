import ColocateModel

/// The smallest load cap that a layer allows: `E` loads into `P` groups of exactly `c`, the largest
/// sum as small as possible.
///
/// A balanced multi-way number partitioning problem, NP-hard in general and small here. Lower
/// bounds: the mean; the largest load with the `c - 1` smallest; and of the `kP + 1` largest loads
/// some group gets `k + 1`. Upper bound: longest processing time first under the cardinality limit,
/// then exchanges out of the fullest group (`PackingExchange`). Where both meet the answer is
/// exact, and that is the usual case with skewed gates (one busy expert decides). Otherwise an
/// exact search (`PackingSearch`) halves the interval between them until it is closed or its steps
/// are used up. Steps are counted, not timed: the same loads give the same packing everywhere, as a
/// certificate with a relaxed cap needs.
package struct BalancedPacking: Sendable {
  /// No packing is below this.
  package private(set) var lowerBound: Int
  /// The packing's largest group.
  package private(set) var maximum: Int
  /// Group of each item.
  package private(set) var groupOf: [Int]
  /// Steps of exchanges and of the exact search that were made.
  package private(set) var steps = 0

  /// Steps of exchanges: what they have not found by then the exact search finds or excludes.
  private static let exchangeSteps = 60_000

  /// Groups up to which the exact search, which goes one level deeper for each, is tried.
  private static let mostGroups = 512

  /// - Parameters:
  ///   - loads: none negative; a multiple of `groups` of them.
  ///   - goal: a maximum that is small enough: the search ends once it is met or known to be out of
  ///     reach for as long as `stepLimit` allows.
  ///   - stepLimit: 0 for the greedy packing alone.
  package init(loads: [Int], groups: Int, goal: Int = 0, stepLimit: Int = 1_000_000) {
    // In the largest unit, so that another unit of the loads gives the same packing.
    let unit = Magnitude.unit(loads)
    let order = loads.indices.sorted { (loads[$0], $1) > (loads[$1], $0) }
    let sorted = order.map { loads[$0] / unit }
    lowerBound = Self.lowerBound(sorted, groups: groups)
    var packing = Self.longestFirst(sorted, groups: groups)
    PackingExchange.descend(&packing, loads: sorted)
    maximum = packing.largest
    groupOf = [Int](repeating: 0, count: loads.count)
    if stepLimit > 0 { improve(&packing, loads: sorted, goal: goal / unit, stepLimit: stepLimit) }
    lowerBound *= unit
    maximum *= unit
    for (rank, item) in order.enumerated() { groupOf[item] = packing.groupOf[rank] }
  }

  /// The largest of the three bounds above.
  /// - Parameter sorted: loads, largest first.
  private static func lowerBound(_ sorted: [Int], groups: Int) -> Int {
    let experts = sorted.count
    let c = experts / groups
    let total = sorted.reduce(0, +)
    var lower = (total + groups - 1) / groups
    lower = max(lower, sorted[0] + sorted[(experts - c + 1)...].reduce(0, +))
    for k in 1..<max(c, 1) {
      // Of the kP + 1 largest, one group gets k + 1; at the least the k + 1 smallest of them, with
      // the smallest of all to fill up.
      let first = k * groups
      guard first < experts else { break }
      let rest = c - (k + 1)
      let need = sorted[(first - k)...first].reduce(0, +)
      lower = max(lower, need + (rest > 0 ? sorted[(experts - rest)...].reduce(0, +) : 0))
    }
    return lower
  }

  /// Longest first, into the least loaded group with room.
  private static func longestFirst(_ sorted: [Int], groups: Int) -> Packing {
    let c = sorted.count / groups
    var groupOf = [Int](repeating: 0, count: sorted.count)
    var sums = [Int](repeating: 0, count: groups)
    var size = sums
    for (rank, load) in sorted.enumerated() {
      var best = -1
      for g in 0..<groups where size[g] < c && (best < 0 || sums[g] < sums[best]) { best = g }
      groupOf[rank] = best
      sums[best] += load
      size[best] += 1
    }
    return Packing(groupOf: groupOf, loads: sorted, groups: groups)
  }

  /// Narrows the interval between the bounds. The goal is decided first, then the lower bound,
  /// which is often the answer, then the middle again and again. What the steps do not suffice to
  /// decide stays in the interval.
  private mutating func improve(
    _ packing: inout Packing, loads sorted: [Int], goal: Int, stepLimit: Int
  ) {
    guard maximum > max(lowerBound, goal) else { return }
    let groups = packing.sums.count
    let exchange = PackingExchange(loads: sorted, groups: groups)
    steps += exchange.improve(
      &packing, target: max(lowerBound, goal), stepLimit: min(stepLimit / 4, Self.exchangeSteps))
    maximum = packing.largest
    guard groups <= Self.mostGroups else { return }
    // Below `open` everything is impossible or was given up.
    var open = lowerBound
    var target = max(lowerBound, goal)
    while maximum > max(lowerBound, goal), target < maximum, steps < stepLimit {
      var search = PackingSearch(
        loads: sorted, groups: groups, most: target, steps: max(1000, (stepLimit - steps) / 2))
      switch search.run() {
      case .found(let groupOf):
        packing = Packing(groupOf: groupOf, loads: sorted, groups: groups)
        maximum = packing.largest
      case .impossible:
        lowerBound = target + 1
        open = max(open, lowerBound)
      case .undecided:
        open = target + 1
      }
      steps += search.stepsMade
      target = open + max(0, maximum - open) / 2
    }
  }
}
