import Synchronization

/// One sweep of the layered search: all states of a layer that the limit allows, from those of the
/// layer before.
///
/// Workers share the states of a layer by the shards of its table and insert into the shards of the
/// next, so that no state is expanded twice and equal successors merge whoever finds them.
extension RussianDolls {
  /// How a sweep ended.
  enum SweepEnd {
    /// No state of some layer is within the limit.
    case failed
    /// The least loss of a state of the last layer, with the state's number.
    case reached(loss: Int, last: Int64)
    case overflow
    case stopped
  }

  struct Sweep {
    let end: SweepEnd
    /// The states of every layer, where the sweep began with the first.
    var tables: [PartitionTable] = []
    let cost: Cost

    /// Nodes of searches: for the states of the first layer, and for their successors.
    struct Cost {
      var starts = 0
      var steps = 0
    }
  }

  /// What the workers of a sweep tell each other.
  private final class Shared: Sendable {
    let limit: Int
    private let control: SearchControl
    private let states = Atomic(0)
    private let starts = Atomic(0)
    private let steps = Atomic(0)
    private let overflow = Atomic(false)
    private let stopped = Atomic(false)

    /// - Parameter limit: states of a layer.
    init(limit: Int, control: SearchControl) {
      self.limit = limit
      self.control = control
    }

    var end: SweepEnd? {
      if stopped.load(ordering: .relaxed) { return .stopped }
      return overflow.load(ordering: .relaxed) ? .overflow : nil
    }

    var isOver: Bool {
      stopped.load(ordering: .relaxed) || overflow.load(ordering: .relaxed)
    }

    func beginLayer() { states.store(0, ordering: .relaxed) }

    /// Counts new states of the layer.
    func add(_ fresh: Int) {
      if states.wrappingAdd(fresh, ordering: .relaxed).newValue > limit {
        overflow.store(true, ordering: .relaxed)
      }
    }

    var cost: Sweep.Cost {
      Sweep.Cost(
        starts: starts.load(ordering: .relaxed), steps: steps.load(ordering: .relaxed))
    }

    func spend(starts count: Int) { starts.wrappingAdd(count, ordering: .relaxed) }
    func spend(steps count: Int) { steps.wrappingAdd(count, ordering: .relaxed) }

    /// Looks at the clock too.
    func looksOver() -> Bool {
      if control.shouldStop { stopped.store(true, ordering: .relaxed) }
      return isOver
    }
  }

  /// The dynamic program from layer k to the last with budget `limit` (in ticks).
  func sweep(from k: Int, limit: Int) -> Sweep {
    let shared = Shared(limit: limits.states, control: control)
    var table = PartitionTable(groups: groups)
    listStarts(layer: k, limit: limit, into: table, shared: shared)
    if let end = shared.end { return Sweep(end: end, cost: shared.cost) }
    var tables = [table]
    for l in k..<(layers - 1) {
      if table.count == 0 { return Sweep(end: .failed, cost: shared.cost) }
      // Parents are followed from the first layer's doll alone.
      let next = PartitionTable(groups: groups, previous: k == 0 ? table : nil)
      expand(layer: l, from: table, into: next, limit: limit, shared: shared)
      if let end = shared.end { return Sweep(end: end, cost: shared.cost) }
      expanded += table.count
      control.spend(Self.workPerState * table.count)
      if control.isWorkOver { return Sweep(end: .stopped, cost: shared.cost) }
      if k == 0 {
        tables.append(next)
        if tables.reduce(0, { $0 + $1.bytes }) > limits.bytes {
          return Sweep(end: .overflow, cost: shared.cost)
        }
      }
      table = next
    }
    guard let (loss, last) = best(of: table), loss <= limit else {
      return Sweep(end: .failed, cost: shared.cost)
    }
    return Sweep(end: .reached(loss: loss, last: last), tables: tables, cost: shared.cost)
  }

