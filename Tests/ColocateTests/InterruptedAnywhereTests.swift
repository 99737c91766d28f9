import Colocate
import Synchronization
import TestSupport
import Testing

/// Every method, stopped at its n-th look at the clock, for many n: what it leaves is valid, what
/// it claims is true. No wall clock takes part, so a failure can be repeated.
@Suite struct InterruptedAnywhereTests {
  /// Says stop from the `looks`-th look on.
  private static func control(looks: Int, threads: Int) -> SearchControl {
    let counter = Counter()
    return SearchControl(threads: threads, cancelledWhen: { counter.next() > looks })
  }

  private final class Counter: Sendable {
    private let looks = Atomic(0)
    func next() -> Int { looks.wrappingAdd(1, ordering: .relaxed).newValue }
  }

  private static let looks = [
    0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 10_000, 1_000_000,
  ]

  @Test(arguments: 0..<4) func groupingSearch(block: Int) {
    var (stopped, proved) = (0, 0)
    for seed in 0..<6 {
      let random = RandomProblem(
        seed: UInt64(block * 6 + seed) + 800_000, experts: [6, 8, 9], maxLayers: 6)
      let problem = random.problem
      guard problem.groups >= 2, let optimum = problem.bruteForce() else { continue }
      for (index, looks) in Self.looks.enumerated() {
        var options = GroupingSearch.Options()
        options.known = watched(problem, optimum.labels)
        options.keepsProof = true
        // By turns: prices and dolls, a tree, a restricted master.
        if index % 3 == 1 { (options.rootStates, options.treeNodeStates) = (2, 2) }
        if index % 3 == 2 {
          options.subsetLimit = 1
          options.partitions = { _ in [(0..<problem.experts).map { $0 / problem.groupSize }] }
          (options.generation.most, options.generation.fresh) = (8, 3)
        }
        let incumbent = Incumbent()
        let control = Self.control(looks: looks, threads: 1 + seed % 2)
        let result = GroupingSearch(problem: problem, options: options).run(
          incumbent: incumbent, control: control)
        if let entry = incumbent.entry {
          #expect(problem.isFeasible(entry.labels), "\(random) \(looks)")
          #expect(problem.kept(entry.labels) == entry.kept, "\(random) \(looks)")
        }
        guard let result else { continue }
        #expect(result.keptBound >= optimum.kept, "\(random) \(looks) looks")
        if case .proved = result.stop {
          #expect(incumbent.kept == optimum.kept && result.proof != nil, "\(random) \(looks)")
          proved += 1
        } else {
          #expect(result.proof == nil, "\(random) \(looks)")
          stopped += 1
        }
      }
    }
    #expect(stopped > 10 && proved > 3)
  }

  @Test(arguments: 0..<12) func colocation(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed) + 810_000, experts: [6, 8], maxLayers: 4)
    guard random.problem.groups >= 2, let optimum = random.problem.bruteForce() else { return }
    for looks in Self.looks {
      let relaxation = ColocationRelaxation(
        problem: random.problem, control: Self.control(looks: looks, threads: 1 + seed % 2))
      relaxation.parameters.maxIterations = 60
      relaxation.run()
      #expect(relaxation.keptBound >= optimum.kept, "\(random) \(looks) looks")
      if let multipliers = relaxation.multipliers {
        #expect(
          multipliers.keptBound(for: random.problem, control: SearchControl())
            == relaxation.keptBound, "\(random) \(looks) looks")
      }
    }
  }

  @Test(arguments: 0..<12) func localSearch(seed: Int) {
    let random = RandomProblem(seed: UInt64(seed) + 820_000, experts: [6, 8, 9], maxLayers: 6)
    let problem = random.problem
    for looks in Self.looks {
      let incumbent = Incumbent()
      let search = LocalSearch(
        problem: problem, seed: 1, control: Self.control(looks: looks, threads: 1 + seed % 2),
        incumbent: incumbent, pool: PartitionPool(problem: problem))
      search.run(rounds: 3)
      guard let entry = incumbent.entry else { continue }
      #expect(problem.isFeasible(entry.labels), "\(random) \(looks) looks")
      #expect(problem.kept(entry.labels) == entry.kept, "\(random) \(looks) looks")
    }
  }

  @Test(arguments: 0..<20) func chainsAndBaselines(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed) + 830_000, experts: [4, 6, 8], maxLayers: 6)
    let problem = random.problem
    let instance = try Instance(
      counts: TransitionCounts(
        layers: problem.layers, experts: problem.experts, weights: problem.weights,
        coactivation: problem.coactivation),
      topology: Topology(gpus: problem.groups),
      loadCap: problem.caps == nil ? nil : LoadCap(1.1, relaxedToFeasible: true))
    let optimum = problem.bruteForce()
    for looks in Self.looks.prefix(10) {
      if let program = ChainProgram(problem),
        let answer = program.solve(control: Self.control(looks: looks, threads: 2))
      {
        #expect(answer.kept == optimum?.kept, "\(random) \(looks) looks")
      }
      for baseline in Baseline.allCases {
        let control = Self.control(looks: looks, threads: 1)
        guard let placement = try? baseline.placement(for: instance, control: control) else {
          continue
        }
        #expect(
          instance.gpuProblem.isFeasible(placement.assignment), "\(random) \(baseline) \(looks)")
      }
    }
  }
}
