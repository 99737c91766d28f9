import ColocateModel
import Synchronization

/// Layered search with Russian dolls: exact dynamic programming over partitions, inside a budget of
/// loss.
///
/// With the potentials of the path relaxation a placement loses `B − kept = Σ` (slacks of its arcs)
/// `+ Σ_S pen(S)` at the last layer. The states of layer l are unlabelled partitions of its
/// experts; a state with loss g so far is worth keeping while `g + max(Σ_S pen(S), doll_l) ≤ D`,
/// where `doll_l` is the least loss of any completion from layer l on. Those values come from the
/// same search on suffixes, last layer first (Verfaillie, Lemaître, Schiex: Russian doll search,
/// AAAI 1996): for k = L−1 … 0 every partition of layer k starts with loss 0, and the budget D is
/// raised in small steps from doll_{k+1} until the last layer is reached. If D passes the budget
/// `G = B − incumbent − 1`, no placement is better than the incumbent. Otherwise doll_0 is found
/// and B − doll_0 is the optimum, with a placement from the back-pointers.
///
/// Where subset-row cuts are priced (`PathCut`) a partition also loses what it leaves of each cut,
/// `Σ_O v_O·(⌊|O|/2⌋ − Σ_S ⌊|S∩O|/2⌋) ≥ 0`: a constant of the layer minus a sum over the groups,
/// added when a state is complete. `doll_l` holds it for layer l itself.
///
/// Without the dolls a prefix may spend the whole of G, and L = 24 stays open; with them G is
/// spread over the chain as it must be.
package final class RussianDolls {
  /// How a search ended.
  package enum Result: Sendable {
    /// No placement keeps more than the incumbent.
    case proved
    /// The best placement, better than the incumbent: what it keeps and its labels.
    case optimum(kept: Int, labels: [Int])
    /// A list grew over its limit.
    case overflow
    /// Time or work is over, or somebody cancelled.
    case stopped
  }

  /// Work of expanding one state, in the units of `SearchControl.spend`.
  static let workPerState = 20

  /// What a search may cost.
  package struct Limits: Sendable {
    /// States of one layer.
    package var states = 4_000_000
    /// Arcs in all boundaries together.
    package var arcs = 60_000_000
    /// Bytes of all layers' states together, in the sweep that keeps them all for its
    /// back-pointers.
    package var bytes = 3 << 30
    package init() {}
  }

  private let relaxation: PathRelaxation
  private let limits: Limits
  private let control: SearchControl
  private let incumbent: () -> Int
  private let layers: Int
  private let groups: Int
  private let threads: Int
  private var arcs: [PathArcs] = []
  /// pen(S) in ticks, per layer; `Int32.max` beyond the budget.
  private var penalties: [Block<Int32>] = []
  /// `Σ_O ⌊|S∩O|/2⌋·v_O` of every subset, and `Σ_O ⌊|O|/2⌋·v_O`, per layer, in ticks.
  private var cutWeights: [Block<Int32>] = []
  private var cutTotals: [Int] = []
  /// doll_l in ticks; `[L + 1]`, with 0 at the end.
  package private(set) var dolls: [Int]
  /// Layers whose doll is known: `k ..< L`.
  package private(set) var reached: Int
  /// What a known solution loses from each layer on, the least that the dolls can be.
  private lazy var knownLosses = relaxation.known?.losses(in: relaxation)
  /// States expanded so far, and the most that one layer had.
  package private(set) var expanded = 0
  package private(set) var largestLayer = 0

  /// - Parameter relaxation: evaluated at the prices to search with, its subsets as of those
  ///   prices.
  package init(
    relaxation: PathRelaxation, limits: Limits = Limits(), incumbent: @escaping () -> Int,
    control: SearchControl
  ) {
    self.relaxation = relaxation
    self.limits = limits
    self.incumbent = incumbent
    self.control = control
    layers = relaxation.problem.layers
    groups = relaxation.groups
    threads = relaxation.threads
    dolls = [Int](repeating: 0, count: layers + 1)
    reached = layers
  }

  /// What the budget is at present, in ticks.
  private var budget: Int { Int(relaxation.budget(incumbent: incumbent())) }

  /// The bound on the kept weight that the dolls found so far prove: `B − doll`, in tokens, rounded
  /// down.
  package var bound: Int {
    let loss = Double(dolls[min(reached, layers)])
    return Int(((relaxation.boundInTicks - loss) / Double(PathSubsets.ticks)).rounded(.down))
  }

  /// Runs the search. `progress` is called after every doll.
  package func run(progress: (RussianDolls) -> Void = { _ in }) -> Result {
    guard !relaxation.isStopped else { return .stopped }
    guard !relaxation.isEmpty, budget >= 0 else { return .proved }
    guard relaxation.experts <= 64, groups >= 2 else { return .overflow }
    guard budget < Int(Int32.max) / 4, prepare() else {
      return control.shouldStop ? .stopped : .overflow
    }
    // What a doll adds to the next one, on average; a sweep that overshoots it costs more than one
    // that fails, but failures add up. A weak or missing incumbent must not make the steps large:
    // then at most 1 % of B is taken for the gap.
    let gap = min(budget, Int(relaxation.boundInTicks * 0.01))
    let share = max(1, gap / (2 * layers))
    for k in stride(from: layers - 1, through: 0, by: -1) {
      var step = share
      var limit = dolls[k + 1] + step
      dolls[k] = dolls[k + 1]
      while true {
        let budget = self.budget
        if dolls[k] > budget { return .proved }
        limit = min(limit, budget)
        let sweep = self.sweep(from: k, limit: limit)
        switch sweep.end {
        case .stopped: return .stopped
        case .overflow: return .overflow
        case .failed:
          // Every completion from k loses more than the limit.
          dolls[k] = limit + 1
          watch(k)
          if limit >= budget { return .proved }
          if sweep.largest < 30_000 { step *= 2 }
          limit += step
          continue
        case .reached(let loss, let last):
          dolls[k] = loss
          reached = k
          watch(k)
          progress(self)
          if k == 0 {
            let kept = (Int(relaxation.boundInTicks) - loss) / PathSubsets.ticks
            return .optimum(kept: kept, labels: labels(tables: sweep.tables, last: last))
          }
        }
        break
      }
    }
    return .proved
  }

  /// Holds the known solution against the doll of layer k.
  private func watch(_ k: Int) {
    guard let known = relaxation.known, let losses = knownLosses, losses[k] < dolls[k] else {
      return
    }
    known.lost(to: "the doll of layer \(k)", incumbent: incumbent())
  }

  /// Lists the arcs that the budget allows. Answers false where there are too many.
  private func prepare() -> Bool {
    let budget = self.budget
    penalties = (0..<layers).map { l in
      let list = Block(relaxation.layers[l].count, Int32(0))
      for s in 0..<list.count {
        let penalty = relaxation.penalty(l, s)
        list[s] = penalty > Double(budget) ? .max : Int32(penalty)
      }
      return list
    }
    guard relaxation.prices.cuts.reduce(0, { $0 + $1.most * $1.price }) < Int(Int32.max) else {
      return false
    }
    for l in 0..<layers {
      let cuts = relaxation.prices.cuts.filter { $0.layer == l && $0.price > 0 }
      let subsets = relaxation.layers[l]
      let list = Block(subsets.count, Int32(0))
      for s in 0..<subsets.count {
        list[s] = Int32(cuts.reduce(0) { $0 + $1.count(subsets.masks[s]) * $1.price })
      }
      cutWeights.append(list)
      cutTotals.append(cuts.reduce(0) { $0 + $1.most * $1.price })
    }
    let perBoundary = limits.arcs / max(1, layers - 1)
    let scan = relaxation.scan
    let built = concurrentMap(layers - 1, threads: threads) { l in
      PathArcs(scan: scan, boundary: l, cut: budget, limit: perBoundary)
    }
    arcs = built.compactMap { $0 }
    return arcs.count == layers - 1
  }

  private enum End {
    case failed
    case reached(loss: Int, last: Int64)
    case overflow
    case stopped
  }

  /// One dynamic program from layer k to the last with budget `limit` (in ticks).
  private func sweep(from k: Int, limit: Int) -> (end: End, tables: [PartitionTable], largest: Int)
  {
    let state = Shared(limit: limits.states)
    var tables = [PartitionTable]()
    var table = PartitionTable(groups: groups)
    listStarts(layer: k, limit: limit, into: table, shared: state)
    var largest = table.count
    defer { largestLayer = max(largestLayer, largest) }
    if let end = state.end { return (end, [], largest) }
    tables.append(table)
    for l in k..<(layers - 1) {
      if table.count == 0 { return (.failed, [], largest) }
      // Parents are followed from the first layer's doll alone.
      let next = PartitionTable(groups: groups, previous: k == 0 ? table : nil)
      expand(layer: l, from: table, into: next, limit: limit, shared: state)
      if let end = state.end { return (end, [], max(largest, next.count)) }
      expanded += table.count
      control.spend(Self.workPerState * table.count)
      if control.isWorkOver { return (.stopped, [], largest) }
      if k == 0 {
        tables.append(next)
        if tables.reduce(0, { $0 + $1.bytes }) > limits.bytes { return (.overflow, [], largest) }
      }
      table = next
      largest = max(largest, table.count)
    }
    var best: (loss: Int, number: Int64)?
    for shard in 0..<PartitionTable.shardCount {
      let content = table.contents(ofShard: shard)
      for position in 0..<content.count {
        var loss = Int(content.loss[position])
        for g in 0..<groups {
          loss += Int(penalties[layers - 1][Int(content.states[position * groups + g])])
        }
        let number = PartitionTable.number(shard: shard, position: position)
        if best == nil || loss < best!.loss
          || loss == best!.loss && table.precedes(number, best!.number)
        {
          best = (loss, number)
        }
      }
    }
    guard let best, best.loss <= limit else { return (.failed, [], largest) }
    return (.reached(loss: best.loss, last: best.number), tables, largest)
  }

  /// What the workers of a sweep tell each other.
  private final class Shared: Sendable {
    let states = Atomic(0)
    let limit: Int
    let overflow = Atomic(false)
    let stopped = Atomic(false)

    init(limit: Int) { self.limit = limit }

    var end: End? {
      if stopped.load(ordering: .relaxed) { return .stopped }
      return overflow.load(ordering: .relaxed) ? .overflow : nil
    }

    var isOver: Bool {
      stopped.load(ordering: .relaxed) || overflow.load(ordering: .relaxed)
    }
  }

  // MARK: Partitions that start a doll

  /// All partitions of layer k with `Σ pen ≤ limit`: exact cover by depth-first search
  /// (StartList.swift), split at its second level for the workers.
  private func listStarts(layer k: Int, limit: Int, into table: PartitionTable, shared: Shared) {
    let list = StartList(
      subsets: relaxation.layers[k], penalties: penalties[k], experts: relaxation.experts,
      groups: groups, limit: limit)
    let cutWeights = self.cutWeights[k]
    let cutTotal = cutTotals[k]
    let (groups, control) = (groups, control)
    let prefixes = list.prefixes(depth: min(2, groups))
    let parts = min(prefixes.count, 8 * threads)
    concurrentFor(parts, threads: threads) { _, part in
      let walk = StartList.Walk(list)
      var sorted = [UInt16](repeating: 0, count: groups)
      for index in stride(from: part, to: prefixes.count, by: parts) {
        if shared.isOver { return }
        walk.run(from: prefixes[index]) { state, penalty in
          var cutLoss = cutTotal
          for g in 0..<groups {
            sorted[g] = state[g]
            cutLoss -= Int(cutWeights[Int(state[g])])
          }
          if penalty + cutLoss > limit { return }
          Self.sort(&sorted, groups)
          if table.insert(sorted, loss: Int32(cutLoss), parent: -1) {
            let states = shared.states.wrappingAdd(1, ordering: .relaxed).newValue
            if states > shared.limit { shared.overflow.store(true, ordering: .relaxed) }
          }
        } isOver: {
          // Not only at complete partitions: a deep tree may hardly ever reach one.
          if control.shouldStop { shared.stopped.store(true, ordering: .relaxed) }
          return shared.isOver
        }
      }
    }
  }

  /// Ascending order of a few numbers.
  @inline(__always)
  private static func sort(_ numbers: inout [UInt16], _ count: Int) {
    numbers.withUnsafeMutableBufferPointer { sort($0.baseAddress!, count) }
  }

  @inline(__always)
  private static func sort(_ numbers: UnsafeMutablePointer<UInt16>, _ count: Int) {
    for index in 1..<count {
      let value = numbers[index]
      var hole = index
      while hole > 0 && numbers[hole - 1] > value {
        numbers[hole] = numbers[hole - 1]
        hole -= 1
      }
      numbers[hole] = value
    }
  }

  // MARK: From a layer to the next

  private func expand(
    layer l: Int, from table: PartitionTable, into next: PartitionTable, limit: Int,
    shared: Shared
  ) {
    shared.states.store(0, ordering: .relaxed)
    let doll = dolls[l + 1]
    let (groups, experts, control) = (groups, relaxation.experts, control)
    let (arcs, cutWeights, cutTotal) = (arcs[l], cutWeights[l + 1], cutTotals[l + 1])
    concurrentFor(PartitionTable.shardCount, threads: threads) { _, shard in
      let content = table.contents(ofShard: shard)
      let expansion = Expansion(
        arcs: arcs, experts: experts, groups: groups, limit: limit, doll: doll,
        cutWeights: cutWeights, cutTotal: cutTotal, table: next)
      expansion.isOver = {
        // A single state can have millions of successors.
        if control.shouldStop { shared.stopped.store(true, ordering: .relaxed) }
        return shared.isOver
      }
      for position in 0..<content.count {
        if shared.isOver { return }
        expansion.expand(
          content.states + position * groups, loss: Int(content.loss[position]),
          parent: PartitionTable.number(shard: shard, position: position))
        if position & 255 == 255 {
          if control.shouldStop { shared.stopped.store(true, ordering: .relaxed) }
          let fresh = expansion.takeInserted()
          if shared.states.wrappingAdd(fresh, ordering: .relaxed).newValue > shared.limit {
            shared.overflow.store(true, ordering: .relaxed)
          }
        }
      }
      let fresh = expansion.takeInserted()
      if shared.states.wrappingAdd(fresh, ordering: .relaxed).newValue > shared.limit {
        shared.overflow.store(true, ordering: .relaxed)
      }
    }
  }

  /// Successors of one state: depth-first over its groups, the group with the fewest arcs inside
  /// the budget first, arcs by penalty.
  private final class Expansion {
    let arcs: PathArcs
    let groups: Int
    let limit: Int
    let doll: Int
    let cutWeights: Block<Int32>
    let cutTotal: Int
    let table: PartitionTable
    var inserted = 0
    /// Of the groups in the order of the search: row, end of row; least penalty and least slack of
    /// this group and all after it.
    let row: Block<Int>
    let end: Block<Int>
    let leastPenalty: Block<Int>
    let leastSlack: Block<Int>
    /// Experts that some arc of this group or of one after it holds.
    let reachable: Block<UInt64>
    let everyone: UInt64
    let chosen: Block<UInt16>
    let sorted: Block<UInt16>
    var loss = 0
    var parent: Int64 = 0
    /// Asked every so many steps; true ends the expansion of a state on its way.
    var isOver: () -> Bool = { false }
    private var steps = 0
    private var isStopped = false

    init(
      arcs: PathArcs, experts: Int, groups: Int, limit: Int, doll: Int,
      cutWeights: Block<Int32>, cutTotal: Int, table: PartitionTable
    ) {
      self.cutWeights = cutWeights
      self.cutTotal = cutTotal
      self.arcs = arcs
      self.groups = groups
      self.limit = limit
      self.doll = doll
      self.table = table
      row = Block(groups, 0)
      end = Block(groups, 0)
      leastPenalty = Block(groups + 1, 0)
      leastSlack = Block(groups + 1, 0)
      reachable = Block(groups + 1, 0)
      everyone = UInt64.max >> UInt64(64 - experts)
      chosen = Block(groups, 0)
      sorted = Block(groups, 0)
    }

    func takeInserted() -> Int {
      defer { inserted = 0 }
      return inserted
    }

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
      // Rows cut where even the least of the others leaves no room; shortest row first.
      for g in 0..<groups {
        let first = Int(starts[Int(state[g])])
        var low = first
        var high = Int(starts[Int(state[g]) + 1])
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
      let slack = arcs.slack.base
      let mask = arcs.mask.base
      leastPenalty[groups] = 0
      leastSlack[groups] = 0
      for g in stride(from: groups - 1, through: 0, by: -1) {
        leastPenalty[g] = leastPenalty[g + 1] + Int(penalty[row[g]])
        var least = Int32.max
        var union: UInt64 = 0
        for arc in row[g]..<end[g] {
          least = min(least, slack[arc])
          union |= mask[arc]
        }
        leastSlack[g] = leastSlack[g + 1] + Int(least)
        reachable[g] = reachable[g + 1] | union
      }
      self.loss = loss
      self.parent = parent
      place(0, used: 0, penaltySum: loss, slackSum: loss)
    }

    /// Invariant: `chosen[0 ..< depth]` are disjoint targets with the union `used`; `penaltySum`
    /// and `slackSum` hold their sums on top of the state's loss, and both bounds of a completion
    /// are within the limit.
    private func place(_ depth: Int, used: UInt64, penaltySum: Int, slackSum: Int) {
      steps &+= 1
      if steps & 0xFFFF == 0, isOver() { isStopped = true }
      if isStopped { return }
      if depth == groups {
        var cutLoss = cutTotal
        for g in 0..<groups {
          sorted[g] = chosen[g]
          cutLoss -= Int(cutWeights[Int(chosen[g])])
        }
        if penaltySum + cutLoss > limit { return }
        RussianDolls.sort(sorted.base, groups)
        if table.insert(sorted.base, loss: Int32(slackSum + cutLoss), parent: parent) {
          inserted += 1
        }
        return
      }
      let mask = arcs.mask.base
      let penalty = arcs.penalty.base
      let slack = arcs.slack.base
      let mostPenalty = limit - penaltySum - leastPenalty[depth + 1]
      let mostSlack = limit - doll - slackSum - leastSlack[depth + 1]
      // What no later group can hold this one must.
      let due = everyone & ~used & ~reachable[depth + 1]
      for arc in row[depth]..<end[depth] {
        if Int(penalty[arc]) > mostPenalty { return }
        if mask[arc] & (used | due) != due || Int(slack[arc]) > mostSlack { continue }
        chosen[depth] = arcs.target[arc]
        place(
          depth + 1, used: used | mask[arc], penaltySum: penaltySum + Int(penalty[arc]),
          slackSum: slackSum + Int(slack[arc]))
      }
    }
  }

  // MARK: The placement

  /// Labels of the placement that ends in the state `last` of the last layer. A boundary's matching
  /// is the one whose slacks add up to the difference of the two losses: found by depth-first
  /// search, least total slack.
  private func labels(tables: [PartitionTable], last: Int64) -> [Int] {
    var partitions = [[Int]](repeating: [], count: layers)
    var number = last
    for l in stride(from: layers - 1, through: 0, by: -1) {
      let state = tables[l].state(number)
      partitions[l] = state.groups
      number = state.parent
    }
    let experts = relaxation.experts
    var labels = [Int](repeating: 0, count: layers * experts)
    var order = partitions[0]
    for l in 0..<layers {
      if l > 0 { order = match(order, partitions[l], boundary: l - 1) }
      let subsets = relaxation.layers[l]
      for (group, s) in order.enumerated() {
        for i in 0..<subsets.size {
          labels[l * experts + Int(subsets.members[s * subsets.size + i])] = group
        }
      }
    }
    return labels
  }

  /// `to` in the order that joins it to `from` with the least slack.
  private func match(_ from: [Int], _ to: [Int], boundary l: Int) -> [Int] {
    let arcs = self.arcs[l]
    let candidates = from.map { s in
      (Int(arcs.rowStart[s])..<Int(arcs.rowStart[s + 1])).filter {
        to.contains(Int(arcs.target[$0]))
      }.map { (target: Int(arcs.target[$0]), slack: Int(arcs.slack[$0])) }
        .sorted { $0.slack < $1.slack }
    }
    var best = Int.max
    var bestOrder = to
    var order = to
    var used = Set<Int>()
    func place(_ g: Int, _ sum: Int) {
      if sum >= best { return }
      if g == from.count {
        best = sum
        bestOrder = order
        return
      }
      for candidate in candidates[g] where !used.contains(candidate.target) {
        used.insert(candidate.target)
        order[g] = candidate.target
        place(g + 1, sum + candidate.slack)
        used.remove(candidate.target)
      }
    }
    place(0, 0)
    return bestOrder
  }
}
