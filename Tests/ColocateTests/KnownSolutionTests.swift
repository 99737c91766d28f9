import Colocate
import Synchronization
import TestSupport
import Testing

/// A known solution is missed by whatever loses it. To see that, its weights are twice those of the
/// problem that is searched: every step then excludes what it takes for a better solution.
@Suite struct KnownSolutionTests {
  /// What was noted, with a problem and a solution that it holds to be twice as good as it is.
  private final class Witness: Sendable {
    let seen = Mutex<[String]>([])
    let problem: GroupingProblem
    let optimum: (kept: Int, labels: [Int])

    init(seed: UInt64) throws {
      problem =
        RandomProblem(
          seed: seed, experts: [6, 8], caps: false, coactivation: false
        ).problem
      optimum = try #require(problem.bruteForce())
    }

    var isOfUse: Bool {
      problem.groups > 1 && problem.groups < problem.experts && optimum.kept > 10
    }

    var faults: [String] { seen.withLock { $0 } }

    var known: KnownSolution? {
      let doubled = GroupingProblem(
        layers: problem.layers, experts: problem.experts, groups: problem.groups,
        weights: problem.weights.map { 2 * $0 }, loads: problem.loads)
      return KnownSolution(
        problem: doubled, labels: optimum.labels,
        faults: FaultLog { [self] fault in seen.withLock { $0.append(fault) } })
    }
  }

  /// Faults by their step, over some problems.
  private func steps(_ change: (inout GroupingSearch.Options) -> Void) throws -> [String] {
    var faults = [String]()
    for seed in 0..<10 {
      let witness = try Witness(seed: UInt64(seed) + 800_000)
      guard witness.isOfUse else { continue }
      var options = GroupingSearch.Options()
      // A search after a loss may have no end: what is called optimal cannot be reached.
      options.treeNodeLimit = 20
      change(&options)
      options.known = witness.known
      let incumbent = Incumbent()
      incumbent.offer(witness.optimum.labels, kept: witness.optimum.kept - 1, source: .warmStart)
      _ = GroupingSearch(problem: witness.problem, options: options).run(
        incumbent: incumbent, control: SearchControl(timeLimit: 1))
      faults += witness.faults
    }
    return faults
  }

  @Test func boundAndDollsAreWatched() throws {
    let dolls = try steps {
      $0.effort.evaluationsPerStage = 2
      $0.effort.deletes = false
    }
    #expect(dolls.contains { $0.contains("the path bound") })
    #expect(dolls.contains { $0.contains("the doll of layer") })
  }

  // MARK: - Faults put in

