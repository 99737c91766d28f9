/// Whether what came out of MPI is what was handed to it, word for word.
///
/// Both ends of a message add up its words on their own, each word times an odd weight that grows
/// with its place, modulo 2⁶⁴. One changed word changes the sum for certain: words differ by less
/// than 2³² and not by 0, and such a number times an odd one is no multiple of 2⁶⁴. So do two
/// different words that change places: their weights differ by an odd number times twice the
/// distance, and twice a distance below 2³¹ times less than 2³² is less than 2⁶⁴. Other changes go
/// unnoticed with a probability of about 2⁻⁶⁴. Sums are chained in the order of the calls, apart
/// for each collective and each pair of ranks, and compared after a step. Only `verify` switches
/// this on; it reads each message once on either side.
final class MessageAudit {
  private let ranks: Int
  private let kinds = Collective.allCases.count
  /// `[R, collective]` each: to and from each rank, since the last comparison.
  private var sent: [UInt64]
  private var received: [UInt64]

  /// A message that did not arrive as it was sent.
  struct Fault {
    let collective: Collective
    let from: Int
    let to: Int
  }

  init(ranks: Int) {
    self.ranks = ranks
    sent = [UInt64](repeating: 0, count: ranks * kinds)
    received = sent
  }

  static func sum(_ words: UnsafeRawPointer, count: Int) -> UInt64 {
    var weight: UInt64 = 0x9E37_79B9_7F4A_7C15
    var sum = UInt64(truncatingIfNeeded: count) &* 0xD6E8_FEB8_6659_FD93
    for i in 0..<count {
      sum &+= UInt64(words.load(fromByteOffset: 4 &* i, as: UInt32.self)) &* weight
      weight &+= 0x9E37_79B9_7F4A_7C16
    }
    return sum
  }

  @inline(__always)
  private static func chain(_ state: inout UInt64, _ sum: UInt64) {
    state = (state ^ (state >> 29)) &* 0xBF58_476D_1CE4_E5B9 &+ sum &+ 1
  }

  func send(_ collective: Collective, to rank: Int, _ words: UnsafeRawPointer, count: Int) {
    Self.chain(&sent[rank * kinds + collective.rawValue], Self.sum(words, count: count))
  }

  func receive(_ collective: Collective, from rank: Int, _ words: UnsafeRawPointer, count: Int) {
    Self.chain(&received[rank * kinds + collective.rawValue], Self.sum(words, count: count))
  }

  /// Compares both ends of everything since the last comparison, on all ranks together.
  /// - Returns: on every rank what did not arrive as it was sent.
  func compare(_ communicator: Communicator) -> [Fault] {
    let sentToMe = communicator.allToAll(sent.map { Int(bitPattern: UInt($0)) })
    let differs = (0..<ranks * kinds).map { i in
      i / kinds != communicator.rank && UInt64(UInt(bitPattern: sentToMe[i])) != received[i] ? 1 : 0
    }
    var faults: [Fault] = []
    for (to, flags) in communicator.gatherEverywhere(differs).enumerated() {
      for (i, flag) in flags.enumerated() where flag != 0 {
        faults.append(Fault(collective: Collective.allCases[i % kinds], from: i / kinds, to: to))
      }
    }
    for i in sent.indices { (sent[i], received[i]) = (0, 0) }
    return faults
  }
}
