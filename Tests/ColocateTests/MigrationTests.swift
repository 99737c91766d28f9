import Colocate
import TestSupport
import Testing

/// From the plan in use to a new one: names, limits and bounds against listing everything.
@Suite struct MigrationTests {
  /// All labelled assignments of a layer within its cap.
  private func states(_ problem: GroupingProblem, layer: Int) -> [[Int]] {
    var found = [[Int]]()
    var labels = [Int](repeating: 0, count: problem.experts)
    func assign(_ e: Int) {
      guard e < problem.experts else {
        if problem.meetsCap(layer: layer, labels) { found.append(labels) }
        return
      }
      for g in 0..<problem.groups
      where labels[..<e].count(where: { $0 == g }) < problem.groupSize {
        labels[e] = g
        assign(e + 1)
      }
    }
    assign(0)
    return found
  }

  private func saved(_ problem: GroupingProblem, seed: Int) -> SavedWeights {
    problem.groups % 2 == 0 && seed % 3 == 0
      ? SavedWeights(groupsPerNode: problem.groups / 2, group: 1, node: 3)
      : .flat(groups: problem.groups)
  }

  private func moves(_ a: [Int], _ b: [Int]) -> Int { zip(a, b).count { $0 != $1 } }

  /// The best value within each number of moves, `[L · E + 1]`: every state of every layer.
  private func bestWithin(
    _ problem: GroupingProblem, _ saved: SavedWeights, home: [Int]
  ) -> [Int?] {
    let most = home.count
    var best = [[Int?]]()
    var before = [[Int]]()
    for l in 0..<problem.layers {
      let own = Array(home[(l * problem.experts)..<((l + 1) * problem.experts)])
      let states = states(problem, layer: l)
      let next = states.map { state -> [Int?] in
        let inside = saved.inside(problem, layer: l, state)
        let moved = moves(state, own)
        var row = [Int?](repeating: nil, count: most + 1)
        if l == 0 {
          row[moved] = inside
          return row
        }
        for (index, other) in before.enumerated() {
          var pair = inside
          for i in 0..<problem.experts {
            for j in 0..<problem.experts {
              pair += problem.weight(l - 1, i, j) * saved.saved(other[i], state[j])
            }
          }
          for (used, value) in best[index].enumerated() {
            guard let value, used + moved <= most else { continue }
            row[used + moved] = max(row[used + moved] ?? .min, value + pair)
          }
        }
        return row
      }
      (best, before) = (next, states)
    }
    var within = [Int?](repeating: nil, count: most + 1)
    for m in 0...most {
      let exact = best.compactMap { $0[m] }.max()
      within[m] = [m > 0 ? within[m - 1] : nil, exact].compactMap { $0 }.max()
    }
    return within
  }

