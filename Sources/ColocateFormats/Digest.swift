/// SHA-256 of a file, so that a plan can say which trace it was made from.
public enum Digest {
  /// Bytes of a file that are in memory at once.
  private static let blockBytes = 1 << 20

  /// 64 lower-case hexadecimal digits.
  /// - Throws: `FormatError` where the file cannot be read.
  public static func sha256(ofFile path: String) throws(FormatError) -> String {
    try sha256(try PositionedFile(path))
  }

  /// - Parameter advance: gets the bytes that each step took.
  static func sha256(
    _ file: PositionedFile, advance: (Int) -> Void = { _ in }
  ) throws(FormatError) -> String {
    var hash = SHA256()
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: 16)
    defer { block.deallocate() }
    guard let target = block.baseAddress else { return hash.finish() }
    for start in stride(from: 0, to: file.size, by: blockBytes) {
      let range = start..<min(start + blockBytes, file.size)
      try file.read(range, into: target)
      hash.update(UnsafeRawBufferPointer(start: target, count: range.count))
      advance(range.count)
    }
    return hash.finish()
  }

  /// The digest of numbers as 64-bit integers with the low byte first, list after list.
  static func sha256(_ lists: [[Int]]) -> String {
    var hash = SHA256()
    for list in lists {
      let words = list.map { Int64($0).littleEndian }
      words.withUnsafeBytes { hash.update($0) }
    }
    return hash.finish()
  }
}
