import Colocate
import Synchronization
import TestSupport
import Testing

/// Whatever the limits and however early somebody stops a run: there is a placement, it is valid,
/// it meets the load cap, and what is said about it is true.
@Suite struct AlwaysAPlacementTests {
  private static func instance(seed: UInt64, capped: Bool, objective: Objective) throws -> Instance
  {
    var random = SeededGenerator(seed: seed)
    let experts = [8, 12, 24, 48][random.next(below: 4)]
    let layers = 2 + random.next(below: 6)
    let gpus = experts == 12 ? 4 : 8
    let weights = (0..<((layers - 1) * experts * experts)).map { _ in
      random.nextUnit() < 0.3 ? random.next(below: 50) : 0
    }
    return try Instance(
      counts: TransitionCounts(layers: layers, experts: experts, weights: weights),
      topology: Topology(gpus: gpus, nodes: 2), objective: objective,
      loadCap: capped ? LoadCap(1.05, relaxedToFeasible: true) : nil)
  }

  private static let objectives: [Objective] = [
    .flat, .staged, .joint(interNode: 8, intraNode: 1),
  ]

  /// Every kind of tiny limit.
  private static let limits: [(name: String, change: @Sendable (inout SolverOptions) -> Void)] = [
    ("no time", { $0.timeLimit = 0 }),
    (
      "one unit of work",
      {
        $0.timeLimit = nil
        $0.workLimit = 1
      }
    ),
    (
      "300 units of work",
      {
        $0.timeLimit = nil
        $0.workLimit = 300
      }
    ),
    ("20 ms", { $0.timeLimit = 0.02 }),
    (
      "20 ms without proof",
      {
        $0.timeLimit = 0.02
        $0.proves = false
      }
    ),
  ]

  @Test(arguments: 0..<4) func underEveryLimit(seed: Int) throws {
    for objective in Self.objectives {
      for capped in [false, true] {
        let instance = try Self.instance(
          seed: UInt64(seed) + 700_000, capped: capped, objective: objective)
        for limit in Self.limits {
          var options = SolverOptions()
          options.threads = 1 + seed % 2
          limit.change(&options)
          let outcome = try Solver(options).solve(instance)
          try Self.check(outcome, instance, "seed \(seed) \(objective) \(capped) \(limit.name)")
          if limit.name == "no time" {
            #expect(outcome.stopReason == .time || outcome.stopReason == .proved)
          }
        }
      }
    }
  }

  /// Stopped by the very first line of progress.
  @Test(arguments: 0..<4) func cancelledAtOnce(seed: Int) throws {
    for objective in Self.objectives {
      for capped in [false, true] {
        let instance = try Self.instance(
          seed: UInt64(seed) + 710_000, capped: capped, objective: objective)
        var options = SolverOptions()
        options.timeLimit = 30
        options.threads = 1 + seed % 2
        let outcome = try Solver(options).solve(instance) { _ in .stop }
        try Self.check(outcome, instance, "seed \(seed) \(objective) \(capped)")
      }
    }
  }

  private static func check(_ outcome: SolverOutcome, _ instance: Instance, _ what: String) throws {
    let placement = try #require(outcome.placement, "\(what): \(outcome.status)")
    #expect(outcome.internalFault == nil, "\(what)")
    #expect(instance.gpuProblem.isFeasible(placement.assignment), "\(what)")
    let crossings = try instance.counts.crossings(of: placement)
    #expect(outcome.crossings == crossings, "\(what)")
    #expect(outcome.value == instance.objective.value(of: crossings), "\(what)")
    if let bound = outcome.bound { #expect(bound <= outcome.value ?? .min, "\(what)") }
    if outcome.status == .optimal {
      #expect(outcome.stopReason == .proved, "\(what)")
    } else {
      #expect(outcome.status == .feasible && outcome.stopReason != .proved, "\(what)")
    }
    for stage in outcome.stages {
      #expect((stage.bound == nil) == (stage.boundMethod == nil), "\(what) \(stage.stage)")
      #expect((stage.gap == nil) == (stage.bound == nil), "\(what) \(stage.stage)")
      if let bound = stage.bound { #expect(bound <= stage.value ?? .min, "\(what) \(stage.stage)") }
    }
  }

  /// Each line that announces an incumbent carries a placement that could be written at once; the
  /// last of them is as good as the answer, or the answer is better.
  @Test(arguments: 0..<4) func linesCarryPlacements(seed: Int) throws {
    for objective in Self.objectives {
      for capped in [false, true] {
        let instance = try Self.instance(
          seed: UInt64(seed) + 720_000, capped: capped, objective: objective)
        var options = SolverOptions()
        options.timeLimit = 0.2
        options.threads = 1 + seed % 2
        var best: (cost: [Int], source: IncumbentSource)?
        let outcome = try Solver(options).solve(instance) { line in
          guard let source = line.source else {
            #expect(line.placement == nil)
            return .proceed
          }
          guard let placement = line.placement,
            let crossings = try? instance.counts.crossings(of: placement)
          else {
            Issue.record("seed \(seed): a line of \(source) without a placement")
            return .proceed
          }
          #expect(instance.gpuProblem.isFeasible(placement.assignment))
          let cost =
            objective == .staged
            ? [crossings.node, crossings.gpu] : [objective.value(of: crossings)]
          if let last = best { #expect(!last.cost.lexicographicallyPrecedes(cost)) }
          best = (cost, source)
          return .proceed
        }
        let last = try #require(best, "seed \(seed) \(objective)")
        let crossings = try #require(outcome.crossings)
        let answer =
          objective == .staged
          ? [crossings.node, crossings.gpu] : [objective.value(of: crossings)]
        #expect(!last.cost.lexicographicallyPrecedes(answer), "seed \(seed) \(objective)")
      }
    }
  }

  /// The first line of a run is a baseline's, before anything was searched.
  @Test func theFirstLineIsABaseline() throws {
    for objective in Self.objectives {
      let instance = try Self.instance(seed: 730_000, capped: true, objective: objective)
      var options = SolverOptions()
      options.timeLimit = 0.5
      var first: IncumbentSource?
      _ = try Solver(options).solve(instance) { line in
        first = first ?? line.source
        return .proceed
      }
      #expect(first == .baseline, "\(objective)")
    }
  }

  /// A run that work ends says so, for every objective.
  @Test func workEndsJointAndStagedAsWell() throws {
    for objective in Self.objectives {
      let instance = try Self.instance(seed: 740_002, capped: false, objective: objective)
      var options = SolverOptions()
      options.timeLimit = nil
      options.workLimit = 300
      let outcome = try Solver(options).solve(instance)
      #expect(
        outcome.stopReason == (outcome.status == .optimal ? .proved : .work), "\(objective)")
    }
  }
}
