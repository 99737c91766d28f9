import Colocate
import TestSupport
import Testing

@Suite struct ChainProgramTests {
  @Test(arguments: 0..<400) func equalsBruteForce(seed: Int) throws {
    let instance = RandomProblem(seed: UInt64(seed))
    let problem = instance.problem
    let chain = try #require(ChainProgram(problem), "\(instance)")
    let control = SearchControl(threads: 1 + seed % 3)
    let answer = chain.solve(control: control, keepsValues: true)
    guard let optimum = problem.bruteForce() else {
      #expect(answer == nil, "\(instance)")
      return
    }
    let found = try #require(answer, "\(instance)")
    #expect(found.kept == optimum.kept, "\(instance)")
    #expect(problem.kept(found.labels) == found.kept, "\(instance)")
    #expect(problem.isFeasible(found.labels), "\(instance)")
    guard !found.values.isEmpty else { return }
    // The value function proves the optimum: no step gains more than it says, and its maximum is
    // the answer.
    #expect(found.values.last?.max() == found.kept)
    let groups = problem.groups
    for l in 0..<(problem.layers - 1) {
      let (from, to) = (found.partitions[l], found.partitions[l + 1])
      for a in found.values[l].indices {
        for b in found.values[l + 1].indices {
          var labels = [Int](repeating: 0, count: 2 * problem.experts)
          for g in 0..<groups {
            for e in 0..<problem.experts {
              if from[a * groups + g] >> UInt64(e) & 1 == 1 { labels[e] = g }
              if to[b * groups + g] >> UInt64(e) & 1 == 1 { labels[problem.experts + e] = g }
            }
          }
          let two = Self.boundary(problem, l)
          var matching = LabelMatching()
          matching.relabel(&labels, problem: two, saved: .flat(groups: groups))
          let inside = Self.inside(problem, l + 1, Array(labels[problem.experts...]))
          #expect(
            found.values[l + 1][b] >= found.values[l][a] + two.kept(labels) + inside,
            "\(instance)")
        }
      }
    }
  }

  /// Boundary `l` alone, without co-activation.
  static func boundary(_ problem: GroupingProblem, _ l: Int) -> GroupingProblem {
    let square = problem.experts * problem.experts
    return GroupingProblem(
      layers: 2, experts: problem.experts, groups: problem.groups,
      weights: Array(problem.weights[(l * square)..<((l + 1) * square)]),
      loads: Array(problem.loads[(l * problem.experts)..<((l + 2) * problem.experts)]))
  }

  static func inside(_ problem: GroupingProblem, _ l: Int, _ labels: [Int]) -> Int {
    var sum = 0
    for i in 0..<problem.experts {
      for j in 0..<i where labels[i] == labels[j] { sum += problem.coactivation(l, i, j) }
    }
    return sum
  }

  /// Ten experts on two GPUs use both half-mask tables, large weights the doubles.
  @Test(arguments: 0..<12) func twoGroupsEqualTheGeneralPath(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let experts = [10, 12][seed % 2]
    let largest = seed % 3 == 0 ? 1_000_000_000 : 50
    let layers = 4
    let counts = try TransitionCounts(
      layers: layers, experts: experts,
      weights: (0..<((layers - 1) * experts * experts)).map { _ in random.next(below: largest) })
    let cap = seed % 4 == 1 ? try LoadCap(1.02, relaxedToFeasible: true) : nil
    let instance = try Instance(counts: counts, topology: Topology(gpus: 2), loadCap: cap)
    let problem = instance.gpuProblem
    let chain = try #require(ChainProgram(problem))
    #expect(chain.method == .twoGroups)
    let answer = try #require(chain.solve(control: SearchControl(threads: 2), keepsValues: true))
    // The whole value function, under a cap too.
    let general = try #require(ChainProgram(problem, allowing: .init(twoGroups: false)))
    #expect(general.method == .partitions)
    let slow = try #require(general.solve(control: SearchControl(threads: 3), keepsValues: true))
    #expect(answer.values == slow.values && answer.partitions == slow.partitions, "seed \(seed)")
    #expect(answer.labels == slow.labels, "seed \(seed)")
    // Another oracle: label matching over every pair of partitions, by PartitionPool, whose limit
    // is set to all of them.
    let all = PartitionList.all(
      experts: experts, groups: 2, loads: [Int](repeating: 0, count: experts), cap: nil)
    let pool = PartitionPool(problem: problem, limit: all.count / 2)
    for p in 0..<(all.count / 2) {
      let layer = (0..<experts).map { Int(all[p * 2 + 1] >> UInt64($0) & 1) }
      let labels = (0..<layers).flatMap { _ in layer }
      if problem.caps == nil || problem.isFeasible(labels) { pool.add(labels, value: 0) }
    }
    if problem.caps == nil {
      let best = try #require(pool.recombine(control: SearchControl()))
      #expect(answer.kept == best.value, "seed \(seed)")
    }
    #expect(problem.isFeasible(answer.labels))
    #expect(problem.kept(answer.labels) == answer.kept)
  }

  @Test func refusesWhatIsTooLarge() throws {
    let counts = try TransitionCounts(
      layers: 2, experts: 32, weights: [Int](repeating: 1, count: 1024))
    for gpus in [2, 4, 8, 16] {
      #expect(
        ChainProgram(try Instance(counts: counts, topology: Topology(gpus: gpus)).gpuProblem) == nil
      )
    }
    #expect(
      ChainProgram(try Instance(counts: counts, topology: Topology(gpus: 32)).gpuProblem) != nil)
    #expect(PartitionList.count(experts: 16, groups: 2) == 6435)
    #expect(PartitionList.count(experts: 16, groups: 4) == 2_627_625)
    #expect(PartitionList.count(experts: 16, groups: 8) == 2_027_025)
  }
}
