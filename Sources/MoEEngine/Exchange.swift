/// Dispatch and combine: tokens to the ranks of their experts, partial sums to where the token goes
/// on.
///
/// A row goes once to each distinct rank of its experts. Rows whose expert is on their own rank are
/// not copied anywhere.
///
/// * **home**: the hidden state RMSNorm(x) travels; the partial sum comes back over the same path
///   (d numbers each way).
/// * **coherent**: the residual x travels, since the token moves: see Settling.swift.
///
/// Per token, with R_l the ranks of its experts and a_l where it is:
///     home: 2·d·|R_l \ {home}|        coherent: d·(|R_l \ {a_l}| + |R_l \ {a_{l+1}}|)
///
/// In home mode rows may go once to each other node instead: see NodeRelay.swift.
///
/// What arrives is used as an index only after it was found to be one: a damaged message ends the
/// run with its place, and never writes beside a buffer.
extension Engine {
  func dispatch(_ l: Int) throws(EngineError) {
    let layer = weights.layers[l]
    workRows = 0
    receivedRows = 0
    guard communicator.size > 1 else {
      measure(.packing) {
        for row in 0..<localRows { addLocalWork(row) }
      }
      return
    }
    if let relay { return try dispatchByNode(l, relay) }
    measure(.packing) {
      countCopies(layer.rank)
      packCopies(layer.rank)
    }
    try exchangeDispatched(l)
    try measure(.packing) { () throws(EngineError) in
      try unpackCopies(l)
      if moves {
        countMoves(l)
        try settle(l)
      } else {
        prepareReturn()
      }
    }
  }

  /// Sends the copies that are packed, after how many come to each rank.
  func exchangeDispatched(_ l: Int) throws(EngineError) {
    try measure(.collectives) { () throws(EngineError) in
      communicator.exchangeCounts(of: work.dispatch, layer: l, counting: &traffic)
      try checkCounts(l)
      communicator.exchange(work.dispatch, layer: l, counting: &traffic)
    }
  }

  /// Whether partial sums are sent at all: in coherent mode a token's one expert is where it goes
  /// on.
  package var hasCombine: Bool { !moves || config.expertsPerToken > 1 }

  func combine(_ l: Int) {
    guard communicator.size > 1 else { return }
    if let relay { return combineByNode(l, relay) }
    let (d, sums) = (config.hidden, work.sums)
    if hasCombine {
      measure(.collectives) { communicator.exchange(sums, layer: l, counting: &traffic) }
    }
    measure(.packing) {
      let (target, rowOf) = moves ? (work.nextX, work.returnRow) : (work.x, work.sentRow)
      for i in 0..<sums.receivedRows {
        VectorMath.add(sums.receive + i * d, to: target + Int(rowOf[i]) * d, count: d)
      }
    }
    guard moves else { return }
    swap(&work.x, &work.nextX)
    swap(&work.rowIds, &work.nextRowIds)
    localRows = nextRows
  }

  /// Sends the rows of the last dispatch once more, from the same buffers into the same buffers,
  /// and does nothing else: for measuring.
  package func repeatDispatch() { communicator.exchangeBare(work.dispatch) }

  /// Sends the rows of the last combine once more.
  package func repeatCombine() { communicator.exchangeBare(work.sums) }

  /// Calls `body` once for each distinct rank of a row's experts: see `DistinctRanks`.
  ///
  /// - Parameters:
  ///   - experts: `[k]`, the strongest first.
  ///   - rankOf: `[E]`: the layer's table.
  @inline(__always)
  func forEachRank(
    of experts: UnsafePointer<Int32>, _ rankOf: UnsafePointer<Int32>,
    _ body: (_ rank: Int, _ isStrongest: Bool) -> Void
  ) {
    work.distinctRanks.forEach(
      of: experts, count: config.expertsPerToken, rankOf: { Int(rankOf[$0]) }, body)
  }

  @inline(__always)
  func addLocalWork(_ row: Int) {
    let (d, k) = (config.hidden, config.expertsPerToken)
    work.workInput[workRows] = work.normed + row * d
    work.workResidual[workRows] = work.x + row * d
    work.workTarget[workRows] = work.x + row * d
    work.workIds[workRows] = work.rowIds[row]
    (work.workExperts + workRows * k).update(from: work.chosen + row * k, count: k)
    (work.workGates + workRows * k).update(from: work.gates + row * k, count: k)
    workRows += 1
  }

