import Colocate
import Testing

/// The exact search over groups too large for `DestinationTests`, and the linear program beneath
/// it.
@Suite struct DestinationPricingTests {
  /// Sets that live in a few clusters, as routes do, so that bounds have something to find.
  private func layer(
    experts: Int, groups: Int, most: Int, isCapped: Bool, _ random: inout SeededGenerator
  ) -> DestinationLayer {
    let size = experts / groups
    var entries = [DestinationLayer.Entry]()
    for _ in 0..<(40 + random.next(below: 200)) {
      var members = Set<Int>()
      let home = random.next(below: groups)
      for _ in 0..<(2 + random.next(below: most - 1)) {
        let isHome = random.nextUnit() < 0.7
        members.insert(
          isHome ? home * size + random.next(below: size) : random.next(below: experts))
      }
      entries.append((members.sorted(), 1 + random.next(below: 20)))
    }
    var loads = [Int](repeating: 0, count: experts)
    for entry in entries { for e in entry.members { loads[e] += entry.weight } }
    let cap = isCapped ? loads.reduce(0, +) * 11 / (10 * groups) : nil
    return DestinationLayer(
      experts: experts, groups: groups, sets: entries, loads: loads, cap: cap)
  }

  /// Each expert gets a part of the tokens of each of its sets, by chance: prices of the size that
  /// a linear program gives.
  private func prices(_ layer: DestinationLayer, _ random: inout SeededGenerator) -> [Int] {
    var share = [Double](repeating: 0, count: layer.experts)
    for t in 0..<layer.count {
      for e in ExpertSet(bits: layer.masks[t]) {
        share[e] += Double(layer.weights[t]) * (0.3 + 0.6 * random.nextUnit())
      }
    }
    return share.map { Int($0 * Double(DestinationPricing.scale)) }
  }

  private func reduced(_ mask: UInt64, _ prices: [Int], _ layer: DestinationLayer) -> Int {
    var sum = 0
    for t in 0..<layer.count where layer.masks[t] & mask != 0 { sum += layer.weights[t] }
    sum *= DestinationPricing.scale
    for e in 0..<layer.experts where mask >> UInt64(e) & 1 == 1 { sum -= prices[e] }
    return sum
  }

  private func isWithinCap(_ mask: UInt64, _ layer: DestinationLayer) -> Bool {
    var load = 0
    for e in 0..<layer.experts where mask >> UInt64(e) & 1 == 1 { load += layer.loads[e] }
    return load <= layer.cap ?? .max
  }

