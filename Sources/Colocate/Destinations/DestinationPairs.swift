import ColocateModel

/// Annealing on pairs: gather in one group the experts that tokens use together,
/// `Σ_{i<j in one group} V[i,j]`, `V[i,j] = Σ_{t ∋ i,j} w / (|t| − 1)`.
///
/// The divisor makes a set that is wholly in one group count about its true saving,
/// `|t| − 1` instead of `|t| (|t| − 1) / 2` pairs.
struct DestinationPairs {
  private let layer: DestinationLayer
  /// `V`, `[E, E]`, zero diagonal.
  private let together: SharedBuffer<Double>

  init(_ layer: DestinationLayer) {
    self.layer = layer
    together = SharedBuffer(repeating: 0, count: layer.experts * layer.experts)
    for t in 0..<layer.count {
      let range = Int(layer.starts[t])..<Int(layer.starts[t + 1])
      let weight = Double(layer.weights[t]) / Double(max(1, range.count - 1))
      for a in range {
        let i = Int(layer.members[a])
        guard i < layer.experts else { continue }
        for b in range where b != a {
          let j = Int(layer.members[b])
          if j < layer.experts { together[i * layer.experts + j] += weight }
        }
      }
    }
  }

  /// - Returns: labels after `trials` proposals.
  func anneal(
    from start: [Int], trials: Int, penalty: Double, random: inout SeededGenerator,
    control: SearchControl
  ) -> [Int] {
    let (experts, groups) = (layer.experts, layer.groups)
    var groupOf = start
    var load = layer.groupLoads(start)
    // pull[e, q]: what e shares with group q.
    let pull = SharedBuffer<Double>(repeating: 0, count: experts * groups)
    for e in 0..<experts {
      for f in 0..<experts { pull[e * groups + groupOf[f]] += together[e * experts + f] }
    }
    let mean = (0..<together.count).reduce(0) { $0 + together[$1] } / Double(max(1, together.count))
    var temperature = 20 * mean
    guard temperature > 0 else { return start }
    let step = 1024
    let rounds = max(1, trials / step)
    let factor = Elementary.exp(Elementary.log(0.005) / Double(rounds))
    let cap = layer.cap ?? .max
    for _ in 0..<rounds {
      if control.isOver { break }
      control.spend(step / 4)
      for _ in 0..<step {
        let (e, f) = (random.next(below: experts), random.next(below: experts))
        let (p, q) = (groupOf[e], groupOf[f])
        guard p != q else { continue }
        var cost = pull[e * groups + p] - pull[e * groups + q]
        cost += pull[f * groups + q] - pull[f * groups + p] + 2 * together[e * experts + f]
        let more = layer.loads[e] - layer.loads[f]
        if cap != .max {
          var excess = max(0, load[p] - more - cap) + max(0, load[q] + more - cap)
          excess -= max(0, load[p] - cap) + max(0, load[q] - cap)
          cost += penalty * Double(excess)
        }
        guard cost <= 0 || Elementary.exp(-cost / temperature) > random.nextUnit() else { continue }
        swap(&groupOf, &load, pull, e, f, more)
      }
      temperature *= factor
    }
    return groupOf
  }

  private func swap(
    _ groupOf: inout [Int], _ load: inout [Int], _ pull: SharedBuffer<Double>, _ e: Int, _ f: Int,
    _ more: Int
  ) {
    let (experts, groups) = (layer.experts, layer.groups)
    let (p, q) = (groupOf[e], groupOf[f])
    for i in 0..<experts {
      let moved = together[i * experts + e] - together[i * experts + f]
      pull[i * groups + p] -= moved
      pull[i * groups + q] += moved
    }
    groupOf[e] = q
    groupOf[f] = p
    load[p] -= more
    load[q] += more
  }
}
