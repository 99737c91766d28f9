import Benchmark
import Colocate

/// The objective of a placement, and the bounds that given multipliers or prices prove.
func evaluationBenchmarks() {
  Benchmark("exact objective, 40 layers of 256 experts", configuration: timed()) {
    (_, known: (counts: TransitionCounts, placement: Placement)) in
    blackHole(try known.counts.crossings(of: known.placement))
  } setup: {
    let counts = try SyntheticTrace(layers: 40, experts: 256, tokens: 20_000).counts()
    let instance = try Instance(counts: counts, topology: Topology(gpus: 32))
    return (counts, try Baseline.roundRobin.placement(for: instance))
  }

  // One boundary: an eigenvalue problem of twice as many vertices as experts, rigorously.
  for experts in [32, 256] {
    Benchmark(
      "bound of co-location multipliers, a boundary of \(2 * experts) vertices",
      configuration: timed()
    ) { (_, known: (problem: GroupingProblem, multipliers: ColocationMultipliers)) in
      blackHole(known.multipliers.keptBound(for: known.problem, control: SearchControl()))
    } setup: {
      let problem = try flatProblem(layers: 2, experts: experts, gpus: 8)
      let relaxation = ColocationRelaxation(problem: problem, control: SearchControl())
      relaxation.parameters.maxIterations = 20
      relaxation.run()
      guard let multipliers = relaxation.multipliers else { fatalError("no multipliers") }
      return (problem, multipliers)
    }
  }

  // Forward and backward over 23 boundaries of 1,820 subsets each.
  Benchmark("bound of path prices, 24 layers of C(16, 4)", configuration: timed()) {
    (_, known: (relaxation: PathRelaxation, prices: [Int])) in
    blackHole(known.relaxation.evaluate(experts: known.prices))
  } setup: {
    let problem = try flatProblem(layers: 24, experts: 16, gpus: 4)
    guard let relaxation = PathRelaxation(problem: problem, threads: 1) else {
      fatalError("the path relaxation does not apply")
    }
    return (relaxation, relaxation.startPrices(share: 0.5))
  }
}

/// A synthetic instance with the flat objective.
func flatProblem(
  layers: Int, experts: Int, gpus: Int, affinity: Double = 0.95
) throws -> GroupingProblem {
  let counts = try SyntheticTrace(
    layers: layers, experts: experts, tokens: 40_000, affinity: affinity
  ).counts()
  return try Instance(counts: counts, topology: Topology(gpus: gpus)).gpuProblem
}
