import ColocateModel

/// Names a plan's groups so that the fewest experts leave the GPU on which they are now.
///
/// A plan is worth the same under any names of its groups, as long as groups of a node stay
/// together where nodes count. Given one permutation of names for all layers, the experts that stay
/// are `Σ_g n[name(g), g]`, with `n[g, h]` the experts that are on GPU `g` now and in group `h` of
/// the plan: an assignment problem, exact (`NodeNaming`). Of the names that move fewest experts
/// those are taken that move fewest between nodes.
///
/// One permutation for all layers is needed only where layers hold together: where a boundary has
/// no weight, or several matchings of its groups are worth the same, a part of the layers may take
/// names of its own. So afterwards the names of single layers, and of all layers before or behind a
/// cut, are chosen anew by (value, experts that stay), in this order, until nothing is better. Each
/// step is an assignment problem whose entries hold the two as one number, `M · value + stays` with
/// `M` beyond any number of experts; so the value never falls, and rises where a label was wrong.
/// These steps are exact each; all of them together need not be.
///
/// O(L · E² + P³) for the permutation, and for each round of steps L times as much.
package struct FewestMoves {
  private let problem: GroupingProblem
  private let saved: SavedWeights
  private let naming: NodeNaming
  private let perNode: Int
  private let current: Labels
  /// One expert that keeps its GPU, in units of an expert that keeps its node.
  private let stay: Int
  /// One unit of value; nil where it would not fit.
  private let worth: Int?

  /// - Parameters:
  ///   - saved: what `value` is.
  ///   - perNode: GPUs of a node, for counting moves between nodes.
  ///   - keepsNodes: whether groups of a node must stay together.
  ///   - current: `[L, E]`, the GPU of each expert now.
  package init(
    problem: GroupingProblem, saved: SavedWeights, perNode: Int, keepsNodes: Bool, current: [Int]
  ) {
    self.problem = problem
    self.saved = saved
    self.perNode = perNode
    self.current = Labels(current, experts: problem.experts)
    naming = NodeNaming(groups: problem.groups, perNode: keepsNodes ? perNode : problem.groups)
    let experts = problem.layers * problem.experts
    stay = experts + 1
    let unit = stay * experts + experts + 1
    let most = max(1, problem.total).multipliedReportingOverflow(
      by: max(1, saved.group + saved.node))
    let scaled = most.partialValue.multipliedReportingOverflow(by: unit)
    let fits = !most.overflow && !scaled.overflow && scaled.partialValue <= Int.max / 8
    worth = fits ? unit : nil
  }

  /// The plan `labels` (`[L, E]`) under other names, worth at least as much.
  package func renamed(_ labels: [Int]) -> [Int] {
    var plan = Labels(renamedAlike(labels), experts: problem.experts)
    guard worth != nil else { return plan.flat }
    // Each change raises (value, stays): there is an end, and it comes soon.
    var isBetter = true
    while isBetter {
      isBetter = false
      for l in 0..<problem.layers where rename(l..<(l + 1), of: &plan) { isBetter = true }
      for cut in 1..<problem.layers {
        if rename(cut..<problem.layers, of: &plan) { isBetter = true }
        if rename(0..<cut, of: &plan) { isBetter = true }
      }
    }
    return plan.flat
  }

  /// The plan under the one permutation of names for all layers that moves fewest experts.
  package func renamedAlike(_ labels: [Int]) -> [Int] {
    var plan = Labels(labels, experts: problem.experts)
    _ = rename(0..<problem.layers, of: &plan)
    return plan.flat
  }

  /// Gives some layers the names that are worth most while the others keep theirs.
  /// - Returns: whether there were better ones.
  private func rename(_ layers: Range<Int>, of plan: inout Labels) -> Bool {
    let (groups, nodes) = (problem.groups, naming.nodes)
    var entry = [Int](repeating: 0, count: groups * groups)
    var nodeEntry = [Int](repeating: 0, count: nodes * nodes)
    countStays(layers, plan, &entry, &nodeEntry)
    if let worth {
      for side in [layers.lowerBound - 1, layers.upperBound - 1] {
        guard side >= 0, side < problem.layers - 1 else { continue }
        let isBefore = side < layers.lowerBound
        for i in 0..<problem.experts {
          for j in 0..<problem.experts {
            let weight = problem.weight(side, i, j)
            guard weight != 0 else { continue }
            let (before, after) = (plan[side, i], plan[side + 1, j])
            let (name, group) = isBefore ? (before, after) : (after, before)
            entry[name * groups + group] += worth * saved.group * weight
            let pair = name / naming.perNode * nodes + group / naming.perNode
            nodeEntry[pair] += worth * saved.node * weight
          }
        }
      }
    }
    let names = naming.names(entry: entry, nodeEntry: nodeEntry)
    let same = Array(0..<groups)
    guard
      naming.value(names, entry: entry, nodeEntry: nodeEntry)
        > naming.value(same, entry: entry, nodeEntry: nodeEntry)
    else { return false }
    for l in layers {
      for e in 0..<problem.experts { plan[l, e] = names[plan[l, e]] }
    }
    return true
  }

  /// Experts that would keep their GPU, and their node, by name and group.
  private func countStays(
    _ layers: Range<Int>, _ plan: Labels, _ entry: inout [Int], _ nodeEntry: inout [Int]
  ) {
    let (groups, nodes) = (problem.groups, naming.nodes)
    for l in layers {
      for e in 0..<problem.experts {
        let (gpu, group) = (current[l, e], plan[l, e])
        entry[gpu * groups + group] += stay
        guard naming.perNode == groups, perNode < groups else {
          nodeEntry[gpu / naming.perNode * nodes + group / naming.perNode] += 1
          continue
        }
        // Groups go where they like: every GPU of the expert's node keeps it in its node.
        let first = gpu / perNode * perNode
        for name in first..<(first + perNode) { entry[name * groups + group] += 1 }
      }
    }
  }
}
