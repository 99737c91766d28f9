import Foundation

/// Safetensors files, memory-mapped: an 8-byte length, a JSON header, then the tensors' bytes.
///
/// Nothing in a file is believed before it is checked: the header fits into the file and is JSON, every tensor's offsets lie inside the
/// data, agree with its shape and dtype and overlap no other, and the tensors fill the data from the first to the last byte (as the
/// format demands), so a truncated or padded file is noticed before any weight is read.
/// Format: https://huggingface.co/docs/safetensors.

/// How a tensor's numbers are stored, of those that the engine computes with.
enum ElementType: String {
  case float32 = "F32"
  case float16 = "F16"
  case bfloat16 = "BF16"

  var bytes: Int { self == .float32 ? 4 : 2 }
}

/// One file. The mapping lives as long as the object.
final class SafetensorsFile {
  struct Tensor {
    /// As in the file; only `ElementType`s can be converted.
    let type: String
    let shape: [Int]
    let bytes: UnsafeRawBufferPointer
  }

  let path: String
  private(set) var tensors: [String: Tensor] = [:]
  private let base: UnsafeMutableRawPointer
  private let size: Int

  private static let elementBytes: [String: Int] = [
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I16": 2, "U16": 2,
    "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8, "C64": 8,
  ]
  private static let largestHeader = 100 << 20

  init(path: String) throws(EngineError) {
    self.path = path
    let file = open(path, O_RDONLY)
    guard file >= 0 else {
      throw EngineError("\(path): cannot be opened: \(String(cString: strerror(errno)))")
    }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw EngineError("\(path): not a regular file")
    }
    size = Int(status.st_size)
    guard size >= 8 else {
      throw EngineError(
        "\(path): \(size) bytes; expected at least the 8 bytes of the header's length")
    }
    guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, file, 0), base != MAP_FAILED else {
      throw EngineError("\(path): cannot be mapped: \(String(cString: strerror(errno)))")
    }
    self.base = base
    try readHeader()
  }

  deinit { munmap(base, size) }

  private func readHeader() throws(EngineError) {
    let length = UInt64(littleEndian: base.loadUnaligned(as: UInt64.self))
    guard length >= 2, length <= UInt64(size - 8) else {
      throw EngineError(
        "\(path): a header of \(length) bytes in a file of \(size); the file is damaged or truncated"
      )
    }
    guard length <= UInt64(Self.largestHeader) else {
      throw EngineError(
        "\(path): a header of \(length) bytes; expected at most \(Self.largestHeader)")
    }
    let header = Data(bytesNoCopy: base + 8, count: Int(length), deallocator: .none)
    let entries: HeaderEntries
    do {
      entries = try JSONDecoder().decode(HeaderEntries.self, from: header)
    } catch {
      throw EngineError(
        "\(path): the header is not the JSON of a safetensors file (\(HeaderEntries.reason(error)))"
      )
    }
    let dataStart = 8 + Int(length)
    let dataSize = size - dataStart
    for (name, entry) in entries.tensors {
      guard let elementBytes = Self.elementBytes[entry.dtype] else {
        throw EngineError("\(path): tensor \(name) has the unknown dtype \(entry.dtype)")
      }
      var expected = elementBytes
      for extent in entry.shape {
        let (product, overflow) = expected.multipliedReportingOverflow(by: extent)
        guard extent >= 0, !overflow else {
          throw EngineError("\(path): tensor \(name) has the impossible shape \(entry.shape)")
        }
        expected = product
      }
      guard entry.offsets.count == 2, entry.offsets[0] >= 0, entry.offsets[1] >= entry.offsets[0]
      else {
        throw EngineError(
          "\(path): tensor \(name) has the data_offsets \(entry.offsets); expected [begin, end]")
      }
      let (begin, end) = (entry.offsets[0], entry.offsets[1])
      guard end <= dataSize else {
        throw EngineError(
          "\(path): tensor \(name) ends at byte \(end) of the data, which has \(dataSize) bytes; the file is damaged or truncated"
        )
      }
      guard end - begin == expected else {
        throw EngineError(
          "\(path): tensor \(name) has \(end - begin) bytes; expected \(expected) for \(entry.dtype) of shape \(entry.shape)"
        )
      }
      tensors[name] = Tensor(
        type: entry.dtype, shape: entry.shape,
        bytes: UnsafeRawBufferPointer(start: base + dataStart + begin, count: expected))
    }
    // Each byte of the data belongs to exactly one tensor.
    var end = 0
    var last = "the header"
    let byOffset = entries.tensors.sorted {
      ($0.value.offsets[0], $0.value.offsets[1], $0.key) < (
        $1.value.offsets[0], $1.value.offsets[1], $1.key
      )
    }
    for (name, entry) in byOffset {
      guard entry.offsets[0] == end else {
        throw EngineError(
          entry.offsets[0] < end
            ? "\(path): tensor \(name) overlaps \(last)"
            : "\(path): \(entry.offsets[0] - end) bytes between \(last) and tensor \(name) belong to no tensor"
        )
      }
      end = entry.offsets[1]
      last = "tensor " + name
    }
    guard end == dataSize else {
      throw EngineError("\(path): \(dataSize - end) bytes after \(last) belong to no tensor")
    }
  }
}

