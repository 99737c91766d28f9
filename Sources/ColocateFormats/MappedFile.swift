import Foundation

/// A regular file's bytes, mapped into memory: pages come in as they are read, so a trace of any
/// size needs no copy of itself.
struct MappedFile {
  let path: String
  let bytes: Data

  /// - Throws: `FormatError` where there is no such file, or it is a folder, a pipe or a device.
  init(_ path: String) throws(FormatError) {
    var status = stat()
    guard stat(path, &status) == 0 else {
      let reason = Self.reason(errno)
      throw FormatError(
        path, path == "-" ? "\(reason) (standard input has to be saved to a file first)" : reason)
    }
    let kind = status.st_mode & S_IFMT
    guard kind == S_IFREG else {
      switch kind {
      case S_IFDIR: throw FormatError(path, "a folder, expected a file")
      case S_IFIFO, S_IFSOCK:
        throw FormatError(path, "a pipe, expected a file: save what comes out of it first")
      default:
        throw FormatError(path, "not a regular file, expected a file: save its contents first")
      }
    }
    do {
      bytes =
        status.st_size == 0
        ? Data() : try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
    } catch {
      throw FormatError(path, Self.reason(errno))
    }
    self.path = path
  }

  static func reason(_ code: Int32) -> String {
    code == 0 ? "cannot be read" : String(cString: strerror(code)).lowercased()
  }
}
