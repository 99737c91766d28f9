import Benchmark
import Colocate

/// Whole proofs: what a second thread brings.
func proofBenchmarks() {
  for gpus in [4, 8] {
    Benchmark(
      "proof with 2 threads over 1, 16 experts, 12 layers, \(gpus) GPUs",
      configuration: .init(metrics: [ratio], maxDuration: .seconds(120), maxIterations: 3)
    ) { benchmark in
      let counts = try SyntheticTrace(layers: 12, experts: 16, tokens: 40_000).counts()
      let one = try seconds { try prove(counts, gpus: gpus, threads: 1) }
      let two = try seconds { try prove(counts, gpus: gpus, threads: 2) }
      benchmark.measurement(ratio, Int(one / two * 1000))
    }
  }
}

/// Proof of a synthetic instance (16 experts, 12 layers) with `threads` threads.
private func prove(_ counts: TransitionCounts, gpus: Int, threads: Int) throws {
  var options = SolverOptions()
  options.threads = threads
  options.timeLimit = 300
  let instance = try Instance(counts: counts, topology: Topology(gpus: gpus))
  let outcome = try Solver(options).solve(instance)
  guard outcome.status == .optimal else { fatalError("not proved within 300 s") }
}
