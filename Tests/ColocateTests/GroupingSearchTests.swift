import Colocate
import TestSupport
import Testing

@Suite struct GroupingSearchTests {
  /// A seeded problem, searched in one way, against brute force.
  static func check(_ random: RandomProblem, _ change: (inout GroupingSearch.Options) -> Void) {
    let problem = random.problem
    guard problem.groups >= 2, let optimum = problem.bruteForce() else { return }
    var options = GroupingSearch.Options()
    options.keepsProof = true
    options.knownOptimum = optimum
    change(&options)
    // From nothing, from a little below the optimum, and from the optimum itself.
    for start in [-1, optimum.kept * 19 / 20, optimum.kept] {
      let incumbent = Incumbent()
      if start >= 0 { incumbent.offer([], kept: start, source: .warmStart) }
      let threads = 1 + Int(random.seed % 2)
      let result = GroupingSearch(problem: problem, options: options).run(
        incumbent: incumbent, control: SearchControl(threads: threads))!
      #expect(result.keptBound == optimum.kept, "\(random)")
      #expect(incumbent.kept == optimum.kept, "\(random)")
      #expect(result.proof != nil, "\(random)")
      if case .proved = result.stop {} else { Issue.record("\(random): \(result.stop)") }
      if let entry = incumbent.entry, !entry.labels.isEmpty {
        #expect(
          problem.isFeasible(entry.labels) && problem.kept(entry.labels) == entry.kept, "\(random)")
      }
    }
  }

  @Test(arguments: 0..<10)
  func equalsBruteForce(block: Int) {
    for seed in 0..<100 {
      Self.check(RandomProblem(seed: UInt64(block * 100 + seed) + 20_000)) { _ in }
    }
  }

  /// Lists that hold next to nothing: everything has to be branched.
  @Test(arguments: 0..<4)
  func treeEqualsBruteForce(block: Int) {
    for seed in 0..<25 {
      let random = RandomProblem(seed: UInt64(block * 25 + seed) + 40_000, experts: [6, 8, 9])
      Self.check(random) {
        $0.rootStates = 2
        $0.nodeStates = 2
        // A root that is far from the minimum leaves something to branch on.
        $0.effort.evaluationsPerStage = 4
        $0.effort.cutRounds = 1
      }
    }
  }

  /// Groups of three, where fractional covers violate subset-row cuts.
  @Test(arguments: 0..<4)
  func cutsEqualBruteForce(block: Int) {
    for seed in 0..<8 {
      let random = RandomProblem(
        seed: UInt64(block * 8 + seed) + 60_000, experts: [9], maxLayers: 4)
      Self.check(random) {
        $0.effort.cutGain = 0
        $0.effort.cutRounds = 5
      }
    }
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
      options.nodeStates = 10
      options.effort.evaluationsPerStage = 10
      let result = GroupingSearch(problem: problem, options: options).run(
        incumbent: incumbent, control: SearchControl(threads: threads))!
      #expect(result.keptBound == incumbent.kept)
      found.insert(incumbent.kept)
      options.nodesLimit = 3
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
