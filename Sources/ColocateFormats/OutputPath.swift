import Foundation

/// Where a file is going to be written, looked at before the work that makes the file.
///
/// Symbolic links are followed, so that what a link points to is replaced and not the link. A
/// target that exists and is no regular file (`/dev/stdout`, a pipe) is written to as it is.
public struct OutputPath: Sendable {
  /// The path as the user named it.
  public let path: String
  /// The path of the file itself, with the links of its last component resolved.
  package let target: String
  /// The folder of `target`.
  let folder: String
  /// The permissions of the regular file that is there; nil where there is none yet.
  let permissions: mode_t?
  /// Whether a new file takes the target's name; false for devices and pipes.
  package let isReplaced: Bool
  /// What tells this file from all others: its own number, or its folder's number and its name.
  private let identity: Identity

  private struct Identity: Hashable {
    let device: dev_t
    let number: ino_t
    var name = ""
  }

  /// Looks at the place, and makes sure that a file can be made there.
  /// - Throws: `FormatError` where the folder is missing or cannot be written, or where a folder or
  ///   a protected file has the name.
  public init(_ path: String) throws(FormatError) {
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw FormatError(path, "an empty name, expected a file to write")
    }
    let target = try Self.resolved(path)
    let (folder, name) = Self.split(target)
    self.path = path
    self.target = target
    self.folder = folder
    var status = stat()
    let exists = stat(target, &status) == 0
    guard exists || errno == ENOENT else { throw FormatError(path, Descriptor.reason(errno)) }
    if exists {
      guard status.st_mode & S_IFMT != S_IFDIR else {
        throw FormatError(path, "a folder, expected a file to write")
      }
      guard access(target, W_OK) == 0 else { throw FormatError(path, Descriptor.reason(errno)) }
      identity = Identity(device: status.st_dev, number: status.st_ino)
      isReplaced = status.st_mode & S_IFMT == S_IFREG
      permissions = isReplaced ? status.st_mode & 0o7777 : nil
      guard isReplaced else { return }
    } else {
      guard !name.isEmpty else {
        throw FormatError(path, "the name of a folder, expected a file to write")
      }
      (isReplaced, permissions) = (true, nil)
      guard stat(folder, &status) == 0 else {
        throw FormatError(path, "folder '\(folder)': \(Descriptor.reason(errno))")
      }
      identity = Identity(device: status.st_dev, number: status.st_ino, name: name)
    }
    try probe()
  }

  /// Makes a file in the folder that is gone again at once.
  private func probe() throws(FormatError) {
    var status = stat()
    guard stat(folder, &status) == 0, status.st_nlink > 0 else {
      throw FormatError(path, "its folder has been deleted")
    }
    let file = try HiddenFile(in: self)
    file.discard()
  }

  /// Whether both are one file. Devices and pipes are nobody's own.
  package func isSame(as other: OutputPath) -> Bool {
    isReplaced && other.isReplaced && identity == other.identity
  }

  /// Whether this is the file at `path`, under whatever name.
  package func isSame(asFileAt path: String) -> Bool {
    var status = stat()
    guard isReplaced, stat(path, &status) == 0 else { return false }
    return identity == Identity(device: status.st_dev, number: status.st_ino)
  }

  /// Looks at all that a command will write, before its work.
  /// - Parameters:
  ///   - outputs: the options and the paths that they name; nil where one is not given.
  ///   - inputs: what the command reads: what it is, and its path.
  /// - Returns: the outputs, in their order.
  /// - Throws: `FormatError` where an output cannot be written, or is an input.
  @discardableResult
  public static func check(
    _ outputs: [(option: String, path: String?)], inputs: [(what: String, path: String)] = []
  ) throws(FormatError) -> [OutputPath] {
    var checked = [OutputPath]()
    for (option, path) in outputs {
      guard let path else { continue }
      let output = try OutputPath(path)
      if let input = inputs.first(where: { output.isSame(asFileAt: $0.path) }) {
        throw FormatError(
          path, "\(option) would overwrite \(input.what) '\(input.path)', expected another name")
      }
      checked.append(output)
    }
    return checked
  }

  /// Follows the links of the last component, up to a file or a free name.
  private static func resolved(_ path: String) throws(FormatError) -> String {
    var current = path
    for _ in 0..<40 {
      var bytes = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
      let length = readlink(current, &bytes, Int(PATH_MAX))
      guard length >= 0 else { return current }
      let link = String(decoding: bytes[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
      current = link.hasPrefix("/") ? link : split(current).folder + "/" + link
    }
    throw FormatError(path, Descriptor.reason(ELOOP))
  }

  private static func split(_ path: String) -> (folder: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return (".", path) }
    let folder = slash == path.startIndex ? "/" : String(path[..<slash])
    return (folder, String(path[path.index(after: slash)...]))
  }

  /// A name beside the target that nobody else has: hidden, with the process and a random number.
  package func hiddenName() -> String {
    let name = Self.split(target).name
    return "\(folder)/.\(name.prefix(200)).\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
  }
}
