/// The successors of one state of the layered search.
///
/// Each group of the state goes to the target of one of its arcs, and the targets have to be
/// disjoint: depth-first search over the groups, the group with the fewest arcs inside the budget
/// first, each group's arcs by penalty. Three bounds keep it small:
///
/// * **penalties**: the arcs chosen, and the least penalty of each group to come, come to no more
///   than the limit (a path loses at least its arc's penalty). Arcs are sorted by penalty, so the
///   first that is too dear ends a group's list;
/// * **slacks**: the same with slacks, and with the doll of the next layer for all that comes
///   later;
/// * **what must be held**: an expert that no arc of a later group holds has to be in this group.
final class StateExpansion {
  private let arcs: PathArcs
  private let groups: Int
  private let limit: Int
  /// Of the next layer, its loss on cuts included.
  private let doll: Int
  /// Of the next layer.
  private let costs: RussianDolls.VertexCosts
  private let table: PartitionTable
  /// Asked every so many steps; true ends the expansion of a state on its way.
  private let isOver: () -> Bool

  /// Of the groups in the order of the search: row, end of row; least penalty and least slack of
  /// this group and all after it.
  private let row: Buffer<Int>
  private let end: Buffer<Int>
  private let leastPenalty: Buffer<Int>
  private let leastSlack: Buffer<Int>
  /// Experts that some arc of this group or of one after it holds.
  private let reachable: Buffer<UInt64>
  private let everyone: UInt64
  private let chosen: Buffer<UInt16>
  private let sorted: Buffer<UInt16>
  private var parent: Int64 = 0
  private var inserted = 0
  private var steps = 0
  private var isStopped = false

  init(
    arcs: PathArcs, costs: RussianDolls.VertexCosts, experts: Int, groups: Int, limit: Int,
    doll: Int, into table: PartitionTable, isOver: @escaping () -> Bool
  ) {
    self.arcs = arcs
    self.costs = costs
    self.groups = groups
    self.limit = limit
    self.doll = doll
    self.table = table
    self.isOver = isOver
    row = Buffer(repeating: 0, count: groups)
    end = Buffer(repeating: 0, count: groups)
    leastPenalty = Buffer(repeating: 0, count: groups + 1)
    leastSlack = Buffer(repeating: 0, count: groups + 1)
    reachable = Buffer(repeating: 0, count: groups + 1)
    everyone = ExpertSet.all(experts).bits
    chosen = Buffer(repeating: 0, count: groups)
    sorted = Buffer(repeating: 0, count: groups)
  }

  /// New states since the last call.
  func takeInserted() -> Int {
    defer { inserted = 0 }
    return inserted
  }

  /// Puts the successors of `state`, `[P]`, into the table.
  func expand(_ state: UnsafePointer<UInt16>, loss: Int, parent: Int64) {
    let penalty = arcs.penalty.base
    let starts = arcs.rowStart.base
    var total = 0
    for g in 0..<groups {
      let first = Int(starts[Int(state[g])])
      let last = Int(starts[Int(state[g]) + 1])
      if first == last { return }
      total += Int(penalty[first])
    }
    let spare = limit - loss - total
    if spare < 0 { return }
    for g in 0..<groups { takeRow(of: Int(state[g]), place: g, spare: spare) }
    sumUp()
    self.parent = parent
    place(0, used: 0, penaltySum: loss, slackSum: loss)
  }

  /// Cuts a group's row where even the least of the others leaves no room, and sorts it in among
  /// the `g` that are there, the shortest first.
  @inline(__always)
  private func takeRow(of subset: Int, place g: Int, spare: Int) {
    let penalty = arcs.penalty.base
    let (row, end) = (row.base, end.base)
    let first = Int(arcs.rowStart.base[subset])
    var low = first
    var high = Int(arcs.rowStart.base[subset + 1])
    let most = Int(penalty[first]) + spare
    while low < high {
      let middle = (low + high) / 2
      if Int(penalty[middle]) <= most { low = middle + 1 } else { high = middle }
    }
    var place = g
    while place > 0 && end[place - 1] - row[place - 1] > low - first {
      row[place] = row[place - 1]
      end[place] = end[place - 1]
      place -= 1
    }
    row[place] = first
    end[place] = low
  }

  /// Fills `leastPenalty`, `leastSlack` and `reachable`, from the last group on.
  @inline(__always)
  private func sumUp() {
    let (penalty, slack, mask) = (arcs.penalty.base, arcs.slack.base, arcs.mask.base)
    let (row, end) = (row.base, end.base)
    let (leastPenalty, leastSlack) = (leastPenalty.base, leastSlack.base)
    for g in stride(from: groups - 1, through: 0, by: -1) {
      leastPenalty[g] = leastPenalty[g + 1] + Int(penalty[row[g]])
      var least = Int32.max
      var union: UInt64 = 0
      for arc in row[g]..<end[g] {
        least = min(least, slack[arc])
        union |= mask[arc]
      }
      leastSlack[g] = leastSlack[g + 1] + Int(least)
      reachable.base[g] = reachable.base[g + 1] | union
    }
  }

  /// Invariant: `chosen[0 ..< depth]` are disjoint targets with the union `used`; `penaltySum`
  /// and `slackSum` hold their sums on top of the state's loss, and both bounds of a completion
  /// are within the limit.
  private func place(_ depth: Int, used: UInt64, penaltySum: Int, slackSum: Int) {
    steps &+= 1
    if steps & 0xFFFF == 0, isOver() { isStopped = true }
    if isStopped { return }
    if depth == groups {
      insert(penaltySum: penaltySum, slackSum: slackSum)
      return
    }
    let mask = arcs.mask.base
    let penalty = arcs.penalty.base
    let slack = arcs.slack.base
    let mostPenalty = limit - penaltySum - leastPenalty.base[depth + 1]
    let mostSlack = limit - doll - slackSum - leastSlack.base[depth + 1]
    // What no later group can hold this one must.
    let due = everyone & ~used & ~reachable.base[depth + 1]
    for arc in row.base[depth]..<end.base[depth] {
      if Int(penalty[arc]) > mostPenalty { return }
      if mask[arc] & (used | due) != due || Int(slack[arc]) > mostSlack { continue }
      chosen.base[depth] = arcs.target.base[arc]
      place(
        depth + 1, used: used | mask[arc], penaltySum: penaltySum + Int(penalty[arc]),
        slackSum: slackSum + Int(slack[arc]))
    }
  }

  /// The partition in `chosen`, unless its loss on cuts is too much.
  @inline(__always)
  private func insert(penaltySum: Int, slackSum: Int) {
    let (chosen, sorted, weights) = (chosen.base, sorted.base, costs.cutWeights.base)
    var cutLoss = costs.cutTotal
    for g in 0..<groups {
      sorted[g] = chosen[g]
      cutLoss -= Int(weights[Int(chosen[g])])
    }
    if penaltySum + cutLoss > limit { return }
    PartitionTable.sort(sorted, groups)
    if table.insert(sorted, loss: Int32(slackSum + cutLoss), parent: parent) { inserted += 1 }
  }
}
