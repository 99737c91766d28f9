import ColocateFormats

/// Takes settings out of a JSON object one by one; what is left at the end is what nobody
/// understood. A setting that is null counts as absent, as transformers has it.
struct SettingReader {
  let path: String
  private let prefix: String
  /// Those not taken yet.
  private var settings: [String: JSONText] = [:]
  private var taken: [String: JSONText] = [:]

  /// - Throws: `EngineError` where a name stands twice: which one counts, readers do not agree on.
  init(
    path: String, members: [(key: String, value: JSONText)], prefix: String = ""
  ) throws(EngineError) {
    self.path = path
    self.prefix = prefix
    for (name, value) in members {
      guard settings.updateValue(value, forKey: name) == nil else {
        throw EngineError("\(path): \(prefix)\(name) is there twice; expected it once")
      }
    }
  }

  /// Names that have not been taken, in ascending order.
  var rest: [String] { settings.keys.sorted() }

  /// Whether the setting is there, be it null.
  func mentions(_ name: String) -> Bool { settings[name] != nil }

  /// Whether a setting that has been taken was there and not null.
  func wasGiven(_ name: String) -> Bool {
    switch taken[name] {
    case nil, .null?: false
    default: true
    }
  }

  /// A setting under any of its names; where several are there, they must say the same.
  /// - Returns: nil where it is absent or null.
  mutating func take(_ names: String...) throws(EngineError) -> JSONText? {
    try take(names)
  }

  private mutating func take(_ names: [String]) throws(EngineError) -> JSONText? {
    var found: (name: String, value: JSONText)?
    for name in names {
      guard let value = settings.removeValue(forKey: name) else { continue }
      taken[name] = value
      if case .null = value { continue }
      if let found, !Self.areEqual(found.value, value) {
        throw EngineError(
          "\(path): \(prefix)\(found.name) is \(Self.text(found.value)) and \(prefix)\(name) is "
            + "\(Self.text(value)); expected the same, since they are two names of one setting")
      }
      found = found ?? (name, value)
    }
    return found?.value
  }

  func error(_ name: String, _ expected: String) -> EngineError {
    let found = (taken[name] ?? settings[name]).map(Self.text) ?? "missing"
    return EngineError("\(path): \(prefix)\(name) is \(found); expected \(expected)")
  }

  mutating func string(_ name: String) throws(EngineError) -> String {
    guard case .string(let value)? = try take(name) else { throw error(name, "a string") }
    return value
  }

  /// A whole number from 1 to 2³¹ − 1.
  mutating func size(_ names: String..., default missing: Int) throws(EngineError) -> Int {
    guard let value = try take(names) else { return missing }
    guard case .integer(let size) = value, size >= 1, size <= Int(Int32.max) else {
      throw error(names.first { taken[$0] != nil } ?? names[0], "a positive whole number")
    }
    return size
  }

  mutating func bool(_ name: String, default missing: Bool) throws(EngineError) -> Bool {
    guard let value = try take(name) else { return missing }
    guard case .bool(let bool) = value else { throw error(name, "true or false") }
    return bool
  }

  mutating func number(_ name: String) throws(EngineError) -> Double? {
    guard let value = try take(name) else { return nil }
    guard let number = Self.number(value) else { throw error(name, "a number") }
    return number
  }

  /// Refuses a setting that is there, unless its value is one of those that the engine follows.
  mutating func require(_ name: String, _ allowed: JSONText...) throws(EngineError) {
    guard let value = try take(name) else { return }
    guard allowed.contains(where: { Self.areEqual($0, value) }) else {
      throw EngineError(
        "\(path): \(prefix)\(name) is \(Self.text(value)), which would change the output and "
          + "is not supported; expected "
          + (allowed.isEmpty ? "null" : allowed.map(Self.text).joined(separator: " or ")))
    }
  }

  mutating func ignore(_ names: String...) {
    for name in names { settings[name] = nil }
  }

  /// Refuses what nobody took, except what changes nothing: see `InertSettings`.
  func refuseRest() throws(EngineError) {
    for name in rest {
      guard let value = settings[name], !InertSettings.areInert(name, value) else { continue }
      throw EngineError(
        "\(path): setting \(prefix)\(name) (\(Self.text(value))) is not known and could change "
          + "the output; remove it if transformers' own class of this model does not read it")
    }
  }

  // JSON values.

  private static func number(_ value: JSONText) -> Double? {
    switch value {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// 1 and 1.0 are equal.
  private static func areEqual(_ a: JSONText, _ b: JSONText) -> Bool {
    switch (a, b) {
    case (.bool(let a), .bool(let b)): a == b
    case (.string(let a), .string(let b)): a == b
    case (.array(let a), .array(let b)):
      a.count == b.count && zip(a, b).allSatisfy { areEqual($0, $1) }
    default:
      if let a = number(a), let b = number(b) { a == b } else { false }
    }
  }

  /// On one line, and a short one.
  private static func text(_ value: JSONText) -> String {
    let text = value.text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    return text.count > 60 ? text.prefix(60) + "…" : text
  }
}
