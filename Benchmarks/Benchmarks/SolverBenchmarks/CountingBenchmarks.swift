import Benchmark
import Colocate

/// From routed experts to transition counts: 10 million transitions of 25 layers of 64 experts.
func countingBenchmarks() {
  Benchmark(
    "count 10 million transitions",
    configuration: .init(metrics: [.wallClock, .peakMemoryResident], maxDuration: .seconds(3))
  ) { (_, ids: [UInt16]) in
    try count(ids)
  } setup: {
    try routedIDs()
  }

  // Counting against one plain pass over the same bytes: how far from memory bandwidth.
  Benchmark(
    "count against reading the ids",
    configuration: .init(metrics: [ratio], maxDuration: .seconds(3))
  ) { (benchmark, ids: [UInt16]) in
    let reading = seconds {
      var sum: UInt64 = 0
      for id in ids { sum &+= UInt64(id) }
      blackHole(sum)
    }
    let counting = try seconds { try count(ids) }
    benchmark.measurement(ratio, Int(reading / counting * 1000))
  } setup: {
    try routedIDs()
  }
}

private func routedIDs() throws -> [UInt16] {
  try SyntheticTrace(layers: 25, experts: 64, tokens: 416_667).ids()
}

private func count(_ ids: [UInt16]) throws {
  var accumulator = try TransitionAccumulator(layers: 25, experts: 64)
  try ids.withUnsafeBufferPointer { try accumulator.add($0) }
  blackHole(try accumulator.counts())
}
