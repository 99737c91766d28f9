import Benchmark

/// Every benchmark; each subject has a file of its own.
let benchmarks: @Sendable () -> Void = {
  countingBenchmarks()
  readingBenchmarks()
  evaluationBenchmarks()
  projectionBenchmarks()
  windowBenchmarks()
  localSearchBenchmarks()
  proofBenchmarks()
}

/// Ratios of two things measured in the same run, in thousandths: they stay meaningful on a
/// busy machine, seconds do not.
let ratio = BenchmarkMetric.custom("ratio of the two (‰)", polarity: .prefersLarger)

/// Seconds that `body` takes.
func seconds(_ body: () throws -> Void) rethrows -> Double {
  let clock = ContinuousClock()
  let duration = try clock.measure(body)
  return Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}

/// Times of a single step, taken for at most `seconds`.
func timed(seconds: Int = 3) -> Benchmark.Configuration {
  .init(metrics: [.wallClock], maxDuration: .seconds(seconds))
}
