import ArgumentParser
import Colocate
import ColocateFormats

/// The command line: one file for each subcommand.
struct ColocateTool: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "colocate",
    abstract: "Places the experts of Mixture-of-Experts models on GPUs, with proofs.",
    discussion: """
      A token visits an expert in every layer. Where the next expert lives on another GPU, it has \
      to travel. Colocate reads which experts tokens \
      really used and decides on which GPU each expert lives, so that as few tokens as possible \
      travel and no GPU gets too many.

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
        Traces are .npy arrays of expert ids, [tokens, layers] or [tokens, layers, k], of any \
        integer type. Counts are [layers - 1, experts, experts]: how \
      many tokens used expert i in a layer and j in the next. What SGLang, vLLM and TensorRT-LLM \
      record is read as it is, and so are .npz files, folders of recordings, and - for standard \
      input. colocate convert turns a plan into the file that a serving stack loads.

      EXIT CODES
          0  proved optimal, or the gap asked for is met, or all work is done
          1  internal error; where there is a plan so far, it is written
          2  bad input or usage, or an output that cannot be written
          3  no placement meets the load cap (proved)
          4  a limit was reached; the answer is written
        130  interrupted by Ctrl-C; the answer is written. Other signals: 128 + their number
      """,
    version: "colocate \(ToolVersion.current)",
    subcommands: [
      InspectCommand.self, SolveCommand.self, EvaluateCommand.self, CompareCommand.self,
      CountCommand.self, MergeCommand.self,
      GenerateCommand.self, ExportCommand.self, ConvertCommand.self, RenumberCommand.self,
      CheckCommand.self,
    ])

  /// Runs the command line. Every failure is one line on standard error.
  /// - Returns: the exit code.
  static func runAndReport() -> Int32 {
    let status = runAndExplain()
    // A result that did not arrive is no success, whatever else went well.
    guard let reason = Terminal.resultFailure else { return status.rawValue }
    Terminal.error("standard output: \(reason)")
    return status == .internalError ? status.rawValue : ExitStatus.badInput.rawValue
  }

  private static func runAndExplain() -> ExitStatus {
    do {
      var command = try parseAsRoot()
      try command.run()
      return .done
    } catch let code as ExitStatus {
      return code
    } catch let failure as CommandFailure {
      Terminal.error(failure.message)
      return failure.status
    } catch let error as FormatError {
      Terminal.error(error.description)
      return .badInput
    } catch let error as ModelError {
      Terminal.error(error.description)
      return .badInput
    } catch {
      let code = exitCode(for: error)
      if code == .success {
        // --help and --version.
        Terminal.result(fullMessage(for: error) + "\n")
        return .done
      }
      if code == .validationFailure {
        Terminal.error(message(for: error) + " (colocate --help, colocate SUBCOMMAND --help)")
        return .badInput
      }
      Terminal.error("internal: \(error)")
      return .internalError
    }
  }
}
