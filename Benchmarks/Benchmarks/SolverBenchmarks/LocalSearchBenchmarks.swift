import Benchmark
import Colocate

/// Rounds of local search from nothing, on one thread.
func localSearchBenchmarks() {
  for experts in [16, 64] {
    Benchmark(
      "6 rounds of local search, 24 layers of \(experts) experts, 8 GPUs", configuration: timed()
    ) { (_, problem: GroupingProblem) in
      let incumbent = Incumbent()
      LocalSearch(
        problem: problem, seed: 1, control: SearchControl(), incumbent: incumbent,
        pool: PartitionPool(problem: problem)
      ).run(rounds: 6)
      blackHole(incumbent.kept)
    } setup: {
      try flatProblem(layers: 24, experts: experts, gpus: 8)
    }
  }
}
