/// One kind of exchange of rows between all ranks, with its buffers: how many rows go to and come
/// from each rank, and where they lie. Dispatch has one, the way back another.
///
/// The order of calls: count `sendRows` (and learn or know `receiveRows`), `startPacking`, write
/// each row at `slot(for:)`, then `Communicator.exchange`. What is in the buffers afterwards stays
/// until the next layer.
final class RowExchange {
  typealias Integers = UnsafeMutablePointer<Int32>

  let collective: Collective
  /// 32-bit words of a row, and how many of them are the hidden state's numbers, d.
  let rowWords: Int
  let payloadWords: Int
  /// `[rows, rowWords]` each, rows by rank.
  let send: Floats
  let receive: Floats
  /// `[R]` each: rows to and from each rank.
  let sendRows: Integers
  let receiveRows: Integers
  /// `[R]` each: those of them whose token moves to the receiving rank (coherent dispatch).
  let sendMoves: Integers
  let receiveMoves: Integers
  /// `[R]` each, in words, for MPI.
  let sendCounts: Integers
  let sendOffsets: Integers
  let receiveCounts: Integers
  let receiveOffsets: Integers
  /// `[R]`: the row of `send` where the next row for each rank goes.
  private let cursor: Integers
  let ranks: Int

  var receivedRows: Int {
    var rows = 0
    for r in 0..<ranks { rows += Int(receiveRows[r]) }
    return rows
  }

  /// - Parameters:
  ///   - mostSent: most rows that one rank sends at once.
  ///   - mostReceived: most rows that one rank receives at once.
  init(
    _ collective: Collective, ranks: Int, rowWords: Int, payloadWords: Int, mostSent: Int,
    mostReceived: Int, memory: Memory
  ) throws(EngineError) {
    self.collective = collective
    self.ranks = ranks
    self.rowWords = rowWords
    self.payloadWords = payloadWords
    send = try memory.floats(mostSent * rowWords)
    receive = try memory.floats(mostReceived * rowWords)
    sendRows = try memory.integers(ranks)
    receiveRows = try memory.integers(ranks)
    sendMoves = try memory.integers(ranks)
    receiveMoves = try memory.integers(ranks)
    sendCounts = try memory.integers(ranks)
    sendOffsets = try memory.integers(ranks)
    receiveCounts = try memory.integers(ranks)
    receiveOffsets = try memory.integers(ranks)
    cursor = try memory.integers(ranks)
  }

  /// No rows yet.
  @inline(__always)
  func clear() {
    for r in 0..<ranks {
      (sendRows[r], receiveRows[r], sendMoves[r], receiveMoves[r]) = (0, 0, 0, 0)
    }
  }

  /// `sendRows` is known: each rank's rows get their place.
  /// - Returns: rows to be sent.
  @inline(__always)
  func startPacking() -> Int {
    var row = Int32(0)
    for r in 0..<ranks {
      cursor[r] = row
      row += sendRows[r]
    }
    return Int(row)
  }

  /// Which row of `send` the next row for `rank` is.
  @inline(__always)
  func slot(for rank: Int) -> Int {
    let slot = Int(cursor[rank])
    cursor[rank] += 1
    return slot
  }

  /// MPI's counts and offsets, from the rows on both ends.
  @inline(__always)
  func fillOffsets() {
    let words = Int32(rowWords)
    var (sendOffset, receiveOffset) = (Int32(0), Int32(0))
    for r in 0..<ranks {
      sendOffsets[r] = sendOffset
      sendCounts[r] = sendRows[r] * words
      sendOffset += sendCounts[r]
      receiveOffsets[r] = receiveOffset
      receiveCounts[r] = receiveRows[r] * words
      receiveOffset += receiveCounts[r]
    }
  }
}
