import ColocateModel

/// A coarse view for large groups: whole paths of experts move as one.
///
/// Matching the experts of neighbouring layers one to one (`L - 1` assignment problems) strings all
/// experts on `E` paths with one expert per layer. A group is then `c` paths, every layer is
/// balanced whatever the paths do, and what remains is to put `E` nodes with weights
/// `Σ_l (W_l[u_l, v_{l+1}] + W_l[v_l, u_{l+1}])` into `P` groups: one layer instead of L. Annealing
/// settles that in a moment, and sees what swaps of single experts do not: which bundles of experts
/// should share a GPU along the whole chain, where different stretches have chosen different
/// partners. (A planted instance of 64 bundles of 4 × 40 layers on 32 GPUs: swaps alone stay 12 %
/// of the kept weight below the planted placement.) From a given placement the matching stays
/// inside its groups, so the coarse search starts at that placement's value. This is one level of
/// the multilevel scheme of Karypis and Kumar (SIAM J. Sci. Comput. 20, 1998), with paths for the
/// coarse nodes because only they keep layers balanced.
enum PathContraction {
  /// - Parameters:
  ///   - labels: `[L, E]`: paths stay inside these groups; nil for the heaviest paths.
  ///   - control: looked at inside every assignment problem.
  /// - Returns: `[L, E]`: the path of each expert; nil where stopped.
  static func paths(
    _ problem: GroupingProblem, labels: [Int]?, control: SearchControl
  ) -> [Int]? {
    let experts = problem.experts
    var path = Array(0..<experts)
    var assignment = LinearAssignment(control: control)
    var column = [Int]()
    for l in 0..<(problem.layers - 1) {
      var next = [Int](repeating: 0, count: experts)
      if let labels {
        for g in 0..<problem.groups {
          if control.shouldStop { return nil }
          let from = (0..<experts).filter { labels[l * experts + $0] == g }
          let to = (0..<experts).filter { labels[(l + 1) * experts + $0] == g }
          var block = [Int]()
          for i in from {
            for j in to { block.append(problem.weights[(l * experts + i) * experts + j]) }
          }
          assignment.maximise(size: from.count, entries: block, columnOf: &column)
          for (k, i) in from.enumerated() { next[to[column[k]]] = path[l * experts + i] }
        }
      } else {
        problem.weights.withUnsafeBufferPointer {
          _ = assignment.maximise(
            size: experts, entries: $0.baseAddress! + l * experts * experts, columnOf: &column)
        }
        for i in 0..<experts { next[column[i]] = path[l * experts + i] }
      }
      if control.shouldStop { return nil }
      path += next
    }
    return path
  }

  /// Labels `[L, E]` of an annealed grouping of paths; within the caps, or nil.
  static func start<Gain: FixedWidthInteger & SignedInteger & SIMDScalar & Sendable>(
    _ model: SearchModel<Gain>, labels: [Int]?, random: inout SeededGenerator,
    control: SearchControl
  ) -> [Int]? {
    let problem = model.problem
    let (layers, experts) = (problem.layers, problem.experts)
    guard let path = paths(problem, labels: labels, control: control) else { return nil }
    var at = [Int](repeating: 0, count: layers * experts)  // the expert of each layer and path
    for l in 0..<layers {
      for e in 0..<experts { at[l * experts + path[l * experts + e]] = e }
    }
    // Two layers, because a problem has at least two: paths in the first, nothing in the second.
    let square = experts * experts
    var between = [Int](repeating: 0, count: 2 * square)
    var sum = 0
    for l in 0..<layers {
      for u in 0..<experts {
        if u & 15 == 0, control.shouldStop { return nil }
        for v in 0..<experts where u != v {
          var weight = 0
          if l + 1 < layers {
            weight =
              problem.weights[
                (l * experts + at[l * experts + u]) * experts
                  + at[(l + 1) * experts + v]]
          }
          if !problem.coactivation.isEmpty, u < v {
            weight +=
              problem.coactivation[
                (l * experts + at[l * experts + u]) * experts
                  + at[l * experts + v]]
          }
          between[u * experts + v] += weight
          between[v * experts + u] += weight
          sum += weight
        }
      }
    }
    let coarse = GroupingProblem(
      layers: 2, experts: experts, groups: problem.groups,
      weights: [Int](repeating: 0, count: square), coactivation: between,
      loads: [Int](repeating: 0, count: 2 * experts))
    let coarseModel = SearchModel<Gain>(problem: coarse, saved: model.saved, control: control)
    var groupOf = [Int](repeating: 0, count: experts)
    for e in 0..<experts {
      groupOf[path[e]] = labels.map { $0[e] } ?? path[e] % problem.groups
    }
    if labels == nil { groupOf.shuffle(using: &random) }
    let table = GainTable(model: coarseModel, labels: groupOf + groupOf, control: control)
    let unit = max(Double(sum) / Double(square), 1e-3)
    Annealing.run(
      table, random: &random, layers: 0..<1, moves: 4_000 * experts,
      hot: (labels == nil ? 20 : 3) * unit, cold: 0.2 * unit, relabelEvery: Annealing.block,
      control: control)
    guard coarseModel.isWhole, table.isWhole else { return nil }
    _ = LayerSweep.descend(table, layer: 0) { control.shouldStop }
    let grouped = table.placement
    var result = (0..<(layers * experts)).map { grouped[path[$0]] }
    return LoadRepair.repair(&result, problem: problem, control: control) ? result : nil
  }
}
