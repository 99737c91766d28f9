import Colocate
import Testing

@Suite struct AccumulatorTests {
  /// The plainest count there is.
  private func plain(
    _ ids: [Int], layers: Int, choices: Int, experts: Int, used: Int
  ) -> (weights: [Int], loads: [Int], together: [Int]) {
    var weights = [Int](repeating: 0, count: (layers - 1) * experts * experts)
    var loads = [Int](repeating: 0, count: layers * experts)
    var together = [Int](repeating: 0, count: layers * experts * experts)
    for token in 0..<(ids.count / (layers * choices)) {
      func set(_ layer: Int) -> [Int] {
        let first = (token * layers + layer) * choices
        return ids[first..<(first + used)].filter { $0 >= 0 }
      }
      for layer in 0..<layers {
        for i in set(layer) {
          loads[layer * experts + i] += 1
          if layer + 1 < layers {
            for j in set(layer + 1) { weights[(layer * experts + i) * experts + j] += 1 }
          }
          for j in set(layer) where j != i { together[(layer * experts + i) * experts + j] += 1 }
        }
      }
    }
    return (weights, loads, together)
  }

  @Test(arguments: 0..<60) func equalsThePlainCount(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let layers = 2 + random.next(below: 5)
    let choices = 1 + random.next(below: 4)
    let experts = choices + random.next(below: [3, 30, 200][seed % 3])
    let tokens = 1 + random.next(below: 3000)
    let counting = TopKCounting.allCases[random.next(below: 2)]
    var ids = [Int]()
    for _ in 0..<(tokens * layers) {
      var chosen = Set<Int>()
      while chosen.count < choices { chosen.insert(random.next(below: experts)) }
      // Some choices, some whole rows are padding; the first token has experts everywhere.
      let padded = ids.count >= layers * choices && random.nextUnit() < 0.1
      let first = random.next(below: choices)
      ids += chosen.sorted().enumerated().map { padded && $0.offset >= first ? -1 : $0.element }
    }
    let given = random.nextUnit() < 0.5
    let expected = given ? experts : ids.max()! + 1
    var accumulator = try TransitionAccumulator(
      layers: layers, choices: choices, experts: given ? experts : nil, counting: counting,
      coactivation: true)
    // In chunks of uneven sizes and of two types.
    var start = 0
    while start < tokens {
      let end = min(tokens, start + 1 + random.next(below: 2000))
      let chunk = ids[(start * layers * choices)..<(end * layers * choices)]
      if random.nextUnit() < 0.5 {
        try chunk.map { Int16($0) }.withUnsafeBufferPointer { try accumulator.add($0) }
      } else {
        try chunk.map { Int64($0) }.withUnsafeBufferPointer { try accumulator.add($0) }
      }
      start = end
    }
    let counts = try accumulator.counts()
    let (weights, loads, together) = plain(
      ids, layers: layers, choices: choices, experts: expected,
      used: counting == .first ? 1 : choices)
    #expect(counts.experts == expected, "seed \(seed)")
    #expect(counts.weights == weights, "seed \(seed)")
    #expect(counts.loads == loads, "seed \(seed)")
    if choices > 1, counting == .pairs {
      #expect(counts.coactivation == together, "seed \(seed)")
    } else {
      #expect(counts.coactivation.isEmpty, "seed \(seed)")
    }
  }

  private func message<ID: FixedWidthInteger>(
    _ ids: [ID], layers: Int, choices: Int = 1, experts: Int? = nil
  ) throws -> String {
    var accumulator = try TransitionAccumulator(layers: layers, choices: choices, experts: experts)
    do throws(ModelError) {
      try ids.withUnsafeBufferPointer { ids throws(ModelError) in try accumulator.add(ids) }
      _ = try accumulator.counts()
      return ""
    } catch {
      return error.description
    }
  }

