import ColocateFormats
import Foundation

/// How a tensor's numbers are stored, of those types that the engine computes with.
enum ElementType: String {
  case float32 = "F32"
  case float16 = "F16"
  case bfloat16 = "BF16"

  var bytes: Int { self == .float32 ? 4 : 2 }
}

/// The weights of a checkpoint folder: one `model.safetensors`, or the shards that
/// `model.safetensors.index.json` names. Only headers are read here.
struct Checkpoint: Sendable {
  /// A tensor in its file.
  struct Tensor: Sendable {
    let name: String
    let file: PositionedFile
    let stored: SafetensorsHeader.Tensor

    /// How its numbers are stored.
    /// - Throws: `EngineError` for a type that the engine does not compute with.
    func type() throws(EngineError) -> ElementType {
      guard let type = ElementType(rawValue: stored.type) else {
        throw EngineError(
          "\(file.path): tensor \(name) has the dtype \(stored.type); expected F32, F16 or BF16")
      }
      return type
    }

    /// Copies the tensor's bytes `range` to `target`.
    func read(_ range: Range<Int>, into target: UnsafeMutableRawPointer) throws(EngineError) {
      let start = stored.range.lowerBound
      try EngineError.naming { () throws(FormatError) in
        try file.read((start + range.lowerBound)..<(start + range.upperBound), into: target)
      }
    }
  }

  let folder: String
  private let tensors: [String: Tensor]

  /// Names of all tensors, in ascending order.
  var names: [String] { tensors.keys.sorted() }

  /// Opens a folder's files and checks their headers.
  /// - Throws: `EngineError` with the file and the tensor.
  init(folder: String) throws(EngineError) {
    self.folder = folder
    let single = folder + "/model.safetensors"
    let indexPath = single + ".index.json"
    if FileManager.default.fileExists(atPath: single) {
      tensors = try Self.tensors(of: single)
    } else if FileManager.default.fileExists(atPath: indexPath) {
      tensors = try Self.tensors(index: indexPath, folder: folder)
    } else {
      let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      let other = files.sorted().first { name in
        [".bin", ".pt", ".pth", ".gguf"].contains { name.hasSuffix($0) }
      }
      throw EngineError(
        "\(folder): neither model.safetensors nor model.safetensors.index.json can be read"
          + (other.map { ", and weights as in \($0) cannot" } ?? "")
          + "; expected a Hugging Face checkpoint folder with safetensors files")
    }
  }

  private static func tensors(of path: String) throws(EngineError) -> [String: Tensor] {
    try EngineError.naming { () throws(FormatError) in
      let file = try PositionedFile(path)
      var tensors: [String: Tensor] = [:]
      for (name, stored) in try SafetensorsHeader(file).tensors {
        tensors[name] = Tensor(name: name, file: file, stored: stored)
      }
      return tensors
    }
  }

  /// The tensors of all shards; index and shards must say the same.
  private static func tensors(
    index path: String, folder: String
  ) throws(EngineError) -> [String: Tensor] {
    let places = try places(index: path)
    var shards: [String: [String: Tensor]] = [:]
    for name in Set(places.values).sorted() {
      guard !name.contains("/"), name.hasSuffix(".safetensors") else {
        throw EngineError(
          "\(path): names the file \"\(name)\"; expected a .safetensors file of the same folder")
      }
      shards[name] = try tensors(of: folder + "/" + name)
    }
    var found: [String: Tensor] = [:]
    for (name, fileName) in places.sorted(by: { $0.key < $1.key }) {
      guard let tensor = shards[fileName]?[name] else {
        throw EngineError(
          "\(path): tensor \(name) is not in \(fileName), where the index says it is")
      }
      found[name] = tensor
    }
    for (fileName, shard) in shards.sorted(by: { $0.key < $1.key }) {
      for name in shard.keys.sorted() where places[name] != fileName {
        throw EngineError(
          "\(path): \(fileName) has a tensor \(name) that the index does not place there")
      }
    }
    return found
  }

  /// `{"weight_map": {tensor: file}}`
  private static func places(index path: String) throws(EngineError) -> [String: String] {
    let document = try EngineError.naming { () throws(FormatError) in
      try JSONDocument.read(path)
    }
    guard case .object(let members) = document,
      case .object(let entries)? = members.first(where: { $0.key == "weight_map" })?.value
    else {
      throw EngineError(
        "\(path): not the JSON of a checkpoint's index (\"weight_map\": {tensor: file})")
    }
    var places: [String: String] = [:]
    for (name, value) in entries {
      guard case .string(let file) = value else {
        throw EngineError("\(path): tensor \(name) is not in a file by its name")
      }
      guard places.updateValue(file, forKey: name) == nil else {
        throw EngineError("\(path): tensor \(name) is there twice")
      }
    }
    return places
  }

  func has(_ name: String) -> Bool { tensors[name] != nil }

  /// A tensor that must have this shape and a type that the engine computes with.
  func tensor(_ name: String, shape: [Int]) throws(EngineError) -> Tensor {
    guard let tensor = tensors[name] else { throw EngineError("\(folder): no tensor \(name)") }
    guard tensor.stored.shape == shape else {
      throw EngineError(
        "\(tensor.file.path): tensor \(name) has the shape \(tensor.stored.shape); "
          + "expected \(shape) by config.json")
    }
    _ = try tensor.type()
    return tensor
  }
}
