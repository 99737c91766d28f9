/// A `safetensors` file: 8 bytes with the length of a JSON header, the header (name → dtype, shape, data_offsets), the data
/// (huggingface/safetensors, README "Format"). Always little-endian, row-major.
struct Safetensors {
  private struct Entry {
    let dtype: String
    let shape: [Int]
    let offsets: [Int]
  }

  private let file: MappedFile
  private let entries: [String: Entry]
  private let dataOffset: Int

  /// Tensors in the file.
  var names: Set<String> { Set(entries.keys) }

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
    let (path, size) = (file.path, file.bytes.count)
    guard size >= 8 else {
      throw FormatError(path, "\(size) bytes, too short for a safetensors header")
    }
    let length = file.bytes.withUnsafeBytes {
      UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
    }
    guard length <= size - 8, length <= 100_000_000 else {
      throw FormatError(
        path, "header of \(length) bytes at byte 8, but the file ends at byte \(size)")
    }
    dataOffset = 8 + Int(length)
    var entries = [String: Entry]()
    do throws(JSONProblem) {
      let header = try JSONReader.read(file.bytes[8..<dataOffset])
      for name in try header.keys() where name != "__metadata__" {
        let entry = try header.member(name)
        entries[name] = Entry(
          dtype: try entry.member("dtype").string(), shape: try entry.member("shape").integers(),
          offsets: try entry.member("data_offsets").integers())
      }
    } catch {
      throw FormatError(path, "header: \(error.message)")
    }
    self.entries = entries
  }

  /// The integer tensor `name`.
  func array(_ name: String) throws(FormatError) -> IntegerArray {
    guard let entry = entries[name] else { throw FormatError(file.path, "no tensor '\(name)'") }
    let known: [String: IntegerElement] = [
      "I8": .init(size: 1, isSigned: true), "U8": .init(size: 1, isSigned: false),
      "I16": .init(size: 2, isSigned: true), "U16": .init(size: 2, isSigned: false),
      "I32": .init(size: 4, isSigned: true), "U32": .init(size: 4, isSigned: false),
      "I64": .init(size: 8, isSigned: true), "U64": .init(size: 8, isSigned: false),
    ]
    guard let element = known[entry.dtype] else {
      throw FormatError(file.path, "tensor '\(name)' holds \(entry.dtype), expected integers")
    }
    guard entry.shape.count >= 1, entry.shape.allSatisfy({ $0 >= 0 }), entry.offsets.count == 2,
      entry.offsets[0] >= 0, entry.offsets[0] <= entry.offsets[1],
      entry.offsets[1] <= file.bytes.count - dataOffset
    else {
      throw FormatError(
        file.path,
        "tensor '\(name)' at \(entry.offsets) of shape \(entry.shape), outside of the file's \(file.bytes.count - dataOffset) bytes of data"
      )
    }
    try NpyHeader.check(
      shape: entry.shape, element: element, available: entry.offsets[1] - entry.offsets[0],
      file: file.path)
    return IntegerArray(
      file: file.path, bytes: file.bytes, offset: dataOffset + entry.offsets[0], element: element,
      shape: entry.shape, isFortranOrder: false)
  }
}
