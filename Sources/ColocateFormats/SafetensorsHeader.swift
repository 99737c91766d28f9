/// The header of a `safetensors` file: 8 bytes with its length, then JSON, name → dtype, shape
/// and data_offsets (huggingface/safetensors, README "Format").
///
/// Nothing in a file is believed before it is checked: the header fits into the file, every
/// tensor's offsets lie inside the data and agree with its shape and dtype, and the tensors fill
/// the data from the first to the last byte without overlap, as the format demands. So a truncated,
/// padded or lying file is noticed before any number of it is used.
package struct SafetensorsHeader: Sendable {
  /// Where a tensor lies and how its numbers are stored.
  package struct Tensor: Hashable, Sendable {
    /// As the file names it, "BF16".
    package let type: String
    package let shape: [Int]
    /// Bytes of the file, not of its data.
    package let range: Range<Int>
  }

  /// All tensors by their names.
  package let tensors: [String: Tensor]
  /// The texts of the free entry `__metadata__`; what is no text there is left out.
  package let metadata: [String: String]

  /// Bytes of an element of each type that the format has.
  package static let elementBytes = [
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I16": 2, "U16": 2,
    "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8, "C64": 8,
  ]
  /// The format's own limit.
  private static let largestHeader = 100_000_000

  /// Reads and checks the header of a file.
  /// - Throws: `FormatError` with the tensor, what was found and what was expected.
  package init(_ file: PositionedFile) throws(FormatError) {
    try self.init(file: file.path, size: file.size) { range throws(FormatError) in
      try file.bytes(range)
    }
  }

  /// - Parameters:
  ///   - file: the name, for messages.
  ///   - size: bytes of the file.
  ///   - read: returns a range of the file's bytes.
  package init(
    file: String, size: Int, read: (Range<Int>) throws(FormatError) -> [UInt8]
  ) throws(FormatError) {
    guard size >= 8 else {
      throw FormatError(file, "\(size) bytes, too short for a safetensors header")
    }
    let length = Self.length(try read(0..<8))
    guard length >= 2, length <= UInt64(size - 8) else {
      throw FormatError(
        file,
        "a header of \(length) bytes in a file of \(size): it is damaged, truncated or no "
          + "safetensors file")
    }
    guard length <= UInt64(Self.largestHeader) else {
      throw FormatError(
        file, "a header of \(length) bytes, expected at most \(Self.largestHeader)")
    }
    let start = 8 + Int(length)
    let bytes = try read(8..<start)
    guard bytes.first == UInt8(ascii: "{") else {
      throw FormatError(file, "header: does not start with '{', expected a safetensors file")
    }
    do throws(JSONProblem) {
      let document = try JSONReader.read(bytes)
      tensors = try Self.tensors(document, dataStart: start, fileSize: size)
      metadata = Self.metadata(document)
    } catch {
      throw FormatError(file, "header: \(error.message)")
    }
    try Self.checkCoverage(tensors, data: start..<size, file: file)
  }

  /// The length of the header's text, which the first 8 bytes of a file hold, low byte first.
  static func length(_ head: [UInt8]) -> UInt64 {
    head[..<8].reversed().reduce(0) { ($0 << 8) | UInt64($1) }
  }

  private static func metadata(_ header: JSONNode) -> [String: String] {
    guard case .object(let members) = header.value,
      case .object(let entries)? = members.first(where: { $0.key == "__metadata__" })?.value
    else { return [:] }
    var texts = [String: String]()
    for (key, value) in entries {
      if case .string(let text) = value { texts[key] = text }
    }
    return texts
  }

  private static func tensors(
    _ header: JSONNode, dataStart: Int, fileSize: Int
  ) throws(JSONProblem) -> [String: Tensor] {
    guard case .object(let members) = header.value else {
      throw JSONProblem(message: "not a JSON object")
    }
    var tensors = [String: Tensor](minimumCapacity: members.count)
    for (name, value) in members where name != "__metadata__" {
      let entry = JSONNode(value: value, path: name)
      let tensor = try tensor(
        name, type: entry.member("dtype").string(), shape: entry.member("shape").integers(),
        offsets: entry.member("data_offsets").integers(), dataStart: dataStart, fileSize: fileSize)
      guard tensors.updateValue(tensor, forKey: name) == nil else {
        throw JSONProblem(message: "tensor \(name) is there twice")
      }
    }
    return tensors
  }

  /// One entry, checked by itself.
  private static func tensor(
    _ name: String, type: String, shape: [Int], offsets: [Int], dataStart: Int, fileSize: Int
  ) throws(JSONProblem) -> Tensor {
    guard let elementBytes = elementBytes[type] else {
      throw JSONProblem(message: "tensor \(name) has the unknown dtype \(type)")
    }
    var expected = elementBytes
    for extent in shape {
      let (product, overflow) = expected.multipliedReportingOverflow(by: extent)
      guard extent >= 0, !overflow else {
        throw JSONProblem(message: "tensor \(name) has the impossible shape \(shape)")
      }
      expected = product
    }
    guard offsets.count == 2, offsets[0] >= 0, offsets[1] >= offsets[0] else {
      throw JSONProblem(
        message: "tensor \(name) has the data_offsets \(offsets), expected [begin, end]")
    }
    let (begin, end) = (offsets[0], offsets[1])
    guard end <= fileSize - dataStart else {
      throw JSONProblem(
        message: "tensor \(name) lies outside of the file: it ends at byte \(end) of the data, "
          + "which has \(fileSize - dataStart) bytes")
    }
    guard end - begin == expected else {
      throw JSONProblem(
        message: "tensor \(name) has \(end - begin) bytes, expected \(expected) for shape "
          + "\(shape) of \(type)")
    }
    return Tensor(type: type, shape: shape, range: (dataStart + begin)..<(dataStart + end))
  }

  /// Each byte of the data belongs to exactly one tensor.
  private static func checkCoverage(
    _ tensors: [String: Tensor], data: Range<Int>, file: String
  ) throws(FormatError) {
    var end = data.lowerBound
    var last = "the header"
    let ordered = tensors.sorted {
      ($0.value.range.lowerBound, $0.value.range.upperBound, $0.key)
        < ($1.value.range.lowerBound, $1.value.range.upperBound, $1.key)
    }
    for (name, tensor) in ordered {
      let begin = tensor.range.lowerBound
      guard begin == end else {
        throw FormatError(
          file,
          begin < end
            ? "tensor \(name) overlaps \(last)"
            : "\(begin - end) bytes between \(last) and tensor \(name) belong to no tensor")
      }
      end = tensor.range.upperBound
      last = "tensor " + name
    }
    guard end == data.upperBound else {
      throw FormatError(file, "\(data.upperBound - end) bytes after \(last) belong to no tensor")
    }
  }
}
