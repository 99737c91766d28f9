import Foundation

/// The weights of a Hugging Face folder: one `model.safetensors`, or the shards that
/// `model.safetensors.index.json` names. Only headers are read, and no file stays open, however
/// many there are.
struct StoredCheckpoint {
  static let singleName = "model.safetensors"
  static let indexName = "model.safetensors.index.json"

  /// A safetensors file whose header has been checked.
  struct File {
    let name: String
    let path: String
    /// Bytes of the file.
    let size: Int
    /// Where the tensors start: 8 bytes and the header.
    let dataStart: Int
    let tensors: [String: SafetensorsHeader.Tensor]

    /// The header's JSON, with the blanks that fill it up.
    func header() throws(FormatError) -> [UInt8] { try open().bytes(8..<dataStart) }

    /// The file, which must not have changed in size since its header was checked.
    func open() throws(FormatError) -> PositionedFile {
      let file = try PositionedFile(path)
      guard file.size == size else {
        throw FormatError(
          path, "has \(file.size) bytes and had \(size): expected that nobody changes it meanwhile")
      }
      return file
    }
  }

  let folder: String
  /// In ascending order of their names.
  let files: [File]
  /// The index's text; nil for a single file.
  let index: [UInt8]?

  /// Opens a folder's files and checks their headers, and that index and shards say the same.
  /// - Throws: `FormatError` with the file and the tensor.
  init(folder: String) throws(FormatError) {
    self.folder = folder
    var status = stat()
    guard stat(folder, &status) == 0 else { throw FormatError(folder, Descriptor.reason(errno)) }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw FormatError(folder, "not a folder, expected a Hugging Face checkpoint's")
    }
    let (single, indexPath) = (folder + "/" + Self.singleName, folder + "/" + Self.indexName)
    let (hasSingle, hasIndex) = (stat(single, &status) == 0, stat(indexPath, &status) == 0)
    guard hasIndex else {
      guard hasSingle else {
        throw FormatError(
          folder,
          "neither \(Self.singleName) nor \(Self.indexName): expected a Hugging Face checkpoint "
            + "with safetensors weights")
      }
      (files, index) = ([try Self.file(Self.singleName, in: folder)], nil)
      return
    }
    let places = try Self.places(indexPath)
    var files = [File]()
    for name in Set(places.values).sorted() {
      guard !name.contains("/"), name.hasSuffix(".safetensors"), !name.hasPrefix(".") else {
        throw FormatError(
          indexPath, "names the file '\(name)', expected a .safetensors file of the same folder")
      }
      guard stat(folder + "/" + name, &status) == 0 else {
        throw FormatError(indexPath, "names the file \(name), which is not there")
      }
      files.append(try Self.file(name, in: folder))
    }
    guard !hasSingle || files.map(\.name) == [Self.singleName] else {
      throw FormatError(
        folder,
        "has \(Self.singleName) beside the shards of \(Self.indexName), and engines differ in "
          + "which they read: expected one of them")
    }
    try Self.compare(places, with: files, index: indexPath)
    self.files = files
    let text = try PositionedFile(indexPath)
    index = try text.bytes(0..<text.size)
  }

  private static func file(_ name: String, in folder: String) throws(FormatError) -> File {
    let file = try PositionedFile(folder + "/" + name)
    let tensors = try SafetensorsHeader(file).tensors
    let length = try file.bytes(0..<8).reversed().reduce(0) { $0 << 8 | Int($1) }
    return File(
      name: name, path: file.path, size: file.size, dataStart: 8 + length, tensors: tensors)
  }

  /// Tensor → file.
  private static func places(_ path: String) throws(FormatError) -> [String: String] {
    let document = JSONNode(try JSONDocument.read(path))
    do throws(JSONProblem) {
      var places = [String: String]()
      for (name, file) in try document.member("weight_map").members() {
        places[name] = try file.string()
      }
      guard !places.isEmpty else { throw JSONProblem(message: "'weight_map' names no tensor") }
      return places
    } catch {
      throw FormatError(path, error.message)
    }
  }

  private static func compare(
    _ places: [String: String], with files: [File], index: String
  ) throws(FormatError) {
    var found = 0
    for file in files {
      if let name = file.tensors.keys.filter({ places[$0] != file.name }).min() {
        throw FormatError(
          index, "\(file.name) has a tensor \(name) that the index does not place there")
      }
      found += file.tensors.count
    }
    guard found == places.count else {
      let names = Set(files.flatMap(\.tensors.keys))
      let missing = places.keys.filter { !names.contains($0) }.min() ?? ""
      throw FormatError(
        index, "tensor \(missing) is not in \(places[missing] ?? ""), where the index says it is")
    }
  }
}
