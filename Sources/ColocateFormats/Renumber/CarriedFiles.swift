import Foundation

/// The files of a checkpoint's folder that are carried along as they are: configuration,
/// tokenizer, licences, code.
///
/// Weights in other forms are left out: they hold the old numbers, and an engine that prefers them
/// would read a model that nobody placed. So are version control and download caches.
struct CarriedFiles {
  /// A regular file, relative to the folder, with its bytes.
  struct File {
    let name: String
    let size: Int
  }

  /// Subfolders, each before what is in it.
  private(set) var folders: [String] = []
  private(set) var files: [File] = []
  /// What is left out, relative to the folder.
  private(set) var leftOut: [String] = []

  /// More than any checkpoint has; a link to a folder above ends here.
  private static let mostDepth = 16

  /// - Parameters:
  ///   - folder: the checkpoint's.
  ///   - known: names in it that the caller takes care of.
  /// - Throws: `FormatError` where something is neither a file nor a folder, or cannot be read.
  init(_ folder: String, except known: Set<String>) throws(FormatError) {
    try visit(folder, "", known, depth: 0)
  }

  private mutating func visit(
    _ folder: String, _ prefix: String, _ known: Set<String>, depth: Int
  ) throws(FormatError) {
    let path = prefix.isEmpty ? folder : folder + "/" + prefix
    guard depth < Self.mostDepth else {
      throw FormatError(path, "folders in folders, expected at most \(Self.mostDepth)")
    }
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else {
      throw FormatError(path, "the folder cannot be read")
    }
    for name in names.sorted() {
      let relative = prefix.isEmpty ? name : prefix + "/" + name
      guard !known.contains(relative) else { continue }
      var status = stat()
      guard stat(folder + "/" + relative, &status) == 0 else {
        throw FormatError(folder + "/" + relative, Descriptor.reason(errno))
      }
      switch status.st_mode & S_IFMT {
      case S_IFDIR where [".git", ".cache"].contains(name): leftOut.append(relative)
      case S_IFDIR:
        folders.append(relative)
        try visit(folder, relative, known, depth: depth + 1)
      case S_IFREG where Self.isWeights(name): leftOut.append(relative)
      case S_IFREG: files.append(File(name: relative, size: Int(status.st_size)))
      default:
        throw FormatError(
          folder + "/" + relative, "neither a file nor a folder, expected a checkpoint's files")
      }
    }
  }

  /// Weights, or an index of them, by the name.
  private static func isWeights(_ name: String) -> Bool {
    let name = name.lowercased()
    guard name != "training_args.bin" else { return false }
    let endings = [
      ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".ggml", ".h5", ".msgpack", ".onnx",
      ".onnx_data", ".npz",
    ]
    return endings.contains { name.hasSuffix($0) || name.hasSuffix($0 + ".index.json") }
  }
}
