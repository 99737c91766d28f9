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

  /// Whether a file says that it is a `.npy` file.
  static func starts(_ file: MappedFile) -> Bool { file.bytes.starts(with: magic) }

  /// Reads the header at the start of `bytes`, the whole file.
  /// - Throws: `FormatError` with what was found and what was expected.
  init(_ bytes: UnsafeRawBufferPointer, file: String) throws(FormatError) {
    guard bytes.count >= 10 else {
      throw FormatError(file, "\(bytes.count) bytes, too short for a .npy header")
    }
    guard bytes.prefix(6).elementsEqual(Self.magic) else {
      throw FormatError(file, "does not start with \\x93NUMPY, expected a .npy file")
    }
    let version = bytes[6]
    guard (1...3).contains(version) else {
      throw FormatError(file, ".npy version \(version).\(bytes[7]), expected 1, 2 or 3")
    }
    let wide = version > 1
    guard bytes.count >= (wide ? 12 : 10) else {
      throw FormatError(file, "\(bytes.count) bytes, too short for a .npy header")
    }
    let length =
      wide
      ? Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)))
      : Int(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self)))
    let start = wide ? 12 : 10
    guard length <= bytes.count - start else {
      throw FormatError(
        file,
        "header of \(length) bytes at byte \(start), but the file ends at byte \(bytes.count)")
    }
    guard length <= 1 << 16 else {
      throw FormatError(file, "header of \(length) bytes, expected at most \(1 << 16)")
    }
    dataOffset = start + length
    var parser = PythonLiteral(bytes: Array(bytes[start..<dataOffset]), file: file, offset: start)
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
      shape: shape, element: element, available: bytes.count - dataOffset, file: file)
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
        "\(available) bytes of data, expected \(wanted) for shape \(text(of: shape)) of \(element.name)"
      )
    }
  }
}

/// The few kinds of Python literals that a `.npy` header has.
struct PythonLiteral {
  enum Value: Hashable {
    case string(String)
    case bool(Bool)
    case tuple([Int])
    case other
  }

  private let bytes: [UInt8]
  private let file: String
  private let offset: Int
  private var at = 0

  /// - Parameter offset: of `bytes` in the file, for messages.
  init(bytes: [UInt8], file: String, offset: Int) {
    self.bytes = bytes
    self.file = file
    self.offset = offset
  }

  /// `{'key': value, …}` and nothing but blanks after it.
  mutating func dictionary() throws(FormatError) -> [(String, Value)] {
    try expect("{")
    var entries = [(String, Value)]()
    while peek() != UInt8(ascii: "}") {
      guard entries.count < 16, let key = try string() else { throw broken("a quoted key") }
      try expect(":")
      entries.append((key, try value()))
      if peek() == UInt8(ascii: ",") { at += 1 } else { break }
    }
    try expect("}")
    guard peek() == nil else { throw broken("the end of the header") }
    return entries
  }

  private mutating func value() throws(FormatError) -> Value {
    if let text = try string() { return .string(text) }
    switch peek() {
    case UInt8(ascii: "("): return .tuple(try tuple())
    case UInt8(ascii: "["):
      // A structured type: skip it, its caller refuses it.
      var depth = 0
      while let byte = peek() {
        at += 1
        if byte == UInt8(ascii: "[") || byte == UInt8(ascii: "(") { depth += 1 }
        if byte == UInt8(ascii: "]") || byte == UInt8(ascii: ")") { depth -= 1 }
        if depth == 0 { return .other }
      }
      throw broken("]")
    default:
      let word = word()
      switch word {
      case "True": return .bool(true)
      case "False": return .bool(false)
      case "": throw broken("a string, a tuple, True or False")
      default: return .other
      }
    }
  }

  private mutating func tuple() throws(FormatError) -> [Int] {
    try expect("(")
    var numbers = [Int]()
    while peek() != UInt8(ascii: ")") {
      var digits = word()
      if digits.hasSuffix("L") { digits.removeLast() }  // Python 2 wrote long integers so
      guard numbers.count < 64, !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) })
      else { throw broken("a length") }
      guard let number = Int(digits) else {
        throw FormatError(file, "header names a length of \(digits), more than 2^63")
      }
      numbers.append(number)
      if peek() == UInt8(ascii: ",") { at += 1 } else { break }
    }
    try expect(")")
    return numbers
  }

  private mutating func string() throws(FormatError) -> String? {
    guard let quote = peek(), quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else {
      return nil
    }
    guard let end = bytes[(at + 1)...].firstIndex(of: quote) else {
      throw broken("a closing quote")
    }
    let text = String(decoding: bytes[(at + 1)..<end], as: UTF8.self)
    at = end + 1
    return text
  }

  private mutating func word() -> String {
    _ = peek()
    let start = at
    while at < bytes.count {
      let byte = bytes[at]
      let isWord = (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
      guard isWord || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-") else { break }
      at += 1
    }
    return String(decoding: bytes[start..<at], as: UTF8.self)
  }

  /// The next byte that is no blank.
  private mutating func peek() -> UInt8? {
    while at < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[at]) { at += 1 }
    return at < bytes.count ? bytes[at] : nil
  }

  private mutating func expect(_ symbol: Unicode.Scalar) throws(FormatError) {
    guard peek() == UInt8(ascii: symbol) else { throw broken("'\(symbol)'") }
    at += 1
  }

  private func broken(_ expected: String) -> FormatError {
    let found =
      at < bytes.count ? "'\(String(decoding: bytes[at...at], as: UTF8.self))'" : "the header's end"
    return FormatError(file, "byte \(offset + at): found \(found), expected \(expected)")
  }
}
