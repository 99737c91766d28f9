import Foundation
import Synchronization

/// A file without a name, for what does not fit into memory and is read more than once: the ids of
/// a recording, a member of an archive, standard input. It is gone with its last reader.
final class SpoolFile {
  private let source: String
  private let descriptor: Int32

  /// - Parameter source: the name of what is kept here, for messages.
  /// - Throws: `FormatError` where there is no room for temporary files.
  init(for source: String) throws(FormatError) {
    self.source = source
    let name = NSTemporaryDirectory() + "/colocate.XXXXXX"
    var template = name.utf8CString.map { $0 }
    descriptor = mkstemp(&template)
    guard descriptor >= 0 else {
      throw FormatError(source, "no temporary file: \(Descriptor.reason(errno))")
    }
    unlink(template)
  }

  deinit { close(descriptor) }

  func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
    let failure = Descriptor.write(bytes, to: descriptor)
    guard failure == 0 else {
      throw FormatError(source, "its temporary file: \(Descriptor.reason(failure))")
    }
  }

  func write(_ bytes: [UInt8]) throws(FormatError) {
    let failure = bytes.withUnsafeBytes { Descriptor.write($0, to: descriptor) }
    guard failure == 0 else {
      throw FormatError(source, "its temporary file: \(Descriptor.reason(failure))")
    }
  }

  /// What was written, to be read by the name of what it is.
  func file() throws(FormatError) -> PositionedFile {
    let copy = dup(descriptor)
    guard copy >= 0 else { throw FormatError(source, Descriptor.reason(errno)) }
    return try PositionedFile(adopting: copy, named: source)
  }

  /// Everything that comes out of standard input; read once, however often it is asked for.
  static func standardInput() throws(FormatError) -> PositionedFile {
    let result = input.withLock { kept -> Result<PositionedFile, FormatError> in
      if let kept { return .success(kept) }
      do throws(FormatError) {
        let file = try readInput()
        kept = file
        return .success(file)
      } catch { return .failure(error) }
    }
    return try result.get()
  }

  private static let input = Mutex<PositionedFile?>(nil)

  private static func readInput() throws(FormatError) -> PositionedFile {
    let spool = try SpoolFile(for: "-")
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = read(STDIN_FILENO, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw FormatError("-", Descriptor.reason(errno)) }
      if count == 0 { return try spool.file() }
      try spool.write(Array(buffer[..<count]))
    }
  }
}

extension TraceSource {
  /// The recording as an array in a file without a name, for readers that look at a trace more than
  /// once: 4 bytes an id on the disk, and no memory.
  /// - Throws: `FormatError` where the recording cannot be read or the disk is full.
  func spooled() throws(FormatError) -> (array: IntegerArray, file: PositionedFile) {
    let spool = try SpoolFile(for: name)
    var tokens = 0
    try stream { ids throws(FormatError) in
      try spool.write(UnsafeRawBufferPointer(ids))
      tokens += ids.count / (layers * choices)
    }
    let file = try spool.file()
    let array = IntegerArray(
      file, offset: 0,
      element: IntegerElement(
        size: 4, isSigned: true, isBigEndian: Int32(1).bigEndian == 1),
      shape: choices == 1 ? [tokens, layers] : [tokens, layers, choices])
    return (array, file)
  }
}
