import ColocateModel

/// What the rows of cuts need to know of the problem: the layout of the variables, and what the
/// load cap leaves possible.
///
/// Let T be the load of all experts of a layer and `cap` the most that a group may have of it. Then
/// a group has at most `high = min(cap, T)`, and since the P-1 others have at most high each, at
/// least `low = max(0, T - (P-1)·high)`.
///
/// Two experts i and j of one layer never share a group if their loads and those of the c-2
/// lightest other experts, the lightest company that fills up the group, already exceed the cap.
/// Such pairs are `apart`: their variables are fixed at 0.
extension ColocationCut {
  package struct Context: Sendable {
    package let problem: GroupingProblem
    package let layout: ColocationLayout
    /// T of each layer, `[L]`.
    package let loads: [Int]
    /// The 2c lightest experts of each layer, lightest first; empty without a cap.
    let lightest: [[Int]]
    /// Places of the pairs inside a layer that never share a group.
    package let apart: [Int]

    /// - Parameter stride: of the layout's rows; E where nothing is given.
    package init(problem: GroupingProblem, stride: Int? = nil) {
      self.problem = problem
      let layout = ColocationLayout(
        layers: problem.layers, experts: problem.experts, stride: stride)
      self.layout = layout
      loads = (0..<problem.layers).map { problem.loads(layer: $0).reduce(0, +) }
      guard let caps = problem.caps, problem.groupSize >= 2 else {
        apart = []
        lightest = []
        return
      }
      lightest = caps.indices.map { l in
        let loads = problem.loads(layer: l)
        let order = (0..<problem.experts).sorted { (loads[$0], $0) < (loads[$1], $1) }
        // With |C| ≤ c members of a cover among them, c others are left to choose from.
        return Array(order.prefix(2 * problem.groupSize))
      }
      apart = caps.indices.flatMap { l in
        Self.pairs(over: caps[l], problem.loads(layer: l), groupSize: problem.groupSize)
          .map { layout.inside(l, $0, $1) }
      }
    }

    /// Pairs i < j of experts whose loads with those of the `groupSize - 2` lightest others exceed
    /// the cap, in order.
    private static func pairs(over cap: Int, _ loads: [Int], groupSize: Int) -> [(Int, Int)] {
      let order = loads.indices.sorted { (loads[$0], $0) < (loads[$1], $1) }
      // The c lightest hold the c-2 lightest others, whichever two are left out.
      let lightest = order.prefix(groupSize)
      var pairs = [(Int, Int)]()
      for i in loads.indices {
        for j in loads.indices.dropFirst(i + 1) {
          var least = loads[i] + loads[j]
          var seats = groupSize - 2
          for e in lightest where seats > 0 && e != i && e != j {
            least += loads[e]
            seats -= 1
          }
          if least > cap { pairs.append((i, j)) }
        }
      }
      return pairs
    }

    /// A group's least and most load in layer l; nil without a cap.
    func range(_ l: Int) -> (low: Int, high: Int)? {
      guard let cap = problem.caps?[l] else { return nil }
      let high = min(cap, loads[l])
      return (loads[l] - taken(by: problem.groups - 1, at: high, of: l), high)
    }

    /// What `groups` groups at `load` each take of layer l: all there is at the most, so that the
    /// product cannot overflow.
    func taken(by groups: Int, at load: Int, of l: Int) -> Int {
      let (product, overflow) = groups.multipliedReportingOverflow(by: load)
      return overflow ? loads[l] : min(product, loads[l])
    }

    /// The most unequal loads of layer l within the cap, largest first: as many groups as possible
    /// at `high`, one with the rest, the others at `low`. nil without a cap, and where the cap is
    /// too small for any loads.
    func extremeLoads(_ l: Int) -> [Int]? {
      guard let (low, high) = range(l), taken(by: problem.groups, at: high, of: l) == loads[l]
      else { return nil }
      var rest = loads[l] - problem.groups * low
      return (0..<problem.groups).map { _ in
        let more = min(rest, high - low)
        rest -= more
        return low + more
      }
    }

    /// Whether these are vertices of a boundary, none of them twice.
    func areDistinctVertices(_ vertices: [Int]) -> Bool {
      vertices.allSatisfy { 0 <= $0 && $0 < 2 * layout.experts }
        && Set(vertices).count == vertices.count
    }
  }
}
