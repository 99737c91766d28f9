import Colocate
import Testing

@Suite struct DestinationTests {
  @Test(arguments: 0..<40) func definitionCountsGroups(seed: Int) throws {
    let test = try DestinationTestLayer(seed: UInt64(seed), caps: false)
    test.forEachPlacement { labels in
      let expected = DestinationTestLayer.destinations(test.sets, labels)
      #expect(test.sets.destinations(groupOf: labels, groups: test.groups) == expected, "\(test)")
    }
    let layer = DestinationLayer(test.sets, groups: test.groups)
    test.forEachPlacement { labels in
      let expected = DestinationTestLayer.destinations(test.sets, labels)
      #expect(layer.value(labels) * layer.unit == expected, "\(test)")
    }
  }

  /// Every swap's gain, and the value after it, against the definition; with anchors, linear costs
  /// and caps.
  @Test(arguments: 0..<150) func gainsEqualTheDefinition(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed) &+ 77)
    let groups = 2 + random.next(below: 4)
    let experts = groups * (1 + random.next(below: 4))
    var entries = [DestinationLayer.Entry]()
    for _ in 0..<(5 + random.next(below: 60)) {
      var members = Set((0..<(1 + random.next(below: 5))).map { _ in random.next(below: experts) })
      if random.nextUnit() < 0.4 { members.insert(experts + random.next(below: groups)) }
      entries.append((members.sorted(), 1 + random.next(below: 9)))
    }
    let linear = seed % 3 == 0 ? (0..<(experts * groups)).map { _ in random.next(below: 50) } : []
    let loads = (0..<experts).map { _ in random.next(below: 30) }
    let layer = DestinationLayer(
      experts: experts, groups: groups, sets: entries, loads: loads,
      cap: seed % 2 == 0 ? loads.reduce(0, +) / groups : nil, linear: linear)
    var labels = (0..<experts).map { $0 % groups }
    labels.shuffle(using: &random)
    let gains = SwapGains(layer, labels)
    for _ in 0..<40 {
      let (e, f) = (random.next(below: experts), random.next(below: experts))
      guard labels[e] != labels[f] else { continue }
      let (before, excess) = (gains.value, gains.excess)
      let (change, more) = (gains.change(e, f), gains.excessChange(e, f))
      labels.swapAt(e, f)
      #expect(before + change == layer.value(labels), "seed \(seed)")
      gains.swap(e, f)
      #expect(gains.value == layer.value(labels), "seed \(seed)")
      #expect(gains.groupOf == labels, "seed \(seed)")
      let over = layer.groupLoads(labels).reduce(0) { $0 + max(0, $1 - (layer.cap ?? .max)) }
      #expect(excess + more == over && gains.excess == over, "seed \(seed)")
    }
    let fresh = SwapGains(layer, labels)
    for e in 0..<experts {
      for f in 0..<e where labels[e] != labels[f] {
        #expect(fresh.change(e, f) == gains.change(e, f), "seed \(seed): \(e) and \(f)")
      }
    }
  }

  /// The exact search against every group there is.
  @Test(arguments: 0..<300) func pricingEqualsEnumeration(seed: Int) throws {
    let test = try DestinationTestLayer(seed: UInt64(seed) &+ 5000, experts: [6, 8, 10, 12])
    let layer = DestinationLayer(test.sets, groups: test.groups, cap: test.cap)
    guard layer.size > 1 else { return }
    var random = SeededGenerator(seed: UInt64(seed))
    let scale = DestinationPricing.scale
    let pricing = DestinationPricing(layer, control: SearchControl())
    for _ in 0..<3 {
      let prices = test.sets.loads.map { load in
        Int(Double(load * scale / layer.unit) * (0.3 + random.nextUnit()))
      }
      var all = [(mask: UInt64, reduced: Int)]()
      for mask in 0..<(UInt64(1) << UInt64(test.experts))
      where mask.nonzeroBitCount == layer.size {
        let members = (0..<test.experts).filter { mask >> UInt64($0) & 1 == 1 }
        let load = members.reduce(0) { $0 + test.sets.loads[$1] }
        if load > test.cap ?? .max { continue }
        var cover = 0
        for t in 0..<layer.count where layer.masks[t] & mask != 0 { cover += layer.weights[t] }
        all.append((mask, cover * scale - members.reduce(0) { $0 + prices[$1] }))
      }
      guard let least = all.map(\.reduced).min() else { continue }
      let one = pricing.run(prices: prices, limit: least + 500, keepsAll: false)
      #expect(one.least == least && one.isComplete, "\(test)")
      let limit = least + random.next(below: 20 * scale)
      let listed = pricing.run(prices: prices, limit: limit, keepsAll: true)
      let expected = Set(all.filter { $0.reduced <= limit }.map(\.mask))
      #expect(Set(listed.columns.map(\.mask)) == expected, "\(test)")
      #expect(listed.columns.count == expected.count, "\(test)")
      for column in listed.columns {
        let cover = (0..<layer.count).reduce(0) {
          $0 + (layer.masks[$1] & column.mask != 0 ? layer.weights[$1] : 0)
        }
        #expect(column.cost == cover, "\(test)")
      }
      let cut = pricing.run(prices: prices, limit: 0, keepsAll: false, nodeLimit: 2)
      #expect(cut.least <= least || least > 0, "\(test): cut short")
    }
  }

  @Test(arguments: 0..<1200) func equalsBruteForce(seed: Int) throws {
    let test = try DestinationTestLayer(seed: UInt64(seed))
    guard let truth = test.bruteForce() else { return }
    let layer = DestinationLayer(test.sets, groups: test.groups, cap: test.cap)
    // From the worst start there is, so that the proof has something to do.
    let answer = LevelSolver(starts: seed % 2, proves: true).solve(
      layer, experts: Array(0..<test.experts), known: [worst(test)], seed: UInt64(seed),
      control: SearchControl())
    #expect(answer.value == truth.value, "\(test)")
    #expect(answer.bound == truth.value, "\(test)")
    #expect(DestinationTestLayer.destinations(test.sets, answer.groupOf) == truth.value, "\(test)")
    #expect(layer.isFeasible(answer.groupOf), "\(test)")
  }

  private func worst(_ test: DestinationTestLayer) -> [Int] {
    var found = (value: -1, labels: [Int]())
    test.forEachPlacement { labels in
      let value = DestinationTestLayer.destinations(test.sets, labels)
      if value > found.value { found = (value, labels) }
    }
    return found.labels
  }
}
