/// What stops a run: one line that names the file and the setting, tensor or position, what was found and what was expected.
public struct EngineError: Error, Hashable, Sendable, CustomStringConvertible {
  public let description: String
  /// Whether every rank throws the same: then one of them says so and all leave in order. Otherwise the others cannot know, and the
  /// job has to be ended from here.
  public let isShared: Bool

  public init(_ description: String, isShared: Bool = false) {
    self.description = description
    self.isShared = isShared
  }
}
