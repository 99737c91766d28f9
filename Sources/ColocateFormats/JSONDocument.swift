/// JSON files: ours and, such as a model's `config.json`, those of others.
package enum JSONDocument {
  /// Bytes of a document, where its reader names no other limit: 256 MiB.
  package static let mostBytes = 1 << 28

  /// The document in the file.
  /// - Throws: `FormatError` with line and column of what cannot be read, or with what the file is
  ///   instead.
  package static func read(_ path: String) throws(FormatError) -> JSONText {
    try read(path, expected: "a JSON document") { $0.value }
  }

  /// Reads a document and makes something of it.
  /// - Parameters:
  ///   - expected: what the file should be, in words: "a plan (.json)".
  ///   - mostBytes: a longer file is refused before it is read.
  ///   - parse: makes the value, or throws what is wrong with the document.
  /// - Throws: `FormatError` for all that is wrong with the file or with the document.
  static func read<Value>(
    _ path: String, expected: String, mostBytes: Int = Self.mostBytes,
    _ parse: (JSONNode) throws(JSONProblem) -> Value
  ) throws(FormatError) -> Value {
    let file = try PositionedFile(path)
    if let container = Container(try file.head(), file: path), !container.isJSON {
      throw container.error(path, expected: expected)
    }
    guard file.size <= mostBytes else {
      throw FormatError(
        path, "\(file.size) bytes, expected \(expected) of at most \(mostBytes >> 20) MiB")
    }
    let bytes = try file.bytes(0..<file.size)
    do throws(JSONProblem) { return try parse(try JSONReader.read(bytes)) } catch {
      throw FormatError(path, error.message)
    }
  }
}
