import Colocate
import ColocateCertificate
import TestSupport
import Testing

/// Counts that add up to 2^31, 2^40 and 2^52, in every method, against brute force on the same
/// counts.
@Suite struct LargeCountTests {
  static let bits = [31, 40, 52]

  /// Problems with an optimum, by seed.
  static func problems(
    _ seeds: Range<Int>, bits: Int, experts: [Int] = [4, 6, 8]
  ) -> [(seed: Int, small: GroupingProblem, large: GroupingProblem, kept: Int)] {
    seeds.compactMap { seed in
      let random = RandomProblem(seed: UInt64(seed) + 600_000, experts: experts, maxLayers: 4)
      guard random.problem.groups > 1, random.problem.total > 0 else { return nil }
      let large = random.enlarged(toBits: bits)
      return large.bruteForce().map { (seed, random.problem, large, $0.kept) }
    }
  }

  @Test(arguments: bits) func listedStates(bits: Int) throws {
    var methods = [ChainProgram.Method]()
    for (seed, _, problem, kept) in Self.problems(0..<100, bits: bits) {
      #expect(problem.total > 1 << (bits - 2) && problem.total <= 1 << bits, "seed \(seed)")
      let program = try #require(ChainProgram(problem), "seed \(seed)")
      let answer = program.solve(control: SearchControl(threads: 2), keepsValues: true)
      // At P = E a cap can exclude the assignments' optimum.
      guard program.method != .assignment || problem.caps == nil else { continue }
      let found = try #require(answer, "seed \(seed)")
      #expect(found.kept == kept && problem.kept(found.labels) == kept, "seed \(seed)")
      methods.append(program.method)
    }
    for method in [ChainProgram.Method.assignment, .twoGroups, .partitions] {
      #expect(methods.count { $0 == method } >= 1, "\(method)")
    }
  }

  /// From the optimum on, prices, deletions, dolls and tree lose nothing, and what they call proved
  /// is. Beyond their limit they say so.
  @Test(arguments: bits) func pathsDollsAndTree(bits: Int) throws {
    var proved = 0
    for (seed, _, problem, kept) in Self.problems(100..<118, bits: bits) {
      var options = GroupingSearch.Options()
      let optimum = try #require(problem.bruteForce(), "seed \(seed)")
      options.known = watched(problem, optimum.labels)
      options.keepsProof = true
      options.treeNodeLimit = 12
      let incumbent = Incumbent()
      incumbent.offer(optimum.labels, kept: kept, source: .warmStart)
      let result = GroupingSearch(problem: problem, options: options).run(
        incumbent: incumbent, control: SearchControl(workLimit: 300_000))
      guard let result else {
        #expect(problem.total > PathPrices.mostWeight(groups: problem.groups), "seed \(seed)")
        continue
      }
      #expect(problem.total <= PathPrices.mostWeight(groups: problem.groups), "seed \(seed)")
      #expect(result.keptBound >= kept && result.keptBound <= problem.total, "seed \(seed)")
      #expect(incumbent.kept == kept, "seed \(seed)")
      guard let proof = result.proof else { continue }
      proved += 1
      #expect(result.keptBound == kept, "seed \(seed)")
      let stage = Certificate.Claim(
        kept: kept, keptBound: kept, evidence: .tree(CertificateTree(proof)))
      let bound = try? Certificate.proved(
        stage, problem: CertifiedProblem(problem), kept: kept, effort: CertificateEffort())
      #expect(bound == kept, "seed \(seed)")
    }
    #expect(bits > 45 || proved >= 1, "\(proved)")
  }

