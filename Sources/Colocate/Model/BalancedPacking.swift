/// The smallest load cap that a layer allows: `E` loads into `P` groups of exactly `c`, the largest sum as small as possible.
///
/// A balanced multi-way number partitioning problem, NP-hard in general and small here. Lower bounds: the mean; the largest load with the `c - 1`
/// smallest; and of the `kP + 1` largest loads some group gets `k + 1`. Upper bound: longest processing time first under the
/// cardinality limit, then pairwise exchanges out of the fullest group until none helps. Where both meet the answer is exact, and that is
/// the usual case with skewed gates (one busy expert decides). Otherwise a depth-first search with a step limit tries to close it.
package struct BalancedPacking: Sendable {
  /// No packing is below this.
  package let lowerBound: Int
  /// The packing's largest group.
  package let maximum: Int
  /// Group of each item.
  package let groupOf: [Int]

  package init(loads: [Int], groups: Int, stepLimit: Int = 200_000) {
    let experts = loads.count
    let c = experts / groups
    let order = (0..<experts).sorted { (loads[$0], $1) > (loads[$1], $0) }
    let sorted = order.map { loads[$0] }
    let total = loads.reduce(0, +)
    // Lower bounds.
    var lower = (total + groups - 1) / groups
    lower = max(lower, sorted[0] + sorted[(experts - c + 1)...].reduce(0, +))
    for k in 1..<max(c, 1) {
      // Of the kP + 1 largest, one group gets k + 1; at the least the k + 1 smallest of them, with the smallest of all to fill up.
      let first = k * groups
      guard first < experts else { break }
      let rest = c - (k + 1)
      let need = sorted[(first - k)...first].reduce(0, +)
      lower = max(lower, need + (rest > 0 ? sorted[(experts - rest)...].reduce(0, +) : 0))
    }
    // Longest first, into the least loaded group with room.
    var group = [Int](repeating: -1, count: experts)
    var sum = [Int](repeating: 0, count: groups)
    var size = sum
    for (rank, item) in order.enumerated() {
      var best = -1
      for g in 0..<groups where size[g] < c && (best < 0 || sum[g] < sum[best]) { best = g }
      group[item] = best
      sum[best] += sorted[rank]
      size[best] += 1
    }
    Self.improve(loads: loads, group: &group, sum: &sum)
    if sum.max()! > lower {
      var search = Search(
        sorted: sorted, groups: groups, c: c, best: sum.max()!, lower: lower, steps: stepLimit)
      search.place(0)
      if let found = search.found {
        for (rank, item) in order.enumerated() { group[item] = found[rank] }
        sum = [Int](repeating: 0, count: groups)
        for item in 0..<experts { sum[group[item]] += loads[item] }
      }
      if search.steps > 0 { lower = sum.max()! }  // ran to its end: nothing smaller exists
    }
    lowerBound = lower
    maximum = sum.max()!
    groupOf = group
  }

  /// Exchanges between the fullest group and another while the larger of the two sums falls.
  private static func improve(loads: [Int], group: inout [Int], sum: inout [Int]) {
    let experts = loads.count
    while true {
      let full = sum.indices.max { sum[$0] < sum[$1] }!
      var best = (gain: 0, from: -1, to: -1)
      for a in 0..<experts where group[a] == full {
        for b in 0..<experts where group[b] != full && loads[b] < loads[a] {
          let shift = loads[a] - loads[b]
          let gain = sum[full] - max(sum[full] - shift, sum[group[b]] + shift)
          if gain > best.gain { best = (gain, a, b) }
        }
      }
      guard best.gain > 0 else { return }
      let shift = loads[best.from] - loads[best.to]
      sum[full] -= shift
      sum[group[best.to]] += shift
      group.swapAt(best.from, best.to)
    }
  }

  /// Depth-first over items from the largest; groups in the same state are tried once.
  private struct Search {
    let sorted: [Int]
    let groups: Int
    let c: Int
    var best: Int
    let lower: Int
    var steps: Int
    var group: [Int]
    var sum: [Int]
    var size: [Int]
    var found: [Int]?

    init(sorted: [Int], groups: Int, c: Int, best: Int, lower: Int, steps: Int) {
      (self.sorted, self.groups, self.c, self.best, self.lower, self.steps) = (
        sorted, groups, c, best, lower, steps
      )
      group = [Int](repeating: -1, count: sorted.count)
      sum = [Int](repeating: 0, count: groups)
      size = sum
    }

    mutating func place(_ rank: Int) {
      guard steps > 0, best > lower else { return }
      steps -= 1
      guard rank < sorted.count else {
        best = sum.max()!
        found = group
        return
      }
      for g in (0..<groups).sorted(by: { (sum[$0], $0) < (sum[$1], $1) }) where size[g] < c {
        if sum[g] + sorted[rank] >= best { continue }
        if (0..<g).contains(where: { size[$0] == size[g] && sum[$0] == sum[g] }) { continue }
        group[rank] = g
        sum[g] += sorted[rank]
        size[g] += 1
        place(rank + 1)
        size[g] -= 1
        sum[g] -= sorted[rank]
      }
    }
  }
}

extension LoadCap {
  /// The cap in tokens for each layer, shape `[L]`.
  /// - Throws: `ModelError.cap` where a layer cannot meet it (unless `relaxedToFeasible`), with the smallest ratio that every layer can.
  package func perLayer(counts: TransitionCounts, gpus: Int) throws(ModelError) -> [Int] {
    let experts = counts.experts
    var caps = [Int]()
    var worst: (ratio: Double, layer: Int, packing: BalancedPacking, impossible: Bool)?
    for l in 0..<counts.layers {
      let loads = Array(counts.loads[(l * experts)..<((l + 1) * experts)])
      let tokens = loads.reduce(0, +)
      var cap = self.tokens(of: tokens, groups: gpus)
      let packing = BalancedPacking(loads: loads, groups: gpus)
      if packing.maximum > cap {
        let ratio = Double(packing.maximum) * Double(gpus) / Double(tokens)
        if ratio > worst?.ratio ?? 0 { worst = (ratio, l, packing, packing.lowerBound > cap) }
        cap = packing.maximum
      }
      caps.append(cap)
    }
    if let worst, !relaxedToFeasible {
      let smallest = (worst.ratio * 10_000).rounded(.up) / 10_000
      let busiest = (0..<experts).max {
        counts.load(layer: worst.layer, expert: $0) < counts.load(layer: worst.layer, expert: $1)
      }!
      let share =
        Double(counts.load(layer: worst.layer, expert: busiest)) * Double(gpus)
        / Double(counts.load(layer: worst.layer))
      throw .cap(
        "no placement on \(gpus) GPUs \(worst.impossible ? "meets" : "was found that meets") a load cap of \(ratio): layer \(worst.layer) "
          + "needs at least \(smallest) (its busiest expert, \(busiest), alone is \((share * 10_000).rounded() / 10_000) times "
          + "a GPU's share); the smallest cap that \(worst.packing.lowerBound == worst.packing.maximum ? "works" : "is known to work") in every layer is \(smallest)"
      )
    }
    return caps
  }
}
