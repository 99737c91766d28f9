/// Dispatch and combine: tokens to the ranks of their experts, partial sums to where the token goes on.
///
/// A row goes once to each distinct rank of its experts. Rows whose expert is on their own rank are not copied anywhere.
///
/// * **home**: the hidden state RMSNorm(x) travels; the partial sum comes back over the same path (d numbers each way).
/// * **coherent**: the residual x travels, since the token moves: its next home is the rank of its strongest expert, which normalises x
///   again and keeps it. Partial sums of other ranks follow it there; with one expert per token there are none, and no combine.
///   Both sides know from the row's expert ids which partial sums are to come, in ascending order of row ids: no header, no counts.
///
/// Per token, with R_l the ranks of its experts and a_l where it is:
///     home: 2·d·|R_l \ {home}|        coherent: d·(|R_l \ {a_l}| + |R_l \ {a_{l+1}}|)
extension Engine {
  func dispatch(_ l: Int) {
    let layer = weights.layers[l]
    var start = timings.start()
    workRows = 0
    receivedRows = 0
    if communicator.size == 1 {
      for row in 0..<localRows { addLocalWork(row) }
    } else {
      comparison.start(communicator)
      countCopies(layer.rank, l)
      packCopies(layer.rank)
      timings.stop(.packing, since: start)
      start = timings.start()
      exchangeRows(l)
      timings.stop(.collectives, since: start)
      comparison.stop()
      comparison.repeatBare(communicator) {
        communicator.exchange(
          work.dispatchSend, counts: work.sendCounts, offsets: work.sendOffsets,
          into: work.dispatchReceive, counts: work.receiveCounts, offsets: work.receiveOffsets)
      }
      comparison.resume()
      start = timings.start()
      unpackCopies(layer)
      if moves { settle(layer.rank) } else { prepareReturn() }
      comparison.stop()
    }
    timings.stop(.packing, since: start)
  }

  func combine(_ l: Int) {
    guard communicator.size > 1 else { return }
    let d = config.hidden
    if !moves {
      comparison.start(communicator)
      // Partial sums go back to where the rows came from, in the order they came.
      returnSums(l, counts: work.receiveRows, expected: work.sendRows)
      let start = timings.start()
      for i in 0..<sentRows {
        VectorMath.add(work.combineReceive + i * d, to: work.x + Int(work.sentRow[i]) * d, count: d)
      }
      timings.stop(.packing, since: start)
      comparison.stop()
      return
    }
    if config.expertsPerToken > 1 {
      comparison.start(communicator)
      // sendRows and receiveRows now hold the partial sums', see settle.
      returnSums(l, counts: work.sendRows, expected: work.returnRows)
      let start = timings.start()
      var returned = 0
      for rank in 0..<communicator.size { returned += Int(work.returnRows[rank]) }
      for i in 0..<returned {
        VectorMath.add(
          work.combineReceive + i * d, to: work.nextX + Int(work.returnRow[i]) * d, count: d)
      }
      timings.stop(.packing, since: start)
      comparison.stop()
    }
    swap(&work.x, &work.nextX)
    swap(&work.rowIds, &work.nextRowIds)
    localRows = nextRows
  }

  /// Distance of each rank from this one.
  @inline(__always)
  func distance(to rank: Int) -> Distance {
    rank == communicator.rank
      ? .same
      : communicator.nodeOf[rank] == communicator.nodeOf[communicator.rank] ? .sameNode : .otherNode
  }

  @inline(__always)
  private func addLocalWork(_ row: Int) {
    let (d, k) = (config.hidden, config.expertsPerToken)
    work.workInput[workRows] = work.normed + row * d
    work.workResidual[workRows] = work.x + row * d
    work.workTarget[workRows] = work.x + row * d
    work.workIds[workRows] = work.rowIds[row]
    (work.workExperts + workRows * k).update(from: work.chosen + row * k, count: k)
    (work.workGates + workRows * k).update(from: work.gates + row * k, count: k)
    workRows += 1
  }

