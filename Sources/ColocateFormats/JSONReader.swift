import Foundation

/// What is wrong with a JSON document, and where.
package struct JSONProblem: Error {
  package let message: String
}

/// A strict JSON reader (RFC 8259) that says line and column of what it cannot read. Time and
/// memory are linear in the document; a hostile one costs no more.
///
/// Stricter than the standard where leniency would hide something: a key may occur once in an
/// object, an integer must fit into 64 bits instead of becoming the nearest double, a fraction or
/// exponent must be a finite double, and nesting ends at `mostDepth`.
package struct JSONReader {
  /// Nesting that no document of ours comes near.
  package static let mostDepth = 64

  private let bytes: [UInt8]
  private var at = 0

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The document in `bytes`.
  package static func read(_ bytes: some Sequence<UInt8>) throws(JSONProblem) -> JSONNode {
    var reader = JSONReader(Array(bytes))
    let value = try reader.value(depth: 0)
    guard reader.peek() == nil else { throw reader.problem("the end of the document") }
    return JSONNode(value: value, path: "")
  }

  private mutating func value(depth: Int) throws(JSONProblem) -> JSONText {
    guard depth < Self.mostDepth else { throw problem("at most \(Self.mostDepth) levels") }
    switch peek() {
    case UInt8(ascii: "{"): return .object(try members(depth: depth))
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

  private mutating func members(depth: Int) throws(JSONProblem) -> [(key: String, value: JSONText)]
  {
    at += 1
    var members = [(key: String, value: JSONText)]()
    var keys = Set<String>()
    if peek() != UInt8(ascii: "}") {
      repeat {
        guard peek() == UInt8(ascii: "\"") else { throw problem("a quoted key") }
        let start = at
        let key = try string()
        guard keys.insert(key).inserted else {
          let end = at
          at = start
          // The whole key, if it is one that people write.
          throw problem("each key of an object once", showing: min(end - start, 64))
        }
        try expect(":")
        members.append((key, try value(depth: depth + 1)))
      } while take(",")
    }
    try expect("}")
    return members
  }

  private mutating func word(_ word: String, _ value: JSONText) throws(JSONProblem) -> JSONText {
    guard bytes[at...].starts(with: word.utf8) else { throw problem("a value") }
    at += word.utf8.count
    return value
  }

  private func digit(_ place: Int) -> Int? {
    guard place < bytes.count, (0x30...0x39).contains(bytes[place]) else { return nil }
    return Int(bytes[place]) - 0x30
  }

  /// `-? digits (. digits)? ([eE] [+-]? digits)?`, without leading zeros.
  private mutating func number() throws(JSONProblem) -> JSONText {
    let start = at
    func failed(_ expected: String) -> JSONProblem {
      at = start
      return problem(expected)
    }
    let isNegative = bytes[at] == UInt8(ascii: "-")
    if isNegative { at += 1 }
    guard let first = digit(at) else { throw failed("a number") }
    if first == 0, digit(at + 1) != nil { throw failed("a number without leading zeros") }
    var (integer, isExact) = (0, true)
    while let next = digit(at) {
      let (tens, over) = integer.multipliedReportingOverflow(by: 10)
      let (sum, more) = tens.addingReportingOverflow(isNegative ? -next : next)
      if over || more { isExact = false }
      integer = sum
      at += 1
    }
    let isFraction = at < bytes.count && bytes[at] == UInt8(ascii: ".")
    if isFraction {
      at += 1
      guard digit(at) != nil else { throw failed("a number") }
      while digit(at) != nil { at += 1 }
    }
    let hasExponent = at < bytes.count && bytes[at] | 0x20 == UInt8(ascii: "e")
    if hasExponent {
      at += 1
      if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") {
        at += 1
      }
      guard digit(at) != nil else { throw failed("a number") }
      while digit(at) != nil { at += 1 }
    }
    guard isFraction || hasExponent else {
      guard isExact else { throw failed("an integer of at most 64 bits") }
      return .integer(integer)
    }
    // Digits beyond what a double can tell apart cost time that grows faster than their number.
    guard at - start <= 1_000,
      let number = Double(String(decoding: bytes[start..<at], as: UTF8.self)), number.isFinite
    else { throw failed("a number that a double can hold") }
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
      guard at + 1 < bytes.count else { break }
      if let byte = Self.escape(bytes[at + 1]) {
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

  /// What a backslash and one letter stand for.
  private static func escape(_ letter: UInt8) -> UInt8? {
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): letter
    case UInt8(ascii: "b"): 0x08
    case UInt8(ascii: "f"): 0x0C
    case UInt8(ascii: "n"): 0x0A
    case UInt8(ascii: "r"): 0x0D
    case UInt8(ascii: "t"): 0x09
    default: nil
    }
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
      let scalar = Unicode.Scalar(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
    else { throw problem("a pair of surrogates") }
    at += 12
    return Character(scalar)
  }

  /// The next byte that is no blank.
  private mutating func peek() -> UInt8? {
    while at < bytes.count {
      switch bytes[at] {
      case 0x20, 0x09, 0x0A, 0x0D: at += 1
      default: return bytes[at]
      }
    }
    return nil
  }

  private mutating func take(_ symbol: Unicode.Scalar) -> Bool {
    guard peek() == UInt8(ascii: symbol) else { return false }
    at += 1
    return true
  }

  private mutating func expect(_ symbol: Unicode.Scalar) throws(JSONProblem) {
    guard take(symbol) else { throw problem("'\(symbol)'") }
  }

  private func problem(_ expected: String, showing length: Int = 12) -> JSONProblem {
    let before = bytes[..<min(at, bytes.count)]
    let line = before.count { $0 == 0x0A } + 1
    let column = at - (before.lastIndex(of: 0x0A) ?? -1)
    let found =
      at < bytes.count
      ? "'\(String(decoding: bytes[at..<min(at + length, bytes.count)], as: UTF8.self))'"
      : "the end"
    return JSONProblem(
      message: "line \(line), column \(column): found \(found), expected \(expected)")
  }
}
