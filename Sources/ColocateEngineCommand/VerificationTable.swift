import Foundation
import MoEEngine

/// The report of `verify` for people, in 80 columns: a column for each run.
extension Verification {
  var table: String {
    var lines = [
      "\(ranks) ranks on \(nodes) node\(nodes == 1 ? "" : "s"), \(layers) layers × "
        + "\(experts) experts, top-\(expertsPerToken);",
      "\(sequences) sequences × (\(prompt) read + \(decodeSteps) decoded) = \(tokens) tokens",
      "",
    ]
    lines += rows
    lines.append("")
    lines += destinations
    lines += boundaries
    lines += Self.wrapped(
      """
      home sends each token to its experts' GPUs and back. In coherent mode a token starts on its \
      sequence's home GPU, so what leaves it for layer 0 is no boundary of the plan's objective; \
      every GPU learns each token's keys and values (context). Rounding explains differences up to \
      \(Self.figure(logitTolerance)) of logits and \(Self.figure(probabilityTolerance)) of a \
      router's probabilities.
      """, indent: "")
    for run in runs {
      for line in run.disagreements.prefix(Self.mostLines) {
        lines += Self.wrapped("\(run.name): \(line)", indent: "  ")
      }
      if run.disagreements.count > Self.mostLines {
        lines.append("\(run.name): \(run.disagreements.count - Self.mostLines) more (--json)")
      }
    }
    lines.append(agrees ? "Everything agrees." : "NOT everything agrees.")
    return lines.joined(separator: "\n")
  }

  /// Disagreements of a run that are printed.
  private static let mostLines = 20

  /// A line for each figure.
  private var rows: [String] {
    let perToken = Double(tokens)
    func bytes(_ count: Int) -> String { Self.number(Double(count) / perToken) }
    let figures: [(String, (Run) -> String)] = [
      ("", { $0.mode.rawValue }),
      ("", { $0.placement }),
      ("rows to other GPUs", { "\($0.crossings.toOtherGPUs)" }),
      ("  predicted", { "\($0.crossings.toOtherGPUsPredicted)" }),
      ("rows to other nodes", { "\($0.crossings.toOtherNodes)" }),
      ("  predicted", { "\($0.crossings.toOtherNodesPredicted)" }),
      ("  equal", { $0.crossings.isAsPredicted ? "yes" : "NO" }),
      ("GPUs of a token and layer", { Self.perToken($0, tokens: tokens * layers) }),
      ("collectives a decode step", { Self.number($0.collectivesPerDecodeStep.payload) }),
      ("  counts besides", { Self.number($0.collectivesPerDecodeStep.counts) }),
      ("bytes a token, dispatch", { bytes($0.bytes.dispatch) }),
      ("  combine", { bytes($0.bytes.combine) }),
      ("  context", { bytes($0.bytes.context) }),
      ("  headers", { bytes($0.bytes.headers) }),
      ("  counts", { bytes($0.bytes.counts) }),
      ("decoded tokens a second", { Self.number($0.decodeTokensPerSecond) }),
      ("positions compared", { Self.compared($0, $0.positionsCompared, $0.positions) }),
      ("  largest difference", { Self.figure($0, $0.largestLogitDifference) }),
      ("choices compared", { Self.compared($0, $0.choicesCompared, $0.choices) }),
      ("  others, left alone", { Self.known($0, $0.choicesThatDiffer.map { "\($0)" }) }),
      ("  largest lead there", { Self.lead($0) }),
      ("next tokens that differ", { Self.known($0, $0.nextTokensThatDiffer.map { "\($0)" }) }),
      ("agrees", { $0.agrees ? "yes" : "NO" }),
    ]
    let width = runs.map(\.placement.count).reduce(10, max) + 1
    return figures.map { name, value in
      name.padding(toLength: 25, withPad: " ", startingAt: 0)
        + runs.map { Self.right(value($0), width) }.joined()
    }
  }

  /// Home mode, layer by layer: what the solver minimises.
  private var destinations: [String] {
    let homes = runs.filter { !$0.destinations.isEmpty }
    guard !homes.isEmpty else { return [] }
    var lines = Self.wrapped(
      "home, GPUs that tokens went to, their own included, layer by layer, measured (≠ predicted, "
        + "where it differs):", indent: "  ")
    for run in homes {
      let layers = zip(run.destinations, run.destinationsPredicted).map {
        $0 == $1 ? "\($0)" : "\($0)≠\($1)"
      }
      lines += Self.wrapped("  \(run.placement): \(layers.joined(separator: " "))", indent: "    ")
    }
    return lines
  }

  /// Home mode's objective for each token and layer; the other mode has none.
  private static func perToken(_ run: Run, tokens: Int) -> String {
    run.destinations.isEmpty
      ? "–"
      : String(format: "%.3f", Double(run.destinations.reduce(0, +)) / Double(max(1, tokens)))
  }

  private var boundaries: [String] {
    var lines = Self.wrapped(
      "coherent, tokens to another GPU at each boundary, measured (≠ predicted, where it differs):",
      indent: "  ")
    for run in runs where !run.crossedGPUs.isEmpty {
      let boundaries = zip(run.crossedGPUs, run.crossedGPUsPredicted).map {
        $0 == $1 ? "\($0)" : "\($0)≠\($1)"
      }
      lines += Self.wrapped(
        "  \(run.placement): \(boundaries.joined(separator: " ")); before layer 0: "
          + "\(run.startedElsewhere)", indent: "    ")
    }
    return lines
  }

  private static func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - text.count)) + text
  }

  private static func number(_ value: Double) -> String {
    value == value.rounded() || value >= 100
      ? String(Int(value.rounded())) : String(format: "%.1f", value)
  }

  private static func figure(_ value: Float) -> String {
    value == 0 ? "0" : String(format: "%.1e", value)
  }

  /// A figure that compares a run with the baseline: "–" where that was not done.
  private static func known(_ run: Run, _ text: String?) -> String {
    run.isBaseline ? "baseline" : text ?? "–"
  }

  private static func figure(_ run: Run, _ value: Float?) -> String {
    known(run, value.map(figure))
  }

  private static func compared(_ run: Run, _ compared: Int, _ all: Int) -> String {
    known(run, compared == 0 ? nil : compared == all ? "\(all)" : "\(compared) of \(all)")
  }

  private static func lead(_ run: Run) -> String {
    run.choicesThatDiffer == 0 ? "none" : figure(run, run.largestLeadAtADifference)
  }

  /// A sentence in lines of at most 80 columns, the later ones indented.
  private static func wrapped(_ text: String, indent: String) -> [String] {
    var lines: [String] = []
    var line = String(text.prefix { $0 == " " })
    var isEmpty = true
    for word in text.split(separator: " ") {
      if !isEmpty, line.count + 1 + word.count > 80 {
        lines.append(line)
        (line, isEmpty) = (indent, true)
      }
      line += (isEmpty ? "" : " ") + word
      isEmpty = false
    }
    return lines + [line]
  }
}
