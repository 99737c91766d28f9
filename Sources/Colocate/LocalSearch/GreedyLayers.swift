import ColocateModel

/// Layer by layer: each layer the best response to its already placed neighbour.
///
/// With one neighbour fixed a layer is a transportation problem with gains
/// `Σ_i W[i, e] · [π(i) = g]`, solved exactly (`Transportation`, O(E² · P) a layer); the choice is
/// still myopic, since nothing says what the next layer would like. At P = E it is optimal: every
/// layer's choice can be relabelled, so layers do not interact. Nothing is random.
struct GreedyLayers {
  private let problem: GroupingProblem
  private let control: SearchControl
  private let transportation: Transportation
  private var labels: Labels

  /// - Parameters:
  ///   - start: the layer that is placed contiguously; the others follow in both directions.
  ///   - control: asked at every layer and inside each layer's transportation problem.
  /// - Returns: `[L, E]`, without regard to caps; nil where stopped.
  static func labels(
    _ problem: GroupingProblem, from start: Int, control: SearchControl
  ) -> [Int]? {
    var greedy = GreedyLayers(
      problem: problem, control: control, transportation: Transportation(control: control),
      labels: Labels(layers: problem.layers, experts: problem.experts))
    for e in 0..<problem.experts { greedy.labels[start, e] = e / problem.groupSize }
    for l in 0..<problem.layers where l > start {
      guard greedy.place(l, after: l - 1) else { return nil }
    }
    for l in stride(from: start - 1, through: 0, by: -1) {
      guard greedy.place(l, after: l + 1) else { return nil }
    }
    return greedy.labels.flat
  }

  /// Answers false where stopped.
  private mutating func place(_ l: Int, after previous: Int) -> Bool {
    let (experts, groups) = (problem.experts, problem.groups)
    var gains = [Int](repeating: 0, count: experts * groups)
    for i in 0..<experts {
      let group = labels[previous, i]
      for e in 0..<experts {
        gains[e * groups + group] +=
          previous < l ? problem.weight(previous, i, e) : problem.weight(l, e, i)
      }
    }
    var groupOf = [Int]()
    transportation.maximise(
      items: experts, groups: groups, capacity: problem.groupSize, gains: gains,
      groupOf: &groupOf)
    if control.shouldStop { return false }
    for e in 0..<experts { labels[l, e] = groupOf[e] }
    return true
  }
}
