import Colocate
import TestSupport
import Testing

/// Placements that keep a router's groups, against listing all of them.
@Suite struct PreservedGroupsTests {
  private func counts(
    _ random: inout SeededGenerator, layers: Int, experts: Int, coactivation: Bool
  ) throws -> TransitionCounts {
    let weights = (0..<((layers - 1) * experts * experts)).map { _ in random.next(below: 30) }
    let together =
      coactivation
      ? random.symmetricTables(layers, experts: experts) { $0.next(below: 10) } : []
    return try TransitionCounts(
      layers: layers, experts: experts, weights: weights, coactivation: together)
  }

  /// Every way to give the experts of one layer to the GPUs that keeps the groups.
  private func layers(experts: Int, gpus: Int, groups: Int) -> [[Int]] {
    let (perGPU, perGroup) = (experts / gpus, experts / groups)
    var found = [[Int]]()
    var labels = [Int](repeating: -1, count: experts)
    func assign(_ e: Int) {
      guard e < experts else {
        found.append(labels)
        return
      }
      let first = e / perGroup * perGroup
      for gpu in 0..<gpus where labels[..<e].count(where: { $0 == gpu }) < perGPU {
        // One GPU for a group, or GPUs of one block.
        let block = max(1, gpus / groups)
        if e > first, labels[first] / block != gpu / block { continue }
        labels[e] = gpu
        assign(e + 1)
        labels[e] = -1
      }
    }
    assign(0)
    return found
  }

  /// The least objective of all placements that keep the groups and the cap.
  private func least(_ instance: Instance, groups: Int) throws -> Int? {
    let (counts, topology) = (instance.counts, instance.topology)
    let all = layers(experts: counts.experts, gpus: topology.gpus, groups: groups)
    var best: Int?
    func choose(_ labels: [Int]) throws {
      guard labels.count == counts.layers * counts.experts else {
        for layer in all { try choose(labels + layer) }
        return
      }
      guard instance.gpuProblem.isFeasible(labels) else { return }
      let placement = try Placement(
        topology: topology, layers: counts.layers, experts: counts.experts, assignment: labels)
      let value = instance.objective.value(of: try counts.crossings(of: placement))
      best = min(best ?? .max, value)
    }
    try choose([])
    return best
  }

  @Test(arguments: 0..<40) func asGoodAsListingEverything(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    // Experts, GPUs, nodes, groups: whole groups on a GPU, and one group for each GPU.
    let sizes = [(8, 2, 1, 4), (6, 3, 1, 3), (8, 4, 2, 4), (12, 2, 2, 4), (4, 2, 1, 2)]
    let (experts, gpus, nodes, groups) = sizes[seed % sizes.count]
    let counts = try counts(&random, layers: 3, experts: experts, coactivation: seed % 2 == 1)
    let cap = seed % 3 == 0 ? try LoadCap(1.3, relaxedToFeasible: true) : nil
    let instance = try Instance(
      counts: counts, topology: Topology(gpus: gpus, nodes: nodes),
      objective: seed % 4 == 3 ? .joint(interNode: 5, intraNode: 2) : .flat, loadCap: cap)
    let preserved = try PreservedGroups(instance, groups: groups)
    var options = SolverOptions()
    (options.timeLimit, options.threads) = (20, 1)
    let outcome = try preserved.solve(options) { progress in
      if let placement = progress.placement, !preserved.keeps(placement) {
        Issue.record("seed \(seed): an incumbent tears groups")
      }
      return .proceed
    }
    let placement = try #require(outcome.placement)
    #expect(preserved.keeps(placement) && !preserved.spreadsGroups)
    let (value, bound) = (try #require(outcome.value), try #require(outcome.bound))
    // The joint bound joins those of two levels, and need not be reached.
    if instance.objective == .flat { #expect(outcome.status == .optimal && bound == value) }
    // A cap that is relaxed is relaxed to what whole groups can meet.
    guard cap == nil else { return }
    let best = try #require(try least(instance, groups: groups))
    #expect(bound <= best && best <= value, "seed \(seed): \(bound), \(best), \(value)")
    if instance.objective == .flat { #expect(value == best, "seed \(seed)") }
  }

  @Test(arguments: 0..<20) func groupsOnSeveralGPUs(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let (experts, gpus, groups) = [(4, 4, 2), (8, 4, 2), (6, 6, 3)][seed % 3]
    let counts = try counts(&random, layers: 2, experts: experts, coactivation: seed % 2 == 1)
    let instance = try Instance(counts: counts, topology: Topology(gpus: gpus))
    let preserved = try PreservedGroups(instance, groups: groups)
    #expect(preserved.spreadsGroups)
    var options = SolverOptions()
    (options.timeLimit, options.threads) = (20, 1)
    let outcome = try preserved.solve(options)
    let placement = try #require(outcome.placement?.canonical())
    #expect(preserved.keeps(placement), "seed \(seed)")
    let value = try #require(outcome.value)
    #expect(value == (try counts.crossings(of: placement).gpu))
    let best = try #require(try least(instance, groups: groups))
    let bound = try #require(outcome.bound)
    #expect(bound <= best && best <= value, "seed \(seed): \(bound), \(best), \(value)")
    #expect(outcome.stages.map(\.stage).prefix(2) == [.groups, .block(0)])
    // Each block is solved as well as its groups allow.
    #expect(outcome.stages.allSatisfy { $0.status == .optimal }, "seed \(seed)")
  }

  @Test func sizesThatDoNotFit() throws {
    var random = SeededGenerator(seed: 1)
    let counts = try counts(&random, layers: 2, experts: 12, coactivation: false)
    for (gpus, nodes, groups) in [(4, 1, 5), (4, 1, 6), (4, 4, 2), (4, 1, 1)] {
      let instance = try Instance(counts: counts, topology: Topology(gpus: gpus, nodes: nodes))
      #expect(throws: ModelError.self, "\(gpus) GPUs, \(groups) groups") {
        try PreservedGroups(instance, groups: groups)
      }
    }
  }
}
