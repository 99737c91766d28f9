import ColocateModel

/// Exact answers where a layer's states can be listed, or where layers do not interact through more
/// than a matching.
///
///  * P = 1: there is one placement.
///  * P = E: every group is one expert, so only the labels matter, and those are `L − 1` separate
///    assignment problems. O(L · E³).
///  * Otherwise dynamic programming over the chain of layers (Bellman, 1957) whose states are the
///    unlabelled partitions of a layer, `θ` the best match of the groups of two neighbours:
///    f_0(Π) = inside(Π), f_{l+1}(Π') = inside(Π') + max_Π ( f_l(Π) + θ_l(Π, Π') ). With n
///    partitions that is O(L · n²) values of θ.
///
/// Labels need no states of their own: whatever a layer is called, its successor can be renamed to
/// match it, so θ is the same for every naming (`LabelMatching`).
///
/// A load cap strikes partitions from the list; co-activation is `inside`. Two groups of up to
/// eight experts have a path of their own (`TwoGroupChain`). For more groups the overlaps of all
/// pairs of c-subsets that occur are tabulated once a boundary, and θ is an assignment over them
/// (`PartitionStep`, `ThetaTable`).
///
/// Only values are kept, no back-pointers: the optimal chain is found backwards by asking which
/// state reaches the value. So `values` is at once the value function that a certificate needs: any
/// f with f_{l+1}(Π') ≥ f_l(Π) + θ_l(Π, Π') + inside(Π') proves that nothing exceeds max f_{L-1}.
/// Of several optimal chains the one with the first states is taken, for any number of threads.
package struct ChainProgram: Sendable {
  package enum Method: Sendable, Equatable {
    /// P = 1.
    case oneGroup
    /// P = E.
    case assignment
    /// All partitions, two groups.
    case twoGroups
    /// All partitions.
    case partitions
  }

  /// Which of the methods may be used.
  package struct Allowance: Sendable {
    /// `Method.assignment`.
    package var assignment = true
    /// The most partitions of a layer that may be listed; 0 for none.
    package var partitions = 50_000
    /// `Method.twoGroups`, otherwise `Method.partitions` takes its place.
    package var twoGroups = true

    package init(assignment: Bool = true, partitions: Int = 50_000, twoGroups: Bool = true) {
      (self.assignment, self.partitions, self.twoGroups) = (assignment, partitions, twoGroups)
    }
  }

  /// An optimum, with the value function where the method has one.
  package struct Answer: Sendable {
    /// `[L, E]`.
    package let labels: [Int]
    /// `GroupingProblem.kept(labels)`, the most possible.
    package let kept: Int
    package let method: Method
    /// Per layer, the partitions as group masks, `[count, P]`; empty for the other methods or where
    /// not asked for.
    package let partitions: [[UInt64]]
    /// Per layer, `f_l` for each partition.
    package let values: [[Int]]
  }

  let problem: GroupingProblem
  package let method: Method
  /// Estimated seconds of one thread.
  package let estimate: Double

  /// - Parameter costLimit: seconds of one thread that may be estimated.
  /// - Returns: nil where no exact method of this file is allowed and cheap enough.
  package init?(
    _ problem: GroupingProblem, allowing allowance: Allowance = Allowance(),
    costLimit: Double = 20
  ) {
    guard problem.total <= Magnitude.exact,
      let (method, estimate) = Self.choose(problem, allowance), estimate <= costLimit
    else { return nil }
    self.problem = problem
    (self.method, self.estimate) = (method, estimate)
  }

  /// The method for a problem, with its estimated seconds.
  private static func choose(
    _ problem: GroupingProblem, _ allowance: Allowance
  ) -> (Method, seconds: Double)? {
    let (experts, groups) = (problem.experts, problem.groups)
    if groups == 1 { return (.oneGroup, 0) }
    if groups == experts, allowance.assignment {
      let n = Double(experts)
      return (.assignment, Double(problem.layers) * n * n * n * 2e-9)
    }
    let count = PartitionList.count(experts: experts, groups: groups)
    guard count <= Double(allowance.partitions), experts <= 32 else { return nil }
    let pairs = count * count * Double(problem.layers - 1)
    if groups == 2, experts <= 16, allowance.twoGroups { return (.twoGroups, pairs * 1.5e-9) }
    // The table of overlaps holds an integer for each pair of subsets.
    let subsets = subsets(experts, problem.groupSize)
    guard subsets * subsets < 4e6 else { return nil }
    let each: Double
    switch groups {
    case 2: each = 4e-9
    case 3: each = 12e-9
    case 4: each = 30e-9
    default: each = 60e-9 + Double(groups * groups * groups) * 2e-9
    }
    return (.partitions, pairs * each)
  }

  /// `C(n, k)`.
  private static func subsets(_ n: Int, _ k: Int) -> Double {
    (1...k).reduce(1.0) { $0 * Double(n - k + $1) / Double($1) }
  }

  /// - Parameter keepsValues: whether the answer carries partitions and values.
  /// - Returns: nil where the control stopped it, or where no placement meets the caps.
  package func solve(control: SearchControl, keepsValues: Bool = false) -> Answer? {
    switch method {
    case .oneGroup:
      return answer([Int](repeating: 0, count: problem.layers * problem.experts))
    case .assignment: return matchExperts(control: control).flatMap(answer)
    case .twoGroups, .partitions: return joinPartitions(control: control, keepsValues: keepsValues)
    }
  }

  /// An answer without a value function, where the labels meet the caps.
  private func answer(_ labels: [Int]) -> Answer? {
    guard problem.isFeasible(labels) else { return nil }
    return Answer(
      labels: labels, kept: problem.kept(labels), method: method, partitions: [], values: [])
  }

  /// Labels where every group is one expert, boundary by boundary; nil where stopped.
  private func matchExperts(control: SearchControl) -> [Int]? {
    let experts = problem.experts
    var labels = Labels(layers: problem.layers, experts: experts)
    for e in 0..<experts { labels[0, e] = e }
    let assignment = LinearAssignment(control: control)
    var column = [Int]()
    let square = experts * experts
    for l in 0..<(problem.layers - 1) {
      assignment.maximise(
        size: experts, entries: problem.weights.span.extracting((l * square)..<((l + 1) * square)),
        columnOf: &column)
      if control.shouldStop { return nil }
      for i in 0..<experts { labels[l + 1, column[i]] = labels[l, i] }
    }
    return labels.flat
  }
}
