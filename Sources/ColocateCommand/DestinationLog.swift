import Colocate

/// The lines of a running solve in home mode, on standard error: one for each layer that is done.
///
///       Layer          Value          Bound      Gap    Proved      GPUs/token     Time
///           3          51235          51235   0.000%      4/24           2.113     1.4s
///
/// Value and bound are the layer's, `proved` counts the layers whose two meet, and GPUs per token
/// (nodes where these are minimised) are of all layers as they stand.
final class DestinationLog {
  private let showsTime: Bool
  private let tokens: Int
  private let put: (String) -> Void
  private var lines = 0

  /// - Parameter tokens: once in each layer.
  init(showsTime: Bool, tokens: Int, put: @escaping (String) -> Void = Terminal.note) {
    self.showsTime = showsTime
    self.tokens = tokens
    self.put = put
  }

  func show(_ progress: DestinationProgress) {
    guard let layer = progress.layer, let outcome = progress.outcome else { return }
    func right(_ text: String, _ width: Int) -> String { ProgressLog.right(text, width) }
    let time = { (text: String) in self.showsTime ? right(text, 9) : "" }
    if lines % 20 == 0 {
      put(
        "  Layer" + right("Value", 15) + right("Bound", 15) + right("Gap", 9) + right("Proved", 9)
          + right("per token", 12) + time("Time"))
    }
    let gap = outcome.gap.map { ProgressLog.fixed(100 * $0, 3) + "%" } ?? "-"
    let perToken = Double(progress.value) / Double(max(1, tokens))
    put(
      right("\(layer)", 7) + right("\(outcome.value)", 15)
        + right(outcome.bound.map(String.init) ?? "-", 15) + right(gap, 9)
        + right("\(progress.proved)/\(progress.layers)", 9)
        + right(ProgressLog.fixed(perToken, 4), 12)
        + time(ProgressLog.fixed(progress.seconds, 1) + "s"))
    lines += 1
  }
}