  /// The bound holds, under caps too, and is about as good as with small counts.
  @Test(arguments: bits) func colocation(bits: Int) {
    for (seed, small, problem, kept) in Self.problems(200..<225, bits: bits) {
      func run(_ problem: GroupingProblem) -> ColocationRelaxation {
        let relaxation = ColocationRelaxation(problem: problem, control: SearchControl())
        relaxation.parameters.maxIterations = 200
        relaxation.run()
        return relaxation
      }
      let relaxation = run(problem)
      #expect(relaxation.keptBound >= kept, "seed \(seed)")
      let again = relaxation.multipliers?.keptBound(for: problem, control: SearchControl())
      #expect(again == nil || again == relaxation.keptBound, "seed \(seed)")
      if problem.caps == nil {
        let share = Double(run(small).keptBound) / Double(small.total)
        #expect(Double(relaxation.keptBound) / Double(problem.total) < share + 0.2, "seed \(seed)")
      }
    }
  }

  /// Local search with its pool on one level and on two, and the baselines: values are those of
  /// their labels.
  @Test(arguments: bits) func heuristics(bits: Int) throws {
    var optimal = 0
    let problems = Self.problems(300..<320, bits: bits)
    for (seed, _, problem, kept) in problems {
      let nodes = problem.groups % 2 == 0 ? 2 : 1
      let most = Magnitude.saved / problem.total
      for saved in [
        SavedWeights.flat(groups: problem.groups),
        SavedWeights(
          groupsPerNode: problem.groups / nodes, group: most / 8, node: nodes == 1 ? 0 : most / 2),
        SavedWeights(groupsPerNode: problem.groups, group: 0, node: 0),
      ] {
        let incumbent = Incumbent()
        let pool = PartitionPool(problem: problem, saved: saved)
        LocalSearch(
          problem: problem, saved: saved, seed: UInt64(seed), control: SearchControl(),
          incumbent: incumbent, pool: pool
        ).run(rounds: 3)
        let entry = try #require(incumbent.entry, "seed \(seed)")
        #expect(problem.isFeasible(entry.labels), "seed \(seed)")
        #expect(saved.value(problem, entry.labels) == entry.kept, "seed \(seed)")
        let joined = try #require(pool.recombine(control: SearchControl()))
        #expect(saved.value(problem, joined.labels) == joined.value, "seed \(seed)")
        if saved == .flat(groups: problem.groups) {
          #expect(entry.kept <= kept, "seed \(seed)")
          if entry.kept == kept { optimal += 1 }
        }
      }
      let instance = try problem.instance()
      for baseline in Baseline.allCases {
        guard let placement = try? baseline.placement(for: instance) else { continue }
        #expect(problem.kept(placement.assignment) <= kept || problem.caps != nil)
      }
    }
    #expect(optimal * 2 >= problems.count, "\(optimal) of \(problems.count)")
  }

