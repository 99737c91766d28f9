/// The successors of one state of the layered search.
///
/// Each group of the state goes to the target of one of its arcs, and the targets have to be
/// disjoint: an exact cover of the next layer's experts with one target from each group's row.
/// Successors are few, ways into dead ends are many, so the depth-first search keeps the rows of
/// the groups that are still to go as they are now, not as they were at the start. After a target
/// has been chosen, every other row loses
///
/// * the targets that share an expert with it;
/// * the targets without an expert that no other row holds, since they alone could take it;
/// * what has become too dear: of what is chosen, with the least of every row that is left, the
///   **penalties** come to no more than the limit (a path loses at least its arc's penalty); nor do
///   the **slacks** with the doll of the next layer, for all that comes later; nor the slacks with
///   the least slack of an arc from each target, the **reach**, and the doll of the layer after
///   the next.
///
/// The three costs are the lanes of one vector. None is more than the penalty: the least slack of
/// an arc from T is no more than pen(T), which is a sum of slacks along the best path from T on.
///
/// An empty row, or an expert that no row holds, ends the branch. The next group is always the one
/// with the fewest targets left.
///
/// **Exchanges.** Which groups went to which of the targets does not matter to a successor, only
/// the least loss does, and where groups are cold nearly all ways to match them are within the
/// limit. So a choice ends the branch where exchanging its target with that of a group before it
/// would lose less; or as much, and the exchanged targets would be in the order of the groups. The
/// least matching, of several the first in lexicographic order, has no such pair, and it loses no
/// more than what the branch would lead to; so it is met itself.
///
/// (Before rows were kept at each depth, four fifths of the time of gpt-oss-20b's proof on 16 GPUs
/// went into dead ends.)
struct StateExpansion: ~Copyable {
  /// Penalty, slack, reach, and 0.
  private typealias Costs = SIMD4<Int32>

  /// An arc that may be chosen.
  private struct Option: BitwiseCopyable {
    /// Members of the target.
    var mask: UInt64
    var costs: Costs
    var target: UInt16
    /// Which of the state's groups it belongs to.
    var group: UInt16
  }

  /// The options of a group at some depth, `start ..< end` in `options`, by penalty; never empty.
  private struct Row: BitwiseCopyable {
    var start = 0
    var end = 0
    /// The least of each cost.
    var least = Costs.zero
    /// Experts that some option holds.
    var union: UInt64 = 0

    var count: Int { end - start }
  }

  private let arcs: PathArcs
  private let groups: Int
  private let limit: Int
  /// What each cost may come to.
  private let limits: Costs
  /// Least slacks of the arcs from the next layer's subsets; nil where it is the last layer.
  private let following: SharedBuffer<Int32>?
  /// Of the next layer.
  private let costs: RussianDolls.VertexCosts
  private let table: PartitionTable
  /// Asked every so many steps; true ends the expansion of a state on its way.
  private let isOver: () -> Bool

  /// A stack: the rows' options at depth 0, then those at depth 1, and so on. Each depth has no
  /// more than the one above it.
  private var options = Buffer(
    repeating: Option(mask: 0, costs: .zero, target: 0, group: 0), count: 1024)
  /// The rows at each depth, `[P, P]`: at depth d the first P - d.
  private let rows: Buffer<Row>
  private let everyone: UInt64
  /// What is chosen at each depth.
  private let chosen: Buffer<Option>
  /// Slacks of the state's arcs by group and target, `[P, n]`; `absent` where there is none.
  /// Cleared after every state.
  private let slacks: Buffer<Int32>
  private static let absent = Int32.max / 2
  private let targets: Int
  private let sorted: Buffer<UInt16>
  private var parent: Int64 = 0
  private var inserted = 0
  /// Nodes of the searches so far.
  private(set) var steps = 0
  private var isStopped = false

  /// - Parameters:
  ///   - costs: of the next layer.
  ///   - dolls: of the next layer and the one after it, their losses on cuts included.
  ///   - following: least slacks of the arcs from the next layer; nil where it is the last.
  init(
    arcs: PathArcs, costs: RussianDolls.VertexCosts, experts: Int, groups: Int, limit: Int,
    dolls: (Int, Int), following: SharedBuffer<Int32>?, into table: PartitionTable,
    isOver: @escaping () -> Bool
  ) {
    self.arcs = arcs
    self.costs = costs
    self.groups = groups
    self.limit = limit
    self.following = following
    limits = Costs(
      Int32(limit), Int32(limit - dolls.0), Int32(limit - dolls.1), Int32.max / 2)
    self.table = table
    self.isOver = isOver
    rows = Buffer(repeating: Row(), count: groups * groups)
    everyone = ExpertSet.all(experts).bits
    chosen = Buffer(repeating: options.base[0], count: groups)
    targets = costs.penalties.count
    slacks = Buffer(repeating: Self.absent, count: groups * targets)
    sorted = Buffer(repeating: 0, count: groups)
  }

