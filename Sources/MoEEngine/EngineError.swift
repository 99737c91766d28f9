import Colocate
import ColocateFormats

/// What stops a run: one line that names the file and the setting, tensor or position, what was
/// found and what was expected.
public struct EngineError: Error, Hashable, Sendable, CustomStringConvertible {
  public let description: String
  /// Whether every rank throws the same: then one of them says so and all leave in order. Otherwise
  /// the others cannot know, and the job has to be ended from here.
  public let isShared: Bool

  public init(_ description: String, isShared: Bool = false) {
    self.description = description
    self.isShared = isShared
  }

  /// What is wrong with a file, as its reader says it.
  package init(_ error: FormatError) { self.init(error.description) }

  /// Runs what reads or writes a file.
  package static func naming<Result>(
    _ body: () throws(FormatError) -> Result
  ) throws(EngineError) -> Result {
    do throws(FormatError) { return try body() } catch { throw EngineError(error) }
  }

  /// Runs what makes or uses a value of the solver's model: counts, a topology, a placement.
  package static func modelling<Result>(
    _ body: () throws(ModelError) -> Result
  ) throws(EngineError) -> Result {
    do throws(ModelError) { return try body() } catch { throw EngineError(error.description) }
  }
}
