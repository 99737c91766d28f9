import Colocate
import TestSupport
import Testing

/// Shares of the windows' pairs (`SplitBundle`, `SplitDescent`), against brute force.
@Suite struct WindowSharesTests {
  /// The sum of the windows' maxima: what solved trees would prove.
  static func promise(_ split: WindowSplit) -> Int? {
    let maxima = split.windows.compactMap { $0.problem.bruteForce()?.kept }
    return maxima.count == split.windows.count ? split.keptBound(maxima) : nil
  }

  static func problems(_ seeds: ClosedRange<UInt64>) -> [(RandomProblem, kept: Int, labels: [Int])]
  {
    seeds.compactMap { seed in
      let random = RandomProblem(seed: seed, experts: [4, 6], maxLayers: 4)
      guard random.problem.groups > 1, random.problem.groupSize > 1, random.problem.layers > 2,
        random.problem.total > 0,
        let best = random.problem.bruteForce()
      else { return nil }
      return (random, best.kept, best.labels)
    }
  }

  static func start(_ problem: GroupingProblem) -> WindowSplit? {
    let whole = WindowTests.relaxation(problem, iterations: 40)
    return whole.multipliers.flatMap { WindowSplit(problem: problem, multipliers: $0) }
  }

  /// A column is worth what its placement keeps in the window, whatever the shares.
  @Test func columnsAreWorthWhatTheyKeep() throws {
    var seen = 0
    for (random, _, labels) in Self.problems(1...80) {
      let problem = random.problem
      guard let split = Self.start(problem) else { continue }
      var bundle = SplitBundle(split: split)
      var generator = SeededGenerator(seed: 7)
      var known = [labels]
      for _ in 0..<4 {
        if let more = ColocationCutTests.randomLabels(problem, &generator) { known.append(more) }
      }
      for _ in 0..<6 {
        for placement in known {
          for w in split.windows.indices {
            bundle.add(split.labels(placement, window: w), window: w)
          }
        }
        let now = bundle.split
        // The best of the known placements of each window.
        var sum = Int128(0)
        for (w, window) in now.windows.enumerated() {
          let most = known.map { window.problem.kept(now.labels($0, window: w)) }.max() ?? 0
          let best = try #require(bundle.best(window: w))
          let difference = window.problem.kept(best) - most
          // Shares are rounded to integers of the split's units.
          #expect(abs(difference) <= problem.experts * problem.experts, "\(random): \(difference)")
          sum += Int128(most - window.constant)
        }
        _ = bundle.step(target: 0)
        let room = Double(problem.layers * problem.experts * problem.experts)
        #expect(bundle.value <= Double(sum) + room, "\(random)")
        seen += 1
      }
    }
    #expect(seen > 100, "\(seen)")
  }

  /// The descent ends at shares that promise no more than those it came from, never less than the
  /// optimum, and mostly the optimum; with few layers and experts windows nearly always agree.
  @Test func windowsComeToAgree() {
    var (seen, exact, better) = (0, 0, 0)
    for (random, kept, labels) in Self.problems(100...200) {
      let problem = random.problem
      // At random shares, which every placement of a window but the optimum's may profit from.
      var generator = SeededGenerator(seed: random.seed)
      let range = max(2, problem.total << 13 / problem.experts)
      let split = WindowSplit(
        problem: problem, fractionBits: 14,
        shares: (1..<(problem.layers - 1)).map { _ in
          var block = [Int](repeating: 0, count: problem.experts * problem.experts)
          for i in 0..<problem.experts {
            for j in 0..<i {
              block[i * problem.experts + j] = generator.next(below: range) - range / 2
              block[j * problem.experts + i] = block[i * problem.experts + j]
            }
          }
          return block
        })
      guard let before = Self.promise(split) else { continue }
      var descent = SplitDescent(split: split, seed: 3)
      for w in split.windows.indices {
        descent.bundle.add(split.labels(labels, window: w), window: w)
      }
      let control = SearchControl()
      descent.look(under: control)
      var worst = Int.max
      descent.run(under: control, kept: { kept }) { placements in
        for placement in placements where problem.isFeasible(placement) {
          worst = min(worst, kept - problem.kept(placement))
        }
      }
      let after = Self.promise(descent.bundle.split) ?? .max
      #expect(before >= kept && after >= kept, "\(random): \(before), \(after), \(kept)")
      #expect(after <= before, "\(random): \(before), \(after)")
      #expect(worst >= 0, "\(random): a placement better than the optimum")
      seen += 1
      if after == kept { exact += 1 }
      if after < before { better += 1 }
    }
    #expect(seen > 15 && better > seen / 2, "\(seen) seen, \(better) better")
    #expect(exact > seen * 3 / 4, "\(seen) seen, \(exact) exact")
  }

