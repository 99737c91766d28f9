import Colocate
import TestSupport
import Testing

@Suite struct PathRelaxationTests {
  /// B(u) by its definition: every path, one by one.
  static func plainBound(_ problem: GroupingProblem, prices: [Int]) -> Int {
    let ticks = PathSubsets.ticks
    let experts = problem.experts
    func subsets(_ l: Int) -> [[Int]] {
      var found = [[Int]]()
      for mask in 0..<(1 << experts) where mask.nonzeroBitCount == problem.groupSize {
        let members = (0..<experts).filter { mask >> $0 & 1 == 1 }
        let load = members.map { problem.loads[l * experts + $0] }.reduce(0, +)
        if load <= problem.caps?[l] ?? .max { found.append(members) }
      }
      return found
    }
    func own(_ l: Int, _ members: [Int]) -> Int {
      var sum = 0
      for i in members {
        sum -= prices[l * experts + i]
        for j in members where j < i && !problem.coactivation.isEmpty {
          sum += ticks * problem.coactivation[(l * experts + i) * experts + j]
        }
      }
      return sum
    }
    func longest(_ l: Int, _ members: [Int]) -> Int {
      guard l < problem.layers - 1 else { return own(l, members) }
      var best = Int.min
      for next in subsets(l + 1) {
        var weight = 0
        for i in members {
          for j in next { weight += problem.weights[(l * experts + i) * experts + j] }
        }
        best = max(best, ticks * weight + longest(l + 1, next))
      }
      return own(l, members) + best
    }
    let lambda = subsets(0).map { longest(0, $0) }.max() ?? .min
    let value = prices.reduce(0, +) + problem.groups * lambda
    return Int((Double(value) / Double(ticks)).rounded(.down))
  }

