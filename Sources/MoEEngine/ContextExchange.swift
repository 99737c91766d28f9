/// The buffers of the context gather (coherent mode): entries of keys and values that every rank
/// learns, followed by the next tokens of some sequences.
final class ContextExchange {
  typealias Integers = UnsafeMutablePointer<Int32>

  /// Words of an entry: the row's id (with its layer), keys, values.
  let entryWords: Int
  /// Most entries and words of all ranks together.
  let mostEntries: Int
  let mostWords: Int
  /// `[entries, entryWords]`, then `[tokens, 2]`: of this rank, and of all ranks one after the
  /// other.
  let send: Floats
  let receive: Floats
  /// `[2]` and `[R, 2]`: entries and next tokens of this rank and of each rank.
  let count: Integers
  let counts: Integers
  /// `[R]` each, in words, for MPI.
  let receiveCounts: Integers
  let receiveOffsets: Integers
  /// Entries noted since the last gather.
  var entries = 0
  private let ranks: Int

  var wordsToSend: Int { Int(count[0]) * entryWords + 2 * Int(count[1]) }
  var wordsToReceive: Int {
    (0..<ranks).reduce(0) { $0 + Int(counts[2 * $1]) * entryWords + 2 * Int(counts[2 * $1 + 1]) }
  }

  init(
    ranks: Int, keyValueWidth: Int, mostEntries: Int, mostTokens: Int, memory: Memory
  ) throws(EngineError) {
    self.ranks = ranks
    self.mostEntries = mostEntries
    entryWords = 1 + 2 * keyValueWidth
    mostWords = mostEntries * entryWords + 2 * mostTokens
    send = try memory.floats(mostWords)
    receive = try memory.floats(mostWords)
    count = try memory.integers(2)
    counts = try memory.integers(2 * ranks)
    receiveCounts = try memory.integers(ranks)
    receiveOffsets = try memory.integers(ranks)
  }

  /// MPI's counts and offsets, from every rank's entries and tokens.
  @inline(__always)
  func fillOffsets() {
    var offset = Int32(0)
    for r in 0..<ranks {
      receiveOffsets[r] = offset
      receiveCounts[r] = counts[2 * r] * Int32(entryWords) + 2 * counts[2 * r + 1]
      offset += receiveCounts[r]
    }
  }
}
