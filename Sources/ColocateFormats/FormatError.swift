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

  /// "FILE: message", without control characters whatever the file or its name holds.
  public var description: String {
    String(
      "\(file): \(message)".unicodeScalars.map { scalar in
        scalar.properties.generalCategory == .control ? " " : Character(scalar)
      })
  }
}
