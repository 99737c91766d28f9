import ColocateModel

/// All ways within δ to group the experts of one layer beside a partition of its neighbour
/// (`LossSearch`).
///
/// Experts are put into groups one after the other, depth first. `costs` holds for each group and
/// expert what the expert loses there against the neighbour's experts and those of its own layer
/// that have their groups. A branch loses at least
///
///     what it has lost + Σ (over the experts without a group) of the least of their costs,
///
/// and ends where that is above δ. An expert whose second best group would exceed δ goes to its
/// best one, all such experts at once; else the one with the largest difference between the two is
/// next. Groups that have c experts, or no room for the expert's load, are closed. Without a
/// neighbour the groups have no names yet, so an expert may open only the first of those that are
/// still empty.
final class LossExtension {
  struct Found {
    let key: PartitionKey
    /// On the way from the state it comes from, and on the whole way.
    let loss: Int32
    let least: Int32
    let from: Int32
  }

  private(set) var found = [Found]()
  /// Experts that were given a group.
  private(set) var steps = 0
  /// Whether the step limit was reached.
  private(set) var isOver = false

  private let tables: LossTables
  private let experts: Int
  private let groups: Int
  private let layer: Int
  private let pairs: LossTables.Pairs
  private let block: Int
  private let stepLimit: Int
  private let cap: Int
  private let loads: [Int]
  /// By depth: costs `[P, stride]`, groups of the experts `[64]`, sizes and loads of the groups.
  private let costs: SharedBuffer<Int32>
  private let labels: SharedBuffer<UInt8>
  private let sizes: SharedBuffer<Int>
  private let sums: SharedBuffer<Int>
  private let tableSize: Int
  /// Of the experts of one scan: their best group, and what the second best costs more.
  private let bestGroup: SharedBuffer<UInt8>
  private let regret: SharedBuffer<Int32>
  private var base: (from: Int32, least: Int32, hasNames: Bool) = (0, 0, false)

  init(_ tables: LossTables, layer: Int, step: Int, stepLimit: Int) {
    self.tables = tables
    self.layer = layer
    self.stepLimit = stepLimit
    let problem = tables.problem
    experts = problem.experts
    groups = problem.groups
    (pairs, block) = step > 0 ? (tables.ahead, layer - 1) : (tables.back, layer)
    cap = problem.caps?[layer] ?? .max
    loads = problem.loads(layer: layer)
    tableSize = groups * tables.stride
    costs = SharedBuffer(repeating: 0, count: (experts + 1) * tableSize)
    labels = SharedBuffer(repeating: 0, count: (experts + 1) * 64)
    sizes = SharedBuffer(repeating: 0, count: (experts + 1) * groups)
    sums = SharedBuffer(repeating: 0, count: (experts + 1) * groups)
    bestGroup = SharedBuffer(repeating: 0, count: 64)
    regret = SharedBuffer(repeating: 0, count: 64)
  }

  func stop() { isOver = true }

  /// Appends all extensions of a state, or all states where there is none.
  func extend(_ state: (key: PartitionKey, least: Int32)?, number: Int) {
    if isOver { return }
    base = (Int32(number), state?.least ?? 0, state != nil)
    guard base.least <= tables.budget else { return }
    for g in 0..<groups { (sizes[g], sums[g]) = (0, 0) }
    let stride = tables.stride
    guard let key = state?.key else {
      for index in 0..<tableSize { costs[index] = 0 }
      return search(depth: 0, free: ExpertSet.all(experts).bits, lost: 0)
    }
    let apart = pairs.allApart.base + block * stride
    for g in 0..<groups {
      let row = costs.base + g * stride
      for j in 0..<stride { row[j] = apart[j] }
    }
    for i in 0..<experts {
      let row = costs.base + key[i] * stride
      let more = pairs.more.base + (block * experts + i) * stride
      for j in 0..<stride { row[j] &+= more[j] }
    }
    search(depth: 0, free: ExpertSet.all(experts).bits, lost: 0)
  }

  private func search(depth: Int, free: UInt64, lost: Int32) {
    var (free, lost) = (free, lost)
    while free != 0 {
      steps += 1
      if steps > stepLimit { isOver = true }
      if isOver { return }
      guard let scan = scan(depth, free, lost) else { return }
      if scan.forced == 0 { return branch(depth, free, lost, scan) }
      for e in ExpertSet(bits: scan.forced) {
        let g = Int(bestGroup[e])
        guard isOpen(depth, g, e) else { return }
        steps += 1
        lost += costs[depth * tableSize + g * tables.stride + e]
        put(e, into: g, depth)
      }
      free &= ~scan.forced
      if base.least + lost > tables.budget { return }
    }
    found.append(
      Found(
        key: PartitionKey(labels.base + depth * 64, experts: experts), loss: lost,
        least: base.least + lost, from: base.from))
  }

