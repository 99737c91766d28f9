import Colocate
import TestSupport
import Testing

@Suite struct ModelTests {
  @Test func topologyNamesTheSizesThatWork() throws {
    let topology = try Topology(gpus: 8, nodes: 2)
    #expect(topology.gpusPerNode == 4 && topology.node(of: 3) == 0 && topology.node(of: 4) == 1)
    #expect(try topology.expertsPerGPU(experts: 32) == 4)
    let error = #expect(throws: ModelError.self) { try topology.expertsPerGPU(experts: 12) }
    #expect("\(error!)".contains("1, 2, 3, 4, 6, 12"))
    #expect(throws: ModelError.self) { try Topology(gpus: 8, nodes: 3) }
    #expect(throws: ModelError.self) { try Topology(gpus: 0) }
  }

  @Test func loadCapIsExact() throws {
    #expect(try LoadCap(1.15).tokens(of: 100, groups: 1) == 115)
    #expect(try LoadCap(1.2).tokens(of: 129_960, groups: 4) == 38_988)
    #expect(try LoadCap(2).tokens(of: 7, groups: 2) == 7)
    #expect(throws: ModelError.self) { try LoadCap(0.9) }
    #expect(throws: ModelError.self) { try LoadCap(.nan) }
  }

  /// Loads and co-activations that are fine one by one and too large together are refused, not
  /// overflowed.
  @Test func sumsThatOverflowAreRefused() {
    let zeros = [Int](repeating: 0, count: 300 * 300)
    #expect(throws: ModelError.self) {
      try TransitionCounts(
        layers: 2, experts: 300, weights: zeros,
        loads: [Int](repeating: Int.max >> 16, count: 600))
    }
    var together = [Int](repeating: Int.max >> 24, count: 2 * 300 * 300)
    for l in 0..<2 { for e in 0..<300 { together[(l * 300 + e) * 300 + e] = 0 } }
    #expect(throws: ModelError.self) {
      try TransitionCounts(layers: 2, experts: 300, weights: zeros, coactivation: together)
    }
    #expect(throws: ModelError.self) { try LoadCap(numerator: 1_000_000_000_000, denominator: 1) }
  }

  @Test func impossibleCapNamesTheSmallestPossibleOne() throws {
    // One expert has 7 of 10 tokens: on 2 GPUs no cap below 1.4 can be met.
    let counts = try TransitionCounts(
      layers: 2, experts: 4, weights: [7, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])
    let topology = try Topology(gpus: 2)
    let error = #expect(throws: ModelError.self) {
      try Instance(counts: counts, topology: topology, loadCap: LoadCap(1.2))
    }
    #expect("\(error!)".contains("1.6"), "\(error!)")
    let relaxed = try Instance(
      counts: counts, topology: topology, loadCap: LoadCap(1.2, relaxedToFeasible: true))
    #expect(relaxed.capPerLayer == [8, 8])
  }

  @Test(arguments: 0..<60) func packingIsOptimalOnSmallLayers(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let groups = 1 + random.next(below: 3)
    let size = 1 + random.next(below: 3)
    let loads = (0..<(groups * size)).map { _ in random.next(below: 30) }
    let packing = BalancedPacking(loads: loads, groups: groups)
    var best = Int.max
    func assign(_ item: Int, _ sums: [Int], _ sizes: [Int]) {
      if item == loads.count { best = min(best, sums.max()!) }
      for g in 0..<groups where item < loads.count && sizes[g] < size {
        var (sums, sizes) = (sums, sizes)
        sums[g] += loads[item]
        sizes[g] += 1
        assign(item + 1, sums, sizes)
      }
    }
    assign(0, [Int](repeating: 0, count: groups), [Int](repeating: 0, count: groups))
    #expect(packing.maximum == best, "seed \(seed)")
    #expect(packing.lowerBound == best, "seed \(seed)")
  }

  @Test(arguments: 0..<40) func keptIsTotalMinusCrossings(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed))
    let problem = random.problem
    let counts = try TransitionCounts(
      layers: problem.layers, experts: problem.experts, weights: problem.weights,
      coactivation: problem.coactivation)
    let optimum = try #require(problem.bruteForce(), "\(random)")
    #expect(problem.isFeasible(optimum.labels), "\(random)")
    #expect(problem.kept(optimum.labels) == optimum.kept, "\(random)")
    let placement = try Placement(
      topology: Topology(gpus: problem.groups), layers: problem.layers, experts: problem.experts,
      assignment: optimum.labels)
    let crossings = try counts.crossings(of: placement)
    #expect(crossings.gpu == problem.total - optimum.kept, "\(random)")
    #expect(crossings.total == problem.total)
    let canonical = placement.canonical()
    #expect(try counts.crossings(of: canonical) == crossings)
    #expect(canonical.canonical() == canonical)
  }
}