  /// New states since the last call.
  mutating func takeInserted() -> Int {
    defer { inserted = 0 }
    return inserted
  }

  /// Puts the successors of `state`, `[P]`, into the table.
  mutating func expand(_ state: UnsafePointer<UInt16>, loss: Int, parent: Int64) {
    let penalty = arcs.penalty.base
    let starts = arcs.rowStart.base
    var (total, count) = (0, 0)
    for g in 0..<groups {
      let first = Int(starts[Int(state[g])])
      let last = Int(starts[Int(state[g]) + 1])
      if first == last { return }
      total += Int(penalty[first])
      count += last - first
    }
    let spare = limit - loss - total
    if spare < 0 { return }
    makeRoom(for: count)
    var top = 0
    for g in 0..<groups {
      guard let row = row(of: Int(state[g]), group: g, spare: spare, top: top) else { return }
      rows.base[g] = row
      top = row.end
    }
    makeRoom(for: groups * top)
    self.parent = parent
    tabulate(options: top)
    let lost = Int32(truncatingIfNeeded: loss)
    place(0, left: everyone, sum: Costs(lost, lost, lost, 0), top: top)
    clear(options: top)
  }

  /// Fills `slacks`.
  private func tabulate(options count: Int) {
    for index in 0..<count {
      let option = options.base[index]
      slacks.base[Int(option.group) * targets + Int(option.target)] = option.costs[1]
    }
  }

  private func clear(options count: Int) {
    for index in 0..<count {
      let option = options.base[index]
      slacks.base[Int(option.group) * targets + Int(option.target)] = Self.absent
    }
  }

  private mutating func makeRoom(for count: Int) {
    guard count > options.count else { return }
    let larger = Buffer(repeating: options.base[0], count: max(count, 2 * options.count))
    larger.base.update(from: options.base, count: options.count)
    options = larger
  }

  /// The arcs of a group as they are before anything is chosen, to the top of the stack; `spare` is
  /// what they may be dearer than the least of them.
  /// - Returns: nil where none is left.
  private func row(of subset: Int, group: Int, spare: Int, top: Int) -> Row? {
    let first = Int(arcs.rowStart.base[subset])
    let last = Int(arcs.rowStart.base[subset + 1])
    var most = limits
    most[0] = arcs.penalty.base[first] + Int32(truncatingIfNeeded: spare)
    var filter = Filter(most: most, used: 0, due: 0, at: top)
    for arc in first..<last {
      let (slack, target) = (arcs.slack.base[arc], arcs.target.base[arc])
      let reach = slack + min(following?.base[Int(target)] ?? 0, Self.absent)
      let option = Option(
        mask: arcs.mask.base[arc], costs: Costs(arcs.penalty.base[arc], slack, reach, 0),
        target: target, group: UInt16(truncatingIfNeeded: group))
      guard filter.take(option, options.base) else { break }
    }
    return filter.row()
  }

  /// Makes one row out of another.
  private struct Filter {
    let most: Costs
    /// Experts that are taken, and experts that only this row holds.
    let used: UInt64
    let due: UInt64
    private let start: Int
    private var end: Int
    private var least = Costs(repeating: .max)
    private var union: UInt64 = 0

    @inline(__always)
    init(most: Costs, used: UInt64, due: UInt64, at start: Int) {
      self.most = most
      self.used = used
      self.due = due
      self.start = start
      end = start
    }

    /// - Returns: false where this option and all after it are too dear.
    @inline(__always)
    mutating func take(_ option: Option, _ options: UnsafeMutablePointer<Option>) -> Bool {
      if option.costs[0] > most[0] { return false }
      if option.mask & (used | due) != due || any(option.costs .> most) { return true }
      options[end] = option
      end += 1
      least = pointwiseMin(least, option.costs)
      union |= option.mask
      return true
    }

    @inline(__always)
    func row() -> Row? {
      start == end ? nil : Row(start: start, end: end, least: least, union: union)
    }
  }

