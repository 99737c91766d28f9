import Colocate

extension RandomProblem {
  /// The same problem with counts that add up to about 2^`bits`, each its multiple of the old one
  /// and something random on top: the same shape, no common divisor, and every sum as large as its
  /// arithmetic has to bear. Loads follow, and a cap is drawn anew.
  package func enlarged(toBits bits: Int) -> GroupingProblem {
    var random = SeededGenerator(seed: seed ^ UInt64(bits) << 32)
    // A little below, for what comes on top.
    let factor = max(1, (1 << bits) / max(1, problem.total) / 4 * 3)
    func larger(_ weight: Int) -> Int {
      weight == 0 ? 0 : weight * factor + random.next(below: max(1, factor / 4))
    }
    let weights = problem.weights.map(larger)
    var together = problem.coactivation
    let experts = problem.experts
    if !together.isEmpty {
      for l in 0..<problem.layers {
        for i in 0..<experts {
          for j in 0..<i {
            let value = larger(together[(l * experts + i) * experts + j])
            together[(l * experts + i) * experts + j] = value
            together[(l * experts + j) * experts + i] = value
          }
        }
      }
    }
    let counts = valid {
      try TransitionCounts(
        layers: problem.layers, experts: experts, weights: weights, coactivation: together)
    }
    let ratio = 1 + random.nextUnit() * 0.6
    let cap = valid { try LoadCap(ratio, relaxedToFeasible: true) }
    let limits =
      problem.caps == nil ? nil : valid { try cap.perLayer(counts: counts, gpus: problem.groups) }
    return GroupingProblem(
      layers: problem.layers, experts: experts, groups: problem.groups, weights: weights,
      coactivation: together, loads: counts.loads, caps: limits?.caps, packing: limits?.packing)
  }
}

extension GroupingProblem {
  /// As an instance without its cap, on `nodes` nodes.
  package func instance(nodes: Int = 1, objective: Objective = .flat) throws -> Instance {
    try Instance(
      counts: TransitionCounts(
        layers: layers, experts: experts, weights: weights, loads: loads,
        coactivation: coactivation),
      topology: Topology(gpus: groups, nodes: nodes), objective: objective)
  }
}
