import Colocate
import TestSupport
import Testing

@Suite struct LocalSearchTests {
  static func search(
    _ problem: GroupingProblem, saved: SavedWeights? = nil, seed: UInt64, work: Int, threads: Int
  ) -> Incumbent.Entry? {
    let incumbent = Incumbent()
    let pool = PartitionPool(problem: problem, saved: saved)
    let control = SearchControl(workLimit: work, threads: threads)
    LocalSearch(
      problem: problem, saved: saved, seed: seed, control: control, incumbent: incumbent,
      pool: pool
    ).run()
    return incumbent.entry
  }

  @Test(arguments: 0..<200) func findsTheOptimumOfSmallProblems(seed: Int) throws {
    let instance = RandomProblem(seed: UInt64(seed))
    let problem = instance.problem
    let optimum = try #require(problem.bruteForce(), "\(instance)")
    let found = try #require(
      Self.search(problem, seed: 1, work: 480_000, threads: 1), "\(instance)")
    #expect(problem.isFeasible(found.labels), "\(instance)")
    #expect(problem.kept(found.labels) == found.kept, "\(instance)")
    #expect(found.kept == optimum.kept, "\(instance)")
  }

  @Test(arguments: 0..<40) func twoLevelsEqualBruteForce(seed: Int) throws {
    let instance = RandomProblem(seed: UInt64(seed), experts: [4, 6, 8], maxLayers: 3)
    let problem = instance.problem
    let nodes = (2...max(2, problem.groups)).filter {
      problem.groups % $0 == 0 && $0 < problem.groups
    }
    guard let node = nodes.first else { return }
    let saved = SavedWeights(groupsPerNode: problem.groups / node, group: 2, node: 3)
    let best = try #require(TwoLevelBruteForce.best(problem, saved), "\(instance)")
    let found = try #require(
      Self.search(problem, saved: saved, seed: 3, work: 480_000, threads: 1), "\(instance)")
    #expect(problem.isFeasible(found.labels), "\(instance)")
    #expect(saved.value(problem, found.labels) == found.kept, "\(instance)")
    #expect(found.kept == best, "\(instance)")
  }

  @Test(arguments: 0..<4) func sameResultForAnyNumberOfThreads(seed: Int) throws {
    let problem = try Structured.problem(
      layers: 6, experts: 12, groups: [2, 3, 4, 6][seed], seed: UInt64(seed),
      cap: seed % 2 == 0 ? nil : 1.3)
    let results = try [1, 2, 4].map {
      try #require(Self.search(problem, seed: 5, work: 1_000_000, threads: $0), "seed \(seed)")
    }
    for result in results {
      #expect(result.kept == results[0].kept && result.labels == results[0].labels)
      #expect(problem.isFeasible(result.labels))
      #expect(problem.kept(result.labels) == result.kept)
    }
  }

  @Test(arguments: 0..<100) func polishNeverLosesAndStaysFeasible(seed: Int) {
    let instance = RandomProblem(seed: UInt64(seed))
    let problem = instance.problem
    var random = SeededGenerator(seed: UInt64(seed) + 77)
    var labels = [Int]()
    for l in 0..<problem.layers {
      let loads = problem.loads(layer: l)
      labels +=
        problem.caps == nil
        ? (0..<problem.experts).map { $0 % problem.groups }.shuffled(using: &random)
        : BalancedPacking(loads: loads, groups: problem.groups).groupOf
    }
    let polished = LocalSearch.polish(labels, problem: problem, control: SearchControl())
    #expect(polished.value == problem.kept(polished.labels), "\(instance)")
    #expect(polished.value >= problem.kept(labels), "\(instance)")
    #expect(problem.isFeasible(polished.labels), "\(instance)")
    // Nothing that label matching or a swap could still win.
    var matched = polished.labels
    var matching = LabelMatching()
    matching.relabel(&matched, problem: problem, saved: .flat(groups: problem.groups))
    #expect(problem.kept(matched) == polished.value, "\(instance)")
    for l in 0..<problem.layers {
      for a in 0..<problem.experts {
        for b in 0..<a {
          var swapped = polished.labels
          swapped.swapAt(l * problem.experts + a, l * problem.experts + b)
          if problem.isFeasible(swapped) {
            #expect(problem.kept(swapped) <= polished.value, "\(instance)")
          }
        }
      }
    }
  }

  /// Nothing that dealing two groups' experts out anew in all layers at once could still win, on
  /// one level or two.
  @Test(arguments: 0..<60) func polishSettlesPairsOfGroups(seed: Int) {
    let instance = RandomProblem(seed: UInt64(seed), experts: [4, 6, 8], maxLayers: 3)
    let problem = instance.problem
    guard problem.groups > 1, problem.groupSize <= 2 else { return }
    var random = SeededGenerator(seed: UInt64(seed) + 99)
    let saved = GainTableTests.weights(problem, &random)
    var labels = [Int]()
    for l in 0..<problem.layers {
      let loads = problem.loads(layer: l)
      labels +=
        problem.caps == nil
        ? (0..<problem.experts).map { $0 % problem.groups }.shuffled(using: &random)
        : BalancedPacking(loads: loads, groups: problem.groups).groupOf
    }
    let polished = LocalSearch.polish(
      labels, problem: problem, saved: saved, control: SearchControl())
    #expect(polished.value == saved.value(problem, polished.labels), "\(instance)")
    #expect(polished.value >= saved.value(problem, labels), "\(instance)")
    #expect(problem.isFeasible(polished.labels), "\(instance)")
    for p in 0..<problem.groups {
      for q in 0..<p {
        var trial = polished.labels
        func deal(_ l: Int) {
          guard l < problem.layers else {
            if problem.isFeasible(trial) {
              #expect(saved.value(problem, trial) <= polished.value, "\(instance) \(saved)")
            }
            return
          }
          let members = (0..<problem.experts).map { l * problem.experts + $0 }
            .filter { polished.labels[$0] == p || polished.labels[$0] == q }
          for mask in 0..<(1 << members.count)
          where mask.nonzeroBitCount == problem.groupSize {
            for (k, index) in members.enumerated() { trial[index] = mask >> k & 1 == 1 ? p : q }
            deal(l + 1)
          }
          for index in members { trial[index] = polished.labels[index] }
        }
        deal(0)
      }
    }
  }

  /// With two groups the pair is the whole problem.
  @Test(arguments: 0..<40) func polishIsOptimalForTwoSmallGroups(seed: Int) throws {
    let problem = try Structured.problem(
      layers: 5, experts: [4, 6, 8, 10][seed % 4], groups: 2, seed: UInt64(seed),
      cap: seed % 3 == 0 ? 1.1 : nil)
    let chain = try #require(ChainProgram(problem))
    let optimum = try #require(chain.solve(control: SearchControl()))
    var labels = [Int]()
    for l in 0..<problem.layers {
      labels +=
        BalancedPacking(loads: problem.loads(layer: l), groups: 2).groupOf
    }
    let polished = LocalSearch.polish(labels, problem: problem, control: SearchControl())
    #expect(polished.value == optimum.kept, "seed \(seed)")
  }

  /// On one level and on two.
  @Test(arguments: 0..<60) func poolRecombinesTheBestOfAll(seed: Int) throws {
    let instance = RandomProblem(seed: UInt64(seed), maxLayers: 4, caps: false)
    let problem = instance.problem
    var random = SeededGenerator(seed: UInt64(seed) + 5)
    let saved =
      seed % 2 == 0
      ? SavedWeights.flat(groups: problem.groups)
      : GainTableTests.weights(problem, &random)
    let pool = PartitionPool(problem: problem, saved: saved)
    var solutions = [[Int]]()
    for _ in 0..<5 {
      let labels = (0..<problem.layers).flatMap { _ in
        (0..<problem.experts).map { $0 % problem.groups }.shuffled(using: &random)
      }
      solutions.append(labels)
      pool.add(labels, value: saved.value(problem, labels))
    }
    let best = try #require(pool.recombine(control: SearchControl(threads: 2)), "\(instance)")
    // The oracle: every combination of layers, with the best labels.
    var most = 0
    var choice = [Int](repeating: 0, count: problem.layers)
    func combine(_ l: Int) {
      if l == problem.layers {
        var labels = choice.enumerated().flatMap { l, k in
          solutions[k][(l * problem.experts)..<((l + 1) * problem.experts)]
        }
        var matching = LabelMatching()
        matching.relabel(&labels, problem: problem, saved: saved)
        most = max(most, saved.value(problem, labels))
        return
      }
      for k in solutions.indices {
        choice[l] = k
        combine(l + 1)
      }
    }
    combine(0)
    #expect(best.value == most, "\(instance) \(saved)")
    #expect(saved.value(problem, best.labels) == best.value, "\(instance) \(saved)")
  }

  @Test func stopsAtOnceWhenCancelled() throws {
    let problem = try Structured.problem(layers: 4, experts: 16, groups: 4, seed: 1, cap: nil)
    let control = SearchControl()
    control.cancel()
    let incumbent = Incumbent()
    LocalSearch(
      problem: problem, seed: 1, control: control, incumbent: incumbent,
      pool: PartitionPool(problem: problem)
    ).run()
    #expect(incumbent.entry == nil)
  }
}