  @Test(arguments: 0..<40) func groupsOfManyEqualEnumeration(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed) &+ 9100)
    let (experts, groups) = [(16, 2), (18, 3), (15, 3), (18, 2), (20, 4)][seed % 5]
    let layer = layer(
      experts: experts, groups: groups, most: 2 + seed % 8, isCapped: seed % 3 == 0, &random)
    let pricing = DestinationPricing(layer, control: SearchControl())
    for _ in 0..<2 {
      let prices = prices(layer, &random)
      var all = [(mask: UInt64, reduced: Int)]()
      for mask in 0..<(UInt64(1) << UInt64(experts))
      where mask.nonzeroBitCount == layer.size && isWithinCap(mask, layer) {
        all.append((mask, reduced(mask, prices, layer)))
      }
      guard let least = all.map(\.reduced).min() else { continue }
      let one = pricing.run(prices: prices, limit: least + 700, keepsAll: false)
      #expect(one.least == least && one.isComplete, "seed \(seed)")
      let limit = least + 40 * DestinationPricing.scale
      let listed = pricing.run(prices: prices, limit: limit, keepsAll: true)
      #expect(
        listed.columns.map(\.mask).sorted()
          == all.filter { $0.reduced <= limit }.map(\.mask).sorted(), "seed \(seed)")
    }
  }

  /// Of 40 to 64 experts not every group can be looked at: those that chance and swaps find must
  /// all be in the list, and none below its least.
  @Test(arguments: 0..<12) func nothingThatSwapsFindIsMissed(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed) &+ 9300)
    let (experts, groups) = [(40, 4), (60, 10), (64, 8), (48, 6)][seed % 4]
    let layer = layer(
      experts: experts, groups: groups, most: 2 + seed % 7, isCapped: seed % 3 == 0, &random)
    let pricing = DestinationPricing(layer, control: SearchControl())
    let prices = prices(layer, &random)
    let descent = ColumnDescent(layer)
    var ends = [UInt64: Int]()
    for _ in 0..<300 {
      var order = Array(0..<experts)
      order.shuffle(using: &random)
      let mask = order.prefix(layer.size).reduce(UInt64(0)) { $0 | 1 << UInt64($1) }
      guard isWithinCap(mask, layer) else { continue }
      let end = descent.descend(from: mask, prices: prices).mask
      ends[end] = reduced(end, prices, layer)
    }
    let best = try #require(ends.values.min(), "seed \(seed): no group within the cap")
    let limit = best + 3 * DestinationPricing.scale
    let listed = pricing.run(prices: prices, limit: limit, keepsAll: true, nodeLimit: 400_000)
    #expect(listed.isComplete, "seed \(seed)")
    let masks = Set(listed.columns.map(\.mask))
    for (mask, value) in ends where value <= limit {
      #expect(masks.contains(mask), "seed \(seed)")
    }
  }

  /// More tokens than whole numbers in doubles have room for: the bound of pairs stands alone, and
  /// holds.
  @Test func layersWithoutRoomKeepABound() throws {
    var random = SeededGenerator(seed: 9700)
    let small = layer(experts: 9, groups: 3, most: 4, isCapped: false, &random)
    let entries = (0..<small.count).map { t in
      (Array(ExpertSet(bits: small.masks[t])), small.weights[t] * 1_000_000_000 + t)
    }
    let layer = DestinationLayer(
      experts: 9, groups: 3, sets: entries, loads: [Int](repeating: 1, count: 9))
    #expect(DestinationPricing.takes(small) && !DestinationPricing.takes(layer))
    let answer = LevelSolver(starts: 4, proves: true).solve(
      layer, experts: Array(0..<9), known: [(0..<9).map { $0 / 3 }], seed: 1,
      control: SearchControl())
    var least = Int.max
    for code in 0..<19683 {
      var (labels, rest) = ([Int](), code)
      for _ in 0..<9 {
        labels.append(rest % 3)
        rest /= 3
      }
      if layer.isFeasible(labels) { least = min(least, layer.value(labels)) }
    }
    #expect(answer.value == least * layer.unit)
    #expect(answer.bound <= answer.value && answer.bound > 0)
    #expect(answer.prices == nil)
  }

  private func inUse(_ program: ColumnProgram, _ cut: UInt64) -> Double {
    var sum = 0.0
    for (column, value) in program.solution where (column.mask & cut).nonzeroBitCount >= 2 {
      sum += value
    }
    return sum
  }

  /// Cuts one round after the other, to the optimum each time: prices that no column beats, and a
  /// solution that obeys every cut. Costs that are equal by the hundred once sent the dual simplex
  /// round in circles.
  @Test(arguments: 0..<20) func cutsAreTakenInToTheOptimum(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed) &+ 9500)
    let experts = 24
    let layer = layer(experts: experts, groups: 6, most: 4, isCapped: false, &random)
    let program = ColumnProgram(layer, control: SearchControl())
    var masks = Set((0..<6).map { UInt64(0b1111) << UInt64(4 * $0) })
    while masks.count < 1500 {
      var mask: UInt64 = 0
      while mask.nonzeroBitCount < 4 { mask |= 1 << UInt64(random.next(below: experts)) }
      masks.insert(mask)
    }
    let costs = masks.sorted().map { ($0, 100 + 10 * random.next(below: 3)) }
    for (mask, cost) in costs { program.add(DestinationPricing.Column(mask: mask, cost: cost)) }
    var last = 0.0
    for round in 0..<6 {
      #expect(program.solve(), "seed \(seed), round \(round)")
      for (mask, cost) in costs {
        var sum = Double(cost)
        for e in 0..<experts where mask >> UInt64(e) & 1 == 1 { sum -= program.prices[e] }
        for (k, cut) in program.cuts.enumerated() where (cut & mask).nonzeroBitCount >= 2 {
          sum -= program.prices[experts + k]
        }
        #expect(sum > -0.01, "seed \(seed), round \(round)")
      }
      for cut in program.cuts {
        #expect(inUse(program, cut) < 1.001, "seed \(seed), round \(round)")
      }
      #expect(program.value > last - 0.01, "seed \(seed), round \(round)")
      last = program.value
      let known = Set(program.cuts)
      var added = 0
      for a in 2..<experts {
        for b in 1..<a {
          for c in 0..<b where added < 25 {
            let cut: UInt64 = [a, b, c].reduce(0) { $0 | 1 << UInt64($1) }
            let sum = inUse(program, cut)
            if sum > 1.02, !known.contains(cut) {
              program.add(cut: cut)
              added += 1
            }
          }
        }
      }
    }
    #expect(last > 600 - 0.1, "seed \(seed): six groups of at least 100")
  }
}
