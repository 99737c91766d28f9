import Foundation

/// A file that appears whole or not at all.
///
/// What is written goes to a `HiddenFile` in the target's folder, which takes the target's name
/// once everything is on the disk; where writing fails the target stays as it was. A target that
/// exists and is no regular file (`/dev/stdout`, a pipe) is written to directly.
public struct AtomicFile {
  private let place: OutputPath
  private let descriptor: Int32
  /// nil where the target is written to directly.
  private let hidden: HiddenFile?
  private var buffer = [UInt8]()

  /// Writes a file with what `body` puts out.
  /// - Throws: `FormatError` where the file cannot be written; what `body` throws.
  public static func write(
    to path: String, _ body: (inout AtomicFile) throws -> Void
  ) throws {
    try write(to: path, unnamed: true, body)
  }

  /// - Parameter unnamed: whether the file may be without a name until it is complete.
  package static func write(
    to path: String, unnamed: Bool, _ body: (inout AtomicFile) throws -> Void
  ) throws {
    var file = try AtomicFile(path, unnamed: unnamed)
    do {
      try body(&file)
      try file.flush()
    } catch {
      file.abandon()
      throw error
    }
    try file.commit()
  }

  /// Writes `text` as the whole file.
  /// - Throws: `FormatError` where the file cannot be written.
  public static func write(_ text: String, to path: String) throws {
    try write(to: path) { file in try file.put(text) }
  }

  /// Removes what files that are being written have left beside their targets. For signal handlers
  /// that are about to end the process: nothing but `unlink` is called.
  package static func removeUnfinished() { HiddenFile.removeAll() }

  private init(_ path: String, unnamed: Bool) throws(FormatError) {
    place = try OutputPath(path)
    if place.isReplaced {
      let file = try HiddenFile(in: place, unnamed: unnamed)
      (hidden, descriptor) = (file, file.descriptor)
    } else {
      hidden = nil
      descriptor = open(place.target, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw FormatError(path, Descriptor.reason(errno)) }
    }
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
    let failure = buffer.withUnsafeBytes { Descriptor.write($0, to: descriptor) }
    guard failure == 0 else { throw FormatError(place.path, Descriptor.reason(failure)) }
    buffer.removeAll(keepingCapacity: true)
  }

  private func commit() throws(FormatError) {
    if let hidden {
      try hidden.publish()
    } else {
      close(descriptor)
    }
  }

  private func abandon() {
    if let hidden {
      hidden.discard()
    } else {
      close(descriptor)
    }
  }
}
