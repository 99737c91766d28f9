/// SHA-256 of a file that somebody else is reading: what passes in order is taken along, and only
/// the rest is read again.
///
/// So a trace of any size is read from the disk once. Bytes that come out of order are ignored, as
/// `finish` will read them.
final class SequentialDigest {
  private static let blockBytes = 1 << 20

  private let file: PositionedFile
  private var hash = SHA256()
  /// Bytes digested so far.
  private var position = 0

  init(_ file: PositionedFile) { self.file = file }

  /// Takes bytes that were read from the file.
  /// - Parameter offset: their place. A few bytes before the first ones, a header's, are read here.
  /// - Throws: `FormatError` where these cannot be read.
  func take(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FormatError) {
    if position == 0, offset <= Self.blockBytes { try read(upTo: offset) { _ in } }
    guard offset == position else { return }
    hash.update(bytes)
    position += bytes.count
  }

  /// The digest of the whole file.
  /// - Parameter advance: gets the bytes that each step reads.
  /// - Throws: `FormatError` where the file cannot be read.
  func finish(_ advance: (Int) -> Void = { _ in }) throws(FormatError) -> String {
    try read(upTo: file.size, advance)
    return hash.finish()
  }

  private func read(upTo end: Int, _ advance: (Int) -> Void) throws(FormatError) {
    guard position < end else { return }
    let block = UnsafeMutableRawBufferPointer.allocate(
      byteCount: min(Self.blockBytes, end - position), alignment: 16)
    defer { block.deallocate() }
    guard let target = block.baseAddress else { return }
    while position < end {
      let range = position..<min(position + block.count, end)
      try file.read(range, into: target)
      hash.update(UnsafeRawBufferPointer(start: target, count: range.count))
      position = range.upperBound
      advance(range.count)
    }
  }
}
