import ColocateModel

/// The most that is kept along the arcs of a finished search.
///
/// Every placement that reaches the target is a sequence of states along arcs within δ. A sequence
/// of partitions is a placement in turn, once the groups of neighbouring layers are matched: its
/// kept weight is the sum of what its partitions keep inside and of the best match at each boundary
/// (`LabelMatching`). Both kinds of sums are the chain's dynamic program, from the ends to the
/// start.
extension LossSearch {
  private struct Values {
    /// By distance from the start: what is kept at the most from a state on, without the inside of
    /// the state itself; and the next state, -1 at the end.
    var kept: [[Int]]
    var next: [[Int]]
  }

  func optimum(start: Int, ahead: LossSweep, back: LossSweep) -> Result {
    var matching = LabelMatching()
    guard let one = values(ahead, from: start, by: 1, &matching),
      let two = values(back, from: start, by: -1, &matching)
    else { return .overflow }
    var best = (kept: Int.min, state: 0)
    for s in one.kept[0].indices
    where back.isAlive(s, budget: tables.budget) && one.kept[0][s] >= 0 && two.kept[0][s] >= 0 {
      let kept = one.kept[0][s] + two.kept[0][s] + inside(start, ahead.states[0].keys[s])
      if kept > best.kept { best = (kept, s) }
    }
    guard best.kept >= 0 else { return .nothing }
    var labels = Labels(layers: problem.layers, experts: problem.experts)
    for (sweep, values, step) in [(ahead, one, 1), (back, two, -1)] {
      var (state, layer) = (best.state, start)
      for t in sweep.states.indices {
        for e in 0..<problem.experts { labels[layer, e] = sweep.states[t].keys[state][e] }
        if t + 1 == sweep.states.count { break }
        state = values.next[t][state]
        layer += step
      }
    }
    var flat = labels.flat
    matching.relabel(&flat, problem: problem, saved: .flat(groups: problem.groups))
    return .optimum(labels: flat, kept: problem.kept(flat))
  }

  /// nil where it would take too long, or was stopped.
  private func values(
    _ sweep: LossSweep, from start: Int, by step: Int, _ matching: inout LabelMatching
  ) -> Values? {
    var values = Values(
      kept: sweep.states.map { [Int](repeating: -1, count: $0.keys.count) },
      next: sweep.states.map { [Int](repeating: -1, count: $0.keys.count) })
    let last = sweep.states.count - 1
    for s in values.kept[last].indices { values.kept[last][s] = 0 }
    var looked = 0
    for t in stride(from: last - 1, through: 0, by: -1) {
      let layer = start + step * (t + 1)
      for arc in sweep.arcs[t] {
        let (from, to) = (Int(arc.from), Int(arc.to))
        guard values.kept[t + 1][to] >= 0 else { continue }
        looked += 1
        if looked & 0xFF == 0, control.shouldStop { return nil }
        let key = sweep.states[t + 1].keys[to]
        let kept =
          values.kept[t + 1][to] + inside(layer, key)
          + matched(sweep.states[t].keys[from], key, layer: layer, by: step, &matching)
        if kept > values.kept[t][from] {
          values.kept[t][from] = kept
          values.next[t][from] = to
        }
      }
    }
    return values
  }

  /// What two partitions of neighbouring layers keep at the most.
  private func matched(
    _ from: PartitionKey, _ to: PartitionKey, layer: Int, by step: Int,
    _ matching: inout LabelMatching
  ) -> Int {
    let (first, second, boundary) = step > 0 ? (from, to, layer - 1) : (to, from, layer)
    let groups = problem.groups
    var overlap = [Int](repeating: 0, count: groups * groups)
    for i in 0..<problem.experts {
      for j in 0..<problem.experts {
        overlap[first[i] * groups + second[j]] += problem.weight(boundary, i, j)
      }
    }
    return matching.match(groups: groups, saved: .flat(groups: groups), overlap: overlap)
  }

  private func inside(_ l: Int, _ key: PartitionKey) -> Int {
    guard !problem.coactivation.isEmpty else { return 0 }
    var sum = 0
    for i in 0..<problem.experts {
      for j in 0..<i where key[i] == key[j] { sum += problem.coactivation(l, i, j) }
    }
    return sum
  }
}
