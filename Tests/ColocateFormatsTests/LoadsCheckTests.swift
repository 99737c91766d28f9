import Colocate
import ColocateFormats
import Testing

/// Loads and co-activation that stand beside counts in a safetensors file.
@Suite struct LoadsCheckTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// Reads counts with loads; the error or the warning, or "read".
  private func message(
    _ counts: TransitionCounts, loads: [Int], together: [Int] = []
  ) throws -> String {
    let (layers, experts) = (counts.layers, counts.experts)
    var tensors = [("counts", [layers - 1, experts, experts], counts.weights)]
    tensors.append(("loads", [layers, experts], loads))
    if !together.isEmpty { tensors.append(("coactivation", [layers, experts, experts], together)) }
    let path = try scratch.write(safetensors(tensors), "c.safetensors")
    do throws(FormatError) {
      let file = try TraceFile(path)
      return file.remarks.first?.text ?? "read"
    } catch {
      return error.message
    }
  }

  private func counts(choices: Int, padded: Bool = false) throws -> TransitionCounts {
    var ids = TraceReadingTests.routing(tokens: 500, layers: 4, choices: choices, experts: 6)
    if padded {
      for index in stride(from: 0, to: ids.count, by: 7 * choices) { ids[index] = -1 }
    }
    var accumulator = try TransitionAccumulator(
      layers: 4, choices: choices, experts: 6, coactivation: true)
    try ids.withUnsafeBufferPointer { try accumulator.add($0) }
    return try accumulator.counts()
  }

  @Test(arguments: [1, 2, 3], [false, true]) func trueLoadsAreTaken(
    choices: Int, padded: Bool
  ) throws {
    let counts = try counts(choices: choices, padded: padded)
    #expect(try message(counts, loads: counts.loads, together: counts.coactivation) == "read")
  }

  @Test(arguments: [1, 2, 3]) func contradictionsAreNamedWithTheirPlace(choices: Int) throws {
    let counts = try counts(choices: choices)
    var loads = counts.loads
    loads[2 * 6 + 4] += 1
    #expect(try message(counts, loads: loads).hasPrefix("loads[2, 4] = \(loads[16]), but "))
    loads[2 * 6 + 4] = 0
    #expect(try message(counts, loads: loads).hasPrefix("loads[2, 4] = 0, but "))
    for wrong in [
      [Int](repeating: 0, count: 24), [Int](repeating: 1, count: 24),
      counts.loads.map { 2 * $0 + 1 },
      Array(counts.loads.reversed()), [Int](repeating: 80, count: 24),
    ] {
      #expect(try message(counts, loads: wrong).contains("loads["))
    }
    #expect(try message(counts, loads: Array(counts.loads.dropLast(6))).contains("shape"))
  }

  @Test func loadsOfOtherTokensAreDoubted() throws {
    var random = SeededGenerator(seed: 2)
    let weights = (0..<(4 * 64)).map { _ in 1 + random.next(below: 8) }
    let counts = try TransitionCounts(layers: 5, experts: 8, weights: weights)
    #expect(
      try message(counts, loads: [Int](repeating: 0, count: 40)).hasPrefix("loads[0, 0] = 0, but "))
    #expect(
      try message(counts, loads: [Int](repeating: 1_000_000, count: 40)).contains(
        "the same tokens?"))
  }

  @Test func countsThatTokensDoNotPass() throws {
    let counts = try counts(choices: 2)
    func remarks(_ weights: [Int]) throws -> [String] {
      let file = safetensors([("counts", [3, 6, 6], weights)])
      return try TraceFile(scratch.write(file, "c.safetensors")).remarks.map(\.text)
    }
    #expect(try remarks(counts.weights).isEmpty)
    var cut = counts.weights
    for index in 36..<72 { cut[index] = 0 }
    #expect(try remarks(cut) == ["no token goes from layer 1 to its next: nothing joins them"])
    var exchanged = counts.weights
    for l in 0..<3 {
      for i in 0..<6 {
        for j in 0..<6 { exchanged[(l * 6 + i) * 6 + j] = counts[l, j, i] }
      }
    }
    let found = try remarks(exchanged)
    #expect(found.count == 1 && found[0].contains("swapaxes(1, 2)"))
  }

  @Test func coactivationBeyondTheLoadsIsRefused() throws {
    let counts = try counts(choices: 2)
    var together = counts.coactivation
    together[1] = 100_000
    together[6] = 100_000
    #expect(
      try message(counts, loads: counts.loads, together: together)
        .hasPrefix("co-activation [0, 1, 0] = 100000, but one of the two experts has only "))
    together[1] = 3
    #expect(
      try message(counts, loads: counts.loads, together: together).contains("expected equal"))
  }
}
