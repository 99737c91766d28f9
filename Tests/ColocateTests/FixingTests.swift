import Colocate
import TestSupport
import Testing

/// Fixing by reduced cost and the search over what is left, against all placements.
@Suite struct FixingTests {
  let control = SearchControl()

  /// Every placement of a small problem, with what it keeps; the first layer's groups in the order
  /// of their first experts.
  static func placements(_ problem: GroupingProblem) -> [(labels: [Int], kept: Int)] {
    let experts = problem.experts
    func layer(_ l: Int, ordered: Bool) -> [[Int]] {
      var found = [[Int]]()
      var labels = [Int](repeating: 0, count: experts)
      var sizes = [Int](repeating: 0, count: problem.groups)
      func assign(_ e: Int, _ met: Int) {
        guard e < experts else {
          if problem.meetsCap(layer: l, labels) { found.append(labels) }
          return
        }
        for g in 0..<(ordered ? min(met + 1, problem.groups) : problem.groups)
        where sizes[g] < problem.groupSize {
          labels[e] = g
          sizes[g] += 1
          assign(e + 1, max(met, g + 1))
          sizes[g] -= 1
        }
      }
      assign(0, 0)
      return found
    }
    var all = layer(0, ordered: true)
    for l in 1..<problem.layers {
      let next = layer(l, ordered: false)
      all = all.flatMap { before in next.map { before + $0 } }
    }
    return all.map { ($0, problem.kept($0)) }
  }

  static func problem(_ seed: UInt64) -> (random: RandomProblem, problem: GroupingProblem)? {
    let random = RandomProblem(seed: seed, experts: [4, 6], maxLayers: 3)
    let problem = random.problem
    guard problem.groups > 1, problem.total > 0 else { return nil }
    let states = RandomProblem(seed: seed, experts: [4, 6], maxLayers: 3).labellings
    return states <= 60_000 ? (random, problem) : nil
  }

  /// Multipliers of a relaxation that was stopped somewhere, or random ones.
  static func multipliers(
    _ problem: GroupingProblem, _ random: inout SeededGenerator
  ) -> ColocationMultipliers? {
    guard random.nextUnit() < 0.8 else {
      let bits = random.next(below: 10)
      var dual = [Int]()
      for _ in 0..<(problem.layers - 1) {
        for block in ColocationLayout.Block.allCases {
          dual += RowPotentialsTests.randomBlock(problem, block, bits: bits, &random)
        }
      }
      return ColocationMultipliers(
        layers: problem.layers, experts: problem.experts, groups: problem.groups,
        fractionBits: bits, dual: dual,
        cuts: (0..<5).map { _ in ColocationCutTests.randomCut(problem, &random) })
    }
    let relaxation = ColocationRelaxation(problem: problem, control: SearchControl())
    relaxation.parameters.fixes = false
    relaxation.parameters.maxIterations = [20, 60, 200][random.next(below: 3)]
    relaxation.run()
    return relaxation.multipliers
  }

  /// Whatever is fixed holds for every placement that reaches the target, under one and several
  /// multipliers, and nothing is exhausted while there is one.
  @Test func whatIsFixedHoldsForEveryBetterPlacement() throws {
    var (fixed, exhausted) = (0, 0)
    for seed in 1...250 as ClosedRange<UInt64> {
      guard let (random, problem) = Self.problem(seed) else { continue }
      let all = Self.placements(problem)
      guard let best = all.map(\.kept).max() else { continue }
      var generator = SeededGenerator(seed: seed)
      for _ in 0..<4 {
        let target = max(0, best + 1 - generator.next(below: 1 + best / 3 + 1))
        var fixings = ColocationFixings(problem: problem)
        for _ in 0..<2 {
          guard let multipliers = Self.multipliers(problem, &generator),
            let evaluation = multipliers.evaluation(of: problem, control: control)
          else { continue }
          fixings.tighten(evaluation, target: target, control: control)
        }
        let better = all.filter { $0.kept >= target }
        if fixings.isExhausted {
          #expect(better.isEmpty, "\(random) target \(target)")
          exhausted += 1
          continue
        }
        let layout = ColocationLayout(layers: problem.layers, experts: problem.experts)
        for (labels, _) in better {
          let x = ColocationCutTests.variables(problem, labels, layout)
          for place in x.indices where fixings[place] != .free {
            #expect((x[place] == 1) == (fixings[place] == .together), "\(random) target \(target)")
          }
        }
        fixed += fixings.count
      }
    }
    #expect(fixed > 1000 && exhausted > 50, "\(fixed) fixed, \(exhausted) exhausted")
  }

  /// The conclusions from several multipliers, drawn until nothing is new, do not depend on their
  /// order.
  @Test func orderDoesNotMatter() throws {
    for seed in 300...360 as ClosedRange<UInt64> {
      guard let (random, problem) = Self.problem(seed), let best = problem.bruteForce() else {
        continue
      }
      var generator = SeededGenerator(seed: seed)
      let evaluations = (0..<3).compactMap { _ in
        Self.multipliers(problem, &generator)?.evaluation(of: problem, control: control)
      }
      func fixings(_ order: [ColocationEvaluation]) -> ColocationFixings {
        var fixings = ColocationFixings(problem: problem)
        for _ in 0..<20 {
          for evaluation in order {
            fixings.tighten(evaluation, target: best.kept, control: control)
          }
        }
        return fixings
      }
      let (one, other) = (fixings(evaluations), fixings(evaluations.reversed()))
      #expect(one.isExhausted == other.isExhausted, "\(random)")
      #expect(one.count == other.count, "\(random)")
    }
  }

