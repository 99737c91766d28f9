import Colocate
import ColocateCertificate
import Testing

/// Two groups, looked at half by half.
@Suite struct HalvesSearchTests {
  /// A small layer on two groups.
  private static func test(_ seed: Int) throws -> DestinationTestLayer {
    try DestinationTestLayer(
      seed: UInt64(seed) &+ 700_000, experts: [2, 4, 6, 8, 10, 12], groups: 2)
  }

  /// The small layers that have a placement within the cap, and the optimum in their units.
  private static func forEach(
    _ seeds: Range<Int>, _ body: (Int, DestinationTestLayer, DestinationLayer, Int) throws -> Void
  ) throws {
    for seed in seeds {
      let test = try Self.test(seed)
      guard let truth = test.bruteForce() else { continue }
      let layer = DestinationLayer(test.sets, groups: 2, cap: test.cap)
      try body(seed, test, layer, truth.value / layer.unit)
    }
  }

  /// From any start, also a bad one, to the optimum; the bound is the value.
  @Test func findsAndProvesTheOptimum() throws {
    var better = 0
    try Self.forEach(0..<1_000) { seed, test, layer, optimum in
      #expect(HalvesSearch.takes(layer))
      var halves = HalvesSearch(layer, control: SearchControl())
      let same = halves.run(below: optimum)
      #expect(same.groupOf == nil && same.bound == optimum, "\(test)")
      var again = HalvesSearch(layer, control: SearchControl())
      let found = again.run(below: optimum + 1 + seed % 7)
      #expect(found.bound == optimum, "\(test)")
      let groupOf = try #require(found.groupOf, "\(test)")
      #expect(layer.isFeasible(groupOf) && layer.value(groupOf) == optimum, "\(test)")
      better += 1
    }
    #expect(better > 700, "only \(better) layers had a placement within the cap")
  }

  /// Where no placement is better than a number that none reaches, the bound is that number.
  @Test func boundsWhatIsAskedAlone() throws {
    try Self.forEach(0..<200) { _, test, layer, optimum in
      var halves = HalvesSearch(layer, control: SearchControl())
      let found = halves.run(below: optimum - 1)
      #expect(found.groupOf == nil && found.bound == optimum - 1, "\(test)")
    }
  }

  /// Stopped after any number of choices, what it says is still true.
  @Test func isTrueWhereverItStops() throws {
    var short = 0
    try Self.forEach(0..<100) { _, test, layer, optimum in
      for work in [1, 3, 10, 40, 200] {
        let control = SearchControl(timeLimit: nil, workLimit: work)
        var halves = HalvesSearch(layer, control: control)
        let found = halves.run(below: 2 * layer.total + layer.constant + 1)
        #expect(found.bound <= optimum, "\(test), work \(work)")
        short += found.bound < optimum ? 1 : 0
        if let groupOf = found.groupOf {
          #expect(layer.isFeasible(groupOf) && layer.value(groupOf) >= optimum, "\(test)")
        }
      }
    }
    #expect(short > 0, "no search was stopped before its end")
  }

  /// The largest layers that it takes, too large to list: the checker, which shares no code with
  /// it, accepts the bound of a placement that is there and refuses one more.
  @Test(arguments: [20, 32], [nil, 1.1]) func largestLayers(experts: Int, cap: Double?) throws {
    var random = SeededGenerator(seed: UInt64(experts))
    // Tokens keep to one of two halves, most of the time.
    let side = (0..<experts).map { $0 % 2 }.shuffled(using: &random)
    let halves = [0, 1].map { half in side.indices.filter { side[$0] == half } }
    let sets = (0..<600).map { _ in
      let own = halves[random.next(below: 2)]
      return (0..<4).map { _ in
        random.next(below: 8) == 0
          ? random.next(below: experts) : own[random.next(below: own.count)]
      }
    }
    let tokens = try TokenSets.Layer(
      experts: experts, sets: sets, multiplicities: sets.map { _ in 1 + random.next(below: 5) })
    let most = cap.map { Int($0 * Double(tokens.loads.reduce(0, +)) / 2) }
    let layer = DestinationLayer(tokens, groups: 2, cap: most)
    var search = HalvesSearch(layer, control: SearchControl())
    let found = search.run(below: layer.value((0..<experts).map { $0 * 2 / experts }))
    let groupOf = try #require(found.groupOf)
    #expect(layer.isFeasible(groupOf) && layer.value(groupOf) == found.bound)
    #expect(cap != nil || found.bound <= layer.value(side))
    for more in [0, 1] {
      let evidence = DestinationEvidence(
        experts: Array(0..<experts), groups: 2, cap: most, prices: [], unit: layer.unit,
        bound: (found.bound + more) * layer.unit)
      let isAccepted = (try? evidence.check(tokens, effort: CertificateEffort())) != nil
      #expect(isAccepted == (more == 0))
    }
  }

  /// Sums over subsets, against their definition.
  @Test(arguments: 0..<8) func sumsOverSubsets(bits: Int) {
    var random = SeededGenerator(seed: UInt64(bits))
    var sums = SubsetSums(bits: bits)
    for _ in 0..<2 {
      sums.clear()
      var numbers = [Int32](repeating: 0, count: 1 << bits)
      for _ in 0..<(3 << bits) {
        let (subset, number) = (random.next(below: 1 << bits), Int32(random.next(below: 100)))
        numbers[subset] += number
        sums.add(number, to: subset)
      }
      sums.transform()
      for subset in numbers.indices {
        let expected = numbers.indices.filter { $0 & ~subset == 0 }
          .reduce(Int32(0)) { $0 + numbers[$1] }
        #expect(sums[subset] == expected, "subset \(subset) of \(bits)")
      }
    }
  }

  @Test func leavesOthersAlone() throws {
    func takes(_ experts: Int, groups: Int, weight: Int = 1) throws -> Bool {
      let sets = try TokenSets.Layer(
        experts: experts, sets: [[0, 1], [0, 2]], multiplicities: [1, weight])
      return HalvesSearch.takes(DestinationLayer(sets, groups: groups))
    }
    #expect(try takes(32, groups: 2) && takes(4, groups: 2))
    #expect(try !takes(34, groups: 2) && !takes(32, groups: 4))
    #expect(try !takes(8, groups: 2, weight: 1 << 32))
    let linear = DestinationLayer(
      experts: 4, groups: 2, sets: [([0, 1], 3)], loads: [3, 3, 0, 0],
      linear: [Int](repeating: 1, count: 8))
    let anchored = DestinationLayer(
      experts: 4, groups: 2, sets: [([0, 1, 4], 3)], loads: [3, 3, 0, 0])
    #expect(!HalvesSearch.takes(linear) && !HalvesSearch.takes(anchored))
  }
}
