import ColocateModel

/// A coarse view for large groups: whole paths of experts move as one.
///
/// Matching the experts of neighbouring layers one to one (`L - 1` assignment problems) strings all
/// experts on `E` paths with one expert per layer. A group is then `c` paths, every layer is
/// balanced whatever the paths do, and what remains is to put `E` vertices with weights
/// `Σ_l (W_l[u_l, v_{l+1}] + W_l[v_l, u_{l+1}])` into `P` groups: one layer instead of L. Annealing
/// settles that in a moment, and sees what swaps of single experts do not: which bundles of experts
/// should share a GPU along the whole chain, where different stretches have chosen different
/// partners. (A planted instance of 64 bundles of 4 × 40 layers on 32 GPUs: swaps alone stay 12 %
/// of the kept weight below the planted placement.) From a given placement the matching stays
/// inside its groups, so the coarse search starts at that placement's value. This is one level of
/// the multilevel scheme of Karypis and Kumar (SIAM J. Sci. Comput. 20, 1998), with paths for the
/// coarse vertices because only they keep layers balanced. The matching costs O(L · E³), the coarse
/// weights O(L · E²); the annealing's random numbers are the caller's.
enum PathContraction {
  /// The matching of neighbouring layers.
  /// - Parameters:
  ///   - labels: `[L, E]`: paths stay inside these groups; nil for the heaviest paths.
  ///   - control: looked at inside every assignment problem.
  /// - Returns: the path of each expert, `[L, E]`; nil where stopped.
  static func paths(
    _ problem: GroupingProblem, labels: [Int]?, control: SearchControl
  ) -> [Int]? {
    let experts = problem.experts
    let groups = labels.map { Labels($0, experts: experts) }
    var path = Labels(layers: problem.layers, experts: experts)
    for e in 0..<experts { path[0, e] = e }
    let assignment = LinearAssignment(control: control)
    var column = [Int]()
    for l in 0..<(problem.layers - 1) {
      // Without groups all experts are one.
      for g in 0..<(groups == nil ? 1 : problem.groups) {
        if control.shouldStop { return nil }
        let from = groups?.members(of: g, layer: l) ?? Array(0..<experts)
        let to = groups?.members(of: g, layer: l + 1) ?? Array(0..<experts)
        let block = from.flatMap { i in to.map { problem.weight(l, i, $0) } }
        assignment.maximise(size: from.count, entries: block, columnOf: &column)
        for (k, i) in from.enumerated() { path[l + 1, to[column[k]]] = path[l, i] }
      }
      if control.shouldStop { return nil }
    }
    return path.flat
  }

  /// Labels `[L, E]` of an annealed grouping of paths; within the caps, or nil.
  static func start<Gain: FixedWidthInteger & SignedInteger & SIMDScalar & Sendable>(
    _ model: SearchModel<Gain>, labels: [Int]?, random: inout SeededGenerator,
    control: SearchControl
  ) -> [Int]? {
    let problem = model.problem
    let experts = problem.experts
    guard let path = paths(problem, labels: labels, control: control),
      let coarse = coarse(problem, path: path, control: control)
    else { return nil }
    let coarseModel = SearchModel<Gain>(
      problem: coarse.problem, saved: model.saved, control: control)
    var groupOf = [Int](repeating: 0, count: experts)
    for e in 0..<experts {
      groupOf[path[e]] = labels.map { $0[e] } ?? path[e] % problem.groups
    }
    if labels == nil { groupOf.shuffle(using: &random) }
    let table = GainTable(model: coarseModel, labels: groupOf + groupOf, control: control)
    let unit = max(Double(coarse.sum) / Double(experts * experts), 1e-3)
    Annealing.run(
      table, random: &random, layers: 0..<1, moves: 4_000 * experts,
      hot: (labels == nil ? 20 : 3) * unit, cold: 0.2 * unit, relabelEvery: Annealing.block,
      control: control)
    guard coarseModel.isWhole, table.isWhole else { return nil }
    _ = LayerSweep.descend(table, layer: 0) { control.shouldStop }
    let grouped = table.placement
    var result = path.map { grouped[$0] }
    return LoadRepair.repair(&result, problem: problem, control: control) ? result : nil
  }

  /// The problem whose experts are the paths, with the sum of its weights. It has two layers,
  /// because a problem has at least two: the paths in the first, nothing in the second.
  /// - Returns: nil where stopped.
  private static func coarse(
    _ problem: GroupingProblem, path: [Int], control: SearchControl
  ) -> (problem: GroupingProblem, sum: Int)? {
    let (layers, experts) = (problem.layers, problem.experts)
    let path = Labels(path, experts: experts)
    // The expert of each layer and path.
    var at = Labels(layers: layers, experts: experts)
    for l in 0..<layers {
      for e in 0..<experts { at[l, path[l, e]] = e }
    }
    let square = experts * experts
    var between = [Int](repeating: 0, count: 2 * square)
    var sum = 0
    for l in 0..<layers {
      for u in 0..<experts {
        if u & 15 == 0, control.shouldStop { return nil }
        for v in 0..<experts where u != v {
          var weight = l + 1 < layers ? problem.weight(l, at[l, u], at[l + 1, v]) : 0
          if u < v { weight += problem.coactivation(l, at[l, u], at[l, v]) }
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
    return (coarse, sum)
  }
}
