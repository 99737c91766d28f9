/// The header of a `.npy` file, versions 1 to 3 (numpy/lib/format.py): magic, version, the length
/// of the text, and the text, a Python dictionary with exactly `descr`, `fortran_order` and
/// `shape`.
///
/// Everything is checked against the file's size before anything is believed: a header may be
/// truncated, lie about its length, or name a shape whose product overflows.
struct NpyHeader: Hashable {
  /// Size, sign and byte order of one element.
  let element: IntegerElement
  let isFortranOrder: Bool
  let shape: [Int]
  /// Where the data start.
  let dataOffset: Int

  /// Entries of the array.
  var count: Int { shape.reduce(1, *) }
  /// The shape as numpy writes it.
  var shapeText: String { Self.text(of: shape) }

  static func text(of shape: [Int]) -> String {
    "(" + shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? ",)" : ")")
  }

  /// "\x93NUMPY".
  static let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]

  /// Whether a file's first bytes say that it is a `.npy` file.
  static func starts(_ head: [UInt8]) -> Bool { head.starts(with: magic) }

  /// Longest text of a header that is read.
  private static let mostText = 1 << 16

  /// Reads the header of a file.
  /// - Throws: `FormatError` with what was found and what was expected.
  init(_ source: PositionedFile) throws(FormatError) {
    let file = source.path
    let head = try source.head(12)
    guard head.count >= 10 else {
      throw FormatError(file, "\(source.size) bytes, too short for a .npy header")
    }
    guard Self.starts(head) else {
      throw FormatError(file, "does not start with \\x93NUMPY, expected a .npy file")
    }
    let version = head[6]
    guard (1...3).contains(version) else {
      throw FormatError(file, ".npy version \(version).\(head[7]), expected 1, 2 or 3")
    }
    let start = version > 1 ? 12 : 10
    guard head.count >= start else {
      throw FormatError(file, "\(source.size) bytes, too short for a .npy header")
    }
    let length = head[8..<start].reversed().reduce(0) { ($0 << 8) | Int($1) }
    guard length <= source.size - start else {
      throw FormatError(
        file,
        "header of \(length) bytes at byte \(start), but the file ends at byte \(source.size)")
    }
    guard length <= Self.mostText else {
      throw FormatError(file, "header of \(length) bytes, expected at most \(Self.mostText)")
    }
    dataOffset = start + length
    let text = try source.bytes(start..<dataOffset)
    var parser = PythonLiteral(bytes: text, file: file, offset: start)
    let entries = try parser.dictionary()
    for (key, _) in entries where !["descr", "fortran_order", "shape"].contains(key) {
      throw FormatError(file, "header key '\(key)', expected descr, fortran_order and shape")
    }
    func entry(_ key: String) throws(FormatError) -> PythonLiteral.Value {
      let found = entries.filter { $0.0 == key }
      guard found.count == 1 else {
        throw FormatError(file, "header with \(found.count) entries '\(key)', expected 1")
      }
      return found[0].1
    }
    switch try entry("descr") {
    case .string(let name): element = try IntegerElement(numpy: name, file: file)
    default:
      throw FormatError(
        file,
        "structured element type, expected integers: in Python, numpy.save('t.npy', "
          + "numpy.load('\(FormatError(file, "").file)')[FIELD]) keeps one field")
    }
    guard case .bool(let fortran) = try entry("fortran_order") else {
      throw FormatError(file, "fortran_order is neither True nor False")
    }
    guard case .tuple(let shape) = try entry("shape") else {
      throw FormatError(file, "shape is not a tuple of integers")
    }
    isFortranOrder = fortran
    self.shape = shape
    try Self.check(
      shape: shape, element: element, available: source.size - dataOffset, file: file)
  }

  /// The array must fill the `available` bytes exactly.
  static func check(
    shape: [Int], element: IntegerElement, available: Int, file: String
  ) throws(FormatError) {
    guard shape.count <= 32 else {
      throw FormatError(file, "\(shape.count) dimensions, expected 2 or 3")
    }
    var size = element.size
    var overflow = false
    for length in shape where length != 0 {
      let (product, over) = size.multipliedReportingOverflow(by: length)
      (size, overflow) = (product, overflow || over)
    }
    if shape.contains(0) { (size, overflow) = (0, false) }
    let wanted = overflow ? "more than 2^63" : "\(size)"
    guard !overflow, size == available else {
      throw FormatError(
        file,
        "\(available) bytes of data, expected \(wanted) for shape \(text(of: shape)) of "
          + element.name
      )
    }
  }
}
