import Foundation

/// A file that appears whole or not at all.
///
/// What is written goes to a hidden file beside the target, which takes the target's name (`rename`, atomic in one
/// folder) once everything is on the disk; where writing fails it is removed and the target stays as it was. A target that exists and is
/// no regular file (`/dev/stdout`, a pipe) is written to directly. Symbolic links are followed.
public struct AtomicFile {
  private let path: String
  private let descriptor: Int32
  private let temporary: String?
  private let target: String
  private var buffer = [UInt8]()

  /// Writes a file with what `body` puts out.
  /// - Throws: `FormatError` where the file cannot be written; what `body` throws.
  public static func write(
    to path: String, _ body: (inout AtomicFile) throws -> Void
  ) throws {
    var file = try AtomicFile(path)
    do {
      try body(&file)
      try file.flush()
      try file.commit()
    } catch {
      file.abandon()
      throw error
    }
  }

  /// Writes `text` as the whole file.
  /// - Throws: `FormatError` where the file cannot be written.
  public static func write(_ text: String, to path: String) throws {
    try write(to: path) { file in try file.put(text) }
  }

  private init(_ path: String) throws(FormatError) {
    self.path = path
    var status = stat()
    let exists = stat(path, &status) == 0
    if exists, status.st_mode & S_IFMT != S_IFREG {
      guard status.st_mode & S_IFMT != S_IFDIR else {
        throw FormatError(path, "a folder, expected a file to write")
      }
      (temporary, target) = (nil, path)
      descriptor = open(path, O_WRONLY)
      guard descriptor >= 0 else { throw FormatError(path, MappedFile.reason(errno)) }
      return
    }
    // Where a link points to is replaced, not the link.
    let resolved = exists ? URL(fileURLWithPath: path).resolvingSymlinksInPath().path : path
    let url = URL(fileURLWithPath: resolved)
    let name =
      ".\(url.lastPathComponent.prefix(200)).\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
    let temporary = url.deletingLastPathComponent().appendingPathComponent(name).path
    descriptor = open(
      temporary, O_WRONLY | O_CREAT | O_EXCL, exists ? status.st_mode & 0o777 : 0o666)
    guard descriptor >= 0 else { throw FormatError(path, MappedFile.reason(errno)) }
    (self.temporary, target) = (temporary, resolved)
  }

  /// Adds text.
  public mutating func put(_ text: String) throws(FormatError) {
    buffer.append(contentsOf: text.utf8)
    if buffer.count >= 1 << 20 { try flush() }
  }

  /// Adds bytes.
  public mutating func put(_ bytes: some Sequence<UInt8>) throws(FormatError) {
    buffer.append(contentsOf: bytes)
    if buffer.count >= 1 << 20 { try flush() }
  }

  private mutating func flush() throws(FormatError) {
    var failure: Int32 = 0
    buffer.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let written = Foundation.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
        if written < 0 {
          if errno == EINTR { continue }
          failure = errno
          return
        }
        done += written
      }
    }
    guard failure == 0 else { throw FormatError(path, MappedFile.reason(failure)) }
    buffer.removeAll(keepingCapacity: true)
  }

  private func commit() throws(FormatError) {
    guard let temporary else {
      close(descriptor)
      return
    }
    guard fsync(descriptor) == 0, rename(temporary, target) == 0 else {
      throw FormatError(path, MappedFile.reason(errno))
    }
    close(descriptor)
  }

  private func abandon() {
    close(descriptor)
    if let temporary { unlink(temporary) }
  }
}
