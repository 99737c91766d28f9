import Colocate

/// What the commands do with an engine: read tokens once for their logits or routes, or decode
/// greedily.

extension Engine {
  /// Runs some positions of some sequences whose tokens are all known.
  ///
  /// - Parameter tokens: ids of the whole batch, `[S, stride]`.
  func feed(
    _ sequences: Range<Int>, _ positions: Range<Int>, tokens: UnsafePointer<Int32>, stride: Int,
    logits wanted: WantedLogits
  ) throws(EngineError) {
    let n = positions.count
    for (i, sequence) in sequences.enumerated() {
      for (j, position) in positions.enumerated() {
        stepIds[i * n + j] = tokens[sequence * stride + position]
      }
    }
    try forward(Step(sequences: sequences, positions: positions), ids: stepIds, logits: wanted)
  }

  /// Reads the first `positions` tokens of every sequence in steps that fit the buffers; `body`
  /// runs after each.
  ///
  /// - Parameter wanted: `.last` means the last of `positions`: earlier steps of a sequence compute
  ///   no logits.
  public func prefill(
    sequences: Range<Int>, positions: Int, tokens: UnsafePointer<Int32>, stride: Int,
    logits wanted: WantedLogits, afterEachStep body: () throws(EngineError) -> Void
  ) throws(EngineError) {
    let rows = work.capacity.rows
    let chunk = min(positions, rows)
    let group = max(1, rows / chunk)
    var first = sequences.lowerBound
    while first < sequences.upperBound {
      let end = min(first + group, sequences.upperBound)
      var position = 0
      while position < positions {
        let next = min(position + chunk, positions)
        let wantedNow: WantedLogits = wanted == .last && next < positions ? .none : wanted
        try feed(first..<end, position..<next, tokens: tokens, stride: stride, logits: wantedNow)
        try body()
        position = next
      }
      first = end
    }
  }

  /// The logits of the last step, on rank 0: `body(sequence, position, logits[V])` for each row.
  ///
  /// - Parameter buffer: room for all ranks' rows on rank 0; nil elsewhere.
  func collectLogits(_ buffer: RowBuffer?, _ body: (Int, Int, UnsafePointer<Float>) -> Void) {
    collect(
      work.logits, ids: work.logitIds, rows: logitRows, width: config.vocabulary, buffer, body)
  }

  /// The final hidden states of the last step, RMSNorm(x), of every row, whether its logits were
  /// wanted or not: on rank 0 `body(sequence, position, hidden[d])` for each row. Overwrites
  /// `normed`.
  func collectHidden(_ buffer: RowBuffer?, _ body: (Int, Int, UnsafePointer<Float>) -> Void) {
    normLocalRows(weights.finalNorm)
    collect(work.normed, ids: work.rowIds, rows: localRows, width: config.hidden, buffer, body)
  }

  /// Rows of all ranks on rank 0.
  private func collect(
    _ values: Floats, ids: UnsafeMutablePointer<Int32>, rows: Int, width: Int,
    _ buffer: RowBuffer?, _ body: (Int, Int, UnsafePointer<Float>) -> Void
  ) {
    var counts = [Int32](repeating: 0, count: communicator.size)
    communicator.gather(ids, count: rows, into: buffer?.ids, counts: &counts)
    let all = counts.reduce(0) { $0 + Int($1) }
    communicator.gather(values, count: rows * width, into: buffer?.values, counts: &counts)
    guard let buffer else { return }
    for row in 0..<all {
      let id = buffer.ids[row]
      body(step.sequence(id), step.position(id), buffer.values + row * width)
    }
  }
}

/// Where rank 0 collects a step's rows: their ids, `[rows]`, and their numbers, `[rows, width]`.
final class RowBuffer {
  let values: Floats
  let ids: UnsafeMutablePointer<Int32>
  private let memory = Memory()

  init(rows: Int, width: Int) throws(EngineError) {
    values = try memory.floats(rows * width)
    ids = try memory.integers(rows)
  }
}

extension Model {
  /// Rows of a step when all tokens are known: enough for the matrix products to be efficient.
  func readingCapacity(_ tokens: Tokens, allLogits: Bool, rowsPerRank: Int = 512) -> Capacity {
    let rows = rowsPerRank * communicator.size
    let group = max(1, min(tokens.sequences, rows / tokens.positions))
    return Capacity(
      sequences: group, positions: tokens.positions, rows: min(rows, group * tokens.positions),
      allLogits: allLogits)
  }

  /// Calls `body` for each group of sequences that an engine of this capacity can hold, with the
  /// group's tokens.
  private func forEachGroup(
    _ tokens: Tokens, _ capacity: Capacity,
    _ body: (_ first: Int, _ count: Int, _ ids: [Int32]) throws(EngineError) -> Void
  ) throws(EngineError) {
    var first = 0
    while first < tokens.sequences {
      let count = min(capacity.sequences, tokens.sequences - first)
      let ids = tokens.ids[(first * tokens.positions)..<((first + count) * tokens.positions)]
      try body(first, count, Array(ids))
      first += count
    }
  }

