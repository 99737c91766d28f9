import Foundation
import MoEEngine

/// A file that will be written after the work, looked at before it.
enum OutputFile {
  /// Refuses a path that cannot become a `.npy` file, or is one of the inputs.
  /// - Parameter inputs: files that are read.
  static func check(_ path: String, inputs: [String]) throws(EngineError) {
    var status = stat()
    let exists = stat(path, &status) == 0
    let kind = status.st_mode & S_IFMT
    guard !exists || kind != S_IFDIR else {
      throw EngineError("\(path): a folder; expected a .npy file to write")
    }
    if exists, kind != S_IFREG {
      // /dev/stdout, a pipe: the writer's business.
      guard access(path, W_OK) == 0 else { throw EngineError("\(path): \(reason(errno))") }
      return
    }
    // Where a link points to is replaced, not the link.
    let resolved = URL(fileURLWithPath: path).resolvingSymlinksInPath()
    guard path.hasSuffix(".npy"), resolved.pathExtension == "npy" else {
      throw EngineError("\(path): only .npy can be written; expected a name that ends in .npy")
    }
    for input in inputs
    where URL(fileURLWithPath: input).resolvingSymlinksInPath().path == resolved.path {
      throw EngineError("\(path): is read as \(input); expected another file to write")
    }
    let folder = resolved.deletingLastPathComponent().path
    guard stat(folder, &status) == 0 else {
      throw EngineError("\(path): there is no folder \(folder) to write it into")
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw EngineError("\(path): \(folder) is no folder")
    }
    guard access(folder, W_OK | X_OK) == 0, !exists || access(path, W_OK) == 0 else {
      throw EngineError("\(path): cannot be written: \(reason(errno))")
    }
  }

  private static func reason(_ code: Int32) -> String {
    String(cString: strerror(code)).lowercased()
  }
}