  private struct Scan {
    /// Experts with one group within δ.
    var forced: UInt64 = 0
    /// The expert with the largest difference.
    var next = 0
    /// δ less what is lost at least.
    var spare: Int32 = 0
  }

  /// Looks at the experts without a group; nil where the branch ends.
  private func scan(_ depth: Int, _ free: UInt64, _ lost: Int32) -> Scan? {
    let table = costs.base + depth * tableSize
    let stride = tables.stride
    var least = base.least + lost
    var scan = Scan()
    var largest: Int32 = -1
    for e in ExpertSet(bits: free) {
      var (first, second) = (Int32.max, Int32.max)
      var isEmptySeen = false
      for g in 0..<groups where isOpen(depth, g, e) {
        if isSameEmptyGroup(depth, g, &isEmptySeen) { continue }
        let cost = table[g * stride + e]
        if cost < first {
          (first, second) = (cost, first)
          bestGroup[e] = UInt8(g)
        } else if cost < second {
          second = cost
        }
      }
      if first == .max { return nil }
      least &+= first
      if least > tables.budget { return nil }
      regret[e] = second == .max ? .max : second - first
      if regret[e] > largest {
        largest = regret[e]
        scan.next = e
      }
    }
    scan.spare = tables.budget - least
    // Which of several empty groups without names is meant by a second expert is open.
    var mayOpen = base.hasNames || emptyGroups(depth) < 2 ? Int.max : 1
    for e in ExpertSet(bits: free) where regret[e] > scan.spare {
      if sizes[depth * groups + Int(bestGroup[e])] == 0 {
        if mayOpen == 0 { continue }
        mayOpen -= 1
      }
      scan.forced |= 1 << UInt64(e)
    }
    return scan
  }

  /// Whether a group is empty and without a name, as one is that was met before.
  @inline(__always)
  private func isSameEmptyGroup(_ depth: Int, _ g: Int, _ isEmptySeen: inout Bool) -> Bool {
    guard !base.hasNames, sizes[depth * groups + g] == 0 else { return false }
    defer { isEmptySeen = true }
    return isEmptySeen
  }

  private func emptyGroups(_ depth: Int) -> Int {
    (0..<groups).reduce(0) { $0 + (sizes[depth * groups + $1] == 0 ? 1 : 0) }
  }

  /// Tries all groups of one expert, the cheapest first.
  private func branch(_ depth: Int, _ free: UInt64, _ lost: Int32, _ scan: Scan) {
    let (e, stride) = (scan.next, tables.stride)
    let table = costs.base + depth * tableSize
    let first = table[Int(bestGroup[e]) * stride + e]
    var choices = [(cost: Int32, group: Int)]()
    var isEmptySeen = false
    for g in 0..<groups where isOpen(depth, g, e) {
      if isSameEmptyGroup(depth, g, &isEmptySeen) { continue }
      let cost = table[g * stride + e]
      if cost - first <= scan.spare { choices.append((cost, g)) }
    }
    choices.sort { ($0.cost, $0.group) < ($1.cost, $1.group) }
    for (cost, g) in choices {
      copyDown(depth)
      put(e, into: g, depth + 1)
      search(depth: depth + 1, free: free & ~(1 << UInt64(e)), lost: lost + cost)
      if isOver { return }
    }
  }

  @inline(__always)
  private func isOpen(_ depth: Int, _ g: Int, _ e: Int) -> Bool {
    let place = depth * groups + g
    return sizes[place] < tables.problem.groupSize && loads[e] <= cap - sums[place]
  }

  private func copyDown(_ depth: Int) {
    let next = depth + 1
    (costs.base + next * tableSize).update(from: costs.base + depth * tableSize, count: tableSize)
    (labels.base + next * 64).update(from: labels.base + depth * 64, count: 64)
    (sizes.base + next * groups).update(from: sizes.base + depth * groups, count: groups)
    (sums.base + next * groups).update(from: sums.base + depth * groups, count: groups)
  }

  /// Gives an expert its group, and the others of the layer what they lose beside it.
  private func put(_ e: Int, into g: Int, _ depth: Int) {
    labels[depth * 64 + e] = UInt8(g)
    sizes[depth * groups + g] += 1
    sums[depth * groups + g] += loads[e]
    let stride = tables.stride
    let place = (layer * experts + e) * stride
    let apart = tables.inside.apart.base + place
    let more = tables.inside.more.base + place
    for h in 0..<groups {
      let row = costs.base + depth * tableSize + h * stride
      for j in 0..<stride { row[j] &+= apart[j] }
      if h == g { for j in 0..<stride { row[j] &+= more[j] } }
    }
  }
}
