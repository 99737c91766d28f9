import Colocate
import TestSupport
import Testing

@Suite struct RussianDollsTests {
  /// From an incumbent below the optimum the dolls find it; from the optimum they prove it.
  @Test(arguments: 0..<200)
  func equalsBruteForce(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed) + 5000)
    let problem = random.problem
    guard problem.groups >= 2, let optimum = problem.bruteForce() else { return }
    for below in [0, 1, optimum.kept / 20 + 1] {
      let incumbent = optimum.kept - below
      let relaxation = PathRelaxation(problem: problem, threads: 1 + seed % 2)!
      if below > 0 { relaxation.known = watched(problem, optimum.labels) }
      let start = try #require(
        relaxation.evaluate(experts: relaxation.startPrices(share: 0.5)))
      let control = SearchControl()
      relaxation.optimise(from: start, incumbent: { incumbent }, control: control)
      if relaxation.bound <= incumbent {
        #expect(below == 0, "\(random)")
        continue
      }
      let evaluation = try #require(relaxation.evaluate(relaxation.boundPrices))
      let dolls = RussianDolls(
        evaluation, incumbent: { incumbent }, control: control, known: relaxation.known)
      switch dolls.run() {
      case .proved: #expect(below == 0, "\(random)")
      case .optimum(let kept, let labels):
        #expect(kept == optimum.kept && below > 0, "\(random)")
        #expect(problem.isFeasible(labels) && problem.kept(labels) == kept, "\(random)")
      case .overflow, .stopped: Issue.record("\(random): nothing to overflow")
      }
    }
  }

  /// Chains of twelve layers, most of whose experts are cold: nearly all ways to match them are
  /// within any limit, and exchanges and the layers after the next decide what is expanded.
  @Test(arguments: 0..<60)
  func coldExpertsEqualTheChainProgram(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed) + 77_000)
    let (layers, experts, groups) = [(12, 8, 4), (12, 8, 2), (9, 9, 3)][seed % 3]
    let hot = 1 + random.next(below: experts)
    let weights = (0..<((layers - 1) * experts * experts)).map { index in
      let (i, j) = (index / experts % experts, index % experts)
      return i < hot && j < hot ? random.next(below: 200) : random.next(below: 8) / 7
    }
    let counts = try TransitionCounts(layers: layers, experts: experts, weights: weights)
    let problem = GroupingProblem(
      layers: layers, experts: experts, groups: groups, weights: weights, loads: counts.loads)
    let program = try #require(ChainProgram(problem))
    let optimum = try #require(program.solve(control: SearchControl()))
    let evaluation = try Self.evaluation(problem)
    for below in [1, optimum.kept / 10 + 1] {
      let dolls = RussianDolls(
        evaluation, incumbent: { optimum.kept - below }, control: SearchControl())
      guard case .optimum(let kept, let labels) = dolls.run() else {
        Issue.record("seed \(seed): no optimum")
        continue
      }
      #expect(kept == optimum.kept, "seed \(seed)")
      #expect(problem.isFeasible(labels) && problem.kept(labels) == kept, "seed \(seed)")
    }
  }

  /// Every doll is what its suffix loses at the least: the suffix solved as a problem of its own.
  @Test(arguments: 0..<40)
  func dollsBoundTheirSuffix(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed) + 9000, experts: [4, 6], maxLayers: 4)
    let problem = random.problem
    guard problem.groups >= 2, let optimum = problem.bruteForce() else { return }
    let evaluation = try Self.evaluation(problem)
    let dolls = RussianDolls(
      evaluation, incumbent: { optimum.kept - 1 }, control: SearchControl())
    guard case .optimum(let kept, _) = dolls.run() else {
      Issue.record("\(random): not found")
      return
    }
    #expect(kept == optimum.kept)
    for k in 1..<dolls.dolls.count { #expect(dolls.dolls[k] <= dolls.dolls[k - 1], "\(random)") }
    #expect(dolls.bound == optimum.kept, "\(random)")
    for k in 0..<problem.layers {
      #expect(dolls.dolls[k] == Self.leastLoss(evaluation, from: k), "\(random): layer \(k)")
    }
  }

  /// All subsets, at the start prices.
  private static func evaluation(_ problem: GroupingProblem) throws -> PathEvaluation {
    let relaxation = try #require(PathRelaxation(problem: problem))
    return try #require(relaxation.evaluate(experts: relaxation.startPrices(share: 0.5)))
  }

  /// What a completion from layer `k` on loses at the least, by listing them. A completion's loss
  /// is B minus what it keeps and minus what prices and the longest way to its first layer grant
  /// it: with f(S) the longest path to S, own weight included, P paths that start in the groups S
  /// of layer k lose P·λ − Σ f(S) − (their arcs and own weights after layer k).
  private static func leastLoss(_ evaluation: PathEvaluation, from k: Int) -> Int {
    let problem = evaluation.problem
    let (experts, ticks) = (problem.experts, PathSubsets.ticks)
    let layers = problem.layers - k
    // Every labelled assignment of a layer, by its groups.
    func partitions(_ l: Int) -> [[Int]] {
      var found = [[Int]]()
      var labels = [Int](repeating: 0, count: experts)
      var size = [Int](repeating: 0, count: problem.groups)
      func assign(_ e: Int) {
        guard e < experts else {
          if problem.meetsCap(layer: l, labels) { found.append(labels) }
          return
        }
        for g in 0..<problem.groups where size[g] < problem.groupSize {
          labels[e] = g
          size[g] += 1
          assign(e + 1)
          size[g] -= 1
        }
      }
      assign(0)
      return found
    }
    /// Co-activation inside the groups minus the prices: the same for all labels of a layer but for
    /// what is kept.
    func own(_ l: Int, _ labels: [Int]) -> Int {
      var sum = 0
      for i in 0..<experts {
        sum -= evaluation.prices.experts[l * experts + i]
        for j in 0..<i where !problem.coactivation.isEmpty && labels[i] == labels[j] {
          sum += ticks * problem.coactivation[(l * experts + i) * experts + j]
        }
      }
      return sum
    }
    /// Σ f(S) over the groups of layer k.
    func before(_ labels: [Int]) -> Int {
      (0..<problem.groups).reduce(0) { sum, g in
        let mask = (0..<experts).reduce(UInt64(0)) {
          labels[$1] == g ? $0 | 1 << UInt64($1) : $0
        }
        let subsets = evaluation.layers[k]
        let place = (0..<subsets.count).first { subsets.masks[$0] == mask }
        return sum + (place.map { Int(evaluation.forward[k][$0]) } ?? 0)
      }
    }
    var states = partitions(k)
    var best = states.map(before)
    for step in 1..<max(layers, 1) {
      let l = k + step
      let next = partitions(l)
      var reached = [Int](repeating: .min, count: next.count)
      for (b, to) in next.enumerated() {
        let ownWeight = own(l, to)
        for (a, from) in states.enumerated() {
          var value = best[a] + ownWeight
          for i in 0..<experts {
            for j in 0..<experts where from[i] == to[j] {
              value += ticks * problem.weights[((l - 1) * experts + i) * experts + j]
            }
          }
          reached[b] = max(reached[b], value)
        }
      }
      (states, best) = (next, reached)
    }
    return problem.groups * Int(evaluation.longest) - (best.max() ?? .min)
  }

  /// Six layers of eight experts on four GPUs, without structure.
  private func unstructured() throws -> GroupingProblem {
    var generator = SeededGenerator(seed: 3)
    let weights = (0..<(5 * 64)).map { _ in generator.next(below: 20) }
    let counts = try TransitionCounts(layers: 6, experts: 8, weights: weights)
    return GroupingProblem(
      layers: 6, experts: 8, groups: 4, weights: weights, loads: counts.loads)
  }

  /// The clock is looked at before the first complete partition, which a deep tree may never reach:
  /// not even the last layer's doll, which is listed and nothing else, is found.
  @Test func stopsInsideTheListOfStarts() throws {
    let problem = try unstructured()
    let evaluation = try Self.evaluation(problem)
    let control = SearchControl()
    control.cancel()
    let dolls = RussianDolls(evaluation, incumbent: { 0 }, control: control)
    guard case .stopped = dolls.run() else {
      Issue.record("a cancelled search went on")
      return
    }
    #expect(dolls.reached == problem.layers)
  }

  @Test func declaresOverflow() throws {
    let problem = try unstructured()
    let evaluation = try Self.evaluation(problem)
    var limits = RussianDolls.Limits()
    limits.bytes = 1
    let small = RussianDolls(
      evaluation, limits: limits, incumbent: { 0 }, control: SearchControl())
    guard case .overflow = small.run() else {
      Issue.record("one byte cannot be enough")
      return
    }
    limits = RussianDolls.Limits()
    limits.states = 3
    let dolls = RussianDolls(
      evaluation, limits: limits, incumbent: { 0 }, control: SearchControl())
    guard case .overflow = dolls.run() else {
      Issue.record("three states a layer cannot be enough")
      return
    }
  }

  /// The partitions that a doll starts with are those of a plain enumeration, each once, with few
  /// and with many dead ends.
  @Test(arguments: 0..<60)
  func startsAreThePartitionsWithinTheLimit(seed: Int) {
    var generator = SeededGenerator(seed: UInt64(seed) &+ 900)
    let (experts, groups) = [(8, 4), (8, 2), (6, 2), (6, 3), (9, 3)][seed % 5]
    let problem = GroupingProblem(
      layers: 2, experts: experts, groups: groups,
      weights: [Int](repeating: 1, count: experts * experts),
      loads: [Int](repeating: 1, count: 2 * experts))
    let subsets = PathSubsets.list(problem: problem, layer: 0, limit: 1000)!
    let penalties = SharedBuffer(
      (0..<subsets.count).map { _ in
        generator.next(below: 3) == 0 ? Int32.max : Int32(generator.next(below: 50))
      }, filler: 0)
    let limit = 20 + generator.next(below: 60)
    // Of a third of the seeds none, of another third hardly a limit.
    let slacks =
      seed % 3 == 0
      ? nil
      : SharedBuffer((0..<subsets.count).map { _ in Int32(generator.next(below: 30)) }, filler: 0)
    let slackLimit = seed % 3 == 1 ? 1000 : 5 + generator.next(below: 60)
    func slack(_ state: [UInt16]) -> Int {
      guard let slacks else { return 0 }
      return state.reduce(0) { $0 + Int(slacks[Int($1)]) }
    }
    var expected = Set<[UInt16]>()
    func extend(_ state: [UInt16], _ used: UInt64, _ sum: Int) {
      if state.count == groups {
        if slack(state) <= slackLimit { expected.insert(state) }
        return
      }
      let e = (~used).trailingZeroBitCount
      for s in 0..<subsets.count where subsets.masks[s] >> UInt64(e) & 1 == 1 {
        guard subsets.masks[s] & used == 0, sum + Int(penalties[s]) <= limit else { continue }
        extend(
          (state + [UInt16(s)]).sorted(), used | subsets.masks[s], sum + Int(penalties[s]))
      }
    }
    extend([], 0, 0)
    let list = StartList(
      subsets: subsets, penalties: penalties, experts: experts, groups: groups, limit: limit,
      slacks: slacks, slackLimit: slackLimit)
    for depth in 0...2 {
      let walk = StartList.Walk(list, stepsBefore: seed % 2 == 0 ? 0 : 4096)
      var found = [[UInt16]]()
      for prefix in list.prefixes(depth: depth) {
        walk.run(from: prefix) { state, sum in
          let groups = (0..<groups).map { state[$0] }
          #expect(sum == groups.reduce(0) { $0 + Int(penalties[Int($1)]) }, "seed \(seed)")
          found.append(groups.sorted())
        } isOver: {
          false
        }
      }
      #expect(found.count == expected.count && Set(found) == expected, "seed \(seed)")
    }
  }
}