  /// The first note of each run, over some problems that are searched from nothing with their true
  /// optimum watched. Without the fault nothing may be noted.
  private func notes(
    seeds: Range<UInt64>, branches: Bool = false,
    _ fault: (inout PathFaults, PathFaults.Vertex) -> Void
  ) throws -> [String] {
    var notes = [String]()
    for seed in seeds {
      let problem = RandomProblem(seed: seed, experts: [6, 8, 9]).problem
      guard problem.groups > 1, problem.groups < problem.experts,
        let optimum = problem.bruteForce()
      else { continue }
      // A group of the optimum.
      let sets = Labels(optimum.labels, experts: problem.experts)
        .sets(layer: problem.layers - 1, groups: problem.groups)
      let vertex = PathFaults.Vertex(layer: problem.layers - 1, members: sets[0])
      for isFaulty in [false, true] {
        let faults = FaultLog()
        var options = GroupingSearch.Options()
        options.known = KnownSolution(problem: problem, labels: optimum.labels, faults: faults)
        // After a loss a search may have no end.
        options.treeNodeLimit = 100
        if branches {
          (options.rootStates, options.treeNodeStates) = (2, 2)
          // A root that is far from the minimum leaves something to branch on.
          options.effort.evaluationsPerStage = 4
          options.effort.deepShare = 1
          options.effort.cutRounds = 1
        }
        if isFaulty { fault(&options.faults, vertex) }
        _ = GroupingSearch(problem: problem, options: options).run(
          incumbent: Incumbent(), control: SearchControl(workLimit: 5_000_000))
        if !isFaulty { #expect(faults.text == nil, "seed \(seed)") }
        if isFaulty, let text = faults.text { notes.append(text) }
      }
    }
    return notes
  }

  /// Whether there are notes, and all of them name the step.
  private func expect(_ notes: [String], name step: String, atLeast least: Int) {
    #expect(notes.count >= least, "\(step): \(notes.count)")
    #expect(notes.allSatisfy { $0.contains(step) }, "\(step): \(notes)")
  }

  @Test func aDeletionThatTakesAGroupIsNamed() throws {
    let notes = try notes(seeds: 820_000..<820_020) { $0.deleted = $1 }
    expect(notes, name: "a deletion of the path relaxation", atLeast: 5)
  }

  @Test func aDollThatIsTooHighIsNamed() throws {
    let notes = try notes(seeds: 821_000..<821_020) { faults, _ in faults.raisedDoll = 1 }
    expect(notes, name: "the doll of layer 1", atLeast: 5)
  }

  @Test func aPruneThatLosesItIsNamed() throws {
    let notes = try notes(seeds: 822_000..<822_040, branches: true) { faults, _ in
      faults.lowersBounds = true
    }
    expect(notes, name: "a prune of the tree", atLeast: 3)
  }

  @Test func aBranchThatLosesItIsNamed() throws {
    let notes = try notes(seeds: 823_000..<823_040, branches: true) { $0.unbranched = $1 }
    expect(notes, name: "a branch of the tree", atLeast: 3)
  }

  /// An uncapped problem as an instance, to be solved from nothing with `labels` as the known
  /// solution.
  private static func watched(
    _ problem: GroupingProblem, _ labels: [Int]
  ) throws -> (instance: Instance, options: SolverOptions) {
    let counts = try TransitionCounts(
      layers: problem.layers, experts: problem.experts, weights: problem.weights)
    let topology = try Topology(gpus: problem.groups)
    var options = SolverOptions()
    (options.timeLimit, options.workLimit) = (nil, 20_000_000)
    options.methods.chain = false
    options.methods.localSearch = false
    options.debug.knownSolution = try Placement(
      topology: topology, layers: problem.layers, experts: problem.experts, assignment: labels)
    return (try Instance(counts: counts, topology: topology), options)
  }

  /// A step that loses the known solution ends the run with the step's name, and nothing is
  /// claimed.
  @Test func aFaultReachesTheOutcome() throws {
    var seen = 0
    for seed in 0..<20 {
      let random = RandomProblem(
        seed: UInt64(seed) + 824_000, experts: [6, 8], caps: false, coactivation: false)
      let problem = random.problem
      guard problem.groups > 1, problem.groups < problem.experts,
        let optimum = problem.bruteForce()
      else { continue }
      let watched = try Self.watched(problem, optimum.labels)
      var options = watched.options
      let sets = Labels(optimum.labels, experts: problem.experts)
        .sets(layer: 0, groups: problem.groups)
      options.debug.pathFaults.deleted = PathFaults.Vertex(layer: 0, members: sets[0])
      let outcome = try Solver(options).solve(watched.instance)
      guard let fault = outcome.internalFault else { continue }
      seen += 1
      let expected = "stage gpus: a deletion of the path relaxation"
      #expect(fault.contains(expected), "\(random): \(fault)")
      #expect(outcome.status == .feasible && outcome.bound == nil, "\(random)")
      #expect(outcome.placement != nil, "\(random)")
    }
    #expect(seen >= 3)
  }

  // MARK: - What is refused

  @Test func boundsAndInfeasibleLabelsAreRefused() throws {
    let witness = try Witness(seed: 800_001)
    let known = try #require(witness.known)
    known.check(bound: known.kept, by: .chain)
    #expect(witness.faults.isEmpty)
    known.check(bound: known.kept - 1, by: .colocation)
    #expect(witness.faults.count == 1 && witness.faults[0].contains("co-location"))
    known.lost(to: "anything", incumbent: known.kept)
    #expect(witness.faults.count == 1, "not better than the incumbent")
    var labels = witness.optimum.labels
    labels[0] = labels[0] == 0 ? 1 : 0
    #expect(KnownSolution(problem: witness.problem, labels: labels) == nil)
  }

  /// Cuts that hold pass, an inequality that does not is found.
  @Test func cutsAreWatched() throws {
    let weights = [Int](repeating: 1, count: 16)
    func problem(cap: Int) -> GroupingProblem {
      GroupingProblem(
        layers: 2, experts: 4, groups: 2, weights: weights, loads: [3, 3, 1, 1, 2, 2, 2, 2],
        caps: [cap, 4])
    }
    let faults = FaultLog()
    let known = try #require(
      KnownSolution(problem: problem(cap: 4), labels: [0, 1, 0, 1, 0, 0, 1, 1], faults: faults))
    func multipliers(_ cut: ColocationCut.Shape) -> ColocationMultipliers {
      ColocationMultipliers(
        layers: 2, experts: 4, groups: 2, fractionBits: 0,
        dual: [Int](repeating: 0, count: 48),
        cuts: [ColocationCut(boundary: 0, shape: cut, multiplier: 1)])
    }
    known.check(multipliers(.load(vertex: 0, half: 0, atMost: true)))
    known.check(multipliers(.partition([0], [1, 2])))
    #expect(faults.text == nil)
    // Expert 0 of layer 0 shares its group with expert 2, and not with expert 1.
    let layout = ColocationLayout(layers: 2, experts: 4)
    let values = known.values(in: layout)
    func row(_ other: Int) -> ColocationCut.Row {
      ColocationCut.Row(terms: [(index: layout.inside(0, 0, other), coefficient: 1)], limit: 0)
    }
    known.check(row(1), of: "one", values)
    #expect(faults.text == nil)
    known.check(row(2), of: "another", values)
    #expect(faults.text?.contains("another") == true)
  }

  /// The optimum of every random problem outlives a run that starts from nothing, by every method.
  @Test(arguments: 0..<20) func theOptimumOutlivesTheRun(seed: Int) throws {
    let random = RandomProblem(seed: UInt64(seed) + 810_000, experts: [6, 8], coactivation: false)
    let problem = random.problem
    guard problem.caps == nil, let optimum = problem.bruteForce() else { return }
    let (instance, options) = try Self.watched(problem, optimum.labels)
    let outcome = try Solver(options).solve(instance)
    #expect(outcome.internalFault == nil, "\(random)")
    if outcome.status == .optimal {
      #expect(outcome.value == problem.total - optimum.kept, "\(random)")
    }
  }

  @Test func aKnownSolutionMustFit() throws {
    let counts = try TransitionCounts(layers: 2, experts: 4, weights: Array(1...16))
    let instance = try Instance(counts: counts, topology: Topology(gpus: 2))
    var options = SolverOptions()
    options.debug.knownSolution = try Placement(
      topology: Topology(gpus: 4), layers: 2, experts: 4, assignment: [0, 1, 2, 3, 0, 1, 2, 3])
    #expect(throws: ModelError.self) { try Solver(options).solve(instance) }
  }
}
