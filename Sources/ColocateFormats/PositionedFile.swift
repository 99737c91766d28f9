import Foundation

/// A regular file that is read piece by piece, at the places asked for.
///
/// Reading, unlike mapping, can fail in an orderly way: a file that somebody truncates or that a
/// disk loses while it is in use ends in an error with its name, where touching a mapped page
/// would end the process with a signal. What is read takes as much memory as its reader gives it,
/// whatever the size of the file.
package final class PositionedFile: Sendable {
  /// The file as it was named.
  package let path: String
  /// Bytes when it was opened.
  package let size: Int
  private let descriptor: Int32

  /// Opens the file; it stays open as long as this value lives.
  /// - Throws: `FormatError` where there is no such file, or it is a folder, a pipe or a device.
  package init(_ path: String) throws(FormatError) {
    var status = stat()
    // Looked at before it is opened: to open a pipe would wait for somebody who writes to it.
    guard stat(path, &status) == 0 else {
      let reason = Descriptor.reason(errno)
      throw FormatError(
        path, path == "-" ? "\(reason) (standard input has to be saved to a file first)" : reason)
    }
    try Self.checkKind(status, path)
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw FormatError(path, Descriptor.reason(errno)) }
    do throws(FormatError) {
      // Another file may have taken the name in between.
      guard fstat(descriptor, &status) == 0 else {
        throw FormatError(path, Descriptor.reason(errno))
      }
      try Self.checkKind(status, path)
    } catch {
      close(descriptor)
      throw error
    }
    self.path = path
    self.descriptor = descriptor
    size = Int(status.st_size)
  }

  /// Takes over an open regular file, which is closed with this value.
  /// - Parameter path: the name for messages.
  /// - Throws: `FormatError` where it is no regular file.
  package init(adopting descriptor: Int32, named path: String) throws(FormatError) {
    self.path = path
    self.descriptor = descriptor
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw FormatError(path, Descriptor.reason(errno))
    }
    size = Int(status.st_size)
    try Self.checkKind(status, path)
  }

  deinit { close(descriptor) }

  private static func checkKind(_ status: stat, _ path: String) throws(FormatError) {
    switch status.st_mode & S_IFMT {
    case S_IFREG: return
    case S_IFDIR: throw FormatError(path, "a folder, expected a file")
    case S_IFIFO, S_IFSOCK:
      throw FormatError(path, "a pipe, expected a file: save what comes out of it first")
    default: throw FormatError(path, "not a regular file, expected a file: save its contents first")
    }
  }

  /// Copies the bytes `range` of the file to `target`, which has room for them.
  /// - Throws: `FormatError` where the file ends before them or cannot be read.
  package func read(_ range: Range<Int>, into target: UnsafeMutableRawPointer) throws(FormatError) {
    var done = 0
    while done < range.count {
      let count = pread(
        descriptor, target + done, range.count - done, off_t(range.lowerBound + done))
      if count < 0 {
        if errno == EINTR { continue }
        throw FormatError(path, Descriptor.reason(errno))
      }
      guard count > 0 else {
        throw FormatError(
          path,
          "ends before byte \(range.upperBound), but had \(size) bytes when it was opened: the "
            + "file became shorter while it was read")
      }
      done += count
    }
  }

  /// The bytes `range` of the file.
  /// - Throws: `FormatError` where the file ends before them or cannot be read.
  package func bytes(_ range: Range<Int>) throws(FormatError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    try bytes.withUnsafeMutableBufferPointer { buffer throws(FormatError) in
      guard let target = buffer.baseAddress else { return }
      try read(range, into: target)
    }
    return bytes
  }

  /// The first bytes, at most `most` of them, which tell what a file is.
  /// - Throws: `FormatError` where the file cannot be read.
  package func head(_ most: Int = 4096) throws(FormatError) -> [UInt8] {
    try bytes(0..<min(size, most))
  }
}
