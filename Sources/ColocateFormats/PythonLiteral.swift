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
