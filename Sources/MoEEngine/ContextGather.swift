/// Coherent mode: every rank learns the new tokens' keys and values, and the tokens that follow.
///
/// In a decode step a token needs only its own new keys and values, which are where it is, so one
/// MPI_Allgatherv at the end of the step carries those of all layers, with the next tokens. In
/// prefill the tokens of one step need each other's: the same bytes go in one gather per layer,
/// before attention, and the next tokens in one at the end. Each way 2 · L · d_kv numbers per token
/// go to P − 1 ranks.
extension Engine {
  /// Takes note of a local row's keys and values, `[2 nkv]`.
  @inline(__always)
  func addContextEntry(layer l: Int, row: Int32, keysAndValues: UnsafePointer<Float>) {
    let context = work.context
    let entry = context.send + context.entries * context.entryWords
    entry[0] = Float(bitPattern: UInt32(bitPattern: Int32(l) * Int32(step.rows) + row))
    (entry + 1).update(from: keysAndValues, count: context.entryWords - 1)
    context.entries += 1
  }

  func shareContext(_ wanted: WantedLogits) throws(EngineError) {
    guard moves, wanted != .none || step.positions.count == 1 else { return }
    try gatherContext(layer: config.layers)
  }

  /// Sends the entries noted since the last gather, and the next tokens of this rank's logits, to
  /// every rank.
  func gatherContext(layer l: Int) throws(EngineError) {
    let context = work.context
    measure(.packing) {
      context.count[0] = Int32(context.entries)
      context.count[1] = Int32(l == config.layers ? addNextTokens() : 0)
    }
    try measure(.collectives) { () throws(EngineError) in
      communicator.gatherCounts(of: context, layer: l, counting: &traffic)
      try checkCounts(context, layer: l)
      communicator.gather(context, layer: l, counting: &traffic)
    }
    try measure(.packing) { () throws(EngineError) in
      for rank in 0..<communicator.size where rank != communicator.rank {
        try takeContext(from: rank, layer: l)
      }
    }
    context.entries = 0
  }

  /// Puts the next tokens that this rank knows behind the entries.
  /// - Returns: how many there are.
  private func addNextTokens() -> Int {
    let n = step.positions.count
    let tail = work.context.send + work.context.entries * work.context.entryWords
    var tokens = 0
    for row in 0..<logitRows where Int(work.logitIds[row]) % n == n - 1 {
      let sequence = step.sequence(work.logitIds[row])
      tail[2 * tokens] = Float(bitPattern: UInt32(sequence))
      tail[2 * tokens + 1] = Float(bitPattern: UInt32(bitPattern: nextToken[sequence]))
      tokens += 1
    }
    return tokens
  }

  private func checkCounts(_ context: ContextExchange, layer l: Int) throws(EngineError) {
    for rank in 0..<communicator.size {
      let (entries, tokens) = (context.counts[2 * rank], context.counts[2 * rank + 1])
      guard entries >= 0, tokens >= 0, Int(entries) <= context.mostEntries,
        Int(tokens) <= step.sequences.count, context.wordsToReceive <= context.mostWords
      else {
        throw damaged(
          "layer \(l), context", from: rank, "\(entries) entries and \(tokens) next tokens",
          expected: "at most \(context.mostEntries) and \(step.sequences.count)")
      }
    }
  }

  /// Puts what one rank sent into this rank's cache and next tokens.
  private func takeContext(from rank: Int, layer l: Int) throws(EngineError) {
    let context = work.context
    let (words, nkv) = (context.entryWords, config.keyValueWidth)
    var entry = context.receive + Int(context.receiveOffsets[rank])
    for _ in 0..<context.counts[2 * rank] {
      let id = Int32(bitPattern: entry[0].bitPattern)
      guard id >= 0, Int(id) < step.rows * config.layers else {
        throw damaged(
          "layer \(l), context", from: rank, "an entry of row and layer \(id)",
          expected: "0 to \(step.rows * config.layers - 1)")
      }
      let (layer, row) = (Int(id) / step.rows, Int32(Int(id) % step.rows))
      cache(
        layer, slot: slot(step.sequence(row)), position: step.position(row), keys: entry + 1,
        values: entry + 1 + nkv)
      entry += words
    }
    for _ in 0..<context.counts[2 * rank + 1] {
      let sequence = Int(entry[0].bitPattern)
      let token = Int32(bitPattern: entry[1].bitPattern)
      guard step.sequences.contains(sequence), token >= 0, Int(token) < config.vocabulary else {
        throw damaged(
          "next tokens", from: rank, "token \(token) for sequence \(sequence)",
          expected: "a token of the vocabulary for one of the step's sequences")
      }
      nextToken[sequence] = token
      entry += 2
    }
  }

  /// The error for a message that cannot be what the other rank sent.
  func damaged(_ place: String, from rank: Int, _ found: String, expected: String) -> EngineError {
    EngineError(
      "\(place): rank \(communicator.rank) got \(found) from rank \(rank); expected \(expected): "
        + "the message was damaged on its way")
  }
}
