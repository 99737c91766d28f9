import Foundation

/// A regular file that is read piece by piece, at the places asked for.
///
/// Reading, unlike mapping, can fail in an orderly way: a file that somebody truncates or that a
/// disk loses while it is in use ends in an error with its name, where touching a mapped page
/// would end the process with a signal.
package final class PositionedFile: Sendable {
  /// The file as it was named.
  package let path: String
  /// Bytes when it was opened.
  package let size: Int
  private let descriptor: Int32

  /// - Throws: `FormatError` where there is no such file, or it is a folder, a pipe or a device.
  package init(_ path: String) throws(FormatError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FormatError(path, MappedFile.reason(errno)) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw FormatError(path, "not a regular file, expected a file")
    }
    self.path = path
    self.descriptor = descriptor
    size = Int(status.st_size)
  }

  deinit { close(descriptor) }

  /// Copies the bytes `range` of the file to `target`.
  /// - Throws: `FormatError` where the file ends before them or cannot be read.
  package func read(_ range: Range<Int>, into target: UnsafeMutableRawPointer) throws(FormatError) {
    var done = 0
    while done < range.count {
      let count = pread(
        descriptor, target + done, range.count - done, off_t(range.lowerBound + done))
      if count < 0 {
        if errno == EINTR { continue }
        throw FormatError(path, MappedFile.reason(errno))
      }
      guard count > 0 else {
        throw FormatError(
          path,
          "ends before byte \(range.upperBound), but had \(size) bytes when it was opened; "
            + "expected that nobody changes it while it is in use")
      }
      done += count
    }
  }

  /// The bytes `range` of the file.
  package func bytes(_ range: Range<Int>) throws(FormatError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    var failure: FormatError?
    bytes.withUnsafeMutableBytes { buffer in
      guard let target = buffer.baseAddress else { return }
      do throws(FormatError) { try read(range, into: target) } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes
  }
}
