import Foundation

/// What is wrong with a JSON document, and where.
struct JSONProblem: Error {
  let message: String
}

/// A strict JSON reader (RFC 8259) that says line and column of what it cannot read. Foundation's decoder on Linux says only that something is
/// wrong somewhere.
struct JSONReader {
  /// Nesting that no document of ours comes near.
  private static let mostDepth = 64

  private let bytes: [UInt8]
  private var at = 0

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The document in `bytes`.
  static func read(_ bytes: some Sequence<UInt8>) throws(JSONProblem) -> JSONNode {
    var reader = JSONReader(Array(bytes))
    let value = try reader.value(depth: 0)
    guard reader.peek() == nil else { throw reader.problem("the end of the document") }
    return JSONNode(value: value, path: "")
  }

  private mutating func value(depth: Int) throws(JSONProblem) -> JSONText {
    guard depth < Self.mostDepth else { throw problem("at most \(Self.mostDepth) levels") }
    switch peek() {
    case UInt8(ascii: "{"):
      at += 1
      var members = [(key: String, value: JSONText)]()
      if peek() != UInt8(ascii: "}") {
        repeat {
          guard peek() == UInt8(ascii: "\"") else { throw problem("a quoted key") }
          let key = try string()
          try expect(":")
          members.append((key, try value(depth: depth + 1)))
        } while take(",")
      }
      try expect("}")
      return .object(members)
    case UInt8(ascii: "["):
      at += 1
      var values = [JSONText]()
      if peek() != UInt8(ascii: "]") {
        repeat { values.append(try value(depth: depth + 1)) } while take(",")
      }
      try expect("]")
      return .array(values)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case .some(let byte) where byte == UInt8(ascii: "-") || (0x30...0x39).contains(byte):
      return try number()
    default: throw problem("a value")
    }
  }

  private mutating func word(_ word: String, _ value: JSONText) throws(JSONProblem) -> JSONText {
    guard bytes[at...].starts(with: word.utf8) else { throw problem("a value") }
    at += word.utf8.count
    return value
  }

  private mutating func number() throws(JSONProblem) -> JSONText {
    let start = at
    while at < bytes.count, "+-.eE0123456789".utf8.contains(bytes[at]) { at += 1 }
    let text = String(decoding: bytes[start..<at], as: UTF8.self)
    let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
    guard !digits.hasPrefix("0") || digits.dropFirst().first?.isNumber != true else {
      at = start
      throw problem("a number without leading zeros")
    }
    if let integer = Int(text), !text.hasPrefix("+") { return .integer(integer) }
    guard let number = Double(text), number.isFinite, !text.hasPrefix("."), !text.hasPrefix("+")
    else {
      at = start
      throw problem("a number")
    }
    return .number(number)
  }

  private mutating func string() throws(JSONProblem) -> String {
    at += 1
    var text = [UInt8]()
    while at < bytes.count, bytes[at] != UInt8(ascii: "\"") {
      guard bytes[at] >= 0x20 else { throw problem("no control character in a string") }
      guard bytes[at] == UInt8(ascii: "\\") else {
        text.append(bytes[at])
        at += 1
        continue
      }
      let escapes: [UInt8: UInt8] = [
        UInt8(ascii: "\""): 0x22, UInt8(ascii: "\\"): 0x5C, UInt8(ascii: "/"): 0x2F,
        UInt8(ascii: "b"): 0x08, UInt8(ascii: "f"): 0x0C, UInt8(ascii: "n"): 0x0A,
        UInt8(ascii: "r"): 0x0D, UInt8(ascii: "t"): 0x09,
      ]
      guard at + 1 < bytes.count else { break }
      if let byte = escapes[bytes[at + 1]] {
        text.append(byte)
        at += 2
      } else {
        text.append(contentsOf: String(try unicodeEscape()).utf8)
      }
    }
    guard at < bytes.count else { throw problem("a closing quote") }
    at += 1
    guard let string = String(validating: text, as: UTF8.self) else {
      throw problem("UTF-8 in the string before")
    }
    return string
  }

