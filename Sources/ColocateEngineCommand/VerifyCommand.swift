import ArgumentParser
import Foundation
import MoEEngine

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Measure what a plan saves, and check it against what the solver predicts.",
    discussion: """
      Runs the same tokens five times: home × contiguous (the baseline), home × the plan, \
      coherent × contiguous, coherent × greedy, coherent × the plan. The other runs take the \
      baseline's tokens and \
      routes, so that every logit must be the baseline's but for rounding; the routes that they \
      would have chosen themselves are compared apart. Every message is compared at both ends, \
      and what was sent with what the routes and the plan predict.

      Exit codes: 0 everything was compared and agrees; 5 something does not agree or was not \
      compared (a line says what); 2 bad input; 1 another error, a message that arrived damaged \
      included.
      """)

  /// What ends the program where something does not agree.
  static let disagreement = ExitCode(5)

  @OptionGroup var options: RunOptions
  @Option(help: "New tokens per sequence, at least 2.")
  var new = 16
  @Flag(help: "Print the report as JSON.")
  var json = false

  func validate() throws {
    guard new >= 2 else { throw ValidationError("--new \(new): expected at least 2") }
  }

  func run() throws {
    let (model, tokens, placement) = try options.open(output: nil, new: new)
    let plan = options.plan.map { _ in (name: "plan", placement: placement) }
    let report = try model.verify(tokens, new: new, plan: plan)
    if model.communicator.isFirst { try give(json ? JSONReport.text(report) : report.table) }
    guard model.communicator.agree(report.agrees) else { throw Self.disagreement }
  }
}
