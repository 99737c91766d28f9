import Colocate

/// Numbers as the tables have them.
enum Show {
  /// How a joint cost comes about.
  static func weights(_ weights: JointWeights) -> String {
    "\(weights.interNode) × between nodes + \(weights.intraNode) × inside a node"
  }

  static func percent(_ share: Double, _ digits: Int = 2) -> String {
    ProgressLog.fixed(100 * share, digits) + " %"
  }
  /// `text` and a line break, in lines of at most 80 columns, all but the first with `indent`
  /// blanks.
  static func wrapped(_ text: String, indent: Int) -> String {
    var lines = [""]
    for word in text.split(separator: " ") {
      if lines[lines.count - 1].count + 1 + word.count > 80 {
        lines.append(String(repeating: " ", count: indent) + word)
      } else {
        lines[lines.count - 1] += (lines[lines.count - 1].isEmpty ? "" : " ") + word
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }
  static func fixed(_ value: Double, _ digits: Int) -> String { ProgressLog.fixed(value, digits) }
  static func ratio(_ value: Double) -> String { ProgressLog.fixed(value, 3) }
  static func seconds(_ value: Double) -> String {
    value < 0.095 ? ProgressLog.fixed(value, 3) + " s" : ProgressLog.fixed(value, 1) + " s"
  }
}
