import Colocate
import TestSupport
import Testing

@Suite struct BaselineTests {
  @Test(arguments: 0..<120) func validAndWithinTheCap(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed))
    let problem = random.problem
    let counts = try TransitionCounts(
      layers: problem.layers, experts: problem.experts, weights: problem.weights,
      coactivation: problem.coactivation)
    let cap = problem.caps == nil ? nil : try LoadCap(1.15, relaxedToFeasible: true)
    let instance = try Instance(
      counts: counts, topology: Topology(gpus: problem.groups), loadCap: cap)
    for baseline in Baseline.allCases {
      do {
        let placement = try baseline.placement(for: instance)
        // Validated again from the outside.
        _ = try Placement(
          topology: instance.topology, layers: problem.layers, experts: problem.experts,
          assignment: placement.assignment)
        #expect(instance.gpuProblem.isFeasible(placement.assignment), "\(random) \(baseline)")
        #expect(try baseline.placement(for: instance) == placement, "\(random) \(baseline)")
      } catch let error as Baseline.NotApplicable {
        #expect(
          problem.groups.nonzeroBitCount != 1 && baseline == .recursiveBisection,
          "\(random) \(error)")
      }
    }
  }

  @Test(arguments: 0..<40) func greedyIsOptimalWithOneExpertPerGPU(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let experts = 2 + random.next(below: 4)
    let layers = 2 + random.next(below: 4)
    let counts = try TransitionCounts(
      layers: layers, experts: experts,
      weights: (0..<((layers - 1) * experts * experts)).map { _ in random.next(below: 9) })
    let instance = try Instance(counts: counts, topology: Topology(gpus: experts))
    let optimum = try #require(instance.gpuProblem.bruteForce())
    for baseline in [Baseline.greedyForwards, .greedyBackwards, .greedyOutwards] {
      let placement = try baseline.placement(for: instance)
      #expect(instance.gpuProblem.kept(placement.assignment) == optimum.kept, "seed \(seed)")
    }
  }

  @Test func heaviestPairsShareAGPU() throws {
    // Two clear chains of pairs: expert 0 → 2 → 1, expert 3 → 0 → 3.
    var weights = [Int](repeating: 1, count: 2 * 16)
    weights[0 * 16 + 0 * 4 + 2] = 100
    weights[1 * 16 + 2 * 4 + 1] = 90
    weights[0 * 16 + 3 * 4 + 0] = 80
    weights[1 * 16 + 0 * 4 + 3] = 70
    let counts = try TransitionCounts(layers: 3, experts: 4, weights: weights)
    let instance = try Instance(counts: counts, topology: Topology(gpus: 2))
    let placement = try Baseline.heaviestPair.placement(for: instance)
    #expect(
      placement[layer: 0, expert: 0] == placement[layer: 1, expert: 2]
        && placement[layer: 1, expert: 2] == placement[layer: 2, expert: 1])
    #expect(
      placement[layer: 0, expert: 3] == placement[layer: 1, expert: 0]
        && placement[layer: 1, expert: 0] == placement[layer: 2, expert: 3])
  }
}
