import Colocate
import Testing

/// Copies of experts: how many, a first plan, gains of swaps, and the search.
@Suite struct ReplicaSolverTests {
  private func isClose(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= 1e-9 * max(1, abs(b)) }

  // MARK: - Copies and packing

  /// Of all numbers of copies, none leaves a lighter heaviest copy.
  @Test(arguments: 0..<60) func copyCountsLeaveTheLightestCopies(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed) &+ 11)
    let (experts, gpus) = (1 + random.next(below: 5), 1 + random.next(below: 4))
    let slots = experts + random.next(below: experts * (gpus - 1) + 1)
    let loads = (0..<experts).map { _ in random.next(below: [2, 10, 1000][seed % 3]) }
    let counts = CopyCounts.counts(loads, slots: slots, gpus: gpus)
    #expect(counts.reduce(0, +) == slots && counts.allSatisfy { 1...gpus ~= $0 }, "seed \(seed)")
    func heaviest(_ counts: [Int]) -> Double {
      zip(loads, counts).map { Double($0) / Double($1) }.max() ?? 0
    }
    var least = Double.infinity
    func assign(_ chosen: [Int], _ left: Int) {
      guard chosen.count < experts else {
        if left == 0 { least = min(least, heaviest(chosen)) }
        return
      }
      for copies in 1...gpus where copies <= left { assign(chosen + [copies], left - copies) }
    }
    assign([], slots)
    #expect(heaviest(counts) == least, "seed \(seed): \(loads), \(counts)")
  }

  @Test(arguments: 0..<200) func packingFillsEveryGPUWithDifferentExperts(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed) &+ 23)
    let (gpus, room) = (1 + random.next(below: 5), 1 + random.next(below: 5))
    let slots = gpus * room
    let experts = room + random.next(below: slots - room + 1)
    let loads = (0..<experts).map { _ in random.next(below: [2, 10, 1000][seed % 3]) }
    let counts = CopyCounts.counts(loads, slots: slots, gpus: gpus)
    var held = [[Int]](repeating: [], count: gpus)
    if seed % 2 == 0, experts % gpus == 0 {
      for (index, expert) in (0..<experts).shuffled(using: &random).enumerated() {
        held[index % gpus].append(expert)
      }
    }
    let row = SlotPacking.slots(counts: counts, loads: loads, held: held, room: room)
    let plan = try SlotPlan(topology: Topology(gpus: gpus), experts: experts, slots: [row])
    #expect(plan.slotsPerLayer == slots && plan.uselessReplica == nil, "seed \(seed): \(row)")
    #expect(plan.copies(layer: 0).map(\.count) == counts, "seed \(seed)")
  }

  /// EPLB's own packing: the words of its rule, one copy after the other.
  @Test(arguments: 0..<30) func eplbPacksByItsWords(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed) &+ 41)
    let (gpus, room) = (2 + random.next(below: 3), 2 + random.next(below: 3))
    let experts = gpus * room - 1 - random.next(below: gpus)
    let sets = try Self.sets(
      seed: UInt64(seed), layers: 2, experts: experts, choices: 2, tokens: 30)
    let plan = try EPLBReplicas.plan(
      sets, topology: Topology(gpus: gpus), redundant: gpus * room - experts)
    for (row, layer) in zip(plan.slots, sets.layerSets) {
      var copies = [Double](repeating: 1, count: experts)
      for _ in experts..<(gpus * room) {
        let each = zip(layer.loads, copies).map { Double($0) / $1 }
        copies[each.firstIndex(of: each.max() ?? 0) ?? 0] += 1
      }
      let held = (0..<experts).map { e in Double(row.count { $0 == e }) }
      #expect(held == copies, "seed \(seed)")
      let each = zip(layer.loads, copies).map { Double($0) / $1 }
      var packed = [[Int]](repeating: [], count: gpus)
      let deck = (0..<experts).flatMap { [Int](repeating: $0, count: Int(copies[$0])) }
      for expert in deck.sorted(by: { (each[$0], $1) > (each[$1], $0) }) {
        let weights = packed.map { held in
          held.count < room ? held.reduce(0.0) { $0 + each[$1] } : .infinity
        }
        packed[weights.firstIndex(of: weights.min() ?? 0) ?? 0].append(expert)
      }
      #expect(row == packed.flatMap { $0 }, "seed \(seed)")
    }
  }

  // MARK: - Gains

  /// Every swap's gain, and value, loads and excess after it, against the one definition.
  @Test(arguments: 0..<90) func gainsEqualTheDefinition(seed: Int) throws {
    let test = try SlotTestLayer(seed: UInt64(seed))
    var random = SeededGenerator(seed: UInt64(seed) &+ 31)
    let rule = DispatchRule.allCases[seed % 4]
    let objective: DestinationObjective =
      [.gpus, .nodes, .joint(interNode: 5, intraNode: 2)][seed % 3]
    let total = Double(test.layer.loads.reduce(0, +))
    let cap = seed % 2 == 0 ? 1.1 * total / Double(test.topology.gpus) : nil
    var slots = test.plan.slots[0]
    let gains = SlotGains(
      test.layer, slots: slots, topology: test.topology, rule: rule, objective: objective,
      cap: cap)
    func measured(_ slots: [Int]) throws -> (value: Double, loads: [Double], excess: Double) {
      let plan = try SlotPlan(
        topology: test.topology, experts: test.plan.experts, slots: [slots])
      let found = try test.sets.destinations(of: plan, rule: rule)
      let excess = cap.map { cap in
        found.gpuLoads.reduce(0) { $0 + max(0, $1 - cap * (1 + 1e-9)) }
      }
      return (objective.value(of: found), found.gpuLoads, excess ?? 0)
    }
    #expect(isClose(gains.value, try measured(slots).value), "\(rule) \(test)")
    for step in 0..<40 {
      let (a, b) = (random.next(below: slots.count), random.next(below: slots.count))
      var other = slots
      other.swapAt(a, b)
      let swapped = try SlotPlan(
        topology: test.topology, experts: test.plan.experts, slots: [other])
      let isElsewhere = test.plan.gpu(ofSlot: a) != test.plan.gpu(ofSlot: b)
      let isNew = slots[a] != slots[b] && isElsewhere && swapped.uselessReplica == nil
      #expect(gains.canSwap(a, b) == isNew, "\(rule) \(test)")
      guard isNew else { continue }
      let change = gains.propose(a, b)
      let (before, after) = (try measured(slots), try measured(other))
      #expect(isClose(before.value + change.value, after.value), "step \(step), \(rule) \(test)")
      #expect(isClose(before.excess + change.excess, after.excess), "\(rule) \(test)")
      #expect(gains.slots == slots, "a proposal changes nothing")
      guard random.next(below: 3) > 0 else { continue }
      gains.accept()
      slots = other
      #expect(gains.slots == slots && isClose(gains.value, after.value), "\(rule) \(test)")
      #expect(isClose(gains.excess, after.excess), "\(rule) \(test)")
      for (load, expected) in zip(gains.loads, after.loads) {
        #expect(isClose(load, expected), "\(rule) \(test)")
      }
    }
  }

  // MARK: - The search

  private static func sets(
    seed: UInt64, layers: Int, experts: Int, choices: Int, tokens: Int
  ) throws -> TokenSets {
    var random = SeededGenerator(seed: seed)
    return try TokenSets(
      experts: experts,
      layers: (0..<layers).map { _ in
        let lists = (0..<tokens).map { _ -> [Int] in
          let topic = random.next(below: 3)
          return (0..<choices).map { _ in
            random.nextUnit() < 0.7
              ? (topic * 2 + random.next(below: 2)) % experts : random.next(below: experts)
          }
        }
        return try TokenSets.Layer(experts: experts, sets: lists)
      })
  }

  /// All rows of slots with these numbers of copies, GPUs in every order.
  private static func forEachRow(counts: [Int], gpus: Int, _ body: ([Int]) throws -> Void) throws {
    let room = counts.reduce(0, +) / gpus
    var left = counts
    var row = [Int]()
    func fill() throws {
      guard row.count < gpus * room else { return try body(row) }
      // Experts of a GPU ascend.
      let first = row.count % room == 0 ? 0 : row[row.count - 1] + 1
      for expert in counts.indices.dropFirst(first) where left[expert] > 0 {
        left[expert] -= 1
        row.append(expert)
        try fill()
        row.removeLast()
        left[expert] += 1
      }
    }
    try fill()
  }

  /// On instances small enough to list all plans: never below the true optimum, and there.
  @Test(arguments: 0..<16) func findsTheOptimumOfSmallInstances(seed: Int) throws {
    let rule = DispatchRule.allCases[seed % 4]
    let topology = try Topology(gpus: [2, 4][seed / 4 % 2], nodes: 2)
    let (experts, redundant) = topology.gpus == 2 ? (6, 2) : (6, 2)
    let sets = try Self.sets(
      seed: UInt64(seed) &+ 5, layers: 1, experts: experts, choices: 3, tokens: 40)
    var options = DestinationOptions()
    (options.timeLimit, options.workLimit) = (nil, 3_000_000)
    let objective: DestinationObjective = seed % 2 == 0 ? .gpus : .joint(interNode: 3, intraNode: 1)
    let outcome = try ReplicaSolver(options).solve(
      sets, topology: topology, redundant: redundant, rule: rule, objective: objective)
    let counts = CopyCounts.counts(
      sets.layerSets[0].loads, slots: experts + redundant, gpus: topology.gpus)
    var least = Double.infinity
    try Self.forEachRow(counts: counts, gpus: topology.gpus) { row in
      let plan = try SlotPlan(topology: topology, experts: experts, slots: [row])
      least = min(least, objective.value(of: try sets.destinations(of: plan, rule: rule)))
    }
    #expect(outcome.value > least - 1e-6 && outcome.value < least + 1e-6, "\(rule), seed \(seed)")
    #expect(outcome.value == objective.value(of: outcome.destinations))
  }

  @Test(arguments: DispatchRule.allCases) func sameAnswerForAnyNumberOfThreads(
    rule: DispatchRule
  ) throws {
    let sets = try Self.sets(seed: 9, layers: 5, experts: 8, choices: 3, tokens: 200)
    func solve(threads: Int, seed: UInt64 = 1) throws -> ReplicaOutcome {
      var options = DestinationOptions()
      (options.timeLimit, options.workLimit) = (nil, 300_000)
      (options.threads, options.seed) = (threads, seed)
      return try ReplicaSolver(options).solve(
        sets, topology: Topology(gpus: 4, nodes: 2), redundant: 4, rule: rule,
        loadCap: LoadCap(1.3, relaxedToFeasible: true))
    }
    let one = try solve(threads: 1)
    #expect(try solve(threads: 3).plan == one.plan && solve(threads: 1).plan == one.plan)
    #expect(one.plan.redundant == 4 && one.plan.uselessReplica == nil)
    #expect(one.destinations == (try sets.destinations(of: one.plan, rule: rule)))
    #expect(one.stopReason == .finished || one.stopReason == .work)
  }

  @Test func loadCapsAreKept() throws {
    let sets = try Self.sets(seed: 2, layers: 3, experts: 8, choices: 2, tokens: 300)
    var options = DestinationOptions()
    (options.timeLimit, options.workLimit) = (nil, 2_000_000)
    let free = try ReplicaSolver(options).solve(
      sets, topology: Topology(gpus: 4), redundant: 8, rule: .uniform)
    let capped = try ReplicaSolver(options).solve(
      sets, topology: Topology(gpus: 4), redundant: 8, rule: .uniform, loadCap: LoadCap(1.05))
    #expect(capped.destinations.balance.worstPeak <= 1.05 + 1e-6)
    #expect(free.value <= capped.value + 1e-6)
  }

  @Test func refusals() throws {
    let sets = try Self.sets(seed: 1, layers: 1, experts: 6, choices: 2, tokens: 20)
    func refuses(
      _ redundant: Int, gpus: Int = 4, objective: DestinationObjective = .gpus, cap: Double? = nil,
      _ reason: String
    ) throws {
      do throws(ModelError) {
        _ = try ReplicaSolver().solve(
          sets, topology: Topology(gpus: gpus), redundant: redundant, rule: .uniform,
          objective: objective, loadCap: cap.map { c throws(ModelError) in try LoadCap(c) })
        Issue.record("\(redundant) redundant slots are taken, expected: \(reason)")
      } catch { #expect(error.description.contains(reason), "\(error)") }
    }
    try refuses(3, "do not spread evenly over 4 GPUs: expected 2 redundant ones")
    try refuses(1, gpus: 6, "expected 6 redundant ones")
    try refuses(22, "expected 0 to 18")
    try refuses(-2, "expected 0 to 18")
    try refuses(2, objective: .staged, "stages")
    try refuses(2, objective: .joint(interNode: 1, intraNode: 2), "weights of 1")
    let lone = try TokenSets(
      experts: 4, layers: [TokenSets.Layer(experts: 4, sets: [[0, 1]], multiplicities: [9])])
    var options = DestinationOptions()
    options.timeLimit = 1
    #expect(throws: ModelError.self) {
      try ReplicaSolver(options).solve(
        lone, topology: Topology(gpus: 4), redundant: 4, rule: .vllm, loadCap: LoadCap(1.01))
    }
  }
}
