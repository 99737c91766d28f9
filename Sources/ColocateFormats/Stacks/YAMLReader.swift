/// A reader of the small part of YAML that placements are written in: block mappings and sequences,
/// flow mappings and sequences (which may span lines), plain and quoted scalars, comments.
///
/// Strict where leniency would hide something: a key may occur once, tabs do not indent, anchors,
/// tags, aliases, merges and block texts are refused by name. The result is the JSON value of the
/// same meaning, so that the readers of JSON files serve YAML files too; keys become texts. Time
/// and memory are linear in the document, nesting ends at `JSONReader.mostDepth`.
struct YAMLReader {
  /// A line without its indentation, comment and trailing blanks.
  private struct Line {
    let number: Int
    let indent: Int
    let text: [UInt8]

    var isItem: Bool { text.first == UInt8(ascii: "-") && (text.count == 1 || text[1] == 0x20) }
  }

  private var lines: [Line]
  private var at = 0

  /// The document in `bytes`.
  static func read(_ bytes: [UInt8]) throws(JSONProblem) -> JSONNode {
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw JSONProblem(message: "not UTF-8, expected YAML")
    }
    var reader = YAMLReader(lines: [])
    var number = 0
    for raw in bytes.split(separator: 0x0A, omittingEmptySubsequences: false) {
      number += 1
      let indent = raw.prefix { $0 == 0x20 }.count
      let text = Self.withoutComment(raw.dropFirst(indent))
      if text.isEmpty { continue }
      if text == Array("---".utf8), reader.lines.isEmpty { continue }
      guard text[0] != 0x09 else {
        throw JSONProblem(message: "line \(number): found a tab, expected blanks to indent by")
      }
      reader.lines.append(Line(number: number, indent: indent, text: text))
    }
    guard let first = reader.lines.first else {
      throw JSONProblem(message: "nothing in it, expected YAML")
    }
    let value = try reader.block(indent: first.indent, depth: 0)
    guard reader.at == reader.lines.count else {
      throw reader.problem("the indentation of the lines before")
    }
    return JSONNode(value)
  }

  /// What is before ` #` or a leading `#`, outside of quotes, without trailing blanks.
  private static func withoutComment(_ raw: ArraySlice<UInt8>) -> [UInt8] {
    var (quote, end): (UInt8?, Int) = (nil, raw.startIndex)
    for place in raw.indices {
      let byte = raw[place]
      if let open = quote {
        if byte == open { quote = nil }
      } else if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
        quote = byte
      } else if byte == UInt8(ascii: "#"), place == raw.startIndex || raw[place - 1] <= 0x20 {
        break
      }
      if byte > 0x20 { end = place + 1 }
    }
    return Array(raw[raw.startIndex..<end])
  }

  /// A mapping or a sequence whose lines start at `indent`.
  private mutating func block(indent: Int, depth: Int) throws(JSONProblem) -> JSONText {
    guard depth < JSONReader.mostDepth else {
      throw problem("at most \(JSONReader.mostDepth) levels")
    }
    let line = lines[at]
    if line.isItem { return try sequence(indent: indent, depth: depth) }
    if line.text[0] == UInt8(ascii: "[") || line.text[0] == UInt8(ascii: "{") {
      at += 1
      return try flow(line.text[...], line: line.number, depth: depth)
    }
    return try mapping(indent: indent, depth: depth)
  }

  private mutating func sequence(indent: Int, depth: Int) throws(JSONProblem) -> JSONText {
    var values = [JSONText]()
    while at < lines.count, lines[at].indent == indent, lines[at].isItem {
      let line = lines[at]
      at += 1
      let rest = line.text.dropFirst().drop { $0 == 0x20 }
      values.append(
        try value(rest, line: line.number, indent: indent, allowsItems: false, depth: depth))
    }
    return .array(values)
  }

  private mutating func mapping(indent: Int, depth: Int) throws(JSONProblem) -> JSONText {
    var members = [(key: String, value: JSONText)]()
    var keys = Set<String>()
    while at < lines.count, lines[at].indent == indent, !lines[at].isItem {
      let line = lines[at]
      guard
        let colon = line.text.indices.first(where: {
          line.text[$0] == UInt8(ascii: ":")
            && ($0 + 1 == line.text.count || line.text[$0 + 1] == 0x20)
        })
      else { throw problem("KEY: VALUE") }
      let key = try Self.text(of: Self.scalar(line.text[..<colon], line: line.number))
      guard keys.insert(key).inserted else { throw problem("each key of a mapping once") }
      at += 1
      let rest = line.text[(colon + 1)...].drop { $0 == 0x20 }
      members.append(
        (
          key,
          try value(rest, line: line.number, indent: indent, allowsItems: true, depth: depth)
        ))
    }
    return .object(members)
  }

  /// What stands after a key or a dash: a scalar, a flow collection, or the block below.
  /// - Parameter allowsItems: whether dashes at the same indentation belong to it.
  private mutating func value(
    _ rest: ArraySlice<UInt8>, line: Int, indent: Int, allowsItems: Bool, depth: Int
  ) throws(JSONProblem) -> JSONText {
    if let first = rest.first {
      if first == UInt8(ascii: "[") || first == UInt8(ascii: "{") {
        return try flow(rest, line: line, depth: depth + 1)
      }
      return try Self.scalar(rest, line: line)
    }
    guard at < lines.count else { return .null }
    if lines[at].indent > indent {
      return try block(indent: lines[at].indent, depth: depth + 1)
    }
    if allowsItems, lines[at].indent == indent, lines[at].isItem {
      return try sequence(indent: indent, depth: depth + 1)
    }
    return .null
  }

  /// A flow collection that starts with `start` and ends on this or a later line.
  private mutating func flow(
    _ start: ArraySlice<UInt8>, line: Int, depth: Int
  ) throws(JSONProblem) -> JSONText {
    var text = Array(start)
    var open = Self.balance(start)
    while open > 0, at < lines.count {
      text.append(0x20)
      text += lines[at].text
      open += Self.balance(lines[at].text[...])
      at += 1
    }
    var reader = FlowReader(bytes: text, line: line)
    return try reader.document(depth: depth)
  }

  private static func balance(_ text: ArraySlice<UInt8>) -> Int {
    text.reduce(0) { sum, byte in
      switch byte {
      case UInt8(ascii: "["), UInt8(ascii: "{"): sum + 1
      case UInt8(ascii: "]"), UInt8(ascii: "}"): sum - 1
      default: sum
      }
    }
  }

  /// A key's text.
  fileprivate static func text(of scalar: JSONText) -> String {
    switch scalar {
    case .integer(let integer): "\(integer)"
    case .string(let string): string
    case .bool(let bool): "\(bool)"
    case .number(let number): "\(number)"
    case .null, .array, .object: "null"
    }
  }

  /// A plain or quoted scalar.
  fileprivate static func scalar(
    _ bytes: ArraySlice<UInt8>, line: Int
  ) throws(JSONProblem) -> JSONText {
    let text = String(decoding: bytes, as: UTF8.self)
    let trimmed = text.reversed().drop { $0 == " " }.reversed()
    let plain = String(trimmed)
    func problem(_ expected: String) -> JSONProblem {
      JSONProblem(message: "line \(line): found '\(plain.prefix(20))', expected \(expected)")
    }
    guard let first = plain.unicodeScalars.first else { throw problem("a value") }
    if first == "'" || first == "\"" {
      let inner = plain.dropFirst().dropLast()
      guard plain.unicodeScalars.count >= 2, plain.unicodeScalars.last == first,
        !inner.unicodeScalars.contains(first), !inner.contains("\\")
      else { throw problem("one quoted text without escapes") }
      return .string(String(inner))
    }
    guard !"&*!|>%@`?[]{},".unicodeScalars.contains(first) else {
      throw problem("no anchors, tags or block texts")
    }
    switch plain {
    case "null", "~": return .null
    case "true": return .bool(true)
    case "false": return .bool(false)
    default: break
    }
    let digits = plain.hasPrefix("-") ? plain.dropFirst() : plain[...]
    if !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
      guard digits == "0" || !digits.hasPrefix("0"), let integer = Int(plain) else {
        throw problem("an integer of at most 64 bits without leading zeros")
      }
      return .integer(integer)
    }
    return .string(plain)
  }

  private func problem(_ expected: String) -> JSONProblem {
    let line = lines[min(at, lines.count - 1)]
    let found = String(decoding: line.text.prefix(20), as: UTF8.self)
    return JSONProblem(message: "line \(line.number): found '\(found)', expected \(expected)")
  }
}

