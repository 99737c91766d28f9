import Colocate
import TestSupport
import Testing

@Suite struct SolverTests {
  private func instance(
    _ random: RandomProblem, nodes: Int = 1, objective: Objective = .flat
  ) throws -> Instance {
    let problem = random.problem
    let counts = try TransitionCounts(
      layers: problem.layers, experts: problem.experts, weights: problem.weights,
      coactivation: problem.coactivation)
    return try Instance(
      counts: counts, topology: Topology(gpus: problem.groups, nodes: nodes),
      objective: objective,
      loadCap: problem.caps == nil ? nil : LoadCap(1.2, relaxedToFeasible: true))
  }

  /// The README's example, word for word but for the sizes of its weights and its time.
  @Test func theReadmesExampleHolds() throws {
    var random = SeededGenerator(seed: 1)
    let weights = (0..<(23 * 32 * 32)).map { _ in random.next(below: 100) }
    let counts = try TransitionCounts(layers: 24, experts: 32, weights: weights)
    let instance = try Instance(
      counts: counts, topology: Topology(gpus: 8, nodes: 2), loadCap: LoadCap(1.3))
    var options = SolverOptions()
    options.timeLimit = 0.5
    let outcome = try Solver(options).solve(instance) { progress in .proceed }
    let placement = try #require(outcome.placement)
    #expect(outcome.status == .feasible && (0..<8).contains(placement[layer: 3, expert: 17]))
    if let gap = outcome.gap { #expect(gap > 0 && gap <= 1) }
  }

  private var options: SolverOptions {
    var options = SolverOptions()
    options.timeLimit = 20
    return options
  }

  @Test(arguments: 0..<60) func flatEqualsBruteForce(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed) + 100_000)
    let instance = try instance(random)
    let outcome = try Solver(options).solve(instance)
    let optimum = try #require(instance.gpuProblem.bruteForce(), "\(random)")
    #expect(outcome.status == .optimal && outcome.stopReason == .proved, "\(random)")
    #expect(outcome.value == instance.gpuProblem.total - optimum.kept, "\(random)")
    #expect(outcome.bound == outcome.value && outcome.gap == 0, "\(random)")
    let placement = try #require(outcome.placement)
    #expect(try instance.counts.crossings(of: placement) == outcome.crossings)
    #expect(instance.gpuProblem.isFeasible(placement.assignment), "\(random)")
  }

  /// Stage 1 is the optimum for nodes; with it given, each inside is an optimum of its own.
  @Test(arguments: 0..<25) func stagedSolvesEachStage(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed) + 200_000, experts: [4, 8], caps: false)
    guard random.problem.groups == 4 else { return }
    let instance = try instance(random, nodes: 2, objective: .staged)
    let outcome = try Solver(options).solve(instance)
    #expect(outcome.status == .optimal, "\(random)")
    let crossings = try #require(outcome.crossings)
    let nodeOptimum = try #require(instance.nodeProblem.bruteForce())
    #expect(crossings.node == instance.nodeProblem.total - nodeOptimum.kept, "\(random)")
    let placement = try #require(outcome.placement)
    var inside = 0
    for node in 0..<2 {
      let members = (0..<placement.layers).map { l in
        (0..<placement.experts).filter {
          placement.topology.node(of: placement[layer: l, expert: $0]) == node
        }
      }
      let problem = instance.nodeProblem.restricted(to: members, groups: 2, caps: nil)
      inside += problem.total - (try #require(problem.bruteForce())).kept
    }
    #expect(crossings.gpu == crossings.node + inside, "\(random)")
    let joint = try #require(outcome.joint)
    #expect(try #require(joint.bound) <= joint.value, "\(random)")
    // No single number bounds what two steps leave.
    #expect(outcome.bound == nil && outcome.gap == nil, "\(random)")
  }

  /// The joint bound holds for the best labelled placement of all, found by trying every one.
  @Test(arguments: 0..<25) func jointBoundHolds(seed: Int) throws {
    let random = RandomProblem(
      seed: UInt64(seed) + 300_000, experts: [4], maxLayers: 3, caps: false)
    guard random.problem.groups == 4 else { return }
    let objective = Objective.joint(interNode: 5, intraNode: 2)
    let instance = try instance(random, nodes: 2, objective: objective)
    var options = options
    options.timeLimit = 0.5
    let outcome = try Solver(options).solve(instance)
    var permutations = [[Int]]()
    func permute(_ prefix: [Int]) {
      if prefix.count == 4 { permutations.append(prefix) }
      for g in 0..<4 where !prefix.contains(g) { permute(prefix + [g]) }
    }
    permute([])
    var best = Int.max
    func choose(_ chosen: [Int]) throws {
      if chosen.count == instance.counts.layers * 4 {
        let placement = try Placement(
          topology: instance.topology, layers: instance.counts.layers, experts: 4,
          assignment: chosen)
        best = min(best, objective.value(of: try instance.counts.crossings(of: placement)))
        return
      }
      for permutation in chosen.isEmpty ? [permutations[0]] : permutations {
        try choose(chosen + permutation)
      }
    }
    // Layer 0's labels cannot be fixed to one order with two levels: try all of them.
    for first in permutations { try choose(first) }
    #expect(try #require(outcome.bound) <= best, "\(random)")
    #expect(outcome.value == best, "\(random)")
  }

  /// Who closes a proof, or gives the bound.
  enum Closer: String, CaseIterable, Sendable {
    case chain, path, dolls, tree
    case colocation = "co-location"

    /// Switches that leave the work to this method.
    var methods: SolverMethods {
      var methods = SolverMethods()
      methods.chain = self == .chain
      methods.path = self != .colocation
      methods.dolls = self == .dolls
      methods.tree = self == .tree
      methods.colocation = self == .colocation
      methods.colocationIterations = 60
      if self == .dolls || self == .tree {
        // Prices far from their minimum leave something to do.
        methods.pathEvaluations = 4
        methods.pathCutRounds = 1
      }
      return methods
    }
  }

  /// The same value and bound for any number of threads, whichever method they come from; and each
  /// is reached.
  @Test(arguments: Closer.allCases) func threadsDoNotChangeTheAnswer(closer: Closer) throws {
    var reached = 0
    for seed in 0..<6 {
      let random = RandomProblem(seed: UInt64(seed) + 400_000, experts: [8, 9])
      guard random.problem.groups > 1, random.problem.groups < random.problem.experts else {
        continue
      }
      let instance = try instance(random)
      var answers = Set<[Int]>()
      for threads in [1, 2, 4] {
        var options = SolverOptions()
        options.timeLimit = nil
        options.workLimit = 1_000_000
        options.methods = closer.methods
        options.threads = threads
        let outcome = try Solver(options).solve(instance)
        if outcome.stages[0].boundMethod?.rawValue == closer.rawValue { reached += 1 }
        // Several threads may leave an unfinished tree at different nodes.
        if closer == .tree && outcome.stopReason == .work { continue }
        answers.insert([try #require(outcome.value), try #require(outcome.bound)])
      }
      #expect(answers.count <= 1, "\(random): \(answers)")
    }
    #expect(reached >= 1, "\(closer): \(reached)")
  }

  /// A work limit alone: nothing depends on the clock or on the number of threads, neither the
  /// answer nor the bound.
  @Test func aWorkLimitCanBeRepeated() throws {
    var generator = SeededGenerator(seed: 8)
    let weights = (0..<(5 * 32 * 32)).map { _ in generator.next(below: 50) }
    let counts = try TransitionCounts(layers: 6, experts: 32, weights: weights)
    let instance = try Instance(counts: counts, topology: Topology(gpus: 4))
    var answers = Set<[Int]>()
    for threads in [1, 2, 4] {
      var options = SolverOptions()
      options.timeLimit = nil
      options.workLimit = 30_000_000
      options.threads = threads
      let outcome = try Solver(options).solve(instance)
      let bound = try #require(outcome.bound)
      #expect(bound > 0 && outcome.stopReason == .work, "\(outcome.stopReason)")
      answers.insert([try #require(outcome.value), bound])
    }
    #expect(answers.count == 1, "\(answers)")
  }

  /// However many threads are asked for, no control gives more than the option's range allows, and
  /// a search under such a control does the work of any other.
  @Test func threadsStayInTheirRange() throws {
    for asked in [Int.min, -1, 0, 1, 2, 1024, 1025, 99_999_999_999, .max] {
      let control = SearchControl(workLimit: 100_000, threads: asked)
      #expect(control.threads == min(max(1, asked), 1024))
      #expect(SearchControl(part: 1, of: control).threads == control.threads)
      #expect(SearchControl(part: 1, of: control, threads: asked).threads == control.threads)
    }
    let problem = RandomProblem(seed: 12, experts: [8]).problem
    let answers = [1, 99_999_999_999].map { threads in
      let incumbent = Incumbent()
      LocalSearch(
        problem: problem, seed: 1, control: SearchControl(workLimit: 200_000, threads: threads),
        incumbent: incumbent, pool: PartitionPool(problem: problem)
      ).run()
      return incumbent.entry?.labels
    }
    #expect(answers[0] != nil && answers[0] == answers[1])
  }

  @Test func jointWeightsOutOfOrderAreRefused() throws {
    let instance = try instance(RandomProblem(seed: 3, experts: [4]))
    var options = options
    options.jointWeights = JointWeights(interNode: 1, intraNode: 2)
    #expect(throws: ModelError.self) { try Solver(options).solve(instance) }
  }

  @Test func stoppingKeepsTheIncumbent() throws {
    var generator = SeededGenerator(seed: 5)
    let weights = (0..<(7 * 32 * 32)).map { _ in generator.next(below: 50) }
    let counts = try TransitionCounts(layers: 8, experts: 32, weights: weights)
    let instance = try Instance(counts: counts, topology: Topology(gpus: 4))
    let outcome = try Solver(options).solve(instance) { $0.value == nil ? .proceed : .stop }
    #expect(outcome.stopReason == .cancelled && outcome.status == .feasible)
    let placement = try #require(outcome.placement)
    #expect(try counts.crossings(of: placement).gpu == outcome.value)
    if let bound = outcome.bound { #expect(try bound <= #require(outcome.value)) }
  }

  /// Little work or much, only something better replaces a warm start.
  @Test func aWarmStartIsNeverMadeWorse() throws {
    var generator = SeededGenerator(seed: 77)
    let weights = (0..<(5 * 32 * 32)).map { _ in generator.next(below: 50) }
    let counts = try TransitionCounts(layers: 6, experts: 32, weights: weights)
    let instance = try Instance(counts: counts, topology: Topology(gpus: 4))
    var options = SolverOptions()
    options.timeLimit = nil
    options.workLimit = 2_000_000
    options.proves = false
    let first = try Solver(options).solve(instance)
    let value = try #require(first.value)
    options.warmStart = first.placement
    options.workLimit = 1
    let second = try Solver(options).solve(instance)
    #expect(try #require(second.value) <= value)
    options.seed = 5
    options.workLimit = 100_000
    let third = try Solver(options).solve(instance)
    #expect(try #require(third.value) <= value)
    // Another model's, and another machine's.
    for (layers, gpus) in [(5, 4), (6, 8)] {
      options.warmStart = try Placement(
        topology: Topology(gpus: gpus), layers: layers, experts: 32,
        assignment: (0..<(layers * 32)).map { $0 % gpus })
      #expect(throws: ModelError.self) { try Solver(options).solve(instance) }
    }
  }
}