  @Test func badIDsAreNamedWithTheirPlace() throws {
    #expect(
      try message([0, 1, 2, 3, 4, 5] as [UInt8], layers: 2, experts: 5)
        == "token 2, layer 1: expert id 5, expected 0 to 4")
    #expect(
      try message([0, 1, -2, 3] as [Int32], layers: 2)
        == "token 1, layer 0: expert id -2, expected 0 to 4095 (or -1 for padding)")
    #expect(try message([0, 1, -1, 3] as [Int32], layers: 2) == "")
    #expect(
      try message([0, -1, -1, 3] as [Int32], layers: 2)
        == "no transitions: none of the 2 tokens has experts in two neighbouring layers")
    #expect(
      try message([0, 1, 2, 3, 0, 1, 2, -7] as [Int8], layers: 2, choices: 2)
        .hasPrefix("token 1, layer 1, choice 1: expert id -7, expected 0 to 4095"))
    #expect(
      try message([0, 1, 2, 2] as [UInt16], layers: 2, choices: 2)
        == "token 0, layer 1: expert id 2 twice, expected 2 different experts")
    #expect(
      try message([0, UInt64.max] as [UInt64], layers: 2)
        .hasPrefix("token 0, layer 1: expert id 18446744073709551615, expected 0 to 4095"))
    #expect(try message([] as [Int8], layers: 2) == "0 tokens: at least 1 is needed")
    #expect(
      try message([-1, -1, -1, -1] as [Int8], layers: 2, choices: 2)
        == "1 tokens, and every id is padding")
    #expect(throws: ModelError.self) { try TransitionAccumulator(layers: 1) }
  }

  @Test func sumAddsUpAndRefusesOtherSizes() throws {
    let one = try TransitionCounts(layers: 2, experts: 2, weights: [1, 2, 3, 4])
    let two = try TransitionCounts(layers: 2, experts: 2, weights: [5, 0, 0, 1])
    let sum = try TransitionCounts.sum([one, two])
    #expect(sum.weights == [6, 2, 3, 5])
    #expect(sum.loads == [8, 8, 9, 7])
    let other = try TransitionCounts(layers: 2, experts: 1, weights: [1])
    #expect(throws: ModelError.self) { try TransitionCounts.sum([one, other]) }
  }

  @Test func syntheticTraceIsBalancedAffineAndRepeatable() throws {
    let trace = try SyntheticTrace(layers: 6, experts: 16, tokens: 20_000, affinity: 0.95, seed: 3)
    let ids = trace.ids()
    #expect(ids == trace.ids())
    // FNV-1a of the ids: the same trace on every machine.
    let hash = ids.reduce(UInt64(0xCBF2_9CE4_8422_2325)) {
      ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3
    }
    #expect(hash == Self.knownHash)
    let counts = try trace.counts()
    for layer in 0..<6 {
      for expert in 0..<16 {
        #expect(abs(counts.load(layer: layer, expert: expert) - 1250) < 125)
      }
    }
    // Affine: a random matching of experts would keep 1/16 of the tokens, the best expert of each
    // row far more.
    var best = 0
    for row in 0..<(5 * 16) { best += counts.weights[(row * 16)..<(row * 16 + 16)].max()! }
    #expect(Double(best) / Double(counts.total) > 0.25)
    let loose = try SyntheticTrace(layers: 6, experts: 16, tokens: 20_000, affinity: 0, seed: 3)
    let independent = try loose.counts()
    #expect(independent.weights.allSatisfy { abs($0 - 78) < 60 })
  }

  static let knownHash: UInt64 = 0x0A2D_629D_499B_2EC2

  @Test func syntheticTopKChoosesDifferentExperts() throws {
    let trace = try SyntheticTrace(layers: 3, experts: 12, tokens: 2_000, choices: 4, seed: 9)
    let ids = trace.ids()
    for visit in 0..<(ids.count / 4) {
      #expect(Set(ids[(visit * 4)..<(visit * 4 + 4)]).count == 4)
    }
    let counts = try trace.counts()
    #expect(counts.total == 2 * 2_000 * 16)
    #expect(throws: ModelError.self) { try SyntheticTrace(layers: 1, experts: 4, tokens: 5) }
    #expect(throws: ModelError.self) {
      try SyntheticTrace(layers: 2, experts: 4, tokens: 5, choices: 5)
    }
    #expect(throws: ModelError.self) {
      try SyntheticTrace(layers: 2, experts: 4, tokens: 5, affinity: 1.5)
    }
  }
}