  /// How many local rows go to each other rank, and how many of them would move there; rows with an
  /// expert here become work rows.
  private func countCopies(_ rankOf: UnsafePointer<Int32>) {
    let message = work.dispatch
    message.clear()
    for row in 0..<localRows {
      forEachRank(of: work.chosen + row * config.expertsPerToken, rankOf) {
        rank, isStrongest in
        if rank == communicator.rank {
          addLocalWork(row)
        } else {
          message.sendRows[rank] += 1
          if isStrongest { message.sendMoves[rank] += 1 }
        }
      }
    }
  }

  /// Copies the rows that leave into the send buffer, by rank, in ascending order of their ids.
  private func packCopies(_ rankOf: UnsafePointer<Int32>) {
    let (d, k, message) = (config.hidden, config.expertsPerToken, work.dispatch)
    let payload = moves ? work.x : work.normed
    _ = message.startPacking()
    for row in 0..<localRows {
      let chosen = work.chosen + row * k
      forEachRank(of: chosen, rankOf) { rank, _ in
        guard rank != communicator.rank else { return }
        let at = message.slot(for: rank)
        work.sentRow[at] = Int32(row)
        let words = message.send + at * message.rowWords
        words.update(from: payload + row * d, count: d)
        for i in 0..<k {
          words[d + i] = Float(bitPattern: UInt32(bitPattern: chosen[i]))
          words[d + k + i] = work.gates[row * k + i]
        }
        if moves { words[d + 2 * k] = Float(bitPattern: UInt32(bitPattern: work.rowIds[row])) }
      }
    }
  }

  /// What the other ranks announce must fit into the buffers.
  func checkCounts(_ l: Int) throws(EngineError) {
    let message = work.dispatch
    for rank in 0..<communicator.size {
      let rows = message.receiveRows[rank]
      guard rows >= 0, Int(rows) <= step.rows else {
        throw damaged(
          "layer \(l), dispatch", from: rank, "\(rows) announced rows",
          expected: "0 to \(step.rows)")
      }
    }
    receivedRows = message.receivedRows
    // A token is at most once on a rank.
    let own = moves ? localRows : workRows
    guard own + receivedRows <= step.rows else {
      throw EngineError(
        "layer \(l), dispatch: rank \(communicator.rank) is to get \(receivedRows) rows beside its "
          + "own \(own); expected \(step.rows) in all: a message was damaged on its way")
    }
  }

  /// Received rows become work rows.
  func unpackCopies(_ l: Int) throws(EngineError) {
    let (layer, message) = (weights.layers[l], work.dispatch)
    let (d, k) = (config.hidden, config.expertsPerToken)
    var i = 0
    for rank in 0..<communicator.size {
      for _ in 0..<message.receiveRows[rank] {
        let words = message.receive + i * message.rowWords
        let experts = work.workExperts + workRows * k
        for j in 0..<k {
          experts[j] = Int32(bitPattern: words[d + j].bitPattern)
          work.workGates[workRows * k + j] = words[d + k + j]
        }
        try check(experts, from: rank, l)
        work.workResidual[workRows] = words
        work.workInput[workRows] = words
        if moves {
          let normed = work.normed + (localRows + i) * d
          VectorMath.rmsNorm(words, layer.expertNorm, normed, width: d, epsilon: config.normEpsilon)
          work.workInput[workRows] = normed
          work.workIds[workRows] = Int32(bitPattern: words[d + 2 * k].bitPattern)
          if Int(layer.rank[Int(experts[0])]) == communicator.rank {
            message.receiveMoves[rank] += 1
          }
        }
        workRows += 1
        i += 1
      }
    }
  }

  /// A row's experts are experts, and one of them at least is here.
  @inline(__always)
  private func check(
    _ experts: UnsafePointer<Int32>, from rank: Int, _ l: Int
  ) throws(EngineError) {
    let localIndex = weights.layers[l].localIndex
    var isHere = false
    for j in 0..<config.expertsPerToken {
      guard experts[j] >= 0, Int(experts[j]) < config.experts else {
        throw damaged(
          "layer \(l), dispatch", from: rank, "a row for expert \(experts[j])",
          expected: "0 to \(config.experts - 1)")
      }
      if localIndex[Int(experts[j])] >= 0 { isHere = true }
    }
    guard isHere else {
      throw damaged(
        "layer \(l), dispatch", from: rank, "a row none of whose experts is here",
        expected: "one of them")
    }
  }

  /// Home mode: received rows add up in the buffer that goes back the way they came.
  func prepareReturn() {
    let (d, sums, message) = (config.hidden, work.sums, work.dispatch)
    for rank in 0..<communicator.size {
      sums.sendRows[rank] = message.receiveRows[rank]
      sums.receiveRows[rank] = message.sendRows[rank]
    }
    sums.send.update(repeating: 0, count: receivedRows * d)
    for i in 0..<receivedRows {
      work.workTarget[workRows - receivedRows + i] = sums.send + i * d
    }
  }
}