  /// Logits of every position, `[sequences, positions, V]`, on rank 0; empty elsewhere.
  /// - Throws: `EngineError`, see `Engine.forward`.
  public func logits(
    _ tokens: Tokens, placement: Placement, mode: Mode
  ) throws(EngineError) -> [Float] {
    let capacity = readingCapacity(tokens, allLogits: true)
    let engine = try engine(placement: placement, mode: mode, capacity: capacity)
    let vocabulary = config.vocabulary
    let isFirst = communicator.isFirst
    let buffer = try communicator.together { () throws(EngineError) in
      isFirst ? try RowBuffer(rows: capacity.rows, width: vocabulary) : nil
    }
    var result = [Float](
      repeating: 0, count: isFirst ? tokens.sequences * tokens.positions * vocabulary : 0)
    try forEachGroup(tokens, capacity) { first, count, ids throws(EngineError) in
      try engine.prefill(
        sequences: 0..<count, positions: tokens.positions, tokens: ids, stride: tokens.positions,
        logits: .all
      ) {
        engine.collectLogits(buffer) { sequence, position, logits in
          let at = ((first + sequence) * tokens.positions + position) * vocabulary
          for i in 0..<vocabulary { result[at + i] = logits[i] }
        }
      }
    }
    return result
  }

  /// The routes of every position, `[sequences · positions, L, k]`, on rank 0; empty elsewhere.
  /// - Throws: `EngineError`, see `Engine.forward`.
  public func trace(
    _ tokens: Tokens, placement: Placement, mode: Mode
  ) throws(EngineError) -> [Int32] {
    let capacity = readingCapacity(tokens, allLogits: false)
    let engine = try engine(placement: placement, mode: mode, capacity: capacity)
    let table = try communicator.together { () throws(EngineError) in
      try RouteTable(sequences: capacity.sequences, positions: tokens.positions, config: config)
    }
    engine.routeObserver = table
    var result: [Int32] = []
    try forEachGroup(tokens, capacity) { first, count, ids throws(EngineError) in
      table.clear()
      try engine.prefill(
        sequences: 0..<count, positions: tokens.positions, tokens: ids, stride: tokens.positions,
        logits: .none
      ) {}
      table.collect(sequences: count, communicator)
      guard communicator.isFirst else { return }
      let choices = count * tokens.positions * config.layers
      result += UnsafeBufferPointer(
        start: table.experts(0), count: choices * config.expertsPerToken)
    }
    return result
  }

  /// What `generate` made, and how fast.
  public struct Generated {
    /// `[sequences, positions + new]` on rank 0; empty elsewhere.
    public let tokens: [Int32]
    public let prefillSeconds: Double
    public let decodeSeconds: Double
    /// Tokens read at once, and tokens that a decode step made (the first new token comes out of
    /// the prefill).
    public let prefillTokens: Int
    public let decodeTokens: Int
    /// Of the decode steps: this rank's times, all ranks' traffic.
    public let timings: Timings
    public let prefillTimings: Timings
    public let prefillTraffic: Traffic
    public let decodeTraffic: Traffic
    public let decodeSteps: Int
  }

  /// Greedy decoding of `new` tokens after each prompt, all sequences together. No token ends a
  /// sequence.
  ///
  /// - Parameters:
  ///   - times: whether the phases of the steps are timed.
  ///   - decodeObserver: watches the decode steps.
  /// - Throws: `EngineError`, see `Engine.forward`.
  public func generate(
    _ prompts: Tokens, new: Int, placement: Placement, mode: Mode, times: Bool = false,
    decodeObserver: (any StepObserver)? = nil
  ) throws(EngineError) -> Generated {
    let (sequences, prompt) = (prompts.sequences, prompts.positions)
    let length = prompt + new
    let capacity = Capacity(
      sequences: sequences, positions: length,
      rows: min(512 * communicator.size, sequences * prompt))
    let engine = try engine(placement: placement, mode: mode, capacity: capacity, times: times)
    let memory = Memory()
    let tokens = try memory.integers(sequences * length)
    for sequence in 0..<sequences {
      for i in 0..<prompt { tokens[sequence * length + i] = prompts.ids[sequence * prompt + i] }
      for i in prompt..<length { tokens[sequence * length + i] = -1 }
    }

    communicator.barrier()
    let begin = Timings.now()
    try engine.prefill(
      sequences: 0..<sequences, positions: prompt, tokens: tokens, stride: length,
      logits: new > 0 ? .last : .none
    ) {}
    communicator.barrier()
    let prefilled = Timings.now()
    let (prefillTraffic, prefillTimings) = (engine.traffic, engine.timings)
    engine.resetStatistics()
    engine.observer = decodeObserver
    for position in prompt..<length {
      engine.takeNext(into: tokens + position, stride: length, sequences: sequences)
      guard position + 1 < length else { break }
      let step = Step(sequences: 0..<sequences, positions: position..<(position + 1))
      try engine.forward(step, ids: engine.nextToken, logits: .last)
    }
    communicator.barrier()
    let end = Timings.now()
    communicator.maxOnFirst(tokens, count: sequences * length)
    return Generated(
      tokens: communicator.isFirst
        ? Array(UnsafeBufferPointer(start: tokens, count: sequences * length)) : [],
      prefillSeconds: prefilled - begin, decodeSeconds: end - prefilled,
      prefillTokens: sequences * prompt, decodeTokens: sequences * max(0, new - 1),
      timings: engine.timings, prefillTimings: prefillTimings,
      prefillTraffic: prefillTraffic.overAllRanks(communicator),
      decodeTraffic: engine.traffic.overAllRanks(communicator), decodeSteps: max(0, new - 1))
  }
}

extension Engine {
  /// The next token of every sequence that this rank knows, to `tokens[sequence · stride]`.
  @inline(__always)
  func takeNext(into tokens: UnsafeMutablePointer<Int32>, stride: Int, sequences: Int) {
    for sequence in 0..<sequences where moves || home(sequence) == communicator.rank {
      tokens[sequence * stride] = nextToken[sequence]
    }
  }

  func resetStatistics() {
    traffic.reset()
    timings.reset()
  }
}
