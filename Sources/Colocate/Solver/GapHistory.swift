/// How a gap has fallen with the iterations of a relaxation, to tell when to stop it: once the last
/// third of the iterations has brought less than a twentieth of what is left, and there were
/// several hundred.
struct GapHistory {
  private var points: [(iteration: Int, gap: Int)] = []

  private static let leastIterations = 600

  mutating func add(iteration: Int, gap: Int) { points.append((iteration, gap)) }

  var isStalled: Bool {
    guard let last = points.last, last.iteration >= Self.leastIterations,
      let before = points.last(where: { 3 * $0.iteration <= 2 * last.iteration })
    else { return false }
    return Double(last.gap) > 0.95 * Double(before.gap)
  }
}
