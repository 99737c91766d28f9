/// What more nodes will make of the bound of windows' trees (`WindowSearch`): to choose between
/// trees at different shares.
///
/// With W windows of about equal weight n nodes make trees of log2(n / W) levels below their roots.
/// Where each level takes the same from the bound, and closed trees leave a floor,
///
///     bound(n) = root - φ(n)·(root - floor),    φ(n) = min(1, κ·log2(n / W)),
///
/// and κ is known as soon as there are nodes below the roots. (Trees of gpt-oss-20b on 4 GPUs have
/// κ = 0.2, so 64 nodes a window close them; those of Qwen1.5-MoE, with 15 experts a group, 0.05,
/// so 400 nodes a window bring a bound down by less than half.) Nothing that is proved depends on
/// it.
package struct TreeForecast: Sendable {
  private let windows: Int
  /// The kept weight that the bound comes to where every tree is closed.
  private let floor: Double
  /// The bound after the roots.
  private var root: Double?
  private var last: (nodes: Int, bound: Double)?

  package init(windows: Int, floor: Double) {
    self.windows = max(1, windows)
    self.floor = floor
  }

  /// Takes the bound after so many nodes of these trees.
  package mutating func add(nodes: Int, bound: Int) {
    guard nodes >= windows else { return }
    if root == nil { root = Double(bound) }
    last = (nodes, Double(bound))
  }

  /// Whether the trees are two levels deep, so that there is something to go by.
  package var isSettled: Bool { (last?.nodes ?? 0) >= 4 * windows }

  /// The bound that is to be expected after `nodes` nodes; nil before any is below a root.
  package func bound(after nodes: Int) -> Double? {
    guard let root, let last, last.nodes > windows, nodes >= last.nodes else { return nil }
    let part = min(1, max(0, root - last.bound) / max(1e-9, root - floor))
    let share = min(1, part * depth(nodes) / depth(last.nodes))
    return min(last.bound, root - share * (root - floor))
  }

  /// log2(n / W), by its chords between powers of two.
  private func depth(_ nodes: Int) -> Double {
    let ratio = Double(nodes) / Double(windows)
    return Double(ratio.exponent) + (ratio.significand - 1)
  }
}
