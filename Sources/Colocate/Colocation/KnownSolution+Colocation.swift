/// A known solution against the co-location relaxation: it must satisfy every cut that has a
/// multiplier and every pair that is held apart, or the bound holds for some placements only.
extension KnownSolution {
  /// Every cut of the co-location relaxation, and every pair that it keeps apart.
  package func check(_ multipliers: ColocationMultipliers?) {
    guard let multipliers else { return }
    let context = ColocationCut.Context(problem: problem)
    let values = values(in: context.layout)
    for index in context.apart where values[index] != 0 { lost(to: "a pair held apart by the cap") }
    for cut in multipliers.cuts {
      guard let row = cut.row(in: context) else { continue }
      check(row, of: "the cut \(cut.shape) of boundary \(cut.boundary)", values)
    }
  }

  /// One inequality, at the solution's co-location variables.
  package func check(_ row: ColocationCut.Row, of step: String, _ values: [Int]) {
    let sum = row.terms.reduce(0) { $0 + $1.coefficient * values[$1.index] }
    if sum > row.limit { lost(to: step) }
  }

  /// The solution's co-location variables, 1 where two experts share a group.
  package func values(in layout: ColocationLayout) -> [Int] {
    let labels = Labels(labels, experts: problem.experts)
    var values = [Int](repeating: 0, count: layout.count)
    for l in 0..<problem.layers {
      for i in 0..<problem.experts {
        for j in (i + 1)..<max(problem.experts, i + 1) where labels[l, i] == labels[l, j] {
          values[layout.inside(l, i, j)] = 1
        }
        guard l < layout.boundaries else { continue }
        for j in 0..<problem.experts where labels[l, i] == labels[l + 1, j] {
          values[layout.between(l, i, j)] = 1
        }
      }
    }
    return values
  }
}
