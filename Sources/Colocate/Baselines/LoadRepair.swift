import ColocateModel

/// Brings a placement under the load cap by swaps inside layers that cost little.
///
/// While a layer has overloaded groups, the swap with the largest drop of the layer's excess
/// `Σ_g max(0, load_g − cap)` is made; among equal drops the one that keeps most. Where no swap
/// lowers the excess, the layer is filled anew by the problem's packing and its groups are named to
/// overlap best with the old ones, so that a cap that can be met is met.
enum LoadRepair {
  /// - Parameter control: looked at for every expert of an overloaded group.
  /// - Returns: whether the labels meet the cap now (always, without a cap); false where stopped.
  static func repair(
    _ labels: inout [Int], problem: GroupingProblem, control: SearchControl
  ) -> Bool {
    guard let caps = problem.caps else { return true }
    let (experts, groups) = (problem.experts, problem.groups)
    var matching = LinearAssignment()
    for l in 0..<problem.layers {
      let base = l * experts
      var load = [Int](repeating: 0, count: groups)
      for e in 0..<experts { load[labels[base + e]] += problem.loads[base + e] }
      while load.contains(where: { $0 > caps[l] }) {
        var best = (drop: 0, gain: Int.min, a: -1, b: -1)
        for a in 0..<experts where load[labels[base + a]] > caps[l] {
          if control.shouldStop { return false }
          let g = labels[base + a]
          for b in 0..<experts where problem.loads[base + b] < problem.loads[base + a] {
            let h = labels[base + b]
            guard g != h else { continue }
            let shift = problem.loads[base + a] - problem.loads[base + b]
            let drop =
              max(0, load[g] - caps[l]) + max(0, load[h] - caps[l])
              - max(0, load[g] - shift - caps[l]) - max(0, load[h] + shift - caps[l])
            guard drop > 0, drop >= best.drop else { continue }
            let gain = swapGain(problem, labels, l, a, b)
            if drop > best.drop || gain > best.gain { best = (drop, gain, a, b) }
          }
        }
        guard best.a >= 0 else { break }
        let shift = problem.loads[base + best.a] - problem.loads[base + best.b]
        load[labels[base + best.a]] -= shift
        load[labels[base + best.b]] += shift
        labels.swapAt(base + best.a, base + best.b)
      }
      guard load.contains(where: { $0 > caps[l] }) else { continue }
      let packing = problem.packed(layer: l)
      guard problem.meetsCap(layer: l, packing) else { return false }
      var overlap = [Int](repeating: 0, count: groups * groups)
      for e in 0..<experts {
        overlap[packing[e] * groups + labels[base + e]] += problem.loads[base + e] + 1
      }
      var name = [Int]()
      matching.maximise(size: groups, entries: overlap, columnOf: &name)
      for e in 0..<experts { labels[base + e] = name[packing[e]] }
    }
    return true
  }

  /// Kept weight won when experts `a` and `b` of layer `l` change places. O(E).
  private static func swapGain(
    _ problem: GroupingProblem, _ labels: [Int], _ l: Int, _ a: Int, _ b: Int
  ) -> Int {
    let experts = problem.experts
    let (g, h) = (labels[l * experts + a], labels[l * experts + b])
    var gain = 0
    func count(_ label: Int, _ weightA: Int, _ weightB: Int) {
      if label == g { gain += weightB - weightA }
      if label == h { gain += weightA - weightB }
    }
    for i in 0..<experts {
      if l > 0 {
        let row = ((l - 1) * experts + i) * experts
        count(labels[(l - 1) * experts + i], problem.weights[row + a], problem.weights[row + b])
      }
      if l < problem.layers - 1 {
        let row = l * experts * experts + i
        count(
          labels[(l + 1) * experts + i], problem.weights[row + a * experts],
          problem.weights[row + b * experts])
      }
      if !problem.coactivation.isEmpty, i != a, i != b {
        let row = (l * experts + i) * experts
        count(
          labels[l * experts + i], problem.coactivation[row + a], problem.coactivation[row + b])
      }
    }
    return gain
  }
}