  @Test func threadsChangeNothing() {
    for (random, kept, labels) in Self.problems(300...310) {
      guard let split = Self.start(random.problem) else { continue }
      let found = [1, 2, 3].map { threads -> [[Int]] in
        var descent = SplitDescent(split: split, seed: 5)
        for w in split.windows.indices {
          descent.bundle.add(split.labels(labels, window: w), window: w)
        }
        let control = SearchControl(threads: threads)
        descent.look(under: control)
        descent.run(under: control, kept: { kept }) { _ in }
        return descent.bundle.split.shares
      }
      #expect(found[0] == found[1] && found[1] == found[2], "\(random)")
    }
  }

  /// The state before the first pairs were fixed because of the incumbent is about all placements.
  @Test func theUnfixedStateIsKept() throws {
    var seen = 0
    for seed in 400...480 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [6, 8])
      let problem = random.problem
      guard problem.groups > 1, problem.total > 0, let best = problem.bruteForce() else { continue }
      let relaxation = ColocationRelaxation(problem: problem, control: SearchControl())
      relaxation.parameters.maxIterations = 200
      relaxation.parameters.searchStates = 0
      relaxation.keepsUnfixed = true
      relaxation.incumbent = best.kept
      relaxation.run()
      #expect((relaxation.unfixed != nil) == relaxation.fixings.dependsOnTarget, "\(random)")
      guard let unfixed = relaxation.unfixed else { continue }
      seen += 1
      let multipliers = try #require(unfixed.multipliers)
      let bound = try #require(multipliers.keptBound(for: problem, control: SearchControl()))
      #expect(bound >= best.kept && unfixed.keptBound >= best.kept, "\(random)")
      // It goes on from there.
      unfixed.parameters.maxIterations = 60
      unfixed.run()
      #expect(unfixed.keptBound >= best.kept && !unfixed.fixings.dependsOnTarget, "\(random)")
    }
    #expect(seen > 20, "\(seen)")
  }

  /// Proofs by the solver's own windows, on problems of which other methods are kept away.
  @Test(arguments: 1...4 as ClosedRange<UInt64>) func windowsProve(seed: UInt64) throws {
    var byWindows = 0
    for number in (40 * seed)..<(40 * seed + 40) {
      let random = RandomProblem(seed: number, experts: [6, 8], maxLayers: 5, caps: false)
      guard let best = Self.optimum(random.problem) else { continue }
      let options = Self.windowsOnly(seed: seed, work: 200_000_000)
      let outcome = try Solver(options).solve(random.problem.instance())
      let found = random.problem.total - best
      #expect(outcome.internalFault == nil, "\(random)")
      #expect(outcome.value == found && outcome.bound ?? 0 <= found, "\(random)")
      if outcome.status == .optimal, outcome.stages[0].boundMethod == .windows { byWindows += 1 }
    }
    #expect(byWindows > 4, "seed \(seed): \(byWindows)")
  }

  /// Counts of which the sums are as large as they may be: nothing overflows, no bound is wrong.
  @Test func hugeCountsDoNotOverflow() throws {
    var seen = 0
    for seed in 500...560 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [6], maxLayers: 4, caps: false)
      for bits in [40, 48, 51] {
        let problem = random.enlarged(toBits: bits)
        guard let best = Self.optimum(problem) else { continue }
        let options = Self.windowsOnly(seed: seed, work: 20_000_000)
        let outcome = try Solver(options).solve(problem.instance())
        let found = problem.total - best
        #expect(outcome.internalFault == nil, "\(random), \(bits) bits")
        #expect(outcome.value == found && outcome.bound ?? 0 <= found, "\(random), \(bits) bits")
        // Shares beyond all measure are cut, and still make a valid split.
        let split = WindowSplit(
          problem: problem, fractionBits: 0,
          shares: (1..<(problem.layers - 1)).map { _ in
            [Int](repeating: seed % 2 == 0 ? .max : -.max, count: problem.experts * problem.experts)
          })
        let promise = try #require(Self.promise(split))
        #expect(promise >= best, "\(random), \(bits) bits")
        seen += 1
      }
    }
    #expect(seen > 20, "\(seen)")
  }

  /// A limit on nodes is named as what ended the run, at whichever shares it was reached: in the
  /// first trees, or with these two at limit 8 in later ones that lowered no bound.
  @Test(arguments: [9, 11]) func nodeLimitsAreNamed(seed: UInt64) throws {
    let counts = try SyntheticTrace(layers: 5, experts: 12, tokens: 2_000, seed: seed).counts()
    let instance = try Instance(counts: counts, topology: Topology(gpus: 3))
    for limit in [4, 8, 12, 30] {
      var options = Self.windowsOnly(seed: 1, work: 1_000_000_000)
      options.treeNodeLimit = limit
      let outcome = try Solver(options).solve(instance)
      #expect(outcome.stages[0].treeNodes <= limit, "\(limit): \(outcome.stages[0].treeNodes)")
      #expect(outcome.status == .feasible, "\(limit)")
      #expect(outcome.stopReason == .treeNodes, "\(limit): \(outcome.stopReason)")
    }
  }

  /// First trees that are gone on with after others have been given up prove bounds that hold, and
  /// a limit on nodes counts those of all trees.
  @Test(arguments: [9, 11]) func firstTreesGoOn(seed: UInt64) throws {
    let counts = try SyntheticTrace(layers: 5, experts: 12, tokens: 2_000, seed: seed).counts()
    let instance = try Instance(counts: counts, topology: Topology(gpus: 3))
    var options = Self.windowsOnly(seed: 1, work: 1_000_000_000)
    let optimum = try Solver(options).solve(instance)
    #expect(optimum.status == .optimal)
    let best = try #require(optimum.value)
    options.debug.givesTreesUp = true
    var bounds = [Int]()
    for limit in [20, 40, 100, 200] {
      options.treeNodeLimit = limit
      let outcome = try Solver(options).solve(instance)
      #expect(outcome.internalFault == nil)
      #expect(outcome.stages[0].treeNodes <= limit, "\(limit): \(outcome.stages[0].treeNodes)")
      #expect(outcome.value == best, "\(limit)")
      bounds.append(try #require(outcome.bound))
    }
    // The first ones close, and what is left is what their windows' disagreement costs.
    #expect(bounds[3] < best && bounds[3] > bounds[0], "\(bounds)")
  }

  /// What an optimal placement keeps, of problems that have windows.
  private static func optimum(_ problem: GroupingProblem) -> Int? {
    guard problem.groups > 2, problem.groupSize > 1, problem.layers > 2, problem.caps == nil,
      problem.total > 0
    else { return nil }
    return problem.bruteForce()?.kept
  }

  /// Few iterations of the co-location relaxation, then windows.
  private static func windowsOnly(seed: UInt64, work: Int) -> SolverOptions {
    var options = SolverOptions()
    (options.seed, options.workLimit, options.threads) = (seed, work, 2)
    (options.methods.chain, options.methods.path) = (false, false)
    (options.methods.localRounds, options.methods.colocationIterations) = (3, 20)
    (options.methods.colocationStates, options.keepsCertificate) = (0, true)
    return options
  }
}
