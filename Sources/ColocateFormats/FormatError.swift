import ColocateModel

/// A file that is not what it should be. Prints as one line: the file, where, what was found, what
/// was expected.
public struct FormatError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The file as the user named it.
  public let file: String
  /// What is wrong with it.
  public let message: String

  public init(_ file: String, _ message: String) {
    self.file = file
    self.message = message
  }

  /// Does what may fail with a `ModelError`, which says nothing of files.
  /// - Parameter hint: words for the end of the message.
  /// - Throws: `FormatError` that names `file`.
  static func naming<Result>(
    _ file: String, hint: @autoclosure () -> String = "", _ body: () throws(ModelError) -> Result
  ) throws(FormatError) -> Result {
    do throws(ModelError) { return try body() } catch {
      throw FormatError(file, error.description + hint())
    }
  }

  /// "FILE: message", without control characters whatever the file or its name holds.
  public var description: String {
    String(
      "\(file): \(message)".unicodeScalars.map { scalar in
        scalar.properties.generalCategory == .control ? " " : Character(scalar)
      })
  }
}
