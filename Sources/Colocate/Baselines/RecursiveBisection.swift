import ColocateModel

/// All layers in two, each half in two again, until there are P parts: the scheme of ExFlow's
/// reference code.
///
/// There each split is an integer program given to a commercial solver for 60 seconds. Here each is
/// `LocalSearch` for two groups with a fixed amount of work, or the exact chain programme where it
/// is quick. The loss of the scheme itself is what the comparison shows: the first split does not
/// know that its halves will be split. Where time is limited every split gets its share of what is
/// left, in proportion to its size, so that the last ones have some too. Without a limit of time
/// the answer is always the same.
enum RecursiveBisection {
  /// - Returns: nil where stopped before every part was split.
  static func labels(_ problem: GroupingProblem, control: SearchControl) -> [Int]? {
    let (layers, experts) = (problem.layers, problem.experts)
    // The parts so far.
    var labels = Labels(layers: layers, experts: experts)
    var parts = 1
    while parts < problem.groups {
      var next = labels
      // A level costs half of the one before it (twice the parts, a quarter of the pairs each).
      let isLast = parts * 2 == problem.groups
      let levelEnd = isLast ? 0 : control.remaining / 2
      for part in 0..<parts {
        let members = (0..<layers).map { labels.members(of: part, layer: $0) }
        let seconds = max(0, control.remaining - levelEnd) / Double(parts - part)
        guard
          let half = bisect(
            problem.restricted(to: members, groups: 2, caps: nil),
            control: SearchControl(
              part: control.remaining.isFinite ? seconds : .infinity, of: control))
        else { return nil }
        for l in 0..<layers {
          for (k, e) in members[l].enumerated() {
            next[l, e] = part * 2 + half[l, k]
          }
        }
      }
      labels = next
      parts *= 2
    }
    return labels.flat
  }

  /// The two halves of one part; nil where stopped.
  private static func bisect(_ problem: GroupingProblem, control: SearchControl) -> Labels? {
    if let chain = ChainProgram(problem, costLimit: min(0.2, control.remaining)),
      let answer = chain.solve(control: control)
    {
      return Labels(answer.labels, experts: problem.experts)
    }
    let incumbent = Incumbent()
    let search = LocalSearch(
      problem: problem, seed: 1, control: control, incumbent: incumbent,
      pool: PartitionPool(problem: problem))
    search.run(rounds: 4)
    return (incumbent.entry?.labels).map { Labels($0, experts: problem.experts) }
  }
}