/// Tokens that mostly stay in their hidden group, so that good placements exist.
enum Structured {
  static func problem(
    layers: Int, experts: Int, groups: Int, seed: UInt64, cap: Double?
  ) throws -> GroupingProblem {
    var random = SeededGenerator(seed: seed)
    let hidden = (0..<layers).map { _ in
      (0..<experts).map { $0 % groups }.shuffled(using: &random)
    }
    var weights = [Int]()
    for l in 0..<(layers - 1) {
      for i in 0..<experts {
        for j in 0..<experts {
          weights.append(
            random.next(below: 20) + (hidden[l][i] == hidden[l + 1][j] ? random.next(below: 60) : 0)
          )
        }
      }
    }
    let counts = try TransitionCounts(layers: layers, experts: experts, weights: weights)
    return try Instance(
      counts: counts, topology: Topology(gpus: groups),
      loadCap: cap.map { try LoadCap($0, relaxedToFeasible: true) }
    ).gpuProblem
  }
}

/// Brute force for two levels: every labelled assignment of each layer, joined layer by layer.
enum TwoLevelBruteForce {
  static func best(_ problem: GroupingProblem, _ saved: SavedWeights) -> Int? {
    let (experts, groups) = (problem.experts, problem.groups)
    func states(_ l: Int) -> [[Int]] {
      var found = [[Int]]()
      var labels = [Int](repeating: 0, count: experts)
      var size = [Int](repeating: 0, count: groups)
      var load = size
      func assign(_ e: Int) {
        if e == experts {
          found.append(labels)
          return
        }
        for g in 0..<groups where size[g] < problem.groupSize {
          let more = problem.load(l, e)
          if let caps = problem.caps, load[g] + more > caps[l] { continue }
          labels[e] = g
          size[g] += 1
          load[g] += more
          assign(e + 1)
          size[g] -= 1
          load[g] -= more
        }
      }
      assign(0)
      return found
    }
    func inside(_ l: Int, _ labels: [Int]) -> Int {
      var sum = 0
      for i in 0..<experts {
        for j in 0..<i { sum += problem.coactivation(l, i, j) * saved.saved(labels[i], labels[j]) }
      }
      return sum
    }
    var previous = states(0)
    var value = previous.map { inside(0, $0) }
    for l in 1..<problem.layers {
      let next = states(l)
      if next.isEmpty { return nil }
      // Distinct rows of gains: what expert j would save in group g after each previous state.
      var best = [Int](repeating: -1, count: next.count)
      for (a, from) in previous.enumerated() {
        var gain = [Int](repeating: 0, count: experts * groups)
        for i in 0..<experts {
          for j in 0..<experts {
            let weight = problem.weight(l - 1, i, j)
            if weight == 0 { continue }
            for g in 0..<groups { gain[j * groups + g] += weight * saved.saved(from[i], g) }
          }
        }
        for (b, to) in next.enumerated() {
          var sum = value[a]
          for j in 0..<experts { sum += gain[j * groups + to[j]] }
          best[b] = max(best[b], sum)
        }
      }
      value = best.indices.map { best[$0] + inside(l, next[$0]) }
      previous = next
    }
    return value.max()
  }
}
