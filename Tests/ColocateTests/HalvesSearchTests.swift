import Colocate
import Testing

/// Two groups, looked at half by half.
@Suite struct HalvesSearchTests {
  /// A small layer on two groups.
  private static func test(_ seed: Int) throws -> DestinationTestLayer {
    try DestinationTestLayer(
      seed: UInt64(seed) &+ 700_000, experts: [2, 4, 6, 8, 10, 12], groups: 2)
  }

  /// From any start, also a bad one, to the optimum; the bound is the value.
  @Test func findsAndProvesTheOptimum() throws {
    var better = 0
    for seed in 0..<1_000 {
      let test = try Self.test(seed)
      guard let truth = test.bruteForce() else { continue }
      let layer = DestinationLayer(test.sets, groups: 2, cap: test.cap)
      #expect(HalvesSearch.takes(layer))
      var halves = HalvesSearch(layer, control: SearchControl())
      let optimum = truth.value / layer.unit
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
    for seed in 0..<200 {
      let test = try Self.test(seed)
      guard let truth = test.bruteForce() else { continue }
      let layer = DestinationLayer(test.sets, groups: 2, cap: test.cap)
      var halves = HalvesSearch(layer, control: SearchControl())
      let found = halves.run(below: truth.value / layer.unit - 1)
      #expect(found.groupOf == nil && found.bound == truth.value / layer.unit - 1, "\(test)")
    }
  }

  /// Stopped after any number of choices, what it says is still true.
  @Test func isTrueWhereverItStops() throws {
    var short = 0
    for seed in 0..<100 {
      let test = try Self.test(seed)
      guard let truth = test.bruteForce() else { continue }
      let layer = DestinationLayer(test.sets, groups: 2, cap: test.cap)
      for work in [1, 3, 10, 40, 200] {
        let control = SearchControl(timeLimit: nil, workLimit: work)
        var halves = HalvesSearch(layer, control: control)
        let found = halves.run(below: 2 * layer.total + layer.constant + 1)
        let optimum = truth.value / layer.unit
        #expect(found.bound <= optimum, "\(test), work \(work)")
        short += found.bound < optimum ? 1 : 0
        if let groupOf = found.groupOf {
          #expect(layer.isFeasible(groupOf) && layer.value(groupOf) >= optimum, "\(test)")
        }
      }
    }
    #expect(short > 0, "no search was stopped before its end")
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
