import ColocateModel

/// Layer by layer: each layer the best response to its already placed neighbour.
///
/// With one neighbour fixed a layer is a transportation problem with gains
/// `Σ_i W[i, e] · [π(i) = g]`, solved exactly; the choice is still myopic, since nothing says what
/// the next layer would like. At P = E it is optimal: every layer's choice can be relabelled, so
/// layers do not interact.
enum GreedyLayers {
  /// - Parameters:
  ///   - start: the layer that is placed contiguously; the others follow in both directions.
  ///   - control: asked at every layer and inside each layer's transportation problem.
  /// - Returns: nil where stopped.
  static func labels(
    _ problem: GroupingProblem, from start: Int, control: SearchControl
  ) -> [Int]? {
    let (layers, experts, groups) = (problem.layers, problem.experts, problem.groups)
    var labels = [Int](repeating: 0, count: layers * experts)
    for e in 0..<experts { labels[start * experts + e] = e / problem.groupSize }
    var transportation = Transportation(control: control)
    var gains = [Int](repeating: 0, count: experts * groups)
    var groupOf = [Int]()
    func place(_ l: Int, after previous: Int) -> Bool {
      for index in gains.indices { gains[index] = 0 }
      let boundary = min(l, previous)
      for i in 0..<experts {
        let group = labels[previous * experts + i]
        for e in 0..<experts {
          gains[e * groups + group] +=
            previous < l
            ? problem.weights[(boundary * experts + i) * experts + e]
            : problem.weights[(boundary * experts + e) * experts + i]
        }
      }
      transportation.maximise(
        items: experts, groups: groups, capacity: problem.groupSize, gains: gains,
        groupOf: &groupOf)
      if control.shouldStop { return false }
      for e in 0..<experts { labels[l * experts + e] = groupOf[e] }
      return true
    }
    for l in (start + 1)..<max(layers, start + 1) where !place(l, after: l - 1) { return nil }
    for l in stride(from: start - 1, through: 0, by: -1) where !place(l, after: l + 1) {
      return nil
    }
    return labels
  }
}
