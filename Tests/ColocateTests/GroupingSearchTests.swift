import Colocate
import ColocateCertificate
import TestSupport
import Testing

@Suite struct GroupingSearchTests {
  /// A seeded problem, searched in one way, against brute force; the proof against the
  /// certificate's checker.
  /// - Returns: the leaves of the proofs.
  @discardableResult
  static func check(_ random: RandomProblem, _ change: (inout GroupingSearch.Options) -> Void)
    throws -> [ProofTree.Node]
  {
    let problem = random.problem
    var leaves = [ProofTree.Node]()
    guard problem.groups >= 2, let optimum = problem.bruteForce() else { return [] }
    var options = GroupingSearch.Options()
    options.keepsProof = true
    options.known = watched(problem, optimum.labels)
    change(&options)
    // From nothing, from a little below the optimum, and from the optimum itself.
    for start in [-1, optimum.kept * 19 / 20, optimum.kept] {
      let incumbent = Incumbent()
      if start >= 0 { incumbent.offer([], kept: start, source: .warmStart) }
      let threads = 1 + Int(random.seed % 2)
      let result = try #require(
        GroupingSearch(problem: problem, options: options).run(
          incumbent: incumbent, control: SearchControl(threads: threads)))
      #expect(result.keptBound == optimum.kept, "\(random)")
      #expect(incumbent.kept == optimum.kept, "\(random)")
      #expect(result.proof != nil, "\(random)")
      if let proof = result.proof {
        leaves += Self.leaves(proof)
        let stage = Certificate.Claim(
          kept: optimum.kept, keptBound: optimum.kept, evidence: .tree(CertificateTree(proof)))
        #expect(throws: Never.self, "\(random)") {
          let bound = try Certificate.proved(
            stage, problem: CertifiedProblem(problem), kept: optimum.kept,
            effort: CertificateEffort())
          #expect(bound == optimum.kept, "\(random)")
        }
        // What proves the optimum does not prove more.
        #expect(throws: CertificateError.self, "\(random)") {
          _ = try Certificate.proved(
            stage, problem: CertifiedProblem(problem), kept: optimum.kept - 1,
            effort: CertificateEffort())
        }
      }
      if case .proved = result.stop {} else { Issue.record("\(random): \(result.stop)") }
      if let entry = incumbent.entry, !entry.labels.isEmpty {
        #expect(
          problem.isFeasible(entry.labels) && problem.kept(entry.labels) == entry.kept, "\(random)")
      }
    }
    return leaves
  }

  static func leaves(_ tree: ProofTree) -> [ProofTree.Node] {
    tree.nodes.filter { if case .branch = $0 { false } else { true } }
  }

  @Test(arguments: 0..<10)
  func equalsBruteForce(block: Int) throws {
    for seed in 0..<100 {
      try Self.check(RandomProblem(seed: UInt64(block * 100 + seed) + 20_000)) { _ in }
    }
  }

  /// A tree as deep as there could be pairs to decide is made, written and freed on the small stack
  /// of a worker.
  @Test func aDeepProofNeedsNoDeepStack() async throws {
    let depth = 200_000
    let nodes = await Task.detached {
      var builder = ProofBuilder()
      let prices = PathPrices(experts: [0])
      var number = 0
      for level in 0..<depth {
        let pair = BranchDecision(layer: level, first: 0, second: 1)
        let children = builder.branch(number, deletions: [], pair)
        builder.close(children.apart, .bounded(deletions: [], prices: prices))
        number = children.together
      }
      guard builder.tree() == nil else { return -1 }
      builder.close(number, .bounded(deletions: [], prices: prices))
      return builder.tree().map { CertificateTree($0).nodes.count } ?? 0
    }.value
    #expect(nodes == 2 * depth + 1)
  }

  /// Lists that hold next to nothing: everything has to be branched.
  @Test(arguments: 0..<4)
  func treeEqualsBruteForce(block: Int) throws {
    var branched = 0
    for seed in 0..<25 {
      let random = RandomProblem(seed: UInt64(block * 25 + seed) + 40_000, experts: [6, 8, 9])
      let leaves = try Self.check(random) {
        $0.rootStates = 2
        $0.treeNodeStates = 2
        // A root that is far from the minimum leaves something to branch on.
        $0.effort.evaluationsPerStage = 4
        $0.effort.deepShare = 1
        $0.effort.cutRounds = 1
      }
      // One leaf for each of the three starts is no tree.
      if leaves.count > 3 { branched += 1 }
    }
    #expect(branched >= 3)
  }

  /// One expert a GPU leaves no pair to branch on. A root whose layered search was given up then
  /// keeps its own bound, and nothing is called proved.
  @Test func aRootThatCannotBranchKeepsItsBound() {
    var reached = 0
    for seed in 0..<40 {
      let problem = RandomProblem(seed: UInt64(seed) + 60_000, experts: [4], caps: false).problem
      guard problem.groups == 4, problem.total > 0, let optimum = problem.bruteForce() else {
        continue
      }
      for threads in [1, 2] {
        var options = GroupingSearch.Options()
        options.rootStates = 0
        options.known = watched(problem, optimum.labels)
        let incumbent = Incumbent()
        let result = GroupingSearch(problem: problem, options: options).run(
          incumbent: incumbent, control: SearchControl(threads: threads))!
        #expect(result.keptBound >= optimum.kept, "seed \(seed)")
        if case .proved = result.stop { Issue.record("seed \(seed): proved without a placement") }
        if result.method == .tree { reached += 1 }
      }
    }
    #expect(reached > 0)
  }

  /// With hardly any subset allowed to be swept often: prices by a restricted master, then as
  /// always.
  @Test(arguments: 0..<4)
  func generationEqualsBruteForce(block: Int) throws {
    for seed in 0..<25 {
      let random = RandomProblem(seed: UInt64(block * 25 + seed) + 80_000)
      let experts = random.problem.experts
      try Self.check(random) {
        $0.subsetLimit = 1
        $0.partitions = { _ in [(0..<experts).map { $0 / random.problem.groupSize }] }
        ($0.generation.most, $0.generation.fresh) = (8, 3)
      }
    }
  }

  /// Where generation ends with too many subsets its bound stands, and nothing is called proved.
  @Test func unfinishedGenerationLeavesABound() {
    var unproved = 0
    for seed in 0..<60 {
      let problem = RandomProblem(seed: UInt64(seed) + 90_000, experts: [6, 8]).problem
      guard problem.groups >= 2, let optimum = problem.bruteForce() else { continue }
      var options = GroupingSearch.Options()
      options.known = watched(problem, optimum.labels)
      options.subsetLimit = 1
      options.generation.enough = 0
      options.partitions = { _ in [(0..<problem.experts).map { $0 / problem.groupSize }] }
      let incumbent = Incumbent()
      incumbent.offer([], kept: optimum.kept * 9 / 10, source: .warmStart)
      let result = GroupingSearch(problem: problem, options: options).run(
        incumbent: incumbent, control: SearchControl())!
      #expect(result.keptBound >= optimum.kept, "seed \(seed)")
      if case .proved = result.stop {
        #expect(incumbent.kept == optimum.kept, "seed \(seed)")
      } else {
        unproved += 1
      }
    }
    #expect(unproved >= 20)
  }

  /// Groups of three, where fractional covers violate subset-row cuts.
  @Test(arguments: 0..<4)
  func cutsEqualBruteForce(block: Int) throws {
    for seed in 0..<8 {
      let random = RandomProblem(
        seed: UInt64(block * 8 + seed) + 60_000, experts: [9], maxLayers: 4)
      try Self.check(random) {
        $0.effort.cutGain = 0
        $0.effort.cutRounds = 5
      }
    }
  }

  /// Leaves that the layered search closes where cuts have a price: their losses on cuts count, in
  /// the search and in the checker.
  @Test func exhaustedLeavesWithCuts() throws {
    var found = 0
    for seed in 0..<40 {
      var generator = SeededGenerator(seed: UInt64(seed) + 70_000)
      let weights = (0..<(3 * 81)).map { _ in generator.next(below: 30) }
      let counts = try! TransitionCounts(layers: 4, experts: 9, weights: weights)
      let problem = GroupingProblem(
        layers: 4, experts: 9, groups: 3, weights: weights, loads: counts.loads)
      var options = GroupingSearch.Options()
      options.keepsProof = true
      options.effort.cutGain = 0
      let incumbent = Incumbent()
      let result = GroupingSearch(problem: problem, options: options).run(
        incumbent: incumbent, control: SearchControl())!
      guard let proof = result.proof else { continue }
      for leaf in Self.leaves(proof) {
        if case .exhausted(_, let prices, _) = leaf, prices.cuts.contains(where: { $0.price > 0 }) {
          found += 1
        }
      }
      let kept = incumbent.kept
      #expect(try kept == Self.optimum(problem), "seed \(seed)")
      let stage = Certificate.Claim(
        kept: kept, keptBound: kept, evidence: .tree(CertificateTree(proof)))
      #expect(throws: Never.self, "seed \(seed)") {
        _ = try Certificate.proved(
          stage, problem: CertifiedProblem(problem), kept: kept, effort: CertificateEffort())
      }
    }
    #expect(found >= 5)
  }

  /// By the chain of all partitions.
  static func optimum(_ problem: GroupingProblem) throws -> Int {
    let program = try #require(ChainProgram(problem, costLimit: .infinity))
    return try #require(program.solve(control: SearchControl())).kept
  }

  /// The same answer for 1, 2 and 4 workers, and a stop at a node limit keeps a valid bound.
  @Test func threadsAndLimits() {
    var generator = SeededGenerator(seed: 17)
    let weights = (0..<(3 * 100)).map { _ in generator.next(below: 50) }
    let counts = try! TransitionCounts(layers: 4, experts: 10, weights: weights)
    let problem = GroupingProblem(
      layers: 4, experts: 10, groups: 5, weights: weights, loads: counts.loads)
    var found = Set<Int>()
    for threads in [1, 2, 4] {
      let incumbent = Incumbent()
      var options = GroupingSearch.Options()
      options.rootStates = 10
      options.treeNodeStates = 10
      options.effort.evaluationsPerStage = 10
      let result = GroupingSearch(problem: problem, options: options).run(
        incumbent: incumbent, control: SearchControl(threads: threads))!
      #expect(result.keptBound == incumbent.kept)
      found.insert(incumbent.kept)
      options.treeNodeLimit = 3
      let short = GroupingSearch(problem: problem, options: options).run(
        incumbent: Incumbent(), control: SearchControl(threads: threads))!
      #expect(short.keptBound >= incumbent.kept)
    }
    #expect(found.count == 1)
    let exact = Incumbent()
    _ = GroupingSearch(problem: problem).run(incumbent: exact, control: SearchControl())
    #expect(found == [exact.kept])
  }

  @Test func stopsWhenCancelled() {
    var generator = SeededGenerator(seed: 18)
    let weights = (0..<(11 * 144)).map { _ in generator.next(below: 50) }
    let counts = try! TransitionCounts(layers: 12, experts: 12, weights: weights)
    let problem = GroupingProblem(
      layers: 12, experts: 12, groups: 3, weights: weights, loads: counts.loads)
    let control = SearchControl()
    control.cancel()
    let result = GroupingSearch(problem: problem).run(incumbent: Incumbent(), control: control)!
    if case .cancelled = result.stop {} else { Issue.record("\(result.stop)") }
    #expect(result.keptBound <= problem.total)
  }
}