  /// The state of the last layer that has lost least, the penalties of its groups included; of
  /// several, the first by its groups.
  private func best(of table: PartitionTable) -> (loss: Int, number: Int64)? {
    let penalties = costs[layers - 1].penalties.base
    var best: (loss: Int, number: Int64)?
    for shard in 0..<PartitionTable.shardCount {
      let content = table.contents(ofShard: shard)
      for position in 0..<content.count {
        var loss = Int(content.loss[position])
        for g in 0..<groups { loss += Int(penalties[Int(content.states[position * groups + g])]) }
        let number = PartitionTable.number(shard: shard, position: position)
        guard let held = best else {
          best = (loss, number)
          continue
        }
        if loss < held.loss || (loss == held.loss && table.precedes(number, held.number)) {
          best = (loss, number)
        }
      }
    }
    return best
  }

  /// All partitions of layer k with penalties and cuts of at most `limit`, and within it by the
  /// least slacks of their groups and the next layer's doll: exact cover by depth-first search
  /// (`StartList`), split at its second level for the workers.
  private func listStarts(layer k: Int, limit: Int, into table: PartitionTable, shared: Shared) {
    let costs = self.costs[k]
    let list = StartList(
      subsets: evaluation.layers[k], penalties: costs.penalties, experts: evaluation.experts,
      groups: groups, limit: limit, slacks: k < layers - 1 ? arcs[k].leastSlack : nil,
      slackLimit: limit - dolls[min(k + 1, layers)])
    let groups = self.groups
    let prefixes = list.prefixes(depth: min(2, groups))
    let parts = min(prefixes.count, 8 * threads)
    concurrentFor(parts, threads: threads) { _, part in
      let walk = StartList.Walk(list)
      let sorted = Buffer(repeating: UInt16(0), count: groups)
      for index in stride(from: part, to: prefixes.count, by: parts) {
        if shared.isOver { return }
        walk.run(from: prefixes[index]) { state, penalty in
          var cutLoss = costs.cutTotal
          for g in 0..<groups {
            sorted.base[g] = state[g]
            cutLoss -= Int(costs.cutWeights.base[Int(state[g])])
          }
          if penalty + cutLoss > limit { return }
          PartitionTable.sort(sorted.base, groups)
          if table.insert(sorted.base, loss: Int32(cutLoss), parent: -1) { shared.add(1) }
        } isOver: {
          // Not only at complete partitions: a deep tree may hardly ever reach one.
          shared.looksOver()
        }
      }
      shared.spend(starts: walk.steps)
    }
  }

  /// All states of layer l + 1 that come of those of layer l.
  private func expand(
    layer l: Int, from table: PartitionTable, into next: PartitionTable, limit: Int,
    shared: Shared
  ) {
    shared.beginLayer()
    let (groups, experts, dolls) = (groups, evaluation.experts, dolls)
    let following = l + 1 < layers - 1 ? arcs[l + 1].leastSlack : nil
    let (arcs, costs) = (arcs[l], costs[l + 1])
    concurrentFor(PartitionTable.shardCount, threads: threads) { _, shard in
      let content = table.contents(ofShard: shard)
      // A single state can have millions of successors: the expansion looks at the clock itself.
      var expansion = StateExpansion(
        arcs: arcs, costs: costs, experts: experts, groups: groups, limit: limit,
        dolls: (dolls[l + 1], dolls[l + 2]), following: following, into: next,
        isOver: shared.looksOver)
      for position in 0..<content.count {
        if shared.isOver { return }
        expansion.expand(
          content.states + position * groups, loss: Int(content.loss[position]),
          parent: PartitionTable.number(shard: shard, position: position))
        if position & 255 == 255 {
          _ = shared.looksOver()
          shared.add(expansion.takeInserted())
        }
      }
      shared.add(expansion.takeInserted())
      shared.spend(steps: expansion.steps)
    }
  }
}