/// `[a, b]` and `{a: b}`.
private struct FlowReader {
  let bytes: [UInt8]
  let line: Int
  private var at = 0

  init(bytes: [UInt8], line: Int) {
    self.bytes = bytes
    self.line = line
  }

  mutating func document(depth: Int) throws(JSONProblem) -> JSONText {
    let value = try value(depth: depth)
    guard peek() == nil else { throw problem("nothing after the closing bracket") }
    return value
  }

  private mutating func value(depth: Int) throws(JSONProblem) -> JSONText {
    guard depth < JSONReader.mostDepth else {
      throw problem("at most \(JSONReader.mostDepth) levels")
    }
    switch peek() {
    case UInt8(ascii: "["):
      at += 1
      var values = [JSONText]()
      while peek() != UInt8(ascii: "]") {
        values.append(try value(depth: depth + 1))
        guard take(",") else { break }
      }
      try expect("]")
      return .array(values)
    case UInt8(ascii: "{"):
      at += 1
      var members = [(key: String, value: JSONText)]()
      var keys = Set<String>()
      while peek() != UInt8(ascii: "}") {
        let key = YAMLReader.text(of: try scalar())
        guard keys.insert(key).inserted else { throw problem("each key of a mapping once") }
        try expect(":")
        members.append((key, try value(depth: depth + 1)))
        guard take(",") else { break }
      }
      try expect("}")
      return .object(members)
    default: return try scalar()
    }
  }

  private mutating func scalar() throws(JSONProblem) -> JSONText {
    _ = peek()
    let start = at
    while at < bytes.count, !Array(",:[]{}".utf8).contains(bytes[at]) { at += 1 }
    return try YAMLReader.scalar(bytes[start..<at], line: line)
  }

  private mutating func peek() -> UInt8? {
    while at < bytes.count, bytes[at] == 0x20 { at += 1 }
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
    let found =
      at < bytes.count
      ? "'\(String(decoding: bytes[at...].prefix(12), as: UTF8.self))'" : "the end"
    return JSONProblem(message: "from line \(line) on: found \(found), expected \(expected)")
  }
}
