/// A zip archive (APPNOTE 6.3): numpy's `.npz`, PyTorch's `.pt`.
///
/// The central directory at the end is what counts. Members are stored or deflated; each one's
/// checksum is compared, so that a damaged file is not read as another one. Sizes beyond 4 GiB
/// (zip64) are understood. Encrypted and split archives are refused.
package struct ZipArchive {
  package struct Member: Hashable {
    package let name: String
    let isDeflated: Bool
    /// Bytes of the member as stored.
    let range: Range<Int>
    /// Bytes once decompressed.
    let size: Int
    fileprivate let checksum: UInt32
  }

  /// Members that an archive of recordings never exceeds.
  private static let mostMembers = 1 << 20

  private let file: PositionedFile
  /// In the order of the directory.
  package let members: [Member]

  /// Whether a file's first bytes say that it is an archive with something in it.
  static func starts(_ head: [UInt8]) -> Bool { head.starts(with: [0x50, 0x4B, 0x03, 0x04]) }

  /// - Throws: `FormatError` where the directory is damaged or names what the file does not have.
  package init(_ file: PositionedFile) throws(FormatError) {
    self.file = file
    let directory = try Self.directory(file)
    let bytes = Little(
      try file.bytes(directory.start..<directory.end), from: directory.start, file.path)
    var members = [Member]()
    var at = directory.start
    for _ in 0..<directory.count {
      guard at + 46 <= directory.end, bytes.word(at) == 0x0201_4B50 else {
        throw bytes.damaged("its directory ends after \(members.count) members")
      }
      let (name, extra) = (bytes.half(at + 28), bytes.half(at + 30))
      let end = at + 46 + name + extra + bytes.half(at + 32)
      guard end <= directory.end else {
        throw bytes.damaged("member \(members.count) of its directory is cut")
      }
      members.append(try Self.member(file, bytes, at, nameLength: name, extraLength: extra))
      at = end
    }
    guard Set(members.map(\.name)).count == members.count else {
      throw bytes.damaged("a member is there twice")
    }
    self.members = members
  }

  /// Where the directory is and how many members it has.
  private static func directory(
    _ file: PositionedFile
  ) throws(FormatError) -> (start: Int, end: Int, count: Int) {
    let size = file.size
    // The end record with the longest comment, and before it the record that leads to wide ones.
    let first = max(0, size - 22 - 65535 - 20)
    let bytes = Little(try file.bytes(first..<size), from: first, file.path)
    guard size >= 22,
      let end = stride(from: size - 22, through: first, by: -1).first(where: {
        bytes.word($0) == 0x0605_4B50 && $0 + 22 + bytes.half($0 + 20) == size
      })
    else { throw bytes.damaged("it has no directory: was it written to the end?") }
    var (count, length, start) = (bytes.half(end + 10), bytes.word(end + 12), bytes.word(end + 16))
    let isWide = count == 0xFFFF || length == 0xFFFF_FFFF || start == 0xFFFF_FFFF
    if isWide, end - 20 >= first, bytes.word(end - 20) == 0x0706_4B50 {
      let place = bytes.long(end - 12)
      guard place >= 0, place <= end - 56 else {
        throw bytes.damaged("its wide directory is not where it should be")
      }
      let wide = Little(try file.bytes(place..<(place + 56)), from: place, file.path)
      guard wide.word(place) == 0x0606_4B50 else {
        throw bytes.damaged("its wide directory is not where it should be")
      }
      (count, length, start) = (
        wide.long(place + 32), wide.long(place + 40), wide.long(place + 48)
      )
    }
    guard (0...mostMembers).contains(count), start >= 0, length >= 0, start <= end,
      length <= end - start
    else { throw bytes.damaged("its directory lies outside of the file") }
    return (start, start + length, count)
  }

  private static func member(
    _ file: PositionedFile, _ bytes: Little, _ at: Int, nameLength: Int, extraLength: Int
  ) throws(FormatError) -> Member {
    let nameStart = at + 46
    let nameBytes = bytes[nameStart..<(nameStart + nameLength)]
    guard let name = String(validating: nameBytes, as: UTF8.self) else {
      throw bytes.damaged("a member's name is not UTF-8")
    }
    let flags = bytes.half(at + 8)
    let method = bytes.half(at + 10)
    guard flags & 1 == 0, method == 0 || method == 8 else {
      throw FormatError(
        file.path,
        "member '\(name)' is encrypted or compressed by method \(method), expected stored or "
          + "deflated")
    }
    let extra = nameStart + nameLength
    let (packed, size, start) = wideSizes(bytes, at, extra..<(extra + extraLength))
    guard start >= 0, packed >= 0, size >= 0, start <= file.size - 30 else {
      throw bytes.damaged("member '\(name)' is not where its directory says")
    }
    let local = Little(try file.bytes(start..<(start + 30)), from: start, file.path)
    guard local.word(start) == 0x0403_4B50 else {
      throw bytes.damaged("member '\(name)' is not where its directory says")
    }
    let data = start + 30 + local.half(start + 26) + local.half(start + 28)
    guard data <= file.size, packed <= file.size - data else {
      throw bytes.damaged("member '\(name)' lies outside of the file")
    }
    // Deflate makes at most 1032 bytes of one.
    guard method == 8 || packed == size, size / 1032 <= packed else {
      throw bytes.damaged("member '\(name)' of \(packed) bytes cannot hold \(size)")
    }
    return Member(
      name: name, isDeflated: method == 8, range: data..<(data + packed), size: size,
      checksum: UInt32(bytes.word(at + 16)))
  }

  /// The sizes and the place of a member; those that are all ones stand in its extra field, in this
  /// order, in 64 bits.
  private static func wideSizes(
    _ bytes: Little, _ at: Int, _ extra: Range<Int>
  ) -> (packed: Int, size: Int, start: Int) {
    var (packed, size, start) = (bytes.word(at + 20), bytes.word(at + 24), bytes.word(at + 42))
    var field = extra.lowerBound
    while field + 4 <= extra.upperBound {
      let end = field + 4 + bytes.half(field + 2)
      guard end <= extra.upperBound else { break }
      if bytes.half(field) == 1 {
        var place = field + 4
        func wide(_ value: Int) -> Int {
          guard value == 0xFFFF_FFFF, place + 8 <= end else { return value }
          place += 8
          return bytes.long(place - 8)
        }
        size = wide(size)
        packed = wide(packed)
        start = wide(start)
      }
      field = end
    }
    return (packed, size, start)
  }

  /// The member `name`, or nil.
  func member(_ name: String) -> Member? { members.first { $0.name == name } }

  /// A member's bytes.
  /// - Throws: `FormatError` where they are not what they were when they were written.
  package func bytes(of member: Member) throws(FormatError) -> [UInt8] {
    var bytes = try file.bytes(member.range)
    if member.isDeflated {
      switch Inflate.inflated(bytes[...], size: member.size) {
      case .success(let inflated): bytes = inflated
      case .failure(let problem):
        throw FormatError(file.path, "member '\(member.name)' is damaged: \(problem.what)")
      }
    }
    guard Self.checksum(bytes) == member.checksum else {
      throw FormatError(file.path, "member '\(member.name)' is damaged: its checksum differs")
    }
    return bytes
  }

  /// Writes a member's bytes to a file, a block at a time, whatever its size.
  /// - Throws: `FormatError` as `bytes(of:)`.
  func copy(_ member: Member, to spool: SpoolFile) throws(FormatError) {
    var sum = ~UInt32(0)
    if member.isDeflated {
      sum = try inflate(member, to: spool)
    } else {
      for start in stride(from: member.range.lowerBound, to: member.range.upperBound, by: 1 << 20) {
        let block = try file.bytes(start..<min(start + (1 << 20), member.range.upperBound))
        sum = Self.checksum(block, after: sum)
        try spool.write(block)
      }
    }
    guard ~sum == member.checksum else {
      throw FormatError(file.path, "member '\(member.name)' is damaged: its checksum differs")
    }
  }

  /// Decompresses a member to a file.
  /// - Returns: the checksum so far, of all of it.
  private func inflate(_ member: Member, to spool: SpoolFile) throws(FormatError) -> UInt32 {
    var (sum, place) = (~UInt32(0), member.range.lowerBound)
    // What goes wrong with the files themselves passes the decompression by.
    var failure: FormatError?
    func attempt(_ body: () throws(FormatError) -> Void) -> Bool {
      do throws(FormatError) { try body() } catch { failure = failure ?? error }
      return failure == nil
    }
    let problem = Inflate.stream(
      size: member.size,
      refill: { [file] in
        var block = [UInt8]()
        let end = min(place + (1 << 18), member.range.upperBound)
        _ = attempt { () throws(FormatError) in block = try file.bytes(place..<end) }
        place = end
        return failure == nil ? block : []
      },
      sink: { piece in
        let bytes = Array(piece)
        sum = Self.checksum(bytes, after: sum)
        return attempt { () throws(FormatError) in try spool.write(bytes) }
      })
    if let failure { throw failure }
    if let problem {
      throw FormatError(file.path, "member '\(member.name)' is damaged: \(problem.what)")
    }
    return sum
  }

  /// CRC-32 as zip has it, polynomial 0xEDB88320.
  package static func checksum(_ bytes: [UInt8]) -> UInt32 { ~checksum(bytes, after: ~0) }

  private static func checksum(_ bytes: [UInt8], after start: UInt32) -> UInt32 {
    bytes.reduce(start) { sum, byte in
      table[Int(UInt8(truncatingIfNeeded: sum) ^ byte)] ^ (sum >> 8)
    }
  }

  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in
      value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1
    }
  }
}

/// Little-endian numbers of a piece of a file, by their places in the file.
private struct Little {
  private let path: String
  private let bytes: [UInt8]
  private let start: Int

  init(_ bytes: [UInt8], from start: Int, _ path: String) {
    self.path = path
    self.bytes = bytes
    self.start = start
  }

  subscript(range: Range<Int>) -> ArraySlice<UInt8> {
    bytes[(range.lowerBound - start)..<(range.upperBound - start)]
  }

  private func number(_ at: Int, _ size: Int) -> Int {
    (0..<size).reversed().reduce(0) { ($0 << 8) | Int(bytes[at - start + $1]) }
  }

  func half(_ at: Int) -> Int { number(at, 2) }
  func word(_ at: Int) -> Int { number(at, 4) }
  /// Negative where the number is 2^63 or more.
  func long(_ at: Int) -> Int { number(at, 8) }

  func damaged(_ why: String) -> FormatError {
    FormatError(path, "a damaged zip archive: \(why)")
  }
}
