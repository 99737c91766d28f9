/// Decompresses "deflate" data (RFC 1951), as zip members have it.
///
/// A stream is a run of blocks: stored bytes, or symbols of a Huffman code that is fixed or stands
/// before them. Symbols below 256 are bytes; larger ones say how many bytes to repeat (3 to 258)
/// and a second code how far back they are (1 to 32768).
///
/// Codes are decoded canonically. With `count[n]` codes of `n` bits, those of one length are
/// consecutive numbers, and the first of length `n + 1` is `(first[n] + count[n]) · 2`. So reading
/// bit by bit, a code of length `n` is complete as soon as it is below `first[n] + count[n]`.
///
/// The result's size is given and checked: a stream that makes more or less is damaged. Input comes
/// and output goes in pieces, so that memory is that of a piece of each and the 32 KiB that may be
/// repeated; time is linear in the result.
package struct Inflate {
  private struct Damage: Error {
    let what: String
  }

  /// The next piece of input; empty at its end.
  private let refill: () -> [UInt8]
  /// Takes a piece of output; false where it cannot.
  private let sink: (ArraySlice<UInt8>) -> Bool
  private var input: [UInt8] = []
  private var at = 0
  private var bits: UInt32 = 0
  private var bitCount = 0
  /// Output that has not gone yet, and before it what may still be repeated.
  private var output: [UInt8] = []
  /// Bytes of `output` that have gone, and bytes that went before them.
  private var (delivered, dropped) = (0, 0)
  private let size: Int

  /// The farthest that a repeat goes back, and the output that is kept beyond it.
  private static let (window, piece) = (1 << 15, 1 << 20)

  /// Bytes of the result so far.
  private var made: Int { dropped + output.count }

  /// - Parameter size: of the result.
  /// - Returns: the bytes, or what is wrong with the stream.
  package static func inflated(
    _ input: ArraySlice<UInt8>, size: Int
  ) -> Result<[UInt8], InflateProblem> {
    var (rest, result) = (input, [UInt8]())
    let problem = stream(
      size: size,
      refill: {
        defer { rest = rest[rest.endIndex...] }
        return Array(rest)
      },
      sink: {
        result += $0
        return true
      })
    return problem.map { .failure($0) } ?? .success(result)
  }

  /// Decompresses piece by piece.
  /// - Parameters:
  ///   - size: of the result.
  ///   - refill: answers the next piece of input, empty at its end.
  ///   - sink: takes the next piece of the result; false ends the work.
  /// - Returns: what is wrong with the stream; nil where all is well.
  static func stream(
    size: Int, refill: @escaping () -> [UInt8], sink: @escaping (ArraySlice<UInt8>) -> Bool
  ) -> InflateProblem? {
    var inflate = Inflate(refill: refill, sink: sink, size: size)
    do throws(Damage) {
      try inflate.blocks()
      try inflate.deliver()
      return nil
    } catch {
      return InflateProblem(what: error.what)
    }
  }

  private init(
    refill: @escaping () -> [UInt8], sink: @escaping (ArraySlice<UInt8>) -> Bool, size: Int
  ) {
    (self.refill, self.sink, self.size) = (refill, sink, size)
  }

  /// Hands on what has been made.
  private mutating func deliver() throws(Damage) {
    guard delivered == output.count || sink(output[delivered...]) else {
      throw Damage(what: "nobody takes its content")
    }
    delivered = output.count
  }

  /// Hands on a piece once there is one, and forgets what no repeat reaches.
  private mutating func makeRoom() throws(Damage) {
    guard output.count >= Self.window + Self.piece else { return }
    try deliver()
    let old = output.count - Self.window
    output.removeFirst(old)
    dropped += old
    delivered -= old
  }

  private mutating func nextByte() throws(Damage) -> UInt8 {
    if at == input.count {
      (input, at) = (refill(), 0)
      guard !input.isEmpty else { throw Damage(what: "it ends early") }
    }
    at += 1
    return input[at - 1]
  }

  private mutating func blocks() throws(Damage) {
    var isLast = false
    while !isLast {
      isLast = try take(1) == 1
      switch try take(2) {
      case 0: try stored()
      case 1: try symbols(Self.fixedLengths, Self.fixedDistances)
      case 2:
        let (lengths, distances) = try codes()
        try symbols(lengths, distances)
      default: throw Damage(what: "a block of no kind")
      }
    }
    guard made == size else { throw Damage(what: "\(made) bytes, expected \(size)") }
  }

  /// The next `count` bits, the first the lowest.
  private mutating func take(_ count: Int) throws(Damage) -> Int {
    while bitCount < count {
      bits |= UInt32(try nextByte()) << UInt32(bitCount)
      bitCount += 8
    }
    let value = bits & ((1 << UInt32(count)) - 1)
    bits >>= UInt32(count)
    bitCount -= count
    return Int(value)
  }

  /// Bytes as they are, after the rest of a byte.
  private mutating func stored() throws(Damage) {
    bits = 0
    bitCount = 0
    let length = try take(16)
    guard try take(16) == length ^ 0xFFFF else { throw Damage(what: "a stored block's length") }
    guard length <= size - made else { throw Damage(what: "a stored block that is too long") }
    for _ in 0..<length { output.append(try nextByte()) }
    try makeRoom()
  }

  /// A canonical code.
  private struct Code {
    /// Codes of each length, 0 to 15 bits.
    var count = [Int](repeating: 0, count: 16)
    /// Symbols by length and number.
    var symbols: [Int]

    init(_ lengths: [Int]) {
      for length in lengths { count[length] += 1 }
      count[0] = 0
      var offsets = [Int](repeating: 0, count: 17)
      for length in 1...15 { offsets[length + 1] = offsets[length] + count[length] }
      symbols = [Int](repeating: 0, count: offsets[16])
      for (symbol, length) in lengths.enumerated() where length > 0 {
        symbols[offsets[length]] = symbol
        offsets[length] += 1
      }
    }

    /// Whether more codes have been given out than there are.
    var isOversubscribed: Bool {
      var left = 1
      for length in 1...15 {
        left = 2 * left - count[length]
        if left < 0 { return true }
      }
      return false
    }
  }

  private mutating func symbol(_ code: Code) throws(Damage) -> Int {
    var (value, first, index) = (0, 0, 0)
    for length in 1...15 {
      value |= try take(1)
      let count = code.count[length]
      if value - first < count { return code.symbols[index + value - first] }
      index += count
      first = (first + count) << 1
      value <<= 1
    }
    throw Damage(what: "a code that is none")
  }

  private static let fixedLengths = Code(
    (0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 })
  private static let fixedDistances = Code([Int](repeating: 5, count: 30))

  /// Least lengths and distances of each symbol, and the bits that are added.
  private static let lengthBase = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
  ]
  private static let lengthBits = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
  ]
  private static let distanceBase = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049,
    3073, 4097, 6145, 8193, 12289, 16385, 24577,
  ]

  private mutating func symbols(_ lengths: Code, _ distances: Code) throws(Damage) {
    while true {
      let symbol = try symbol(lengths)
      if symbol == 256 { return }
      if symbol < 256 {
        guard made < size else { throw Damage(what: "more than \(size) bytes") }
        output.append(UInt8(symbol))
        try makeRoom()
        continue
      }
      guard symbol - 257 < Self.lengthBase.count else { throw Damage(what: "a length of no kind") }
      let length = Self.lengthBase[symbol - 257] + (try take(Self.lengthBits[symbol - 257]))
      let far = try self.symbol(distances)
      guard far < 30 else { throw Damage(what: "a distance of no kind") }
      let distance = Self.distanceBase[far] + (try take(far < 4 ? 0 : far / 2 - 1))
      guard distance <= output.count else { throw Damage(what: "a distance before the start") }
      guard length <= size - made else { throw Damage(what: "more than \(size) bytes") }
      for _ in 0..<length { output.append(output[output.count - distance]) }
      try makeRoom()
    }
  }

  /// The codes that stand before a block, themselves coded.
  private mutating func codes() throws(Damage) -> (lengths: Code, distances: Code) {
    let literals = try take(5) + 257
    let distances = try take(5) + 1
    let coded = try take(4) + 4
    guard literals <= 286, distances <= 30 else { throw Damage(what: "too many codes") }
    let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
    var first = [Int](repeating: 0, count: 19)
    for place in order.prefix(coded) { first[place] = try take(3) }
    let code = Code(first)
    guard !code.isOversubscribed else { throw Damage(what: "a code that is none") }
    var lengths = [Int]()
    while lengths.count < literals + distances {
      let symbol = try symbol(code)
      let (value, times): (Int, Int)
      switch symbol {
      case 16:
        guard let last = lengths.last else { throw Damage(what: "a repeat of nothing") }
        (value, times) = (last, try take(2) + 3)
      case 17: (value, times) = (0, try take(3) + 3)
      case 18: (value, times) = (0, try take(7) + 11)
      default: (value, times) = (symbol, 1)
      }
      guard lengths.count + times <= literals + distances else {
        throw Damage(what: "too many code lengths")
      }
      lengths += [Int](repeating: value, count: times)
    }
    let (a, b) = (Code(Array(lengths[..<literals])), Code(Array(lengths[literals...])))
    guard lengths[256] > 0, !a.isOversubscribed, !b.isOversubscribed else {
      throw Damage(what: "a code that is none")
    }
    return (a, b)
  }
}

/// What is wrong with a compressed stream.
package struct InflateProblem: Error, Hashable {
  package let what: String
}