  /// How many local rows go to each rank, and in coherent mode how many of them move there.
  private func countCopies(_ rankOf: UnsafeMutablePointer<Int32>, _ l: Int) {
    let k = config.expertsPerToken
    let ranks = communicator.size
    let here = communicator.rank
    for r in 0..<ranks { (work.sendRows[r], work.moveRows[r], work.seen[r]) = (0, 0, -1) }
    for row in 0..<localRows {
      let chosen = work.chosen + row * k
      for j in 0..<k {
        let r = Int(rankOf[Int(chosen[j])])
        if j == 0 { work.moveRows[r] += 1 }
        if work.seen[r] == Int32(row) { continue }
        work.seen[r] = Int32(row)
        if r == here { addLocalWork(row) }
        work.sendRows[r] += 1
      }
    }
    let header = (work.rowWords - config.hidden) * 4
    traffic.call(.dispatch, layer: l)
    for r in 0..<ranks {
      let distance = distance(to: r)
      traffic.send(
        .dispatch, layer: l, distance: distance, tokens: Int(work.sendRows[r]),
        payload: config.hidden * 4,
        header: header)
      if moves { traffic.move(layer: l, distance: distance, tokens: Int(work.moveRows[r])) }
    }
    work.sendRows[here] = 0
  }

  /// Copies the rows that leave into the send buffer, by rank, in ascending order of their ids.
  private func packCopies(_ rankOf: UnsafeMutablePointer<Int32>) {
    let (d, k, words) = (config.hidden, config.expertsPerToken, work.rowWords)
    let here = communicator.rank
    var offset = Int32(0)
    for r in 0..<communicator.size {
      work.cursor[r] = offset
      offset += work.sendRows[r]
      work.seen[r] = -1
    }
    sentRows = Int(offset)
    let payload = moves ? work.x : work.normed
    for row in 0..<localRows {
      let chosen = work.chosen + row * k
      for j in 0..<k {
        let r = Int(rankOf[Int(chosen[j])])
        if r == here || work.seen[r] == Int32(row) { continue }
        work.seen[r] = Int32(row)
        let at = Int(work.cursor[r])
        work.cursor[r] += 1
        work.sentRow[at] = Int32(row)
        let message = work.dispatchSend + at * words
        message.update(from: payload + row * d, count: d)
        for i in 0..<k {
          message[d + i] = Float(bitPattern: UInt32(bitPattern: chosen[i]))
          message[d + k + i] = work.gates[row * k + i]
        }
        if moves { message[d + 2 * k] = Float(bitPattern: UInt32(bitPattern: work.rowIds[row])) }
      }
    }
  }

  private func exchangeRows(_ l: Int) {
    let ranks = communicator.size
    traffic.call(.counts, layer: l)
    communicator.exchange(counts: work.sendRows, into: work.receiveRows)
    for r in 0..<ranks {
      traffic.send(.counts, layer: l, distance: distance(to: r), extra: 4)
    }
    fillOffsets(work.sendRows, work.receiveRows, words: work.rowWords)
    communicator.exchange(
      work.dispatchSend, counts: work.sendCounts, offsets: work.sendOffsets,
      into: work.dispatchReceive,
      counts: work.receiveCounts, offsets: work.receiveOffsets)
    receivedRows = 0
    for r in 0..<ranks { receivedRows += Int(work.receiveRows[r]) }
  }

  /// MPI's counts and offsets, in words, for so many rows per rank.
  private func fillOffsets(
    _ send: UnsafePointer<Int32>, _ receive: UnsafePointer<Int32>, words: Int
  ) {
    var (sendOffset, receiveOffset) = (Int32(0), Int32(0))
    for r in 0..<communicator.size {
      work.sendOffsets[r] = sendOffset
      work.sendCounts[r] = send[r] * Int32(words)
      sendOffset += work.sendCounts[r]
      work.receiveOffsets[r] = receiveOffset
      work.receiveCounts[r] = receive[r] * Int32(words)
      receiveOffset += work.receiveCounts[r]
    }
  }

  /// Received rows become work rows.
  private func unpackCopies(_ layer: Weights.Layer) {
    let (d, k, words) = (config.hidden, config.expertsPerToken, work.rowWords)
    for i in 0..<receivedRows {
      let message = work.dispatchReceive + i * words
      if moves {
        let normed = work.normed + (localRows + i) * d
        VectorMath.rmsNorm(message, layer.expertNorm, normed, width: d, epsilon: config.normEpsilon)
        work.workInput[workRows] = normed
        work.workIds[workRows] = Int32(bitPattern: message[d + 2 * k].bitPattern)
      } else {
        work.workInput[workRows] = message
      }
      work.workResidual[workRows] = message
      for j in 0..<k {
        work.workExperts[workRows * k + j] = Int32(bitPattern: message[d + j].bitPattern)
        work.workGates[workRows * k + j] = message[d + k + j]
      }
      workRows += 1
    }
  }