  /// Chooses for the group with the fewest options, and goes on.
  ///
  /// Invariant: `chosen[0 ..< depth]` are disjoint targets whose costs add up to `sum`, the state's
  /// loss included; the rows at this depth hold what is disjoint with all of them.
  /// - Parameters:
  ///   - left: experts that no chosen target holds.
  ///   - top: of the stack.
  private mutating func place(_ depth: Int, left: UInt64, sum: Costs, top: Int) {
    steps &+= 1
    if steps & 0xFFF == 0, isOver() { isStopped = true }
    if isStopped { return }
    let count = groups - depth
    let rows = rows.base + depth * groups
    var spare = limits &- sum
    var (once, twice) = (UInt64(0), UInt64(0))
    var fewest = 0
    for g in 0..<count {
      spare &-= rows[g].least
      twice |= once & rows[g].union
      once |= rows[g].union
      if rows[g].count < rows[fewest].count { fewest = g }
    }
    if any(spare .< 0) || once != left { return }
    let row = rows[fewest]
    rows[fewest] = rows[count - 1]
    rows[count - 1] = row
    if count == 2 { return placeLastTwo(depth, left: left, sum: sum, spare: spare) }
    let alone = once & ~twice
    let due = row.union & alone
    for index in row.start..<row.end {
      let option = options.base[index]
      let left = (targets: left & ~option.mask, spare: spare &- (option.costs &- row.least))
      if left.spare[0] < 0 { return }
      if option.mask & due != due || any(left.spare .< 0) || isExchanged(option, depth) { continue }
      chosen.base[depth] = option
      guard
        let end = filter(depth, without: option.mask, alone: alone, spare: left.spare, top: top)
      else { continue }
      place(depth + 1, left: left.targets, sum: sum &+ option.costs, top: end)
    }
  }

  /// The rows of the next depth.
  /// - Returns: the top of the stack; nil where a row has become empty, or all too dear together.
  @inline(__always)
  private func filter(
    _ depth: Int, without used: UInt64, alone: UInt64, spare: Costs, top: Int
  ) -> Int? {
    let from = rows.base + depth * groups
    let to = from + groups
    let options = options.base
    var (spare, top) = (spare, top)
    for g in 0..<(groups - depth - 1) {
      let row = from[g]
      var filter = Filter(
        most: row.least &+ spare, used: used, due: row.union & alone, at: top)
      for index in row.start..<row.end {
        guard filter.take(options[index], options) else { break }
      }
      guard let made = filter.row() else { return nil }
      spare &-= made.least &- row.least
      if any(spare .< 0) { return nil }
      to[g] = made
      top = made.end
    }
    return top
  }

  /// The last two groups: the second's target is what the first leaves.
  private mutating func placeLastTwo(_ depth: Int, left: UInt64, sum: Costs, spare: Costs) {
    let (other, row) = (rows.base[depth * groups], rows.base[depth * groups + 1])
    for index in row.start..<row.end {
      let option = options.base[index]
      let spare = spare &- (option.costs &- row.least)
      if spare[0] < 0 { return }
      if any(spare .< 0) || isExchanged(option, depth) { continue }
      chosen.base[depth] = option
      let rest = left & ~option.mask
      for index in other.start..<other.end where options.base[index].mask == rest {
        let last = options.base[index]
        if any(last.costs &- other.least .> spare) || isExchanged(last, depth + 1) { continue }
        chosen.base[depth + 1] = last
        insert(sum: sum &+ option.costs &+ last.costs)
      }
    }
  }

  /// Whether an exchange with a choice before it is better, or comes first among equals.
  @inline(__always)
  private func isExchanged(_ option: Option, _ depth: Int) -> Bool {
    let own = slacks.base + Int(option.group) * targets
    for index in 0..<depth {
      let other = chosen.base[index]
      let now = option.costs[1] + other.costs[1]
      let then =
        own[Int(other.target)] + slacks.base[Int(other.group) * targets + Int(option.target)]
      if then > now { continue }
      if then < now || (option.group < other.group) != (option.target < other.target) {
        return true
      }
    }
    return false
  }

  /// The partition in `chosen`, unless its loss on cuts is too much.
  @inline(__always)
  private mutating func insert(sum: Costs) {
    let (chosen, sorted, weights) = (chosen.base, sorted.base, costs.cutWeights.base)
    var cutLoss = costs.cutTotal
    for g in 0..<groups {
      sorted[g] = chosen[g].target
      cutLoss -= Int(weights[Int(sorted[g])])
    }
    if Int(sum[0]) + cutLoss > limit || Int(sum[2]) + cutLoss > Int(limits[2]) { return }
    PartitionTable.sort(sorted, groups)
    if table.insert(sorted, loss: Int32(Int(sum[1]) + cutLoss), parent: parent) { inserted += 1 }
  }
}
