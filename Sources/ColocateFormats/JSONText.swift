/// JSON, read or to be written: keys stay in the order given, and arrays of numbers stay on one
/// line, so that a plan is fit for people too.
public enum JSONText: Hashable, Sendable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByNilLiteral
{
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSONText])
  case object([(key: String, value: JSONText)])

  public init(stringLiteral value: String) { self = .string(value) }
  public init(integerLiteral value: Int) { self = .integer(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(nilLiteral: ()) { self = .null }

  /// A number, or null where it is not known.
  public init(_ integer: Int?) { self = integer.map { .integer($0) } ?? .null }
  /// A number, or null where it is not known.
  public init(_ number: Double?) { self = number.map { .number($0) } ?? .null }
  /// An array of integers.
  public init(_ integers: some Sequence<Int>) { self = .array(integers.map { .integer($0) }) }
  /// A row-major table as an array of rows.
  public init(_ table: [Int], width: Int) {
    self = .array(
      stride(from: 0, to: table.count, by: width).map {
        JSONText(table[$0..<min($0 + width, table.count)])
      })
  }

  /// Alike in kind, values and the order of keys. Looks at no more than the first difference needs.
  public static func == (a: JSONText, b: JSONText) -> Bool {
    switch (a, b) {
    case (.null, .null): return true
    case (.bool(let a), .bool(let b)): return a == b
    case (.integer(let a), .integer(let b)): return a == b
    case (.number(let a), .number(let b)): return a == b
    case (.string(let a), .string(let b)): return a == b
    case (.array(let a), .array(let b)): return a == b
    case (.object(let a), .object(let b)):
      return a.count == b.count && zip(a, b).allSatisfy { $0.key == $1.key && $0.value == $1.value }
    default: return false
    }
  }

  public func hash(into hasher: inout Hasher) {
    switch self {
    case .null: hasher.combine(0)
    case .bool(let value): hasher.combine(value)
    case .integer(let value): hasher.combine(value)
    case .number(let value): hasher.combine(value)
    case .string(let value): hasher.combine(value)
    case .array(let values): hasher.combine(values)
    case .object(let members):
      for (key, value) in members {
        hasher.combine(key)
        hasher.combine(value)
      }
    }
  }

  /// The document, ending in a line break.
  public var text: String {
    var text = ""
    write(to: &text, line: "\n")
    return text + "\n"
  }

  /// The same on one line, without a space.
  package var compactText: String {
    var text = ""
    write(to: &text, line: nil)
    return text + "\n"
  }

  private var isScalar: Bool {
    switch self {
    case .array, .object: return false
    default: return true
    }
  }

  /// - Parameter line: a line break and the indentation of a line; nil where all is on one line
  ///   and as short as it can be.
  private func write(to text: inout String, line: String?) {
    let inner = line.map { $0 + "  " }
    let space = line == nil ? "" : " "
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .integer(let value): text += "\(value)"
    // JSON has no infinities.
    case .number(let value): text += value.isFinite ? "\(value)" : "null"
    case .string(let value): Self.quote(value, to: &text)
    case .array(let values) where values.allSatisfy(\.isScalar):
      text += "["
      for (index, value) in values.enumerated() {
        if index > 0 { text += "," + space }
        value.write(to: &text, line: inner)
      }
      text += "]"
    case .array(let values):
      text += "["
      for (index, value) in values.enumerated() {
        text += (index > 0 ? "," : "") + (inner ?? "")
        value.write(to: &text, line: inner)
      }
      text += (line ?? "") + "]"
    case .object(let members):
      text += "{"
      for (index, member) in members.enumerated() {
        text += (index > 0 ? "," : "") + (inner ?? "")
        Self.quote(member.key, to: &text)
        text += ":" + space
        member.value.write(to: &text, line: inner)
      }
      text += (members.isEmpty ? "" : line ?? "") + "}"
    }
  }

  private static func quote(_ string: String, to text: inout String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case "\u{0}"..."\u{1F}":
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
