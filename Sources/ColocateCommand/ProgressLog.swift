import Colocate
import Foundation

/// The lines of a running solve, on standard error, in the manner of HiGHS.
///
///     B baseline  W warm start  …                                       the key, once
///       Stage       Nodes    Open        Bound    Incumbent      Gap     Time
///     L gpus            0       0       312000       331410    5.86%     0.4s
///
/// First column: who found the incumbent, blank where a line brings news of the bound only. Bound
/// and incumbent are the objective's units (crossings), the gap is (incumbent - bound) / incumbent.
/// The header comes again every 20 lines; a new incumbent always gets a line, other news at most
/// one in `interval` seconds.
final class ProgressLog {
  private let showsTime: Bool
  private let interval = 2.0
  private let put: (String) -> Void
  private var lines = 0
  private var lastTime = -Double.infinity
  private var last = ""

  init(showsTime: Bool, put: @escaping (String) -> Void = Terminal.note) {
    self.showsTime = showsTime
    self.put = put
  }

  func show(_ progress: SolverProgress) {
    let isNews = progress.source != nil
    guard isNews || progress.value != nil || progress.bound != nil else { return }
    guard isNews || progress.seconds - lastTime >= interval else { return }
    let line = Self.line(progress)
    // The timeless log has no line that says what the one before it said.
    guard isNews || showsTime || line != last else { return }
    if lines == 0 { put(Self.key) }
    if lines % 20 == 0 { put(Self.header + (showsTime ? Self.right("Time", 9) : "")) }
    put(line + (showsTime ? Self.right(Self.fixed(progress.seconds, 1) + "s", 9) : ""))
    lines += 1
    last = line
    lastTime = progress.seconds
  }

  /// What the letters of the first column stand for.
  static let key = IncumbentSource.allCases.map { "\(letter($0)) \(name($0))" }
    .joined(separator: "  ")

  private static func letter(_ source: IncumbentSource) -> String {
    switch source {
    case .baseline: "B"
    case .warmStart: "W"
    case .localSearch: "L"
    case .pool: "P"
    case .exact: "X"
    case .tree: "T"
    }
  }

  private static func name(_ source: IncumbentSource) -> String {
    switch source {
    case .baseline: "baseline"
    case .warmStart: "warm start"
    case .localSearch: "local search"
    case .pool: "partition pool"
    case .exact: "exact method"
    case .tree: "tree"
    }
  }

  static let header: String = {
    var line = "  " + left("Stage", 12) + right("Nodes", 7) + right("Open", 8)
    line += right("Bound", 15) + right("Incumbent", 15) + right("Gap", 9)
    return line
  }()

  static func line(_ progress: SolverProgress) -> String {
    let bound = progress.bound.map(String.init) ?? "-"
    let incumbent = progress.value.map(String.init) ?? "-"
    let gap = progress.gap.map { fixed(100 * $0, 3) + "%" } ?? "-"
    var line = (progress.source.map(letter) ?? " ") + " " + left("\(progress.stage)", 12)
    line += right("\(progress.treeNodes)", 7) + right("\(progress.openTreeNodes)", 8)
    line += right(bound, 15) + right(incumbent, 15) + right(gap, 9)
    return line
  }

  static func left(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  static func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - text.count)) + text
  }

  static func fixed(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
  }
}
