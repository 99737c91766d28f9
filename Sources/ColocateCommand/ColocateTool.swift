import ArgumentParser
import Colocate
import ColocateFormats
import Foundation

/// The command line: one file for each subcommand.
struct ColocateTool: ParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "colocate",
    abstract: "Places the experts of Mixture-of-Experts models on GPUs, with proofs.",
    discussion: """
      A token visits an expert in every layer. Where the next expert lives on another GPU, it has to travel. Colocate reads which experts tokens \
      really used and decides on which GPU each expert lives, so that as few tokens as possible travel and no GPU gets too many.

      EXAMPLES
        What a trace says, and how far its experts attract each other:
          colocate inspect trace.npy
        All methods on one table, judged on tokens that none of them has seen:
          colocate compare train.npy --gpus 4 --max-load 1.25 --holdout test.npy
        A plan for 2 nodes with 4 GPUs each, 30 seconds:
          colocate solve trace.npy --gpus 8 --nodes 2 --time-limit 30 -o plan.json
        What it costs on another trace:
          colocate evaluate plan.json other.npy

      FILES
        Traces are .npy arrays of expert ids, [tokens, layers] or [tokens, layers, k], of any integer type. Counts are [layers - 1, experts, experts]: how \
      many tokens used expert i in a layer and j in the next.

      EXIT CODES
          0  proved optimal, or the gap asked for is met, or all work is done
          1  internal error
          2  bad input or usage
          3  no placement meets the load cap (proved)
          4  a limit was reached; the answer is written
        130  interrupted; the answer is written
      """,
    version: "colocate \(version)",
    subcommands: [
      InspectCommand.self, SolveCommand.self, EvaluateCommand.self, CompareCommand.self,
      GenerateCommand.self, ExportCommand.self, CheckCommand.self,
    ])

  /// Runs the command line. Every failure is one line on standard error.
  /// - Returns: the exit code.
  static func runAndReport() -> Int32 {
    do {
      var command = try parseAsRoot()
      try command.run()
      return 0
    } catch let code as ExitStatus {
      return code.rawValue
    } catch let failure as CommandFailure {
      Terminal.error(failure.message)
      return failure.status.rawValue
    } catch let error as FormatError {
      Terminal.error(error.description)
      return ExitStatus.badInput.rawValue
    } catch let error as ModelError {
      Terminal.error(error.description)
      return ExitStatus.badInput.rawValue
    } catch {
      let code = exitCode(for: error)
      if code == .success {
        // --help and --version.
        print(fullMessage(for: error))
        return 0
      }
      if code == .validationFailure {
        Terminal.error(message(for: error) + " (colocate --help, colocate SUBCOMMAND --help)")
        return ExitStatus.badInput.rawValue
      }
      Terminal.error("internal: \(error)")
      return ExitStatus.internalError.rawValue
    }
  }
}

/// What a run ends with; thrown by a subcommand that has already said everything.
enum ExitStatus: Int32, Error {
  case done = 0
  case internalError = 1
  case badInput = 2
  case infeasible = 3
  case limit = 4
  case interrupted = 130
}

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
      let text = error.description
      throw CommandFailure(FormatError(files.joined(separator: " + "), text).description)
    }
  }
}

/// Standard output and standard error.
enum Terminal {
  static let isInteractive = isatty(STDERR_FILENO) == 1

  /// A line that people read, on standard error.
  static func note(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }

  /// The one line of a failure, whatever its text holds.
  static func error(_ message: String) {
    let line = message.split(whereSeparator: \.isNewline).joined(separator: " ")
    note("colocate: error: \(line)")
  }

  /// The result, on standard output.
  static func result(_ text: String) {
    try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
  }
}
