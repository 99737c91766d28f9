import ArgumentParser
import ColocateFormats
import MoEEngine

// Errors are one line from one rank. What all ranks know of, rank 0 says, and all leave together;
// what only one knows of ends the job.
extension EngineCommand {
  /// Runs the command line.
  /// - Returns: the exit code.
  static func runAndReport() -> Int32 {
    do {
      var command = try parseAsRoot()
      if let error = Launcher.contradiction(size: process.size) { throw error }
      try command.run()
      return 0
    } catch {
      return report(error)
    }
  }

  /// Says what went wrong, once, and ends the whole job where the other ranks cannot know.
  private static func report(_ error: any Error) -> Int32 {
    let parsed = exitCode(for: error)
    let engineError = error as? EngineError ?? (error as? FormatError).map { EngineError($0) }
    // Every rank parses the same arguments and ends with the same exit code.
    let isShared =
      engineError?.isShared
      ?? (error is ExitCode || parsed == .success || parsed == .validationFailure)
    // What is wrong with the input all ranks see, or the reader or writer of a file says.
    let isInput =
      parsed == .validationFailure || error is FormatError || engineError?.isShared == true
    let code: Int32 = isInput ? 2 : parsed.rawValue
    if process.rank == 0 || !isShared {
      if let engineError {
        say("Error: \(engineError)")
      } else if parsed == .success {
        try? give(fullMessage(for: error))  // --help, --version
      } else if !(error is ExitCode) {
        say(fullMessage(for: error))
      }
    }
    guard isShared else {
      AtomicFile.removeUnfinished()
      process.abort(code: code == 0 ? 1 : code)
    }
    return code
  }
}
