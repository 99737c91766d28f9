/// Coherent mode: a token's next home is the rank of its strongest expert, which normalises its
/// residual again and keeps it. Partial sums of the other ranks follow it there; with one expert
/// per token there are none, and no combine. Both sides know from the row's expert ids which
/// partial sums are to come, in ascending order of row ids: no header, no counts.
extension Engine {
  /// Moves that the messages of this layer's dispatch are, at both ends.
  func countMoves(_ l: Int) {
    for rank in 0..<communicator.size where rank != communicator.rank {
      let distance = communicator.distance(to: rank)
      traffic.move(layer: l, .sent, distance, rows: Int(work.dispatch.sendMoves[rank]))
      traffic.move(layer: l, .received, distance, rows: Int(work.dispatch.receiveMoves[rank]))
    }
  }

  /// Work rows whose strongest expert is here become the next layer's local rows; the others' sums
  /// go after their token.
  func settle(_ l: Int) throws(EngineError) {
    let (d, k, sums) = (config.hidden, config.expertsPerToken, work.sums)
    let rankOf = weights.layers[l].rank
    let here = communicator.rank
    let count = try orderWorkRows(l)
    countSums(rankOf, count)
    let sent = sums.startPacking()
    sums.send.update(repeating: 0, count: sent * d)
    nextRows = 0
    for i in 0..<count {
      let w = Int(work.ordered[i])
      let experts = work.workExperts + w * k
      let next = Int(rankOf[Int(experts[0])])
      guard next == here else {
        work.workTarget[w] = sums.send + sums.slot(for: next) * d
        continue
      }
      let x = work.nextX + nextRows * d
      x.update(from: work.workResidual[w], count: d)
      work.workTarget[w] = x
      work.nextRowIds[nextRows] = work.workIds[w]
      forEachRank(of: experts, rankOf) { rank, _ in
        guard rank != here else { return }
        work.returnRow[Int(work.returnCursor[rank])] = Int32(nextRows)
        work.returnCursor[rank] += 1
      }
      nextRows += 1
    }
  }

  /// Work rows in ascending order of their ids, to `work.ordered`; no id may come twice.
  private func orderWorkRows(_ l: Int) throws(EngineError) -> Int {
    for w in 0..<workRows {
      let id = work.workIds[w]
      guard id >= 0, Int(id) < step.rows, work.workOf[Int(id)] < 0 else {
        throw EngineError(
          "layer \(l), dispatch: rank \(communicator.rank) got row \(id) of \(step.rows)"
            + (id >= 0 && Int(id) < step.rows ? " twice" : "")
            + ": the message was damaged on its way")
      }
      work.workOf[Int(id)] = Int32(w)
    }
    var count = 0
    for g in 0..<step.rows {
      let w = work.workOf[g]
      guard w >= 0 else { continue }
      work.workOf[g] = -1
      work.ordered[count] = w
      count += 1
    }
    return count
  }

  /// How many sums go to each rank, and how many come and where they will be.
  private func countSums(_ rankOf: UnsafePointer<Int32>, _ count: Int) {
    let sums = work.sums
    sums.clear()
    for i in 0..<count {
      let experts = work.workExperts + Int(work.ordered[i]) * config.expertsPerToken
      let next = Int(rankOf[Int(experts[0])])
      guard next == communicator.rank else {
        sums.sendRows[next] += 1
        continue
      }
      forEachRank(of: experts, rankOf) { rank, _ in
        if rank != communicator.rank { sums.receiveRows[rank] += 1 }
      }
    }
    var row = Int32(0)
    for rank in 0..<communicator.size {
      work.returnCursor[rank] = row
      row += sums.receiveRows[rank]
    }
  }
}