  /// From every layer, inside any δ: the optimum where it reaches the target, and nothing where
  /// none does.
  @Test func searchFindsTheOptimumOrNothing() throws {
    var (found, none) = (0, 0)
    for seed in 500...1400 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8], maxLayers: 5)
      let problem = random.problem
      guard problem.groups > 1, let best = problem.bruteForce() else { continue }
      var generator = SeededGenerator(seed: seed)
      guard
        let evaluation = Self.multipliers(problem, &generator)?.evaluation(
          of: problem, control: control)
      else { continue }
      let target = max(0, best.kept + 1 - generator.next(below: 3))
      var fixings = ColocationFixings(problem: problem)
      if generator.nextUnit() < 0.7 {
        fixings.tighten(evaluation, target: target, control: control)
      }
      if fixings.isExhausted {
        #expect(best.kept < target, "\(random)")
        continue
      }
      for start in [LossSearch.start(fixings), generator.next(below: problem.layers)] {
        let search = try #require(
          LossSearch(
            problem: problem, fixings: fixings, evaluation: evaluation, target: target,
            stateLimit: 100_000, stepLimit: .max, control: SearchControl(threads: 1 + start % 2)))
        switch search.run(from: start) {
        case .nothing:
          #expect(best.kept < target, "\(random) from \(start)")
          none += 1
        case .optimum(let labels, let kept):
          #expect(problem.isFeasible(labels) && problem.kept(labels) == kept, "\(random)")
          // Without a placement that reaches the target, one that does not may be found.
          #expect(kept == best.kept || (best.kept < target && kept < target), "\(random)")
          found += 1
        case .overflow: Issue.record("\(random): overflow")
        }
      }
    }
    #expect(found > 100 && none > 25, "\(found) found, \(none) with nothing")
  }

  /// A search that may do too little says so.
  @Test func searchStopsAtItsLimits() throws {
    var overflows = 0
    for seed in 950...1000 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [8], caps: false)
      let problem = random.problem
      guard problem.groups > 1, problem.groups < 8, let best = problem.bruteForce() else {
        continue
      }
      var generator = SeededGenerator(seed: seed)
      guard
        let evaluation = Self.multipliers(problem, &generator)?.evaluation(
          of: problem, control: control)
      else { continue }
      for (states, steps) in [(1, Int.max), (1000, 3)] {
        let search = try #require(
          LossSearch(
            problem: problem, fixings: ColocationFixings(problem: problem),
            evaluation: evaluation, target: best.kept, stateLimit: states, stepLimit: steps,
            control: control))
        switch search.run(from: 0) {
        case .overflow: overflows += 1
        case .optimum(_, let kept): #expect(kept == best.kept, "\(random)")
        case .nothing: Issue.record("\(random): nothing")
        }
      }
    }
    #expect(overflows > 20)
  }

  /// The relaxation with fixing and search: its bound holds from any incumbent, and a better
  /// placement that it finds is one.
  @Test func relaxationProvesFromAnyIncumbent() throws {
    var (searched, fixed) = (0, 0)
    for seed in 1500...2000 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8])
      let problem = random.problem
      guard problem.groups > 1, let best = problem.bruteForce() else { continue }
      var generator = SeededGenerator(seed: seed)
      let relaxation = ColocationRelaxation(problem: problem, control: control)
      relaxation.parameters.maxIterations = 200
      relaxation.parameters.evaluateEvery = 5
      if generator.nextUnit() < 0.5 { relaxation.parameters.searchStates = 0 }
      let start = max(0, best.kept - generator.next(below: 1 + best.kept / 10 + 1))
      relaxation.incumbent = start
      relaxation.onPlacement = { labels, kept in
        #expect(problem.isFeasible(labels) && problem.kept(labels) == kept, "\(random)")
      }
      relaxation.run(targetKept: best.kept)
      #expect(relaxation.keptBound >= best.kept, "\(random) from \(start)")
      if relaxation.searchStart != nil {
        searched += 1
        #expect(relaxation.keptBound == best.kept, "\(random) from \(start)")
      }
      if relaxation.fixings.dependsOnTarget { fixed += 1 }
    }
    #expect(searched > 8 && fixed > 30, "\(searched) searched, \(fixed) fixed")
  }
}

extension RandomProblem {
  /// Labelled placements, without the names of the first layer's groups.
  fileprivate var labellings: Int {
    func factorial(_ n: Int) -> Int { n < 2 ? 1 : (2...n).reduce(1, *) }
    var layer = factorial(problem.experts)
    for _ in 0..<problem.groups { layer /= factorial(problem.groupSize) }
    return (1..<problem.layers).reduce(layer / factorial(problem.groups)) { all, _ in all * layer }
  }
}