  /// The whole solver, flat, staged and joint, with joint weights up to what the counts allow.
  @Test(arguments: bits) func solver(bits: Int) throws {
    for seed in 0..<12 {
      var options = SolverOptions()
      let random = RandomProblem(seed: UInt64(seed) + 700_000, experts: [4], maxLayers: 3)
      guard random.problem.groups == 4, random.problem.total > 0 else { continue }
      let problem = random.enlarged(toBits: bits)
      let flat = try problem.instance()
      let outcome = try Solver(options).solve(flat)
      let optimum = try #require(flat.gpuProblem.bruteForce())
      #expect(outcome.value == problem.total - optimum.kept, "\(random)")
      #expect(outcome.bound == outcome.value && outcome.status == .optimal, "\(random)")
      let weight = min(1_000_000, Magnitude.saved / problem.total)
      options.jointWeights = JointWeights(interNode: weight, intraNode: weight / 3)
      (options.timeLimit, options.workLimit) = (nil, 200_000)
      for objective in [
        Objective.staged, .joint(interNode: weight, intraNode: weight / 3),
      ] {
        let answer = try Solver(options).solve(try problem.instance(nodes: 2, objective: objective))
        let crossings = try #require(answer.crossings)
        #expect(answer.value == objective.value(of: crossings), "\(random)")
        // A staged answer has no bound of its own, its steps have.
        if let bound = answer.bound { #expect(bound <= answer.value ?? .min, "\(random)") }
        for stage in answer.stages {
          if let bound = stage.bound { #expect(bound <= stage.value ?? .min, "\(random)") }
        }
        if let joint = answer.joint {
          #expect(joint.bound ?? 0 <= joint.value, "\(random)")
        }
      }
    }
  }

  /// What cannot be exact is refused with the limit.
  @Test func refusedAtTheDoor() throws {
    func counts(_ weights: [Int], loads: [Int]? = nil) throws -> TransitionCounts {
      try TransitionCounts(layers: 2, experts: 2, weights: weights, loads: loads)
    }
    #expect(throws: Never.self) { try counts([1 << 51, 1 << 51, 0, 0]) }
    #expect(throws: Never.self) { try counts([1 << 54, 1 << 54, 0, 0]) }
    let inexact = #expect(throws: ModelError.self) { try counts([1 << 52, 1, 0, 0]) }
    #expect("\(try #require(inexact))".contains("2^52"))
    #expect("\(try #require(inexact))".contains("multiples of 2"))
    let large = #expect(throws: ModelError.self) { try counts([1 << 55, 1 << 55, 0, 0]) }
    #expect("\(try #require(large))".contains("2^55"))
    #expect(throws: ModelError.self) { try counts([Int.max, Int.max, 0, 0]) }
    #expect(throws: ModelError.self) { try counts([1, 0, 0, 1], loads: [1 << 55, 1, 1, 1]) }
    let half = try counts([1 << 53, 1 << 53, 1 << 53, 1 << 53])
    #expect(throws: Never.self) { try TransitionCounts.sum([half]) }
    #expect(throws: ModelError.self) { try TransitionCounts.sum([half, half]) }
    #expect(throws: ModelError.self) {
      try TransitionCounts.sum([TransitionCounts](repeating: half, count: 1025))
    }
    let topology = try Topology(gpus: 2, nodes: 2)
    let wide = try counts([1 << 40, 1, 0, 0])
    #expect(throws: Never.self) {
      try Instance(
        counts: wide, topology: topology, objective: .joint(interNode: 1 << 17, intraNode: 1))
    }
    let joint = #expect(throws: ModelError.self) {
      try Instance(
        counts: wide, topology: topology, objective: .joint(interNode: 1 << 19, intraNode: 1))
    }
    #expect("\(try #require(joint))".contains("2^58"))
    var options = SolverOptions()
    options.jointWeights = JointWeights(interNode: 1 << 19, intraNode: 1)
    #expect(throws: ModelError.self) {
      try Solver(options).solve(Instance(counts: wide, topology: topology))
    }
  }

  /// Prices that run off are brought back to where everything is exact, and still give a bound.
  @Test func hugePricesAreScaled() throws {
    for (seed, _, problem, kept) in Self.problems(400..<410, bits: 40) {
      let relaxation = try #require(PathRelaxation(problem: problem))
      for price in [Int.max / 2, -Int.max / 2, 1 << 50] {
        let prices = (0..<(problem.layers * problem.experts)).map { $0 % 2 == 0 ? price : 0 }
        let evaluation = try #require(relaxation.evaluate(experts: prices))
        let size = evaluation.prices.experts.reduce(0) { $0 + abs($1) }
        #expect(size <= PathPrices.room(weight: problem.total, groups: problem.groups))
        #expect(relaxation.bound >= kept, "seed \(seed)")
      }
    }
  }
}

/// The same counts in another unit are the same problem.
@Suite struct UnitTests {
  private func counts(_ unit: Int, seed: UInt64, coactivation: Bool) throws -> TransitionCounts {
    var random = SeededGenerator(seed: seed)
    let (layers, experts) = (4, 12)
    let together =
      coactivation
      ? random.symmetricTables(layers, experts: experts) { $0.next(below: 40) * unit } : []
    return try TransitionCounts(
      layers: layers, experts: experts,
      weights: (0..<((layers - 1) * experts * experts)).map { _ in random.next(below: 90) * unit },
      coactivation: together)
  }

