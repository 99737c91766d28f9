import Foundation

/// A folder that appears whole or not at all: filled under a hidden name beside its place, which
/// it takes in one step at the end.
///
/// Whoever looks meanwhile sees no half of a checkpoint. What ends the process without warning
/// (SIGKILL, a power failure) leaves the hidden folder, `.NAME.PROCESS.RANDOM`, behind, never a
/// folder with the name asked for.
struct HiddenFolder {
  /// The hidden name.
  let path: String
  /// The name that was asked for.
  let target: String
  private let parent: String

  /// - Throws: `FormatError` where something has the name already, or none can be made there.
  init(for target: String) throws(FormatError) {
    var name = target
    while name.count > 1, name.hasSuffix("/") { name.removeLast() }
    let slash = name.lastIndex(of: "/")
    let last = slash.map { String(name[name.index(after: $0)...]) } ?? name
    parent = slash.map { $0 == name.startIndex ? "/" : String(name[..<$0]) } ?? "."
    guard !last.isEmpty, !name.utf8.contains(0), ![".", ".."].contains(last) else {
      throw FormatError(target, "expected the name of a new folder")
    }
    self.target = name
    path = "\(parent)/.\(last.prefix(200)).\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
    try checkAbsent()
    var status = stat()
    guard stat(parent, &status) == 0 else {
      throw FormatError(target, "folder '\(parent)': \(Descriptor.reason(errno))")
    }
    guard mkdir(path, 0o777) == 0 else { throw FormatError(target, Descriptor.reason(errno)) }
  }

  private func checkAbsent() throws(FormatError) {
    var status = stat()
    guard lstat(target, &status) != 0 else {
      throw FormatError(target, "exists already, expected the name of a new folder")
    }
  }

  /// Gives the folder its name, once everything in it is on the disk.
  /// - Throws: `FormatError` where that fails; the folder is still hidden then.
  func publish() throws(FormatError) {
    try Self.sync(path)
    try checkAbsent()
    guard rename(path, target) == 0 else { throw FormatError(target, Descriptor.reason(errno)) }
    // The folder is there; that its name survives a power failure is asked for, not demanded.
    try? Self.sync(parent)
  }

  /// Makes sure that the names in a folder are on the disk. Not every file system can.
  static func sync(_ folder: String) throws(FormatError) {
    let descriptor = open(folder, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FormatError(folder, Descriptor.reason(errno)) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP else {
      throw FormatError(folder, Descriptor.reason(errno))
    }
  }

  /// Removes the folder and all that is in it.
  func discard() { try? FileManager.default.removeItem(atPath: path) }

  /// Whether the place asked for is inside of `folder`, or is that folder.
  func isInside(_ folder: String) -> Bool {
    var (outer, inner) = (stat(), stat())
    guard stat(folder, &outer) == 0 else { return false }
    var at = parent
    // Up to the root, whose parent is itself.
    for _ in 0..<1000 {
      guard stat(at, &inner) == 0 else { return false }
      if (inner.st_dev, inner.st_ino) == (outer.st_dev, outer.st_ino) { return true }
      var above = stat()
      guard stat(at + "/..", &above) == 0,
        (above.st_dev, above.st_ino) != (inner.st_dev, inner.st_ino)
      else { return false }
      at += "/.."
    }
    return false
  }
}
