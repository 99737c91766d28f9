import ArgumentParser
import Foundation
import MoEEngine

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Measure what a plan saves, and check it against what the solver predicts.",
    discussion: """
      Decodes the same tokens four times: home × contiguous (the baseline), coherent × contiguous, coherent × greedy, coherent × \
      the plan. Exit code 0 only if every run sends exactly what is predicted for its routes, and computes the same tokens.
      """)
  @OptionGroup var options: RunOptions
  @Option(help: "New tokens per sequence, at least 2.")
  var new = 16
  @Flag(help: "Print the report as JSON.")
  var json = false

  func validate() throws {
    guard new >= 2 else { throw ValidationError("--new \(new): expected at least 2") }
  }

  func run() throws {
    let (model, tokens, assignment) = try options.open(output: nil)
    let plan = options.plan.map { _ in (name: "plan", assignment: assignment) }
    let report = try model.verify(tokens, new: new, plan: plan)
    if model.communicator.isFirst {
      if json {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        print(String(decoding: try encoder.encode(report), as: UTF8.self))
      } else {
        print(report.table)
      }
    }
    guard model.communicator.agree(report.agrees) else { throw ExitCode.failure }
  }
}

extension Verification {
  /// The report for people.
  var table: String {
    var lines = [
      "\(ranks) ranks on \(nodes) node\(nodes == 1 ? "" : "s"), \(layers) layers × \(experts) experts, top-\(expertsPerToken); "
        + "\(sequences) sequences × (\(prompt) read + \(decodeSteps) decoded) = \(tokens) tokens",
      "",
    ]
    let perToken = Double(tokens)
    var rows = [
      [
        "run", "to other GPUs", "predicted", "to other nodes", "predicted", "equal", "collectives",
        "dispatch", "combine", "context",
        "headers", "decode", "logits Δ", "agrees",
      ]
    ]
    rows.append([
      "", "rows", "", "rows", "", "", "per step", "B/token", "B/token", "B/token", "B/token",
      "tokens/s", "", "",
    ])
    for run in runs {
      let crossings = run.crossings
      let equal =
        crossings.gpus == crossings.gpusPredicted && crossings.nodes == crossings.nodesPredicted
      rows.append([
        run.name, "\(crossings.gpus)", "\(crossings.gpusPredicted)", "\(crossings.nodes)",
        "\(crossings.nodesPredicted)",
        equal ? "yes" : "NO", number(run.collectivesPerDecodeStep.withoutCounts),
        number(Double(run.bytes.dispatch) / perToken), number(Double(run.bytes.combine) / perToken),
        number(Double(run.bytes.context) / perToken), number(Double(run.bytes.headers) / perToken),
        number(run.decodeTokensPerSecond),
        run.largestLogitDifference == 0 ? "0" : String(format: "%.1e", run.largestLogitDifference),
        run.agrees ? "yes" : "NO",
      ])
    }
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max()! }
    for row in rows {
      let cells = zip(row, widths).enumerated().map { column, cell in
        let space = String(repeating: " ", count: cell.1 - cell.0.count)
        return column == 0 ? cell.0 + space : space + cell.0
      }
      lines.append(cells.joined(separator: "  "))
    }
    lines.append("")
    lines.append(
      "coherent, tokens to another GPU at each boundary, measured = predicted unless marked:")
    for run in runs where !run.crossedGPUs.isEmpty {
      let boundaries = zip(run.crossedGPUs, run.crossedGPUsPredicted).map {
        $0 == $1 ? "\($0)" : "\($0)≠\($1)"
      }
      lines.append(
        "  \(run.name): \(boundaries.joined(separator: " ")); before layer 0: \(run.startedElsewhere)"
      )
    }
    lines.append(
      "home sends each token to its experts' GPUs and back. In coherent mode a token starts on its sequence's home GPU, so what leaves it for"
    )
    lines.append(
      "layer 0 is no boundary of the plan's objective; every GPU learns each token's keys and values (context)."
    )
    for run in runs {
      for line in run.disagreements { lines.append("\(run.name): \(line)") }
      if run.sequencesSetApart > 0 {
        lines.append(
          "\(run.name): in \(run.sequencesSetApart) sequences rounding chose between nearly equal gates differently; what follows in them is not compared"
        )
      }
    }
    lines.append(agrees ? "Everything agrees." : "NOT everything agrees.")
    return lines.joined(separator: "\n")
  }

  private func number(_ value: Double) -> String {
    value == value.rounded() || value >= 100
      ? String(Int(value.rounded())) : String(format: "%.1f", value)
  }
}
