import Colocate
import Testing

@Suite struct DestinationSolverTests {
  /// Several layers of one size.
  static func sets(seed: UInt64, layers: Int, experts: Int) throws -> TokenSets {
    var random = SeededGenerator(seed: seed)
    var all = [TokenSets.Layer]()
    for _ in 0..<layers {
      let lists = (0..<40).map { _ in
        (0..<3).map { _ in min(random.next(below: experts), random.next(below: experts)) }
      }
      all.append(try TokenSets.Layer(experts: experts, sets: lists))
    }
    return try TokenSets(experts: experts, layers: all)
  }

  /// `body` for every placement of one layer, labels of GPUs.
  private static func forEach(_ experts: Int, _ gpus: Int, _ body: ([Int]) -> Void) {
    var labels = [Int](repeating: 0, count: experts)
    var held = [Int](repeating: 0, count: gpus)
    func assign(_ e: Int) {
      guard e < experts else { return body(labels) }
      for g in 0..<gpus where held[g] < experts / gpus {
        labels[e] = g
        held[g] += 1
        assign(e + 1)
        held[g] -= 1
      }
    }
    assign(0)
  }

  @Test(arguments: 0..<40) func twoLevelsEqualBruteForce(seed: Int) throws {
    let (experts, topology) = (8, try Topology(gpus: 4, nodes: 2))
    let sets = try Self.sets(seed: UInt64(seed), layers: 2, experts: experts)
    let weights = [(5, 1), (1, 1), (1, 0), (3, 2)][seed % 4]
    let joint = DestinationObjective.joint(interNode: weights.0, intraNode: weights.1)
    var options = DestinationOptions()
    options.timeLimit = nil
    var best = [(gpu: Int, node: Int, joint: Int, staged: Int)]()
    for layer in sets.layerSets {
      var found = (gpu: Int.max, node: Int.max, joint: Int.max, staged: Int.max)
      Self.forEach(experts, 4) { labels in
        let gpu = layer.destinations(groupOf: labels, groups: 4)
        let node = layer.destinations(groupOf: labels.map { $0 / 2 }, groups: 2)
        found.joint = min(found.joint, joint.value(gpu: gpu, node: node))
        found.gpu = min(found.gpu, gpu)
        if node < found.node { (found.node, found.staged) = (node, gpu) }
        if node == found.node { found.staged = min(found.staged, gpu) }
      }
      best.append(found)
    }
    for objective in [DestinationObjective.gpus, .nodes, .staged, joint] {
      let outcome = try DestinationSolver(options).solve(
        sets, topology: topology, objective: objective)
      for (l, layer) in outcome.layers.enumerated() {
        let name = "seed \(seed), layer \(l), \(objective)"
        switch objective {
        case .gpus:
          #expect(layer.value == best[l].gpu && layer.bound == best[l].gpu, "\(name)")
        case .nodes:
          #expect(layer.value == best[l].node && layer.bound == best[l].node, "\(name)")
        case .staged:
          // Ties between node placements are broken as they come: proved given the first stage.
          #expect(layer.value >= best[l].staged && layer.status == .optimal, "\(name)")
          let labels = (0..<experts).map { outcome.placement[layer: l, expert: $0] / 2 }
          let node = sets.layerSets[l].destinations(groupOf: labels, groups: 2)
          #expect(node == best[l].node, "\(name)")
        case .joint:
          #expect(layer.value == best[l].joint, "\(name)")
          let bound = try #require(layer.bound)
          #expect(bound <= best[l].joint, "\(name)")
        }
      }
      #expect(outcome.value == outcome.layers.reduce(0) { $0 + $1.value })
      #expect(try sets.destinations(of: outcome.placement) == outcome.destinations)
    }
  }

