/// What more nodes will make of the bound of windows' trees (`WindowSearch`): to choose between
/// trees at different shares.
///
/// With W windows of about equal weight n nodes make trees of log2(n / W) levels below their roots.
/// Where each level takes the same from the bound, and closed trees leave a floor,
///
///     bound(n) = max(floor, root - ρ·log2(n / W)),
///
/// and ρ is known as soon as there are nodes below the roots. (Trees of gpt-oss-20b on 4 GPUs come
/// a fifth of the way to the floor with each level, so 64 nodes a window close them; those of
/// Qwen1.5-MoE, with 15 experts a group, a twentieth, so 400 nodes a window bring a bound down by
/// less than half.)
///
/// Trees may stall: what is left of them is placements that no relaxation tells apart, as with load
/// caps, where the first levels take much and later ones next to nothing. So once there are four
/// levels, the rate is that of the last quarter of the nodes where this is less, and trees are
/// stalled where it is less than half the rate of all levels.
///
/// First levels may take less than later ones, so trees that have few are not held against trees
/// that have many by their rates. Windows are the same at all shares, and so trees b are expected
/// to go the way that trees a went, with steps as much larger as they have been so far:
///
///     b(n') = root_b - (root_b - b(n)) · (root_a - a(n')) / (root_a - a(n)).
///
/// Nothing that is proved depends on any of it.
package struct TreeForecast: Sendable {
  private let windows: Int
  /// The kept weight that the bound comes to where every tree is closed.
  private let floor: Double
  /// The bounds after the roots and since, with rising nodes.
  private var bounds = [(nodes: Int, bound: Double)]()

  package init(windows: Int, floor: Double) {
    self.windows = max(1, windows)
    self.floor = floor
  }

  /// Takes the bound after so many nodes of these trees, no fewer than were told before.
  package mutating func add(nodes: Int, bound: Int) {
    guard nodes >= windows else { return }
    bounds.append((nodes, Double(bound)))
  }

  /// Whether the trees are four levels deep, so that there is something to go by.
  package var isSettled: Bool { (bounds.last?.nodes ?? 0) >= 16 * windows }

  /// Whether the last nodes brought less than half of what levels brought before.
  package var isStalled: Bool {
    guard let rate, let lately else { return false }
    return lately < rate / 2
  }

  /// The bound that is to be expected after `nodes` nodes; nil before any is below a root.
  package func bound(after nodes: Int) -> Double? {
    guard let last = bounds.last, let bound = continued(to: nodes) else { return nil }
    return min(last.bound, max(floor, bound))
  }

  /// The same without a floor.
  private func continued(to nodes: Int) -> Double? {
    guard let rate, let last = bounds.last, nodes >= last.nodes else { return nil }
    return last.bound - min(rate, lately ?? rate) * (depth(nodes) - depth(last.nodes))
  }

  /// The bound that is to be expected after `nodes` nodes where these trees go the way of others;
  /// nil before any node is below a root.
  package func bound(after nodes: Int, like other: TreeForecast) -> Double? {
    guard let root = bounds.first, let last = bounds.last, last.nodes > windows,
      nodes >= last.nodes, let begun = other.bounds.first,
      let now = other.seen(at: last.nodes), let then = other.seen(at: nodes), now < begun.bound
    else { return bound(after: nodes) }
    let scale = (root.bound - last.bound) / (begun.bound - now)
    return min(last.bound, max(floor, root.bound - scale * (begun.bound - then)))
  }

  /// The bound that was there after so many nodes, or would be without a floor.
  private func seen(at nodes: Int) -> Double? {
    guard let last = bounds.last, nodes < last.nodes else { return continued(to: nodes) }
    return bounds.last { $0.nodes <= nodes }?.bound
  }

  /// What a level has taken from the bound; nil before any node is below a root.
  private var rate: Double? {
    guard let root = bounds.first, let last = bounds.last, last.nodes > windows else { return nil }
    return max(0, root.bound - last.bound) / depth(last.nodes)
  }

  /// What a level takes by the last quarter of the nodes; nil before there are four levels.
  private var lately: Double? {
    guard let last = bounds.last, last.nodes >= 16 * windows,
      let before = bounds.last(where: { $0.nodes <= last.nodes * 3 / 4 })
    else { return nil }
    return max(0, before.bound - last.bound) / (depth(last.nodes) - depth(before.nodes))
  }

  /// log2(n / W), by its chords between powers of two.
  private func depth(_ nodes: Int) -> Double {
    let ratio = Double(nodes) / Double(windows)
    return Double(ratio.exponent) + (ratio.significand - 1)
  }
}
