import ColocateModel

/// The dynamic programme over listed partitions: the lists, the values forwards, the states that
/// explain them backwards.
extension ChainProgram {
  func joinPartitions(control: SearchControl, keepsValues: Bool) -> Answer? {
    guard let states = listStates(), let values = values(states, control: control),
      let (slots, kept) = explain(values, states)
    else { return nil }
    var labels = Labels(layers: problem.layers, experts: problem.experts)
    for (l, slot) in slots.enumerated() {
      for g in 0..<problem.groups {
        for e in ExpertSet(bits: states[l][slot * problem.groups + g]) { labels[l, e] = g }
      }
    }
    var flat = labels.flat
    var matching = LabelMatching()
    matching.relabel(&flat, problem: problem, saved: .flat(groups: problem.groups))
    precondition(problem.kept(flat) == kept, "the chain's value is not its placement's")
    return Answer(
      labels: flat, kept: kept, method: method, partitions: keepsValues ? states : [],
      values: keepsValues ? values : [])
  }

  /// The partitions of each layer within its cap, `[count, P]`; nil where a layer has none.
  private func listStates() -> [[UInt64]]? {
    var states = [[UInt64]]()
    for l in 0..<problem.layers {
      // Without a cap all layers have one list.
      if l > 0, problem.caps == nil {
        states.append(states[0])
        continue
      }
      states.append(
        PartitionList.all(
          experts: problem.experts, groups: problem.groups, loads: problem.loads(layer: l),
          cap: problem.caps?[l]))
      if states[l].isEmpty { return nil }
    }
    return states
  }

  /// `f_l` of each layer's partitions; nil where stopped.
  private func values(_ states: [[UInt64]], control: SearchControl) -> [[Int]]? {
    var values = [(0..<(states[0].count / problem.groups)).map { inside(0, states[0], $0) }]
    for l in 0..<(problem.layers - 1) {
      guard !control.shouldStop, var next = step(l, states, values[l], control: control) else {
        return nil
      }
      if !problem.coactivation.isEmpty {
        for b in next.indices { next[b] += inside(l + 1, states[l + 1], b) }
      }
      values.append(next)
    }
    return values
  }

  /// `max_Π f(Π) + θ(Π, Π')` for every `Π'` of layer `l + 1`; nil where stopped.
  private func step(
    _ l: Int, _ states: [[UInt64]], _ values: [Int], control: SearchControl
  ) -> [Int]? {
    if method == .twoGroups {
      return TwoGroupChain.step(
        problem, boundary: l, from: states[l], values: values, to: states[l + 1],
        control: control)
    }
    return PartitionStep(problem, boundary: l, from: states[l], to: states[l + 1])
      .forward(values, control: control)
  }

  /// The states of an optimal chain, `[L]`, and what it keeps: backwards from the best value,
  /// asking in each layer which state the value comes from.
  private func explain(_ values: [[Int]], _ states: [[UInt64]]) -> (slots: [Int], kept: Int)? {
    let (last, groups) = (problem.layers - 1, problem.groups)
    guard
      let best = values[last].indices.max(by: { values[last][$0] < values[last][$1] })
    else { return nil }
    var slot = best
    var slots = [slot]
    for l in stride(from: last - 1, through: 0, by: -1) {
      let target = Array(states[l + 1][(slot * groups)..<((slot + 1) * groups)])
      let step = PartitionStep(problem, boundary: l, from: states[l], to: target)
      let value = values[l + 1][slot] - inside(l + 1, states[l + 1], slot)
      guard let origin = step.origin(of: value, values[l]) else {
        preconditionFailure("a chain's value has no origin")
      }
      slot = origin
      slots.append(slot)
    }
    return (slots.reversed(), values[last][best])
  }

  /// Co-activation inside the groups of one partition.
  private func inside(_ l: Int, _ states: [UInt64], _ slot: Int) -> Int {
    guard !problem.coactivation.isEmpty else { return 0 }
    var sum = 0
    for g in 0..<problem.groups {
      let members = Array(ExpertSet(bits: states[slot * problem.groups + g]))
      for (k, i) in members.enumerated() {
        for j in members[..<k] { sum += problem.coactivation(l, i, j) }
      }
    }
    return sum
  }
}
