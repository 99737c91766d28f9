import Colocate
import Testing

@Suite struct DestinationRivalTests {
  @Test(arguments: 0..<30) func everyRivalAnswersWithEqualGroups(seed: Int) throws {
    let sets = try DestinationSolverTests.sets(seed: UInt64(seed), layers: 2, experts: 12)
    let topology = try Topology(gpus: [2, 3, 4, 6, 12][seed % 5])
    for rival in DestinationRival.allCases {
      let placement = try #require(try rival.placement(sets, topology: topology))
      for l in 0..<2 {
        var held = [Int](repeating: 0, count: topology.gpus)
        for e in 0..<12 { held[placement[layer: l, expert: e]] += 1 }
        #expect(held.allSatisfy { $0 == 12 / topology.gpus }, "\(rival), seed \(seed)")
      }
      #expect(try rival.placement(sets, topology: topology, threads: 3) == placement, "\(rival)")
      #expect(try rival.placement(sets, topology: topology, isStopped: { true }) == nil)
    }
    #expect(throws: ModelError.self) {
      try DestinationRival.eplb.placement(sets, topology: Topology(gpus: 5))
    }
  }

  /// By hand, as the generator does it: loads 9, 8, 7, 6, 5, 4, 3, 2 on 2 GPUs; the mean is 22, α
  /// of it 17.6, α of 4 slots 3.2.
  @Test func cooccurrenceByHand() throws {
    // Pairs: 0 with 5 four times, 1 with 2 seven times; the rest alone.
    let lists = [[0, 5], [1, 2], [0], [1], [3], [4], [6], [7]]
    let layer = try TokenSets.Layer(
      experts: 8, sets: lists, multiplicities: [4, 7, 5, 1, 6, 5, 3, 2])
    #expect(layer.loads == [9, 8, 7, 6, 5, 4, 3, 2])
    let sets = try TokenSets(experts: 8, layers: [layer])
    let placement = try #require(
      try DestinationRival.cooccurrence.placement(sets, topology: Topology(gpus: 2)))
    // GPU 0: 0 (9), then 5 (13), then the first of those that occur with neither, 1: 21 > 17.6.
    // GPU 1: 1 (8), then 2 (15), then 3: 21 > 17.6. Then 3 to GPU 0 (13 < 15): 19; 4 to GPU 1: 20;
    // 6 to GPU 0: 22, which is full; 7 to GPU 1.
    #expect(placement.assignment == [0, 1, 1, 0, 1, 0, 0, 1])
  }

  @Test func eplbPacksAsTheCrossingsBaselineDoes() throws {
    for seed in 0..<20 {
      let sets = try DestinationSolverTests.sets(seed: UInt64(seed), layers: 2, experts: 12)
      let counts = try TransitionCounts(
        layers: 2, experts: 12, weights: [Int](repeating: 1, count: 144),
        loads: sets.layerSets.flatMap(\.loads))
      let topology = try Topology(gpus: 4)
      let known = try Baseline.loadPacking.plainPlacement(
        for: try Instance(counts: counts, topology: topology))
      let found = try DestinationRival.eplb.placement(sets, topology: topology)
      #expect(found == known, "seed \(seed)")
    }
  }

  /// Groups that tokens never mix are found by whoever looks at pairs.
  @Test func clearGroupsAreFound() throws {
    let groups = [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    var random = SeededGenerator(seed: 3)
    let lists = (0..<300).map { _ in
      groups[random.next(below: 3)].shuffled(using: &random).prefix(3).map { $0 }
    }
    let sets = try TokenSets(
      experts: 12, layers: [try TokenSets.Layer(experts: 12, sets: lists)])
    for rival in [DestinationRival.spectral, .greedyPairs] {
      let placement = try #require(try rival.placement(sets, topology: Topology(gpus: 3)))
      #expect(try sets.destinations(of: placement).gpusPerToken == 1, "\(rival)")
    }
  }

  @Test(arguments: 0..<20) func repairMeetsTheCap(seed: Int) throws {
    let sets = try DestinationSolverTests.sets(seed: UInt64(seed), layers: 3, experts: 12)
    let topology = try Topology(gpus: 3)
    let cap = try LoadCap(1.5)
    let start = try #require(try DestinationRival.contiguous.placement(sets, topology: topology))
    guard let repaired = try sets.repaired(start, loadCap: cap) else { return }
    let loads = try sets.gpuLoads(of: repaired)
    for l in 0..<3 {
      let most = cap.tokens(of: sets.layerSets[l].loads.reduce(0, +), groups: 3)
      #expect(loads[(l * 3)..<(l * 3 + 3)].allSatisfy { $0 <= most }, "seed \(seed)")
    }
  }
}
