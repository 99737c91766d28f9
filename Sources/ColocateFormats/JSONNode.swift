/// A value of a document and the path to it, for messages.
package struct JSONNode {
  package let value: JSONText
  let path: String

  init(value: JSONText, path: String) {
    self.value = value
    self.path = path
  }

  /// A whole document.
  package init(_ document: JSONText) { self.init(value: document, path: "") }

  /// The member `key`; nil where it is absent or null.
  func optional(_ key: String) throws(JSONProblem) -> JSONNode? {
    guard let value = try object().last(where: { $0.key == key })?.value else { return nil }
    if case .null = value { return nil }
    return JSONNode(value: value, path: place(key))
  }

  /// The member `key`.
  func member(_ key: String) throws(JSONProblem) -> JSONNode {
    guard let member = try optional(key) else {
      throw JSONProblem(message: "key '\(place(key))' is missing")
    }
    return member
  }

  /// All members, in the order of the document.
  func members() throws(JSONProblem) -> [(key: String, node: JSONNode)] {
    try object().map { ($0.key, JSONNode(value: $0.value, path: place($0.key))) }
  }

  /// Names of all members.
  func keys() throws(JSONProblem) -> [String] { try object().map(\.key) }

  /// - Throws: where a member has another name than these.
  func checkKeys(_ known: [String]) throws(JSONProblem) {
    if let key = try keys().first(where: { !known.contains($0) }) {
      throw JSONProblem(
        message: "unknown key '\(place(key))', expected \(known.joined(separator: ", "))")
    }
  }

  private func object() throws(JSONProblem) -> [(key: String, value: JSONText)] {
    guard case .object(let members) = value else { throw wrong("an object") }
    return members
  }

  private func place(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

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
    guard case .array(let values) = value else { throw wrong("an array") }
    var integers = [Int]()
    integers.reserveCapacity(values.count)
    for (index, value) in values.enumerated() {
      guard case .integer(let integer) = value else {
        throw JSONNode(value: value, path: "\(path)[\(index)]").wrong("an integer")
      }
      integers.append(integer)
    }
    return integers
  }

  /// An array of arrays of integers.
  func table() throws(JSONProblem) -> [[Int]] {
    var rows = [[Int]]()
    for row in try elements() { rows.append(try row.integers()) }
    return rows
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
    let found: String
    switch value {
    case .array(let values): found = "an array of \(values.count)"
    case .object: found = "an object"
    default:
      let text = value.text.split(whereSeparator: \.isNewline).joined(separator: " ")
      found = text.count > 30 ? text.prefix(30) + "…" : text
    }
    return JSONProblem(
      message: "\(path.isEmpty ? "the document" : "'\(path)'") is \(found), expected \(expected)")
  }
}
