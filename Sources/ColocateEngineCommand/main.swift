import ArgumentParser
import Foundation
import MoEEngine

// Errors are one line from one rank. What all ranks know of, rank 0 says, and all leave together; what only one knows of ends the job.
let process = MPIProcess()
do {
  var command = try EngineCommand.parseAsRoot()
  try command.run()
  process.finish()
} catch {
  let code = EngineCommand.exitCode(for: error)
  let isShared = (error as? EngineError)?.isShared ?? (EngineCommand.isOfArguments(error))
  if process.rank == 0 || !isShared {
    if let error = error as? EngineError {
      say("Error: \(error)")
    } else if code == .success {
      print(EngineCommand.fullMessage(for: error))  // --help
    } else if !(error is ExitCode) {
      say(EngineCommand.fullMessage(for: error))
    }
  }
  guard isShared else { process.abort(code: code.rawValue == 0 ? 1 : code.rawValue) }
  process.finish()
  exit(code.rawValue)
}

extension EngineCommand {
  /// Every rank parses the same arguments and ends with the same exit code.
  static func isOfArguments(_ error: any Error) -> Bool {
    error is ExitCode || exitCode(for: error) == .success
      || exitCode(for: error) == .validationFailure
  }
}
