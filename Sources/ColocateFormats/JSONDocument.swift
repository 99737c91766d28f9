import Foundation

/// A JSON file that is not one of ours, such as a model's `config.json`.
package enum JSONDocument {
  /// The document in the file.
  /// - Throws: `FormatError` with line and column of what cannot be read.
  package static func read(_ path: String) throws(FormatError) -> JSONText {
    let file = try PositionedFile(path)
    guard file.size <= 1 << 28 else {
      throw FormatError(path, "\(file.size) bytes, expected JSON of at most 256 MiB")
    }
    do throws(JSONProblem) {
      return try JSONReader.read(bytes(of: file)).value
    } catch {
      throw FormatError(path, error.message)
    }
  }

  private static func bytes(of file: PositionedFile) throws(JSONProblem) -> [UInt8] {
    do throws(FormatError) { return try file.bytes(0..<file.size) } catch {
      throw JSONProblem(message: error.message)
    }
  }
}