  /// Home mode: received rows add up in the buffer that goes back.
  private func prepareReturn() {
    let d = config.hidden
    work.combineSend.update(repeating: 0, count: receivedRows * d)
    for i in 0..<receivedRows {
      work.workTarget[workRows - receivedRows + i] = work.combineSend + i * d
    }
  }

  /// Coherent mode: work rows whose strongest expert is here become the next layer's local rows; the others' sums go after their token.
  private func settle(_ rankOf: UnsafeMutablePointer<Int32>) {
    let (d, k) = (config.hidden, config.expertsPerToken)
    let ranks = communicator.size
    let here = communicator.rank
    // In ascending order of row ids.
    for w in 0..<workRows { work.workOf[Int(work.workIds[w])] = Int32(w) }
    var count = 0
    for g in 0..<step.rows {
      let w = work.workOf[g]
      guard w >= 0 else { continue }
      work.workOf[g] = -1
      work.ordered[count] = w
      count += 1
    }
    // How many sums go to each rank, and how many come.
    for r in 0..<ranks { (work.sendRows[r], work.returnRows[r], work.seen[r]) = (0, 0, -1) }
    for i in 0..<count {
      let experts = work.workExperts + Int(work.ordered[i]) * k
      let next = Int(rankOf[Int(experts[0])])
      guard next == here else {
        work.sendRows[next] += 1
        continue
      }
      for j in 1..<max(k, 1) {
        let r = Int(rankOf[Int(experts[j])])
        if r == here || work.seen[r] == Int32(i) { continue }
        work.seen[r] = Int32(i)
        work.returnRows[r] += 1
      }
    }
    var (sendAt, returnAt) = (Int32(0), Int32(0))
    for r in 0..<ranks {
      // cursor: where the next sum to r goes; receiveOffsets: where the next one from r will be.
      work.cursor[r] = sendAt
      work.receiveOffsets[r] = returnAt
      sendAt += work.sendRows[r]
      returnAt += work.returnRows[r]
      work.seen[r] = -1
    }
    work.combineSend.update(repeating: 0, count: Int(sendAt) * d)
    nextRows = 0
    for i in 0..<count {
      let w = Int(work.ordered[i])
      let experts = work.workExperts + w * k
      let next = Int(rankOf[Int(experts[0])])
      guard next == here else {
        work.workTarget[w] = work.combineSend + Int(work.cursor[next]) * d
        work.cursor[next] += 1
        continue
      }
      let x = work.nextX + nextRows * d
      x.update(from: work.workResidual[w], count: d)
      work.workTarget[w] = x
      work.nextRowIds[nextRows] = work.workIds[w]
      for j in 1..<max(k, 1) {
        let r = Int(rankOf[Int(experts[j])])
        if r == here || work.seen[r] == Int32(i) { continue }
        work.seen[r] = Int32(i)
        work.returnRow[Int(work.receiveOffsets[r])] = Int32(nextRows)
        work.receiveOffsets[r] += 1
      }
      nextRows += 1
    }
  }

  /// The Alltoallv of partial sums, `[d]` each.
  private func returnSums(
    _ l: Int, counts: UnsafePointer<Int32>, expected: UnsafePointer<Int32>
  ) {
    let start = timings.start()
    traffic.call(.combine, layer: l)
    for r in 0..<communicator.size {
      traffic.send(
        .combine, layer: l, distance: distance(to: r), tokens: Int(counts[r]),
        payload: config.hidden * 4, header: 0)
    }
    fillOffsets(counts, expected, words: config.hidden)
    communicator.exchange(
      work.combineSend, counts: work.sendCounts, offsets: work.sendOffsets,
      into: work.combineReceive,
      counts: work.receiveCounts, offsets: work.receiveOffsets)
    timings.stop(.collectives, since: start)
    comparison.stop()
    comparison.repeatBare(communicator) {
      communicator.exchange(
        work.combineSend, counts: work.sendCounts, offsets: work.sendOffsets,
        into: work.combineReceive, counts: work.receiveCounts, offsets: work.receiveOffsets)
    }
    comparison.resume()
  }
}
