import Foundation
import Synchronization

/// A file that is being written and has no name of its own yet, or a hidden one.
///
/// Where the file system can (`O_TMPFILE`, Linux), the file has no name at all until it is
/// complete: whatever ends the process, even SIGKILL, nothing stays behind. Elsewhere it has a
/// hidden name beside its target; `HiddenFile.removeAll()`, which a program calls from its signal
/// handlers, removes it.
struct HiddenFile {
  /// Open for writing.
  let descriptor: Int32
  private let place: OutputPath
  /// The hidden name; nil for a file without a name.
  private let name: String?

  /// Makes the file in the folder of `place`.
  /// - Throws: `FormatError` where none can be made.
  init(in place: OutputPath, unnamed: Bool = true) throws(FormatError) {
    self.place = place
    #if os(Linux)
      // The flag of <fcntl.h>, which the importer does not know.
      let unnamedFlag: Int32 = 0o20_000_000 | O_DIRECTORY
      if unnamed, access("/proc/self/fd", X_OK) == 0 {
        let file = open(place.folder, unnamedFlag | O_RDWR | O_CLOEXEC, 0o666)
        if file >= 0 {
          (descriptor, name) = (file, nil)
          keepPermissions()
          return
        }
      }
    #endif
    (descriptor, name) = try Self.openNamed(place)
    keepPermissions()
  }

  private static func openNamed(_ place: OutputPath) throws(FormatError) -> (Int32, String) {
    let name = place.hiddenName()
    // Known before it exists, so that no signal finds it unknown.
    Names.add(name)
    let file = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard file >= 0 else {
      let reason = Descriptor.reason(errno)
      Names.remove(name)
      throw FormatError(place.path, reason)
    }
    return (file, name)
  }

  /// The permissions of the file that is replaced stay.
  private func keepPermissions() {
    if let permissions = place.permissions { _ = fchmod(descriptor, permissions) }
  }

  /// Gives the file its target's name, in one step, once everything is on the disk.
  /// - Throws: `FormatError` where that fails; the file is gone then.
  func publish() throws(FormatError) {
    guard fsync(descriptor) == 0 else { throw failure() }
    if let name {
      guard rename(name, place.target) == 0 else { throw failure() }
      Names.remove(name)
      close(descriptor)
      return
    }
    let source = "/proc/self/fd/\(descriptor)"
    if place.permissions == nil,
      linkat(AT_FDCWD, source, AT_FDCWD, place.target, AT_SYMLINK_FOLLOW) == 0
    {
      close(descriptor)
      return
    }
    // `linkat` does not replace a file: a hidden name for a moment, then `rename`.
    let name = place.hiddenName()
    Names.add(name)
    defer { Names.remove(name) }
    guard linkat(AT_FDCWD, source, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0 else { throw failure() }
    guard rename(name, place.target) == 0 else {
      let error = failure()
      unlink(name)
      throw error
    }
    close(descriptor)
  }

  private func failure() -> FormatError {
    let error = FormatError(place.path, Descriptor.reason(errno))
    discard()
    return error
  }

  /// Lets the file go.
  func discard() {
    close(descriptor)
    if let name {
      unlink(name)
      Names.remove(name)
    }
  }

  /// Removes the hidden names that this process has in use. Safe in a signal handler.
  static func removeAll() { Names.unlinkAll() }

  /// The hidden names in use, where a signal handler can read them.
  private enum Names {
    private static let count = 32
    private static let guardian = Mutex(())
    nonisolated(unsafe) private static let slots = {
      let slots = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: count)
      slots.initialize(repeating: nil, count: count)
      return slots
    }()

    static func add(_ name: String) {
      guardian.withLock { _ in
        guard let free = (0..<count).first(where: { slots[$0] == nil }) else { return }
        slots[free] = strdup(name)
      }
    }

    /// The few bytes of the name are not given back: a handler may be reading them.
    static func remove(_ name: String) {
      guardian.withLock { _ in
        for slot in 0..<count where slots[slot].map({ String(cString: $0) == name }) ?? false {
          slots[slot] = nil
        }
      }
    }

    static func unlinkAll() {
      for slot in 0..<count {
        if let name = slots[slot] { unlink(name) }
      }
    }
  }
}