  /// The same placement, work and proof; values and bounds times the unit; the certificate holds on
  /// the counts as given.
  @Test(arguments: [(6, false, nil), (4, true, 1.15), (2, false, 1.1), (12, false, nil)])
  func changesNothing(gpus: Int, coactivation: Bool, cap: Double?) throws {
    var options = SolverOptions()
    options.timeLimit = nil
    options.workLimit = 2_000_000
    options.methods.chain = gpus == 2
    options.methods.colocationIterations = 40
    options.keepsCertificate = true
    var answers = [(unit: Int, outcome: SolverOutcome)]()
    for unit in [1, 1000, 1_000_003, 1 << 36] {
      let counts = try counts(unit, seed: 11, coactivation: coactivation)
      #expect(counts.unit == unit)
      let instance = try Instance(
        counts: counts, topology: Topology(gpus: gpus),
        loadCap: try cap.map { try LoadCap($0, relaxedToFeasible: true) })
      let outcome = try Solver(options).solve(instance)
      let placement = try #require(outcome.placement)
      #expect(try counts.crossings(of: placement) == outcome.crossings)
      let certificate = try #require(
        Certificate(of: outcome, instance: instance, control: SearchControl()))
      let findings = try certificate.check(counts: counts, effort: CertificateEffort())
      #expect(findings[0].crossings == outcome.value && findings[0].bound <= outcome.bound ?? .min)
      #expect(findings[0].isOptimal || outcome.status != .optimal)
      // One better than proved is refused in any unit.
      var forged = certificate
      forged.claims[0].keptBound -= 1
      #expect(throws: CertificateError.self) {
        try forged.check(counts: counts, effort: CertificateEffort())
      }
      answers.append((unit, outcome))
    }
    let first = answers[0].outcome
    for (unit, outcome) in answers.dropFirst() {
      #expect(outcome.placement == first.placement && outcome.status == first.status)
      #expect(outcome.value == first.value.map { $0 * unit })
      #expect(outcome.bound == first.bound.map { $0 * unit })
      #expect(outcome.statistics.work == first.statistics.work)
      #expect(outcome.stages[0].value == outcome.value && outcome.stages[0].bound == outcome.bound)
      #expect(outcome.stages[0].boundMethod == first.stages[0].boundMethod)
    }
  }

  /// Staged and joint, and the lines of progress.
  @Test(arguments: [Objective.staged, .joint(interNode: 3, intraNode: 1)])
  func changesNoStage(objective: Objective) throws {
    var options = SolverOptions()
    options.timeLimit = nil
    options.workLimit = 2_000_000
    // Chains for the steps, search for all GPUs at once.
    options.methods.chainPartitions = 1000
    options.methods.colocationIterations = 20
    var answers = [[Int?]]()
    for unit in [1, 1_000_000] {
      let counts = try counts(unit, seed: 12, coactivation: false)
      let instance = try Instance(
        counts: counts, topology: Topology(gpus: 4, nodes: 2), objective: objective)
      var lines = [Int]()
      let outcome = try Solver(options).solve(instance) { line in
        lines += [line.value, line.bound].compactMap { $0 }
        return .proceed
      }
      #expect(lines.allSatisfy { $0 % unit == 0 })
      let values =
        [outcome.value, outcome.bound]
        + outcome.stages.flatMap { [$0.value, $0.bound] }
        + (outcome.joint.map { [$0.value, $0.bound] } ?? [])
      #expect(values.allSatisfy { ($0 ?? 0) % unit == 0 })
      answers.append(values.map { $0.map { $0 / unit } })
    }
    #expect(answers[0] == answers[1])
  }
}