  @Test(arguments: [3_000, 30_000, 1_000_000]) func workLimitIsDeterministic(work: Int) throws {
    let sets = try Self.sets(seed: 5, layers: 4, experts: 24)
    var placements = [[Int]]()
    var bounds = [[Int?]]()
    for threads in 1...3 {
      var options = DestinationOptions()
      options.timeLimit = nil
      options.workLimit = work
      options.threads = threads
      let outcome = try DestinationSolver(options).solve(
        sets, topology: Topology(gpus: 4), loadCap: LoadCap(1.4, relaxedToFeasible: true))
      placements.append(outcome.placement.assignment)
      bounds.append(outcome.layers.map(\.bound))
    }
    #expect(placements[0] == placements[1] && placements[0] == placements[2])
    #expect(bounds[0] == bounds[1] && bounds[0] == bounds[2])
  }

  @Test func limitsAndCancellationLeaveAPlacement() throws {
    let sets = try Self.sets(seed: 6, layers: 5, experts: 32)
    let cap = try LoadCap(1.3, relaxedToFeasible: true)
    for (time, work) in [(0.0, nil), (nil, 1), (nil, 500)] as [(Double?, Int?)] {
      var options = DestinationOptions()
      (options.timeLimit, options.workLimit) = (time, work)
      let outcome = try DestinationSolver(options).solve(
        sets, topology: Topology(gpus: 8), loadCap: cap)
      #expect(outcome.status == .feasible)
      #expect(outcome.stopReason == (time == 0 ? .time : .work))
    }
    var options = DestinationOptions()
    options.threads = 1
    let outcome = try DestinationSolver(options).solve(
      sets, topology: Topology(gpus: 8), loadCap: cap
    ) { $0.layer == nil ? .proceed : .stop }
    #expect(outcome.stopReason == .cancelled)
    #expect(outcome.layers.filter { $0.seconds > 0 }.count == 1)
  }

  @Test func capsHoldAndImpossibleOnesAreRefused() throws {
    for seed in 0..<30 {
      let sets = try Self.sets(seed: UInt64(seed), layers: 3, experts: 12)
      let cap = try LoadCap(1.25, relaxedToFeasible: true)
      let topology = try Topology(gpus: 4, nodes: 2)
      for objective in [
        DestinationObjective.gpus, .staged, .nodes, .joint(interNode: 3, intraNode: 1),
      ] {
        let outcome = try DestinationSolver().solve(
          sets, topology: topology, objective: objective, loadCap: cap)
        let loads = try sets.gpuLoads(of: outcome.placement)
        for l in 0..<3 {
          let layer = sets.layerSets[l].loads
          let packing = BalancedPacking(loads: layer, groups: 4)
          let most = max(cap.tokens(of: layer.reduce(0, +), groups: 4), packing.maximum)
          #expect(loads[(l * 4)..<(l * 4 + 4)].allSatisfy { $0 <= most }, "seed \(seed)")
        }
      }
    }
    let one = try TokenSets(
      experts: 4, layers: [TokenSets.Layer(experts: 4, sets: [[0, 1], [0, 2], [0, 3]])])
    #expect(throws: ModelError.self) {
      try DestinationSolver().solve(one, topology: Topology(gpus: 2), loadCap: LoadCap(1.1))
    }
    #expect(throws: ModelError.self) {
      try DestinationSolver().solve(one, topology: Topology(gpus: 3))
    }
    #expect(throws: ModelError.self) {
      try DestinationSolver().solve(
        one, topology: Topology(gpus: 2), objective: .joint(interNode: 1, intraNode: 2))
    }
  }

  @Test func warmStartIsNeverMadeWorse() throws {
    let sets = try Self.sets(seed: 9, layers: 3, experts: 16)
    let topology = try Topology(gpus: 4)
    let good = try DestinationSolver().solve(sets, topology: topology)
    var options = DestinationOptions()
    options.workLimit = 1
    options.timeLimit = nil
    options.warmStart = good.placement
    let again = try DestinationSolver(options).solve(sets, topology: topology)
    #expect(again.value == good.value)
  }
}
