import ColocateModel

/// A value function of the chain of partitions. A placement is a sequence Π_0, …, Π_{L-1} of
/// partitions whose groups are matched at every boundary; it keeps inside(Π_l) in each layer and at
/// most the best match θ_l(Π_l, Π_{l+1}) at each boundary. By induction f_l(Π_l) is at least what
/// it keeps up to layer l, so nothing keeps more than max f_{L-1}.
extension Certificate {
  /// max f_{L-1}, once the inequalities of `Evidence.chain` are checked for all pairs of
  /// partitions.
  static func chainBound(
    _ problem: CertifiedProblem, values: [[Int]], effort: CertificateEffort
  ) throws(CertificateError) -> Int {
    let groups = problem.groups
    guard values.count == problem.layers else {
      throw CertificateError(
        "a value function of \(values.count) layers, expected \(problem.layers)")
    }
    guard groups <= 10 else { throw CertificateError("chain evidence for \(groups) groups") }
    var before = [UInt64]()
    for l in 0..<problem.layers {
      let states = try CertificatePartitions.list(problem, layer: l)
      let count = states.count / groups
      guard count == values[l].count else {
        throw CertificateError(
          "layer \(l): a value function of \(values[l].count) partitions, expected \(count)")
      }
      // So that adding what two layers can keep stays exact.
      guard values[l].allSatisfy({ 0 <= $0 && $0 < 1 << 60 }) else {
        throw CertificateError("layer \(l): a value that is negative or beyond 2^60")
      }
      let inside = (0..<count).map { slot in
        states[(slot * groups)..<((slot + 1) * groups)].reduce(0) { sum, group in
          sum + problem.together(l, group)
        }
      }
      let bad: [Int]
      if l == 0 {
        bad = (0..<count).filter { values[0][$0] < inside[$0] }
      } else {
        bad = try tooSmall(
          problem, l, from: before, values[l - 1], to: states, values[l], inside, effort)
      }
      if let slot = bad.first(where: { $0 >= 0 }) {
        throw CertificateError("layer \(l): the value of partition \(slot) is too small")
      }
      before = states
    }
    guard let most = values[problem.layers - 1].max() else {
      throw CertificateError("no partition meets the cap")
    }
    return most
  }

  /// For each partition of layer l its number where its value is too small, and -1 where it is not.
  private static func tooSmall(
    _ problem: CertifiedProblem, _ l: Int, from: [UInt64], _ earlier: [Int], to: [UInt64],
    _ later: [Int], _ inside: [Int], _ effort: CertificateEffort
  ) throws(CertificateError) -> [Int] {
    if problem.groups == 2 {
      let halves = TwoGroupOverlaps(problem, boundary: l - 1, from: from)
      return try effort.map(later.count) { slot in
        halves.most(earlier, to: to[2 * slot]) + inside[slot] > later[slot] ? slot : -1
      }
    }
    let overlap = GroupOverlaps(problem, boundary: l - 1, from: from, to: to)
    return try effort.map(later.count) { slot in
      var theta = overlap.scratch()
      for from in 0..<earlier.count
      where earlier[from] + overlap.best(from, slot, &theta) + inside[slot] > later[slot] {
        return slot
      }
      return -1
    }
  }
}
