import ColocateModel

/// Exact answers where a layer's states can be listed, or where layers do not interact through more
/// than a matching.
///
///  * P = 1: one placement.
///  * P = E: every group is one expert, so only the labels matter, and those are `L - 1` separate
///    assignment problems.
///  * Otherwise dynamic programming over the chain whose states are the unlabelled partitions of a
///    layer, `θ` the best match of the groups of two neighbours: f_0(Π) = inside(Π), f_{l+1}(Π') =
///    inside(Π') + max_Π ( f_l(Π) + θ_l(Π, Π') ).
///
/// A load cap strikes partitions from the list; co-activation is `inside`. Two groups have a path
/// of their own (`TwoGroupChain.swift`): with S the group of expert 0, θ is the larger of
/// "straight" and `total − straight`, and "straight" is a sum over members that two half-mask
/// tables give in two additions. For more groups the overlaps of all pairs of c-subsets that occur
/// are tabulated once a boundary, and θ is an assignment over them (P ≤ 4: all permutations by a
/// small programme over subsets; beyond: `LinearAssignment`).
///
/// Only values are kept, no back-pointers: the optimal chain is found backwards by asking which
/// state reaches the value. So `values` is at once the value function that a certificate needs: any
/// f with f_{l+1}(Π') ≥ f_l(Π) + θ_l(Π, Π') + inside(Π') proves that nothing exceeds max f_{L-1}.
package struct ChainProgram: Sendable {
  package enum Method: Sendable, Equatable {
    case oneGroup
    /// P = E.
    case assignment
    /// All partitions, two groups.
    case twoGroups
    /// All partitions.
    case partitions
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

  package let problem: GroupingProblem
  package let method: Method
  /// Estimated seconds of one thread.
  package let estimate: Double

  /// - Parameters:
  ///   - methods: which of them may be used, and for how many partitions of a layer.
  ///   - costLimit: seconds of one thread that may be estimated.
  /// - Returns: nil where no exact method of this file is cheap enough.
  package init?(
    _ problem: GroupingProblem, methods: SolverMethods = SolverMethods(), costLimit: Double = 20
  ) {
    guard problem.total <= Magnitude.exact else { return nil }
    self.problem = problem
    let (experts, groups) = (problem.experts, problem.groups)
    if groups == 1 {
      (method, estimate) = (.oneGroup, 0)
      return
    }
    if groups == experts, methods.assignment {
      method = .assignment
      let n = Double(experts)
      estimate = Double(problem.layers) * n * n * n * 2e-9
    } else {
      let count = PartitionList.count(experts: experts, groups: groups)
      guard methods.chain, count <= Double(methods.chainPartitions), experts <= 32 else {
        return nil
      }
      let pairs = count * count * Double(problem.layers - 1)
      if groups == 2, experts <= 16, methods.twoGroupChain {
        method = .twoGroups
        estimate = pairs * 1.5e-9
      } else {
        method = .partitions
        let subsets = Self.subsets(experts, problem.groupSize)
        guard subsets * subsets < 4e6 else { return nil }
        let each: Double
        switch groups {
        case 2: each = 4e-9
        case 3: each = 12e-9
        case 4: each = 30e-9
        default: each = 60e-9 + Double(groups * groups * groups) * 2e-9
        }
        estimate = pairs * each
      }
    }
    guard estimate <= costLimit else { return nil }
  }

  private static func subsets(_ n: Int, _ k: Int) -> Double {
    (1...k).reduce(1.0) { $0 * Double(n - k + $1) / Double($1) }
  }

  /// - Returns: nil where the control stopped it, or where no placement meets the caps.
  package func solve(control: SearchControl, keepsValues: Bool = false) -> Answer? {
    switch method {
    case .oneGroup:
      let labels = [Int](repeating: 0, count: problem.layers * problem.experts)
      guard problem.isFeasible(labels) else { return nil }
      return Answer(
        labels: labels, kept: problem.kept(labels), method: method, partitions: [], values: [])
    case .assignment: return assign(control: control)
    case .twoGroups, .partitions: return chain(control: control, keepsValues: keepsValues)
    }
  }

  private func assign(control: SearchControl) -> Answer? {
    let experts = problem.experts
    var labels = Array(0..<experts)
    var assignment = LinearAssignment(control: control)
    var column = [Int]()
    for l in 0..<(problem.layers - 1) {
      problem.weights.withUnsafeBufferPointer {
        _ = assignment.maximise(
          size: experts, entries: $0.baseAddress! + l * experts * experts, columnOf: &column)
      }
      if control.shouldStop { return nil }
      var next = [Int](repeating: 0, count: experts)
      for i in 0..<experts { next[column[i]] = labels[l * experts + i] }
      labels += next
    }
    guard problem.isFeasible(labels) else { return nil }
    return Answer(
      labels: labels, kept: problem.kept(labels), method: method, partitions: [], values: [])
  }

  private func chain(control: SearchControl, keepsValues: Bool) -> Answer? {
    let (layers, experts, groups) = (problem.layers, problem.experts, problem.groups)
    // Without a cap all layers have one list.
    var states = [[UInt64]]()
    for l in 0..<layers {
      if l > 0, problem.caps == nil {
        states.append(states[0])
        continue
      }
      states.append(
        PartitionList.all(
          experts: experts, groups: groups,
          loads: Array(problem.loads[(l * experts)..<((l + 1) * experts)]),
          cap: problem.caps?[l]))
      if states[l].isEmpty { return nil }
    }
    var values = [(0..<(states[0].count / groups)).map { inside(0, states[0], $0) }]
    for l in 0..<(layers - 1) {
      if control.shouldStop { return nil }
      var next: [Int]
      if method == .twoGroups {
        guard
          let reached = TwoGroupChain.step(
            problem, boundary: l, from: states[l], values: values[l], to: states[l + 1],
            control: control)
        else { return nil }
        next = reached
      } else {
        let step = PartitionStep(problem, boundary: l, from: states[l], to: states[l + 1])
        guard let reached = step.forward(values[l], control: control) else { return nil }
        next = reached
      }
      if !problem.coactivation.isEmpty {
        for b in next.indices { next[b] += inside(l + 1, states[l + 1], b) }
      }
      values.append(next)
    }
    // Backwards: which state explains the value?
    var slot = values[layers - 1].indices.max { values[layers - 1][$0] < values[layers - 1][$1] }!
    let kept = values[layers - 1][slot]
    var chosen = [slot]
    for l in stride(from: layers - 2, through: 0, by: -1) {
      let target = Array(states[l + 1][(slot * groups)..<((slot + 1) * groups)])
      let step = PartitionStep(problem, boundary: l, from: states[l], to: target)
      slot = step.origin(
        value: values[l + 1][slot] - inside(l + 1, states[l + 1], slot), values[l])
      chosen.append(slot)
    }
    var labels = [Int]()
    for (l, slot) in chosen.reversed().enumerated() {
      for e in 0..<experts {
        labels.append(
          (0..<groups).first { states[l][slot * groups + $0] >> UInt64(e) & 1 == 1 }!)
      }
    }
    var matching = LabelMatching()
    matching.apply(problem, saved: .flat(groups: groups), labels: &labels)
    precondition(problem.kept(labels) == kept, "the chain's value is not its placement's")
    return Answer(
      labels: labels, kept: kept, method: method, partitions: keepsValues ? states : [],
      values: keepsValues ? values : [])
  }

  private func inside(_ l: Int, _ states: [UInt64], _ slot: Int) -> Int {
    guard !problem.coactivation.isEmpty else { return 0 }
    let (experts, groups) = (problem.experts, problem.groups)
    var sum = 0
    for g in 0..<groups {
      let members = states[slot * groups + g]
      for i in 0..<experts where members >> UInt64(i) & 1 == 1 {
        for j in 0..<i where members >> UInt64(j) & 1 == 1 {
          sum += problem.coactivation[(l * experts + i) * experts + j]
        }
      }
    }
    return sum
  }
}

/// `θ` of one boundary for any pair of listed partitions, over a table of the overlaps of all
/// groups that occur.
struct PartitionStep: Sendable {
  let groups: Int
  /// `[states, P]`: row of each group in `overlap`.
  let from: [Int32]
  /// `[states, P]`: column.
  let to: [Int32]
  let columns: Int
  /// `[groups that occur before, groups that occur after]`.
  let overlap: [Int]

  init(_ problem: GroupingProblem, boundary: Int, from: [UInt64], to: [UInt64]) {
    groups = problem.groups
    let experts = problem.experts
    func index(_ states: [UInt64]) -> (ids: [Int32], masks: [UInt64]) {
      var id = [UInt64: Int32]()
      var masks = [UInt64]()
      let ids = states.map { mask in
        if let known = id[mask] { return known }
        id[mask] = Int32(masks.count)
        masks.append(mask)
        return Int32(masks.count - 1)
      }
      return (ids, masks)
    }
    let (rowIds, rows) = index(from)
    let (columnIds, columns) = index(to)
    self.from = rowIds
    self.to = columnIds
    self.columns = columns.count
    var table = [Int](repeating: 0, count: rows.count * columns.count)
    var sums = [Int](repeating: 0, count: experts)
    let weights = problem.weights
    for (r, row) in rows.enumerated() {
      for j in 0..<experts { sums[j] = 0 }
      for i in 0..<experts where row >> UInt64(i) & 1 == 1 {
        for j in 0..<experts { sums[j] += weights[(boundary * experts + i) * experts + j] }
      }
      for (c, column) in columns.enumerated() {
        var rest = column
        var sum = 0
        while rest != 0 {
          sum += sums[rest.trailingZeroBitCount]
          rest &= rest - 1
        }
        table[r * columns.count + c] = sum
      }
    }
    overlap = table
  }

  /// `max_Π f(Π) + θ(Π, Π')` for every `Π'`; nil where stopped.
  func forward(_ values: [Int], control: SearchControl) -> [Int]? {
    let count = to.count / groups
    var next = [Int](repeating: -1, count: count)
    let chunk = 16
    let tasks = (count + chunk - 1) / chunk
    next.withUnsafeMutableBufferPointer { next in
      nonisolated(unsafe) let next = next
      let workers = min(control.threads, tasks)
      concurrentFor(workers, threads: workers) { _, worker in
        var theta = ThetaTable(groups: groups)
        var task = worker
        while task < tasks {
          if control.shouldStop { return }
          for b in (task * chunk)..<min(count, (task + 1) * chunk) {
            var best = -1
            for a in values.indices {
              let value = values[a] + theta.best(self, a, b)
              if value > best { best = value }
            }
            next[b] = best
          }
          task += workers
        }
      }
    }
    return control.shouldStop && next.contains(-1) ? nil : next
  }

  /// The first state from which the only target reaches `value`.
  func origin(value: Int, _ values: [Int]) -> Int {
    var theta = ThetaTable(groups: groups)
    return values.indices.first { values[$0] + theta.best(self, $0, 0) == value }!
  }
}

/// Scratch for one thread's `θ`.
struct ThetaTable {
  private let groups: Int
  private var block: [Int]
  private var reach: [Int]
  private var column: [Int] = []
  private var assignment = LinearAssignment()

  init(groups: Int) {
    self.groups = groups
    block = [Int](repeating: 0, count: groups * groups)
    reach = [Int](repeating: 0, count: groups <= 4 ? 1 << groups : 1)
  }

  mutating func best(_ step: PartitionStep, _ a: Int, _ b: Int) -> Int {
    step.overlap.withUnsafeBufferPointer { overlap in
      step.from.withUnsafeBufferPointer { from in
        step.to.withUnsafeBufferPointer { to in
          best(overlap, step.columns, from.baseAddress! + a * groups, to.baseAddress! + b * groups)
        }
      }
    }
  }

  private mutating func best(
    _ overlap: UnsafeBufferPointer<Int>, _ columns: Int, _ from: UnsafePointer<Int32>,
    _ to: UnsafePointer<Int32>
  ) -> Int {
    @inline(__always) func entry(_ g: Int, _ h: Int) -> Int {
      overlap[Int(from[g]) * columns + Int(to[h])]
    }
    switch groups {
    case 2: return max(entry(0, 0) + entry(1, 1), entry(0, 1) + entry(1, 0))
    case 3, 4:
      // reach[M]: best match of the first |M| groups with the groups in M.
      return reach.withUnsafeMutableBufferPointer { reach in
        reach[0] = 0
        for set in 1..<(1 << groups) {
          let g = set.nonzeroBitCount - 1
          var most = -1
          for h in 0..<groups where set >> h & 1 == 1 {
            most = max(most, reach[set & ~(1 << h)] + entry(g, h))
          }
          reach[set] = most
        }
        return reach[(1 << groups) - 1]
      }
    default:
      for g in 0..<groups {
        for h in 0..<groups { block[g * groups + h] = entry(g, h) }
      }
      return assignment.maximise(size: groups, entries: block, columnOf: &column)
    }
  }
}