  @Test(arguments: 0..<40)
  func equalsItsDefinition(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed), experts: [2, 4, 6], maxLayers: 3)
    var generator = SeededGenerator(seed: UInt64(seed) ^ 77)
    let relaxation = PathRelaxation(problem: random.problem, threads: 1 + seed % 2)!
    for _ in 0..<3 {
      let prices = (0..<(random.problem.layers * random.problem.experts)).map { _ in
        generator.next(below: 64 * random.problem.total + 1) - 16 * random.problem.total
      }
      let evaluation = try #require(relaxation.evaluate(experts: prices))
      let plain = Self.plainBound(random.problem, prices: prices)
      #expect(evaluation.bound == plain, "\(random)")
    }
  }

  /// Optimising from an incumbent one short of the optimum must neither cut the optimum off nor
  /// claim less than it.
  @Test(arguments: 0..<300)
  func neverLosesTheOptimum(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed) + 1000)
    let problem = random.problem
    guard let optimum = problem.bruteForce() else { return }
    let relaxation = PathRelaxation(problem: problem, threads: 1)!
    relaxation.known = watched(problem, optimum.labels)
    let start = try #require(relaxation.evaluate(experts: relaxation.startPrices(share: 0.5)))
    #expect(relaxation.bound >= optimum.kept, "\(random)")
    relaxation.optimise(from: start, incumbent: { optimum.kept - 1 }, control: SearchControl())
    #expect(relaxation.bound >= optimum.kept, "\(random)")
    #expect(relaxation.contains(optimum.labels), "\(random)")
    // The bound and its prices belong together: all subsets again, the same deletions, the same
    // number.
    let again = PathRelaxation(problem: problem, threads: 1)!
    for prices in relaxation.vertices.deletions {
      let evaluation = try #require(again.evaluate(prices))
      again.delete(using: evaluation, incumbent: optimum.kept - 1)
    }
    let evaluation = try #require(again.evaluate(relaxation.boundPrices))
    #expect(evaluation.boundInTicks >= Double(optimum.kept * 64), "\(random)")
    #expect(again.bound <= relaxation.bound, "\(random)")
  }

  /// Prices made over a few subsets, evaluated over all: the bound holds, the optimum is not
  /// deleted.
  @Test(arguments: 0..<200)
  func generationNeverLosesTheOptimum(seed: Int) {
    let random = RandomProblem(seed: UInt64(seed) + 5000)
    let problem = random.problem
    guard problem.groups > 1, let optimum = problem.bruteForce() else { return }
    let relaxation = PathRelaxation(problem: problem, threads: 1)!
    relaxation.known = watched(problem, optimum.labels)
    var generation = PathRelaxation.Generation()
    (generation.enough, generation.most, generation.fresh, generation.rounds) = (0, 12, 3, 6)
    let partition = { (l: Int) in
      Array(optimum.labels[(l * problem.experts)..<((l + 1) * problem.experts)])
    }
    relaxation.optimiseByGeneration(
      from: relaxation.startPrices(share: 0.5),
      partitions: (0..<problem.layers).map { [partition($0)] },
      incumbent: { optimum.kept - 1 }, generation: generation, control: SearchControl())
    #expect(relaxation.bound >= optimum.kept, "\(random)")
    #expect(relaxation.contains(optimum.labels), "\(random)")
  }

  /// A restricted master with a quarter of the subsets comes near the bound that all of them give.
  @Test func generationComesNearTheFullBound() throws {
    let counts = try SyntheticTrace(layers: 8, experts: 12, tokens: 20_000, affinity: 0.8, seed: 3)
      .counts()
    let instance = try Instance(counts: counts, topology: Topology(gpus: 3))
    let problem = instance.gpuProblem
    let incumbent = Incumbent()
    let pool = PartitionPool(problem: problem)
    LocalSearch(
      problem: problem, seed: 1, control: SearchControl(), incumbent: incumbent, pool: pool
    ).run(rounds: 6)
    func relaxation() throws -> (PathRelaxation, PathEvaluation) {
      let relaxation = try #require(PathRelaxation(problem: problem))
      let start = relaxation.startPrices(share: 0.5)
      return (relaxation, try #require(relaxation.evaluate(experts: start)))
    }
    // Low, so that neither stops when it is good enough.
    let aim = { incumbent.kept / 2 }
    let (full, fullStart) = try relaxation()
    var effort = PathRelaxation.Effort()
    (effort.cutRounds, effort.deletes, effort.deepShare) = (0, false, 1)
    full.optimise(from: fullStart, incumbent: aim, effort: effort, control: SearchControl())
    let (generated, generatedStart) = try relaxation()
    let start = generated.bound
    var generation = PathRelaxation.Generation()
    (generation.enough, generation.most, generation.fresh) = (0, 120, 40)
    generated.optimiseByGeneration(
      from: generatedStart.prices.experts, partitions: (0..<problem.layers).map(pool.partitions),
      incumbent: aim,
      generation: generation, control: SearchControl())
    #expect(generated.bound >= incumbent.kept)
    #expect(generated.bound - full.bound < (start - full.bound) / 50)
  }

  /// P = E: every group is one expert, the relaxation is a chain of assignment problems and has no
  /// gap beyond rounding and smoothing.
  @Test func isTightForSingleExperts() throws {
    var generator = SeededGenerator(seed: 5)
    let weights = (0..<(3 * 36)).map { _ in generator.next(below: 1000) }
    let counts = try! TransitionCounts(layers: 4, experts: 6, weights: weights)
    let problem = GroupingProblem(
      layers: 4, experts: 6, groups: 6, weights: weights, loads: counts.loads)
    let optimum = problem.bruteForce()!
    let relaxation = PathRelaxation(problem: problem, threads: 1)!
    let start = try #require(relaxation.evaluate(experts: relaxation.startPrices(share: 0.5)))
    var effort = PathRelaxation.Effort()
    effort.lastMu = 0.05
    relaxation.optimise(
      from: start, incumbent: { optimum.kept - 1 }, effort: effort, control: SearchControl())
    #expect(relaxation.bound >= optimum.kept)
    #expect(relaxation.bound <= optimum.kept + optimum.kept / 500 + 1)
  }

  @Test func exponentialAndLogarithm() {
    for x in stride(from: -700.0, through: 700, by: 13.7) {
      #expect(abs(Elementary.log(Elementary.exp(x)) - x) < 1e-12 * max(1, abs(x)))
    }
    #expect(abs(Elementary.exp(1) - 2.718281828459045) < 1e-15)
    for x in stride(from: Float(-86), through: 0, by: 0.37) {
      let lanes = Elementary.exp(SIMD4<Float>(x, x / 2, x / 3, 0))
      let exact = Elementary.exp(Double(x))
      #expect(abs(Double(lanes[0]) - exact) <= 3e-6 * exact, "\(x)")
      #expect(lanes[3] == 1)
    }
  }

  /// The smoothed dual's gradient is the derivative of its value.
  @Test func gradientMatchesDifferences() throws {
    let problem = RandomProblem(seed: 12, experts: [6], caps: false).problem
    let relaxation = PathRelaxation(problem: problem, threads: 1)!
    let evaluation = try #require(
      relaxation.evaluate(experts: relaxation.startPrices(share: 0.4)))
    let smooth = PathSmoothing(evaluation, mu: 640, cutoff: 60, arcLimit: .max)
    var prices = evaluation.prices.experts.map { Double($0) + 30 }
    var gradient = [Double](repeating: 0, count: prices.count)
    _ = smooth.evaluate(prices, gradient: &gradient)
    var unused = gradient
    for index in stride(from: 0, to: prices.count, by: 3) {
      let middle = prices[index]
      prices[index] = middle + 1
      let above = smooth.evaluate(prices, gradient: &unused)!
      prices[index] = middle - 1
      let below = smooth.evaluate(prices, gradient: &unused)!
      prices[index] = middle
      #expect(abs((above - below) / 2 - gradient[index]) < 1e-4)
    }
  }
}