  @Test(arguments: 0..<80) func withinALimitAsGoodAsListingEverything(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed), experts: [2, 4, 6], maxLayers: 4)
    let problem = random.problem
    guard problem.groups > 1, let optimum = problem.bruteForce() else { return }
    var generator = SeededGenerator(seed: UInt64(seed))
    let home = (0..<problem.layers).flatMap { layer -> [Int] in
      let all = states(problem, layer: layer)
      return all[generator.next(below: all.count)]
    }
    let saved = saved(problem, seed: seed)
    let within = bestWithin(problem, saved, home: home)
    for limit in [0, 1, 2, 3, 4, 6, home.count] {
      let search = LimitedMoves(
        problem: problem, saved: saved, home: home, limit: limit, seed: 1,
        control: SearchControl())
      let found = try #require(search.best(from: [optimum.labels]))
      let value = saved.value(problem, found)
      #expect(problem.isFeasible(found) && moves(found, home) <= limit, "\(random)")
      let best = try #require(within[min(limit, home.count)])
      // Under a cap swaps alone need not reach every plan.
      #expect(
        problem.caps == nil ? value == best : value <= best, "\(random), at most \(limit) moves")
      #expect(value >= saved.value(problem, home), "\(random), at most \(limit) moves")
      #expect(saved.value(problem, home) + search.mostGain >= best, "\(random), \(limit) moves")
    }
  }

  /// All permutations of `0 ..< n`.
  private func permutations(_ n: Int) -> [[Int]] {
    n == 0
      ? [[]]
      : permutations(n - 1).flatMap { short in
        (0..<n).map { place in Array(short[..<place]) + [n - 1] + Array(short[place...]) }
      }
  }

  private func keepsNodes(_ names: [Int], _ perNode: Int) -> Bool {
    names.indices.allSatisfy { names[$0] / perNode == names[$0 / perNode * perNode] / perNode }
  }

  @Test(arguments: 0..<60) func noOtherNamesMoveFewer(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed), maxLayers: 4, caps: false)
    let problem = random.problem
    guard (2...6).contains(problem.groups) else { return }
    var generator = SeededGenerator(seed: UInt64(seed))
    func labels() -> [Int] {
      (0..<problem.layers).flatMap { _ in
        (0..<problem.experts).map { $0 % problem.groups }.shuffled(using: &generator)
      }
    }
    let (plan, current) = (labels(), labels())
    let perNode = problem.groups % 2 == 0 ? problem.groups / 2 : problem.groups
    let keeps = seed % 2 == 0
    let saved =
      keeps && perNode < problem.groups
      ? SavedWeights(groupsPerNode: perNode, group: 1, node: 3) : .flat(groups: problem.groups)
    let naming = FewestMoves(
      problem: problem, saved: saved, perNode: perNode, keepsNodes: keeps, current: current)
    func cost(_ labels: [Int]) -> [Int] {
      [moves(labels, current), moves(labels.map { $0 / perNode }, current.map { $0 / perNode })]
    }
    let alike = naming.renamedAlike(plan)
    let all = permutations(problem.groups).filter { !keeps || keepsNodes($0, perNode) }
    let least = all.map { names in cost(plan.map { names[$0] }) }.min {
      $0.lexicographicallyPrecedes($1)
    }
    #expect(cost(alike) == least, "\(random)")
    #expect(all.contains { names in plan.map { names[$0] } == alike }, "\(random)")
    // Layer by layer: never worth less, and where it is worth the same, no more moves.
    let renamed = naming.renamed(plan)
    let (old, new) = (saved.value(problem, plan), saved.value(problem, renamed))
    #expect(new >= old && problem.isFeasible(renamed), "\(random)")
    if new == old { #expect(moves(renamed, current) <= moves(alike, current), "\(random)") }
    // Only names change: who shares a group is as it was.
    for l in 0..<problem.layers {
      for a in 0..<problem.experts {
        for b in 0..<a {
          let (i, j) = (l * problem.experts + a, l * problem.experts + b)
          #expect((renamed[i] == renamed[j]) == (plan[i] == plan[j]), "\(random)")
        }
      }
    }
  }

  /// Where layers do not hold together, each takes the names that suit it.
  @Test(arguments: 0..<20) func layersWithoutWeightChooseForThemselves(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    let (layers, experts, groups) = (3, 6, 3)
    func labels() -> [Int] {
      (0..<layers).flatMap { _ in (0..<experts).map { $0 % groups }.shuffled(using: &random) }
    }
    let (plan, current) = (labels(), labels())
    let problem = GroupingProblem(
      layers: layers, experts: experts, groups: groups,
      weights: [Int](repeating: 0, count: 2 * experts * experts),
      loads: [Int](repeating: 1, count: layers * experts))
    let naming = FewestMoves(
      problem: problem, saved: .flat(groups: groups), perNode: groups, keepsNodes: false,
      current: current)
    let least = (0..<layers).reduce(0) { sum, l in
      let range = (l * experts)..<((l + 1) * experts)
      let row = Array(plan[range])
      let own = Array(current[range])
      return sum
        + (permutations(groups).map { names in moves(row.map { names[$0] }, own) }.min() ?? 0)
    }
    #expect(moves(naming.renamed(plan), current) == least, "seed \(seed)")
  }

  /// The whole way, for every objective: the answer is worth what it was, and moves are counted.
  @Test(arguments: 0..<24) func answersKeepTheirWorth(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let topology = try Topology(gpus: 4, nodes: seed % 2 + 1)
    let weights = (0..<(3 * 64)).map { _ in random.next(below: 20) }
    let counts = try TransitionCounts(layers: 4, experts: 8, weights: weights)
    let objective: Objective = [.flat, .staged, .joint(interNode: 4, intraNode: 1)][seed % 3]
    let instance = try Instance(counts: counts, topology: topology, objective: objective)
    let current = try Placement(
      topology: topology, layers: 4, experts: 8,
      assignment: (0..<4).flatMap { _ in (0..<8).map { $0 / 2 }.shuffled(using: &random) })
    var options = SolverOptions()
    (options.timeLimit, options.workLimit, options.threads) = (nil, 200_000, 1)
    let outcome = try Solver(options).solve(instance)
    let found = try #require(outcome.placement)
    let renamed = try instance.renamed(found, near: current)
    let value = objective.value(of: try counts.crossings(of: renamed))
    #expect(value <= outcome.value ?? .max, "seed \(seed)")
    let (plain, named) = (
      try Migration(from: current, to: found), try Migration(from: current, to: renamed)
    )
    if value == outcome.value { #expect(named.copies <= plain.copies, "seed \(seed)") }
    let limited = try instance.limited(to: 6, from: current, towards: [renamed])
    let placement = try #require(limited.placement)
    #expect(try Migration(from: current, to: placement).copies <= 6, "seed \(seed)")
    let answer = try outcome.replacing(limited: limited, on: instance)
    #expect(answer.value == objective.value(of: try counts.crossings(of: placement)))
    if let bound = answer.bound, let value = answer.value { #expect(bound <= value) }
    #expect((limited.bound == nil) == (objective == .staged && topology.nodes > 1))
    if objective != .staged || topology.nodes == 1 {
      #expect(
        objective.value(of: try counts.crossings(of: placement))
          <= objective.value(of: try counts.crossings(of: current)), "seed \(seed)")
    }
  }
}
