import Colocate
import ColocateFormats

/// One line for the user, and the exit code.
struct CommandFailure: Error {
  let message: String
  let status: ExitStatus

  init(_ message: String, _ status: ExitStatus = .badInput) {
    self.message = message
    self.status = status
  }

  /// `ModelError`s say what and where, but not in which file.
  static func naming<Result>(
    _ files: [String], _ body: () throws(ModelError) -> Result
  ) throws(CommandFailure) -> Result {
    do throws(ModelError) {
      return try body()
    } catch {
      let text = FormatError(files.joined(separator: " + "), error.description).description
      if case .infeasible = error { throw CommandFailure(text, .infeasible) }
      throw CommandFailure(text)
    }
  }
}
