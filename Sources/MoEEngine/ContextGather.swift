/// Coherent mode: every rank learns the new tokens' keys and values, and the tokens that follow.
///
/// In a decode step a token needs only its own new keys and values, which are where it is, so one MPI_Allgatherv at the end of the step
/// carries those of all layers, with the next tokens. In prefill the tokens of one step need each other's: the same bytes go in one
/// gather per layer, before attention, and the next tokens in one at the end. Each way 2 · L · d_kv numbers per token go to P − 1 ranks.
extension Engine {
  /// Takes note of a local row's keys and values, `[2 nkv]`.
  @inline(__always)
  func addContextEntry(layer l: Int, row: Int32, keysAndValues: UnsafePointer<Float>) {
    let entry = work.contextSend + contextEntries * work.entryWords
    entry[0] = Float(bitPattern: UInt32(bitPattern: Int32(l) * Int32(step.rows) + row))
    (entry + 1).update(from: keysAndValues, count: work.entryWords - 1)
    contextEntries += 1
  }

  func shareContext(_ wanted: WantedLogits) {
    guard moves, wanted != .none || step.positions.count == 1 else { return }
    gatherContext(layer: config.layers)
  }

  /// Sends the entries noted since the last gather, and the next tokens of this rank's logits, to every rank.
  func gatherContext(layer l: Int) {
    let (words, nkv, ranks) = (work.entryWords, config.keyValueWidth, communicator.size)
    let here = communicator.rank
    var start = timings.start()
    let n = step.positions.count
    var tokens = 0
    let tail = work.contextSend + contextEntries * words
    if l == config.layers {
      for row in 0..<logitRows where Int(work.logitIds[row]) % n == n - 1 {
        let sequence = step.sequence(work.logitIds[row])
        tail[2 * tokens] = Float(bitPattern: UInt32(sequence))
        tail[2 * tokens + 1] = Float(bitPattern: UInt32(bitPattern: nextToken[sequence]))
        tokens += 1
      }
    }
    timings.stop(.packing, since: start)

    start = timings.start()
    work.contextCount[0] = Int32(contextEntries)
    work.contextCount[1] = Int32(tokens)
    traffic.call(.counts, layer: l)
    traffic.call(.context, layer: l)
    for r in 0..<ranks where r != here {
      let distance = distance(to: r)
      traffic.send(.counts, layer: l, distance: distance, extra: 8)
      traffic.send(
        .context, layer: l, distance: distance, tokens: contextEntries, payload: 2 * nkv * 4,
        header: 4,
        extra: 8 * tokens)
    }
    communicator.allGather(work.contextCount, count: 2, into: work.contextCounts)
    var offset = Int32(0)
    for r in 0..<ranks {
      work.receiveOffsets[r] = offset
      work.receiveCounts[r] =
        work.contextCounts[2 * r] * Int32(words) + 2 * work.contextCounts[2 * r + 1]
      offset += work.receiveCounts[r]
    }
    communicator.allGather(
      work.contextSend, count: contextEntries * words + 2 * tokens, into: work.contextReceive,
      counts: work.receiveCounts, offsets: work.receiveOffsets)
    timings.stop(.collectives, since: start)

    start = timings.start()
    for r in 0..<ranks where r != here {
      var entry = work.contextReceive + Int(work.receiveOffsets[r])
      for _ in 0..<work.contextCounts[2 * r] {
        let id = Int32(bitPattern: entry[0].bitPattern)
        let (layer, row) = (Int(id) / step.rows, Int32(Int(id) % step.rows))
        cache(
          layer, slot: slot(step.sequence(row)), position: step.position(row), keys: entry + 1,
          values: entry + 1 + nkv)
        entry += words
      }
      for _ in 0..<work.contextCounts[2 * r + 1] {
        nextToken[Int(entry[0].bitPattern)] = Int32(bitPattern: entry[1].bitPattern)
        entry += 2
      }
    }
    contextEntries = 0
    timings.stop(.packing, since: start)
  }
}
