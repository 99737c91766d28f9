import Colocate
import Testing

@Suite struct DestinationAccumulatorTests {
  @Test(arguments: 0..<40) func equalsPlainCounting(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let (layers, choices) = (1 + random.next(below: 3), 1 + random.next(below: 5))
    let experts = [5, 40, 64, 100, 300][seed % 5]
    let tokens = 200
    let ids = (0..<(tokens * layers * choices)).map { _ in
      random.nextUnit() < 0.1 ? -1 : random.next(below: random.nextUnit() < 0.7 ? 5 : experts)
    }
    var plain = [[[Int]: Int]](repeating: [:], count: layers)
    for t in 0..<tokens {
      for l in 0..<layers {
        let from = (t * layers + l) * choices
        let set = Set(ids[from..<(from + choices)].filter { $0 >= 0 }).sorted()
        if !set.isEmpty { plain[l][set, default: 0] += 1 }
      }
    }
    var accumulator = try TokenSetAccumulator(layers: layers, choices: choices, experts: experts)
    // In chunks of different sizes.
    var start = 0
    while start < tokens {
      let size = min(tokens - start, 1 + random.next(below: 70))
      let chunk = Array(
        ids[(start * layers * choices)..<((start + size) * layers * choices)])
      try chunk.withUnsafeBufferPointer { try accumulator.add($0) }
      start += size
    }
    let sets = try accumulator.sets()
    #expect(sets.experts == experts && sets.sample.isWhole)
    for l in 0..<layers {
      let layer = sets.layerSets[l]
      var found = [[Int]: Int]()
      for t in 0..<layer.count { found[layer[t].map { Int($0) }] = layer.multiplicities[t] }
      #expect(found == plain[l], "seed \(seed), layer \(l)")
      for e in 0..<experts {
        let load = plain[l].reduce(0) { $0 + ($1.key.contains(e) ? $1.value : 0) }
        #expect(layer.loads[e] == load, "seed \(seed)")
      }
    }
  }

  /// A sample has whole sequences, the same ones however the trace is cut, and fits.
  @Test func sampleHasWholeSequences() throws {
    var random = SeededGenerator(seed: 3)
    let (tokens, layers, choices) = (20_000, 2, 3)
    let ids = (0..<(tokens * layers * choices)).map { _ in random.next(below: 200) }
    let sequences = (0..<tokens).map { $0 / 40 }
    var found = [TokenSets]()
    for chunk in [tokens, 777] {
      var accumulator = try TokenSetAccumulator(
        layers: layers, choices: choices, keepsFollowers: true, memoryLimit: 400_000)
      for start in stride(from: 0, to: tokens, by: chunk) {
        let end = min(tokens, start + chunk)
        let part = Array(ids[(start * layers * choices)..<(end * layers * choices)])
        try part.withUnsafeBufferPointer {
          try accumulator.add($0, sequences: Array(sequences[start..<end]))
        }
      }
      found.append(try accumulator.sets())
    }
    #expect(found[0] == found[1])
    let sample = found[0].sample
    #expect(sample.tokensRead == tokens && sample.sequencesRead == tokens / 40)
    #expect(sample.tokensTaken == 40 * sample.sequencesTaken && sample.sequencesAreNamed)
    #expect(sample.sequencesTaken > 0 && sample.sequencesTaken < sample.sequencesRead)
    #expect(found[0].layerSets[0].tokens == sample.tokensTaken)
    let followers = found[0].layerSets[1].followers
    #expect(followers.reduce(0) { $0 + $1.multiplicity } == sample.tokensTaken)
  }

  @Test func refusesWhatIsNoTrace() throws {
    #expect(throws: ModelError.self) { try TokenSetAccumulator(layers: 0, choices: 1) }
    #expect(throws: ModelError.self) { try TokenSetAccumulator(layers: 1, choices: 0) }
    #expect(throws: ModelError.self) {
      try TokenSetAccumulator(layers: 1, choices: 1, experts: 5000)
    }
    #expect(throws: ModelError.self) { try TokenSetAccumulator(layers: 1, choices: 1).sets() }
    for (ids, sequences) in [([1, 4], [0]), ([1, -2], [0]), ([1], []), ([0, 1], [0, 1])] {
      var accumulator = try TokenSetAccumulator(layers: 1, choices: 2, experts: 4)
      #expect(throws: ModelError.self, "\(ids)") {
        try ids.withUnsafeBufferPointer { try accumulator.add($0, sequences: sequences) }
      }
    }
    #expect(throws: ModelError.self) { try TokenSets.Layer(experts: 3, sets: [[0, 3]]) }
    #expect(throws: ModelError.self) {
      try TokenSets.Layer(experts: 3, sets: [[0]], multiplicities: [-1])
    }
  }
}
