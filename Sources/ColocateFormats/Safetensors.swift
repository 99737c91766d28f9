/// A `safetensors` file of integer tensors; what its header must be, `SafetensorsHeader` says.
/// Always little-endian, row-major.
struct Safetensors {
  private let file: MappedFile
  private let header: SafetensorsHeader

  /// Tensors in the file.
  var names: Set<String> { Set(header.tensors.keys) }

  /// Whether a file looks like one: a length that fits, and the start of a JSON object.
  static func starts(_ file: MappedFile) -> Bool {
    guard file.bytes.count > 9, file.bytes[file.bytes.startIndex + 8] == UInt8(ascii: "{") else {
      return false
    }
    let length = file.bytes.withUnsafeBytes {
      UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
    }
    return length <= file.bytes.count - 8
  }

  init(_ file: MappedFile) throws(FormatError) {
    self.file = file
    header = try SafetensorsHeader(file: file.path, size: file.bytes.count) {
      Array(file.bytes[$0])
    }
  }

  /// The integer tensor `name`.
  func array(_ name: String) throws(FormatError) -> IntegerArray {
    guard let entry = header.tensors[name] else {
      throw FormatError(file.path, "no tensor '\(name)'")
    }
    let known: [String: IntegerElement] = [
      "I8": .init(size: 1, isSigned: true), "U8": .init(size: 1, isSigned: false),
      "I16": .init(size: 2, isSigned: true), "U16": .init(size: 2, isSigned: false),
      "I32": .init(size: 4, isSigned: true), "U32": .init(size: 4, isSigned: false),
      "I64": .init(size: 8, isSigned: true), "U64": .init(size: 8, isSigned: false),
    ]
    guard let element = known[entry.type] else {
      throw FormatError(file.path, "tensor '\(name)' holds \(entry.type), expected integers")
    }
    guard !entry.shape.isEmpty else {
      throw FormatError(file.path, "tensor '\(name)' is a single number, expected an array")
    }
    return IntegerArray(
      file: file.path, bytes: file.bytes, offset: entry.range.lowerBound, element: element,
      shape: entry.shape, isFortranOrder: false)
  }
}