/// The header: `{"name": {"dtype": …, "shape": […], "data_offsets": [begin, end]}, …, "__metadata__": {…}}`.
private struct HeaderEntries: Decodable {
  struct Entry: Decodable {
    let dtype: String
    let shape: [Int]
    let offsets: [Int]

    enum CodingKeys: String, CodingKey {
      case dtype, shape
      case offsets = "data_offsets"
    }
  }

  struct Name: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  var tensors: [String: Entry] = [:]

  init(from decoder: any Decoder) throws {
    let header = try decoder.container(keyedBy: Name.self)
    for name in header.allKeys where name.stringValue != "__metadata__" {
      tensors[name.stringValue] = try header.decode(Entry.self, forKey: name)
    }
  }

  static func reason(_ error: any Error) -> String {
    switch error {
    case DecodingError.keyNotFound(let key, let context):
      return
        "\(context.codingPath.map(\.stringValue).joined(separator: ".")) has no \(key.stringValue)"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      return "\(context.codingPath.map(\.stringValue).joined(separator: ".")) has the wrong type"
    default: return "it cannot be parsed"
    }
  }
}

/// The weights of a checkpoint folder: one `model.safetensors`, or the shards that `model.safetensors.index.json` names.
struct Checkpoint {
  let folder: String
  private let tensors: [String: (file: SafetensorsFile, tensor: SafetensorsFile.Tensor)]
  var names: Dictionary<String, (file: SafetensorsFile, tensor: SafetensorsFile.Tensor)>.Keys {
    tensors.keys
  }

  private struct Index: Decodable {
    let weights: [String: String]
    enum CodingKeys: String, CodingKey { case weights = "weight_map" }
  }

  init(folder: String) throws(EngineError) {
    self.folder = folder
    let single = folder + "/model.safetensors"
    let indexPath = single + ".index.json"
    var found: [String: (file: SafetensorsFile, tensor: SafetensorsFile.Tensor)] = [:]
    if FileManager.default.fileExists(atPath: single) {
      let file = try SafetensorsFile(path: single)
      for (name, tensor) in file.tensors { found[name] = (file, tensor) }
    } else if let data = FileManager.default.contents(atPath: indexPath) {
      guard let index = try? JSONDecoder().decode(Index.self, from: data) else {
        throw EngineError(
          "\(indexPath): not the JSON of a checkpoint's index (\"weight_map\": {tensor: file})")
      }
      var files: [String: SafetensorsFile] = [:]
      for name in Set(index.weights.values).sorted() {
        guard !name.contains("/"), name.hasSuffix(".safetensors") else {
          throw EngineError(
            "\(indexPath): names the file \"\(name)\"; expected a .safetensors file of the same folder"
          )
        }
        files[name] = try SafetensorsFile(path: folder + "/" + name)
      }
      for (name, fileName) in index.weights.sorted(by: { $0.key < $1.key }) {
        let file = files[fileName]!
        guard let tensor = file.tensors[name] else {
          throw EngineError(
            "\(indexPath): tensor \(name) is not in \(fileName), where the index says it is")
        }
        found[name] = (file, tensor)
      }
      for (fileName, file) in files.sorted(by: { $0.key < $1.key }) {
        for name in file.tensors.keys.sorted() where index.weights[name] != fileName {
          throw EngineError(
            "\(indexPath): \(fileName) has a tensor \(name) that the index does not place there")
        }
      }
    } else {
      throw EngineError(
        "\(folder): neither model.safetensors nor model.safetensors.index.json can be read; expected a Hugging Face checkpoint folder"
      )
    }
    tensors = found
  }

  func has(_ name: String) -> Bool { tensors[name] != nil }

  /// The bytes of a tensor that must have this shape.
  func tensor(_ name: String, shape: [Int]) throws(EngineError) -> (
    type: ElementType, bytes: UnsafeRawBufferPointer
  ) {
    guard let (file, tensor) = tensors[name] else {
      throw EngineError("\(folder): no tensor \(name)")
    }
    guard tensor.shape == shape else {
      throw EngineError(
        "\(file.path): tensor \(name) has the shape \(tensor.shape); expected \(shape) by config.json"
      )
    }
    guard let type = ElementType(rawValue: tensor.type) else {
      throw EngineError(
        "\(file.path): tensor \(name) has the dtype \(tensor.type); expected F32, F16 or BF16")
    }
    return (type, tensor.bytes)
  }
}
