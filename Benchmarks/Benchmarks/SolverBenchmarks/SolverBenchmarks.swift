import Benchmark
import Colocate
import ColocateFormats

/// Ratios of two things measured in the same run, in percent: they stay meaningful on a busy
/// machine, seconds do not.
let ratio = BenchmarkMetric.custom("ratio of the two (%)", polarity: .prefersLarger)

/// Seconds that `body` takes.
func seconds(_ body: () throws -> Void) rethrows -> Double {
  let clock = ContinuousClock()
  let duration = try clock.measure(body)
  return Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}

/// Proof of a synthetic instance (16 experts, 12 layers) with `threads` threads.
func prove(_ counts: TransitionCounts, gpus: Int, threads: Int) throws {
  var options = SolverOptions()
  options.threads = threads
  options.timeLimit = 300
  let instance = try Instance(counts: counts, topology: Topology(gpus: gpus))
  let outcome = try Solver(options).solve(instance)
  guard outcome.status == .optimal else { fatalError("not proved within 300 s") }
}

let benchmarks: @Sendable () -> Void = {
  Benchmark(
    "count 10 million transitions",
    configuration: .init(metrics: [.wallClock, .peakMemoryResident], maxDuration: .seconds(5))
  ) { benchmark in
    let trace = try SyntheticTrace(layers: 25, experts: 64, tokens: 416_667)
    let ids = trace.ids()
    benchmark.startMeasurement()
    var accumulator = try TransitionAccumulator(layers: 25, experts: 64)
    try ids.withUnsafeBufferPointer { try accumulator.add($0) }
    blackHole(try accumulator.counts())
    benchmark.stopMeasurement()
  }

  // Counting against one plain pass over the same bytes: how far from memory bandwidth.
  Benchmark(
    "count against reading the ids",
    configuration: .init(metrics: [ratio], maxDuration: .seconds(5))
  ) { benchmark in
    let ids = try SyntheticTrace(layers: 25, experts: 64, tokens: 416_667).ids()
    let reading = seconds {
      var sum: UInt64 = 0
      for id in ids { sum &+= UInt64(id) }
      blackHole(sum)
    }
    let counting = try seconds {
      var accumulator = try TransitionAccumulator(layers: 25, experts: 64)
      try ids.withUnsafeBufferPointer { try accumulator.add($0) }
      blackHole(try accumulator.counts())
    }
    benchmark.measurement(ratio, Int(reading / counting * 100))
  }

  for gpus in [4, 8] {
    Benchmark(
      "proof with 2 threads over 1, 16 experts, 12 layers, \(gpus) GPUs",
      configuration: .init(metrics: [ratio], maxDuration: .seconds(120), maxIterations: 3)
    ) { benchmark in
      let counts = try SyntheticTrace(layers: 12, experts: 16, tokens: 40_000).counts()
      let one = try seconds { try prove(counts, gpus: gpus, threads: 1) }
      let two = try seconds { try prove(counts, gpus: gpus, threads: 2) }
      benchmark.measurement(ratio, Int(one / two * 100))
    }
  }

  Benchmark(
    "exact objective, 40 layers of 256 experts",
    configuration: .init(metrics: [.wallClock, .throughput], maxDuration: .seconds(3))
  ) { benchmark in
    let counts = try SyntheticTrace(layers: 40, experts: 256, tokens: 20_000).counts()
    let placement = try Baseline.roundRobin.placement(
      for: Instance(counts: counts, topology: Topology(gpus: 32)))
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(try counts.crossings(of: placement)) }
    benchmark.stopMeasurement()
  }
}