  /// `\uXXXX`, or two of them for one character beyond the first plane.
  private mutating func unicodeEscape() throws(JSONProblem) -> Character {
    func unit(_ place: Int) -> UInt32? {
      guard place + 6 <= bytes.count, bytes[place] == UInt8(ascii: "\\"),
        bytes[place + 1] == UInt8(ascii: "u")
      else { return nil }
      let digits = String(decoding: bytes[(place + 2)..<(place + 6)], as: UTF8.self)
      return digits.allSatisfy(\.isHexDigit) ? UInt32(digits, radix: 16) : nil
    }
    guard let first = unit(at) else { throw problem("an escape") }
    if let scalar = Unicode.Scalar(first) {
      at += 6
      return Character(scalar)
    }
    guard (0xD800..<0xDC00).contains(first), let second = unit(at + 6),
      (0xDC00..<0xE000).contains(second),
      let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
    else { throw problem("a pair of surrogates") }
    at += 12
    return Character(scalar)
  }

  /// The next byte that is no blank.
  private mutating func peek() -> UInt8? {
    while at < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[at]) { at += 1 }
    return at < bytes.count ? bytes[at] : nil
  }

  private mutating func take(_ symbol: Unicode.Scalar) -> Bool {
    guard peek() == UInt8(ascii: symbol) else { return false }
    at += 1
    return true
  }

  private mutating func expect(_ symbol: Unicode.Scalar) throws(JSONProblem) {
    guard take(symbol) else { throw problem("'\(symbol)'") }
  }

  private func problem(_ expected: String) -> JSONProblem {
    let before = bytes[..<min(at, bytes.count)]
    let line = before.count { $0 == 0x0A } + 1
    let column = at - (before.lastIndex(of: 0x0A) ?? -1)
    let found =
      at < bytes.count
      ? "'\(String(decoding: bytes[at..<min(at + 12, bytes.count)], as: UTF8.self))'" : "the end"
    return JSONProblem(
      message: "line \(line), column \(column): found \(found), expected \(expected)")
  }
}

/// A value of a document and the path to it, for messages.
struct JSONNode {
  let value: JSONText
  let path: String

  /// The member `key`; nil where it is absent or null.
  func optional(_ key: String) throws(JSONProblem) -> JSONNode? {
    guard case .object(let members) = value else { throw wrong("an object") }
    guard let member = members.last(where: { $0.key == key }), member.value != .null else {
      return nil
    }
    return JSONNode(value: member.value, path: path.isEmpty ? key : "\(path).\(key)")
  }

  /// The member `key`.
  func member(_ key: String) throws(JSONProblem) -> JSONNode {
    guard let member = try optional(key) else {
      throw JSONProblem(message: "key '\(path.isEmpty ? key : "\(path).\(key)")' is missing")
    }
    return member
  }

  /// Names of all members.
  func keys() throws(JSONProblem) -> [String] {
    guard case .object(let members) = value else { throw wrong("an object") }
    return members.map(\.key)
  }

  func elements() throws(JSONProblem) -> [JSONNode] {
    guard case .array(let values) = value else { throw wrong("an array") }
    return values.enumerated().map { JSONNode(value: $1, path: "\(path)[\($0)]") }
  }

  func integer() throws(JSONProblem) -> Int {
    guard case .integer(let integer) = value else { throw wrong("an integer") }
    return integer
  }

  /// An array of integers.
  func integers() throws(JSONProblem) -> [Int] {
    var integers = [Int]()
    for element in try elements() { integers.append(try element.integer()) }
    return integers
  }

  func string() throws(JSONProblem) -> String {
    guard case .string(let string) = value else { throw wrong("a text") }
    return string
  }

  func bool() throws(JSONProblem) -> Bool {
    guard case .bool(let bool) = value else { throw wrong("true or false") }
    return bool
  }

  /// One of the cases of an enumeration, by its name.
  func oneOf<Name: RawRepresentable>(
    _ cases: [Name]
  ) throws(JSONProblem) -> Name where Name.RawValue == String {
    guard let name = Name(rawValue: try string()) else {
      throw wrong("one of " + cases.map(\.rawValue).joined(separator: ", "))
    }
    return name
  }

  private func wrong(_ expected: String) -> JSONProblem {
    var found = value.text.split(whereSeparator: \.isNewline).joined(separator: " ")
    if found.count > 30 { found = found.prefix(30) + "…" }
    return JSONProblem(
      message: "\(path.isEmpty ? "the document" : "'\(path)'") is \(found), expected \(expected)")
  }
}
