/// What stops a run: one line that names the file and the setting, tensor or position, what was found and what was expected.
public struct EngineError: Error, Hashable, Sendable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }
}
