import Colocate
import ColocateFormats
import Testing

/// Traces, counts, tables of loads and arrays with their axes in another order, told apart.
@Suite struct ArrayMeaningTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// What the file was read as: "trace", "counts", or the error.
  private func meaning(
    _ ids: [Int], _ shape: [Int], _ type: String = "<i4", as kind: TraceFile.Kind? = nil
  ) throws -> String {
    let text = "(" + shape.map(String.init).joined(separator: ", ") + ")"
    let path = try scratch.write(npy(type, shape: text, data: bytes(ids, type)), "a.npy")
    var reading = TraceFile.Reading()
    reading.kind = kind
    do throws(FormatError) {
      let file = try TraceFile(path, reading)
      return file.remarks.first { $0.isWarning }.map { "\(file.kind.rawValue): \($0.text)" }
        ?? file.kind.rawValue
    } catch {
      return error.message
    }
  }

  @Test(arguments: 0..<60) func asManyLayersAsChoices(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let side = 2 + random.next(below: 7)
    let experts = side + random.next(below: 60)
    let tokens = 130 + random.next(below: 100)
    var ids = TraceReadingTests.routing(
      tokens: tokens, layers: side, choices: side, experts: experts, seed: UInt64(seed))
    if seed % 3 == 0 {
      for index in (ids.count / 2)..<ids.count { ids[index] = -1 }
    }
    let shape = [tokens, side, side]
    let type = ["<i4", "|u1", "<u2"][random.next(below: 3)]
    // Rows of two ids can be counts of two experts, and are asked about where many are possible.
    let found = try meaning(ids, shape, type)
    #expect(
      found == "trace" || side == 2 && found.contains("--as trace or --as counts"), "seed \(seed)")
    // The same model's counts, E = `side`, of complete tokens, top-1 and top-k.
    let layers = 3 + random.next(below: 5)
    let choices = seed % 2 == 0 ? 1 : min(2, side - 1)
    let routed = TraceReadingTests.routing(
      tokens: 400, layers: layers, choices: choices, experts: side, seed: UInt64(seed))
    var accumulator = try TransitionAccumulator(layers: layers, choices: choices, experts: side)
    try routed.withUnsafeBufferPointer { try accumulator.add($0) }
    let counts = try accumulator.counts()
    #expect(
      try meaning(counts.weights, [layers - 1, side, side], "<u2") == "counts", "seed \(seed)")
  }

  @Test func countsNeedNotConserve() throws {
    var random = SeededGenerator(seed: 4)
    for (boundaries, experts, most) in [
      (4, 8, 9), (4, 8, 1000), (3, 4, 5000), (1, 3, 4), (3, 2, 90),
    ] {
      let weights = (0..<(boundaries * experts * experts)).map { _ in 1 + random.next(below: most) }
      #expect(
        try meaning(weights, [boundaries, experts, experts]) == "counts", "\(experts) \(most)")
    }
  }

  @Test func whatCanBeBothAsks() throws {
    let both = [0, 1, 2, 3, 1, 2, 3, 0, 2, 3, 0, 1]
    #expect(try meaning(both, [3, 2, 2]).contains("--as trace or --as counts"))
    #expect(try meaning(both, [3, 2, 2], as: .trace) == "trace")
    #expect(try meaning(both, [3, 2, 2], as: .counts) == "counts")
    // Rows of permutations that also conserve flow.
    let latin = (0..<4).flatMap { _ in [0, 1, 2, 1, 2, 0, 2, 0, 1] }
    #expect(try meaning(latin, [4, 3, 3]).contains("--as trace or --as counts"))
  }

  @Test func theGeneratorsOwnTraceIsATrace() throws {
    let trace = try SyntheticTrace(layers: 4, experts: 16, tokens: 200, choices: 4)
    try NpyWriter.write(trace: trace.ids(), layers: 4, choices: 4, to: scratch.file("own.npy"))
    let read = try TraceFile(scratch.file("own.npy"))
    #expect(try read.kind == .trace && read.counts == trace.counts())
    try NpyWriter.write(trace.counts(), to: scratch.file("counts.npy"))
    #expect(try TraceFile(scratch.file("counts.npy")).kind == .counts)
  }

  @Test func tablesOfLoadsAreNoTraces() throws {
    var random = SeededGenerator(seed: 8)
    func loads(_ layers: Int, _ experts: Int, _ most: Int) -> [Int] {
      (0..<(layers * experts)).map { _ in most / 50 + random.next(below: most) }
    }
    #expect(try meaning(loads(2, 12, 198), [2, 12]).contains("table of loads"))
    #expect(try meaning(loads(24, 32, 4000), [24, 32]).contains("table of loads"))
    #expect(try meaning(loads(24, 32, 90_000), [24, 32]).contains("table of loads"))
    #expect(try meaning(loads(12, 8, 40), [12, 8]).contains("or this is a table of loads"))
    #expect(try meaning(loads(12, 6, 40), [12, 6]).hasPrefix("trace: 12 tokens through 6 layers"))
    #expect(try meaning(loads(12, 8, 500), [12, 8], as: .trace) == "trace")
    // The same tokens pass every layer: one sum.
    let even = (0..<6).flatMap { layer in (0..<16).map { 20 + ($0 * (layer + 1) * 7 % 16) - 8 } }
    let sums = Set((0..<6).map { layer in even[(layer * 16)..<(layer * 16 + 16)].reduce(0, +) })
    let balanced = (0..<6).flatMap { layer -> [Int] in
      var row = Array(even[(layer * 16)..<(layer * 16 + 16)])
      row[layer] += (sums.max() ?? 0) - row.reduce(0, +)
      return row
    }
    #expect(try meaning(balanced, [6, 16]).contains("all rows have the same sum"))
  }

  @Test func otherOrdersOfTheAxesAreNamed() throws {
    let (tokens, layers, choices) = (200, 12, 6)
    let ids = TraceReadingTests.routing(
      tokens: tokens, layers: layers, choices: choices, experts: 40)
    func ordered(_ order: [Int]) throws -> String {
      let lengths = [tokens, layers, choices]
      let strides = [layers * choices, choices, 1]
      var moved = [Int]()
      for a in 0..<lengths[order[0]] {
        for b in 0..<lengths[order[1]] {
          for c in 0..<lengths[order[2]] {
            moved.append(ids[a * strides[order[0]] + b * strides[order[1]] + c * strides[order[2]]])
          }
        }
      }
      return try meaning(moved, order.map { lengths[$0] })
    }
    #expect(try ordered([0, 1, 2]) == "trace")
    #expect(try ordered([1, 0, 2]).contains("swapaxes(0, 1)"))
    #expect(try ordered([0, 2, 1]).contains("transpose(0, 2, 1)"))
    #expect(try ordered([2, 0, 1]).contains("transpose(1, 2, 0)"))
    #expect(try ordered([1, 2, 0]).contains("transpose(2, 0, 1)"))
    #expect(try ordered([2, 1, 0]).contains("transpose(2, 1, 0)"))
    let flat = TraceReadingTests.routing(tokens: 8, layers: 300, experts: 8)
    #expect(try meaning(flat, [8, 300]).contains("transposed"))
    #expect(try meaning(flat, [8, 300], as: .trace) == "trace")
    #expect(try meaning(Array(flat[..<480]), [8, 60]).contains("swapaxes(0, 1)"))
    #expect(try meaning(Array(flat[..<480]), [8, 60], as: .trace) == "trace")
  }

  /// Ids as a model routes: each layer has favourites of its own, in an order of its own.
  private func skewed(
    tokens: Int, layers: Int, choices: Int, experts: Int, seed: Int
  ) -> [Int] {
    var random = SeededGenerator(seed: UInt64(seed))
    let orders = (0..<layers).map { _ in Array(0..<experts).shuffled(using: &random) }
    return (0..<(tokens * layers)).flatMap { place in
      var row = [Int]()
      while row.count < choices {
        // The lesser of two: the first of the order is nearly twice as likely as the mean.
        let rank = min(random.next(below: experts), random.next(below: experts))
        let id = orders[place % layers][rank]
        if !row.contains(id) { row.append(id) }
      }
      return row
    }
  }

  /// `[A, B, k]` as `[B, A, k]`.
  private func exchanged(_ ids: [Int], _ first: Int, _ second: Int, choices: Int) -> [Int] {
    var turned = [Int]()
    for b in 0..<second {
      for a in 0..<first {
        let start = (a * second + b) * choices
        turned += ids[start..<(start + choices)]
      }
    }
    return turned
  }

  /// Few tokens, the axes as they should be and exchanged: read where the ids tell, else asked.
  @Test(arguments: [(100, 24, 4, 32), (64, 48, 8, 128), (40, 16, 2, 16), (120, 32, 1, 8)])
  func fewTokensAreReadOnlyWhereTheIDsTell(tokens: Int, layers: Int, choices: Int, experts: Int)
    throws
  {
    func shape(_ first: Int, _ second: Int) -> [Int] {
      choices == 1 ? [first, second] : [first, second, choices]
    }
    for seed in 0..<5 {
      let ids = skewed(
        tokens: tokens, layers: layers, choices: choices, experts: experts, seed: seed)
      #expect(try meaning(ids, shape(tokens, layers)) == "trace", "seed \(seed)")
      let turned = exchanged(ids, tokens, layers, choices: choices)
      let message = try meaning(turned, shape(layers, tokens))
      #expect(message.contains("as those of a layer are"), "seed \(seed): \(message)")
      #expect(message.contains("swapaxes(0, 1)") && message.contains("or --as trace if it is so"))
      #expect(try meaning(turned, shape(layers, tokens), as: .trace) == "trace", "seed \(seed)")
      // Without favourites nothing tells, whichever axis is first.
      let even = TraceReadingTests.routing(
        tokens: tokens, layers: layers, choices: choices, experts: experts, seed: UInt64(seed))
      for (first, second) in [(tokens, layers), (layers, tokens)] {
        let message = try meaning(even, shape(first, second))
        #expect(message.contains("nothing in the ids says"), "seed \(seed): \(message)")
        #expect(try meaning(even, shape(first, second), as: .trace) == "trace", "seed \(seed)")
      }
    }
  }

  /// Every number of tokens from 4 to 300 in the wrong order of the axes: none passes in silence,
  /// where there are tokens at least for every eighth layer.
  @Test func noTransposedTracePassesInSilence() throws {
    for tokens in Array(4..<20) + Array(stride(from: 20, to: 300, by: 13)) {
      for (layers, choices, experts) in [(16, 8, 64), (24, 4, 32), (32, 2, 8), (94, 8, 128)]
      where layers <= 8 * tokens {
        let ids = TraceReadingTests.routing(
          tokens: layers, layers: tokens, choices: choices, experts: experts,
          seed: UInt64(tokens))
        let found = try meaning(ids, [layers, tokens, choices])
        #expect(found != "trace", "\(layers) layers, \(tokens) tokens")
      }
    }
  }
}
