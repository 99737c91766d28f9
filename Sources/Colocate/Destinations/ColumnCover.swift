import ColocateModel

/// Exact cover with a budget: all ways to hold every expert in exactly one of the listed groups,
/// whose reduced costs add up to no more than the budget.
///
/// Depth-first on the expert with the fewest groups left. A group of `c` experts pays for all of
/// them, so an expert costs at least a c-th of its cheapest group, and what the other uncovered
/// experts cost at least is taken off the budget before a group is tried.
struct ColumnCover {
  typealias Column = DestinationPricing.Column
  /// A group and its reduced cost, at least 0.
  typealias Priced = (column: Column, reduced: Int)

  /// Groups that may still be looked at.
  private var stepsLeft: Int
  private var chosen: [Column] = []
  private let size: Int
  private let experts: Int
  /// The cheapest placement found and what its groups cover.
  private(set) var best: (groups: [Column], cost: Int)?
  /// Placements that cover this much are of no interest; sinks with each that is found.
  private(set) var costLimit: Int
  private let control: SearchControl

  /// - Parameters:
  ///   - costLimit: only placements that cover less are looked for.
  ///   - steps: groups looked at, at most.
  init(experts: Int, size: Int, costLimit: Int, steps: Int, control: SearchControl) {
    self.experts = experts
    self.size = size
    self.costLimit = costLimit
    stepsLeft = steps
    self.control = control
  }

  /// - Returns: whether everything within the budget was looked at.
  mutating func run(_ list: [Priced], budget: Int) -> Bool {
    search(list, uncovered: ExpertSet.all(experts), budget: budget, cost: 0)
    return stepsLeft > 0
  }

  private mutating func search(
    _ list: [Priced], uncovered: ExpertSet, budget: Int, cost: Int
  ) {
    if uncovered.isEmpty {
      if cost < costLimit {
        best = (chosen, cost)
        costLimit = cost
      }
      return
    }
    stepsLeft -= list.count + 1
    control.spend(list.count / 4 + 1)
    if stepsLeft <= 0 || control.isOver {
      stepsLeft = 0
      return
    }
    // Of each expert: the cheapest of its groups, and their number.
    var least = [Int](repeating: .max, count: 64)
    var number = [Int](repeating: 0, count: 64)
    for entry in list {
      for e in ExpertSet(bits: entry.column.mask) {
        number[e] += 1
        if entry.reduced < least[e] { least[e] = entry.reduced }
      }
    }
    var (rarest, all) = (uncovered.first, 0)
    for e in uncovered {
      guard number[e] > 0 else { return }
      if number[e] < number[rarest] { rarest = e }
      all += least[e]
    }
    guard all <= budget * size else { return }
    var branches = list.filter { entry in
      guard entry.column.mask >> UInt64(rarest) & 1 == 1 else { return false }
      return Self.fits(entry, all: all, least: least, size: size, budget: budget)
    }
    branches.sort { ($0.reduced, $0.column.mask) < ($1.reduced, $1.column.mask) }
    for branch in branches {
      let left = budget - branch.reduced
      let rest = uncovered.subtracting(ExpertSet(bits: branch.column.mask))
      let next = list.filter { $0.column.mask & branch.column.mask == 0 && $0.reduced <= left }
      chosen.append(branch.column)
      search(next, uncovered: rest, budget: left, cost: cost + branch.column.cost)
      chosen.removeLast()
      if stepsLeft <= 0 { return }
    }
  }

  /// Whether the group leaves enough for the others.
  private static func fits(
    _ entry: Priced, all: Int, least: [Int], size: Int, budget: Int
  ) -> Bool {
    var others = all
    for e in ExpertSet(bits: entry.column.mask) { others -= least[e] }
    return entry.reduced * size + others <= budget * size
  }
}
