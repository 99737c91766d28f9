import Benchmark
import Colocate
import ColocateFormats
import Foundation

/// Counts from files, each of 40 layers of 256 experts: 2.6 million numbers.
func readingBenchmarks() {
  for name in ["npy", "safetensors"] {
    Benchmark(
      "read counts of 40 layers of 256 experts, .\(name)",
      configuration: .init(metrics: [.wallClock, .peakMemoryResident], maxDuration: .seconds(3))
    ) { (_, file: CountsOnDisk) in
      blackHole(try TraceFile(file.path))
    } setup: {
      try CountsOnDisk(extension: name)
    }
  }
}

/// A file with counts that is gone once nobody holds it.
private final class CountsOnDisk: Sendable {
  let path: String

  init(extension name: String) throws {
    path = NSTemporaryDirectory() + "/counts-\(UUID().uuidString).\(name)"
    let counts = try SyntheticTrace(layers: 40, experts: 256, tokens: 20_000).counts()
    if name == "npy" {
      try NpyWriter.write(counts, to: path)
    } else {
      let record = CountsRecord(
        choices: 1, counting: nil, expertsInferred: false, moeLayers: nil,
        sources: [.init(file: "trace", sha256: String(repeating: "0", count: 64), tokens: 20_000)])
      try CountsFile(counts: counts, record: record).write(to: path)
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
