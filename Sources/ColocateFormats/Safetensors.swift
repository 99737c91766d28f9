/// A `safetensors` file of integer tensors; what its header must be, `SafetensorsHeader` says.
/// Always little-endian, row-major.
struct Safetensors {
  private let file: PositionedFile
  private let header: SafetensorsHeader

  /// Tensors in the file.
  var names: Set<String> { Set(header.tensors.keys) }

  /// Free texts of the header.
  var metadata: [String: String] { header.metadata }

  /// The integer types of the format.
  private static let integers: [String: IntegerElement] = [
    "I8": .init(size: 1, isSigned: true), "U8": .init(size: 1, isSigned: false),
    "I16": .init(size: 2, isSigned: true), "U16": .init(size: 2, isSigned: false),
    "I32": .init(size: 4, isSigned: true), "U32": .init(size: 4, isSigned: false),
    "I64": .init(size: 8, isSigned: true), "U64": .init(size: 8, isSigned: false),
  ]

  /// Whether a file looks like one: a length that fits, and the start of a JSON object.
  /// - Parameters:
  ///   - head: the file's first bytes, at least 9 of them where it has so many.
  ///   - size: bytes of the file.
  static func starts(_ head: [UInt8], size: Int) -> Bool {
    guard size > 9, head.count > 8, head[8] == UInt8(ascii: "{") else { return false }
    return SafetensorsHeader.length(head) <= UInt64(size - 8)
  }

  /// Reads the header.
  /// - Throws: `FormatError` where it is not true of the file.
  init(_ file: PositionedFile) throws(FormatError) {
    self.file = file
    header = try SafetensorsHeader(file)
  }

  /// The integer tensor `name`.
  /// - Throws: `FormatError` where there is none, or it holds no integers.
  func array(_ name: String) throws(FormatError) -> IntegerArray {
    guard let entry = header.tensors[name] else {
      throw FormatError(file.path, "no tensor '\(name)'")
    }
    guard let element = Self.integers[entry.type] else {
      throw FormatError(file.path, "tensor '\(name)' holds \(entry.type), expected integers")
    }
    guard !entry.shape.isEmpty else {
      throw FormatError(file.path, "tensor '\(name)' is a single number, expected an array")
    }
    return IntegerArray(file, offset: entry.range.lowerBound, element: element, shape: entry.shape)
  }
}
