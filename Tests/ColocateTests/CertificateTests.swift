import Colocate
import ColocateCertificate
import TestSupport
import Testing

@Suite struct CertificateTests {
  let control = SearchControl()

  /// A random instance with an optimal placement.
  func instance(seed: UInt64, experts: [Int] = [2, 4, 6, 8]) throws -> (
    instance: Instance, placement: Placement, kept: Int
  )? {
    let problem = RandomProblem(seed: seed, experts: experts).problem
    let counts = try TransitionCounts(
      layers: problem.layers, experts: problem.experts, weights: problem.weights,
      loads: problem.loads, coactivation: problem.coactivation)
    let cap = problem.caps == nil ? nil : try LoadCap(1.25, relaxedToFeasible: true)
    let instance = try Instance(
      counts: counts, topology: Topology(gpus: problem.groups), loadCap: cap)
    guard let optimum = instance.gpuProblem.bruteForce() else { return nil }
    return (
      instance,
      try Placement(
        topology: instance.topology, layers: problem.layers, experts: problem.experts,
        assignment: optimum.labels), optimum.kept
    )
  }

  func certificate(
    _ instance: Instance, _ placement: Placement, kept: Int, bound: Int,
    _ evidence: Certificate.Evidence
  ) -> Certificate {
    Certificate(
      placement: placement, objective: instance.objective, loadCap: instance.loadCap,
      caps: instance.capPerLayer,
      claims: [.init(kept: kept, keptBound: bound, evidence: evidence)])
  }

  func accepts(_ certificate: Certificate, _ instance: Instance) -> Bool {
    (try? certificate.check(counts: instance.counts, effort: CertificateEffort())) != nil
  }

  /// A random placement within the caps that keeps less; nil where none was drawn.
  func worsePlacement(than kept: Int, _ instance: Instance, seed: UInt64) throws -> Placement? {
    let problem = instance.gpuProblem
    var random = SeededGenerator(seed: seed)
    guard let labels = ColocationCutTests.randomLabels(problem, &random),
      problem.kept(labels) < kept
    else { return nil }
    return try Placement(
      topology: instance.topology, layers: problem.layers, experts: problem.experts,
      assignment: labels)
  }

  /// The exact value function by the plainest means.
  func valueFunction(_ problem: GroupingProblem) throws -> (partitions: [[UInt64]], values: [[Int]])
  {
    let groups = problem.groups
    var partitions = [[UInt64]]()
    var values = [[Int]]()
    for l in 0..<problem.layers {
      let states = try CertificatePartitions.list(CertifiedProblem(problem), layer: l)
      let masks = stride(from: 0, to: states.count, by: groups).map {
        Array(states[$0..<($0 + groups)])
      }
      func pairs(_ group: UInt64, _ weight: (Int, Int) -> Int) -> Int {
        var sum = 0
        for i in 0..<problem.experts where group >> UInt64(i) & 1 == 1 {
          for j in 0..<i where group >> UInt64(j) & 1 == 1 { sum += weight(i, j) }
        }
        return sum
      }
      let square = problem.experts * problem.experts
      let inside = masks.map { partition in
        problem.coactivation.isEmpty
          ? 0
          : partition.reduce(0) {
            $0
              + pairs($1) { problem.coactivation[l * square + $0 * problem.experts + $1] }
          }
      }
      if l == 0 {
        values.append(inside)
      } else {
        let before = stride(from: 0, to: partitions[l - 1].count, by: groups).map {
          Array(partitions[l - 1][$0..<($0 + groups)])
        }
        values.append(
          masks.indices.map { to in
            before.indices.map { from in
              var best = 0
              func match(_ g: Int, _ used: Int, _ sum: Int) {
                guard g < groups else {
                  best = max(best, sum)
                  return
                }
                for h in 0..<groups where used >> h & 1 == 0 {
                  var overlap = 0
                  for i in 0..<problem.experts where before[from][g] >> UInt64(i) & 1 == 1 {
                    for j in 0..<problem.experts where masks[to][h] >> UInt64(j) & 1 == 1 {
                      overlap += problem.weights[(l - 1) * square + i * problem.experts + j]
                    }
                  }
                  match(g + 1, used | 1 << h, sum + overlap)
                }
              }
              match(0, 0, 0)
              return values[l - 1][from] + best + inside[to]
            }.max() ?? 0
          })
      }
      partitions.append(states)
    }
    return (partitions, values)
  }

  @Test func chainEvidenceIsAcceptedAndItsCorruptionsRefused() throws {
    for seed in 1...60 as ClosedRange<UInt64> {
      guard let (instance, placement, kept) = try instance(seed: seed, experts: [2, 4, 6]) else {
        continue
      }
      let problem = instance.gpuProblem
      let (partitions, values) = try valueFunction(problem)
      let evidence = try #require(
        Certificate.chain(problem, partitions: partitions, values: values))
      let good = certificate(instance, placement, kept: kept, bound: kept, evidence)
      let findings = try good.check(counts: instance.counts, effort: CertificateEffort())
      #expect(findings.count == 1 && findings[0].isOptimal, "seed \(seed)")
      #expect(findings[0].crossings == problem.total - kept, "seed \(seed)")
      // Every single value is the smallest possible, so lowering any is refused.
      var random = SeededGenerator(seed: seed)
      for _ in 0..<5 {
        var wrong = values
        let l = random.next(below: values.count)
        wrong[l][random.next(below: values[l].count)] -= 1
        #expect(
          !accepts(
            certificate(instance, placement, kept: kept, bound: kept, .chain(values: wrong)),
            instance), "seed \(seed)")
      }
      #expect(
        !accepts(
          certificate(
            instance, placement, kept: kept, bound: kept, .chain(values: Array(values.dropLast()))),
          instance))
    }
  }

  @Test func assignmentEvidence() throws {
    var seen = 0
    for seed in 1...200 as ClosedRange<UInt64> {
      guard let (instance, placement, kept) = try instance(seed: seed, experts: [3, 4, 5]),
        instance.topology.gpus == instance.counts.experts, instance.counts.experts > 1
      else { continue }
      seen += 1
      let problem = instance.gpuProblem
      guard
        case .assignment(var rows, let columns)? = Certificate.assignmentDuals(
          problem, labels: placement.assignment)
      else {
        Issue.record("seed \(seed): no duals of an optimal placement")
        continue
      }
      #expect(
        accepts(
          certificate(
            instance, placement, kept: kept, bound: kept,
            .assignment(rows: rows, columns: columns)), instance), "seed \(seed)")
      rows[0] -= 1
      #expect(
        !accepts(
          certificate(
            instance, placement, kept: kept, bound: kept,
            .assignment(rows: rows, columns: columns)), instance), "seed \(seed)")
      #expect(
        !accepts(
          certificate(
            instance, placement, kept: kept, bound: kept - 1,
            .assignment(rows: rows, columns: columns)), instance), "seed \(seed)")
    }
    #expect(seen > 10)
  }

  @Test func pathEvidenceBoundsForAnyPrices() throws {
    for seed in 1...80 as ClosedRange<UInt64> {
      guard let (instance, placement, kept) = try instance(seed: seed) else { continue }
      let problem = instance.gpuProblem
      guard problem.groups > 1 else { continue }
      var random = SeededGenerator(seed: seed)
      let scale = 64 * (problem.weights.max()! + 1)
      let prices = (0..<(problem.layers * problem.experts)).map { _ in
        random.next(below: 2 * scale) - scale / 2
      }
      var cuts = [CertificatePrices.Cut]()
      if problem.experts >= 3, random.nextUnit() < 0.5 {
        cuts.append(
          .init(
            layer: random.next(below: problem.layers), members: 0b111,
            price: random.next(below: scale)))
      }
      let evidence = Certificate.Evidence.path(CertificatePrices(experts: prices, cuts: cuts))
      let bound = try bound(instance, placement, kept, evidence)
      #expect(bound >= kept, "seed \(seed)")
      #expect(
        accepts(certificate(instance, placement, kept: kept, bound: bound, evidence), instance))
      #expect(
        !accepts(certificate(instance, placement, kept: kept, bound: bound - 1, evidence), instance)
      )
      // A weaker claim is true, but for one beyond all there is.
      #expect(
        accepts(certificate(instance, placement, kept: kept, bound: bound + 1, evidence), instance)
          == (bound < problem.total))
    }
  }

  /// The bound that evidence proves, from the checker's own refusal.
  func bound(
    _ instance: Instance, _ placement: Placement, _ kept: Int, _ evidence: Certificate.Evidence
  ) throws -> Int {
    do {
      _ = try certificate(instance, placement, kept: kept, bound: -1, evidence).check(
        counts: instance.counts, effort: CertificateEffort())
    } catch {
      let words = error.description.split(separator: " ")
      return try #require(
        words.count > 2 ? Int(words[words.count - 2]) : nil, "\(error.description)")
    }
    Issue.record("a bound of -1 was accepted")
    return -1
  }

  @Test func colocationEvidence() throws {
    for seed in 1...60 as ClosedRange<UInt64> {
      guard let (instance, placement, kept) = try instance(seed: seed) else { continue }
      let relaxation = ColocationRelaxation(problem: instance.gpuProblem, control: control)
      relaxation.parameters.maxIterations = 100
      relaxation.run()
      guard let multipliers = relaxation.multipliers else { continue }
      let evidence = CertificateColocation(multipliers)
      func make(_ bound: Int, _ evidence: CertificateColocation) -> Certificate {
        certificate(instance, placement, kept: kept, bound: bound, .colocation(evidence))
      }
      // The checker's own derivation is not weaker than the solver's by more than rounding.
      let bound = try #require(
        make(0, evidence).claims[0].leastClaim(
          of: CertifiedProblem(instance.gpuProblem), kept: kept, effort: CertificateEffort()))
      #expect(abs(bound - relaxation.keptBound) <= 1, "seed \(seed)")
      #expect(accepts(make(bound, evidence), instance), "seed \(seed)")
      #expect(!accepts(make(bound - 1, evidence), instance), "seed \(seed)")
      // A changed multiplier proves a worse bound than claimed.
      var wrong = evidence
      wrong.between[0][0] += 1 << (wrong.fractionBits + 12)
      #expect(!accepts(make(bound, wrong), instance), "seed \(seed)")
      if !evidence.cuts.isEmpty {
        wrong = evidence
        wrong.cuts[0].multiplier = -1
        #expect(!accepts(make(bound, wrong), instance), "seed \(seed)")
      }
    }
  }

  @Test func everyClaimIsChecked() throws {
    let (instance, placement, kept) = try #require(try instance(seed: 4, experts: [6]))
    let problem = instance.gpuProblem
    let (partitions, values) = try valueFunction(problem)
    let evidence = try #require(
      Certificate.chain(problem, partitions: partitions, values: values))
    let good = certificate(instance, placement, kept: kept, bound: kept, evidence)
    #expect(accepts(good, instance))
    func refused(_ change: (inout Certificate) throws -> Void) rethrows -> Bool {
      var copy = good
      try change(&copy)
      return !accepts(copy, instance)
    }
    #expect(refused { $0.claims[0].kept += 1 })
    #expect(refused { $0.claims[0].kept -= 1 })
    #expect(refused { $0.claims[0].keptBound -= 1 })
    #expect(refused { $0.claims[0].keptBound = problem.total + 1 })
    // A weaker claim holds, and is reported as it is.
    var weaker = good
    weaker.claims[0].keptBound += 1
    let finding = try weaker.check(counts: instance.counts, effort: CertificateEffort())[0]
    #expect(finding.bound == finding.crossings - 1 && !finding.isOptimal)
    #expect(refused { $0.claims[0].stage = .node(9) })
    #expect(refused { $0.claims[0].unit = 0 })
    #expect(refused { $0.claims[0].unit = 7919 })
    #expect(refused { $0.claims[0].loadUnit = 0 })
    #expect(refused { $0.claims[0].loadUnit = 7919 })
    #expect(refused { $0.caps = problem.caps == nil ? [1, 1, 1] : nil })
    #expect(refused { $0.claims = [] })
    #expect(refused { $0.claims.append($0.claims[0]) })
    #expect(refused { $0.claims[0].evidence = .oneGroup })
    #expect(refused { $0.claims[0].evidence = .assignment(rows: [], columns: []) })
    #expect(refused { $0.claims[0].evidence = .path(CertificatePrices(experts: [1])) })
    #expect(
      try refused {
        // Another placement, which keeps less or is no placement of this many experts a GPU.
        var assignment = placement.assignment
        let other = try #require(assignment.indices.first { assignment[$0] != assignment[0] })
        assignment.swapAt(0, other % problem.experts == other ? other : 1)
        if assignment == placement.assignment { assignment.reverse() }
        $0.placement = try Placement(
          topology: instance.topology, layers: problem.layers, experts: problem.experts,
          assignment: assignment)
        $0.claims[0].kept = kept
      })
  }

  /// A tree that leaves something out, or whose leaves do not hold, is refused; a right one is not.
  @Test func trees() throws {
    var proved = 0
    for seed in 1...120 as ClosedRange<UInt64> {
      guard let (instance, placement, kept) = try instance(seed: seed, experts: [4, 6]), kept > 0
      else { continue }
      let problem = instance.gpuProblem
      guard problem.groups > 1, problem.groups < problem.experts else { continue }
      // Prices of half the incident weight: any prices will do, the layered search closes what is
      // left.
      var prices = [Int](repeating: 0, count: problem.layers * problem.experts)
      for l in 0..<(problem.layers - 1) {
        for i in 0..<problem.experts {
          for j in 0..<problem.experts {
            let weight = 64 * problem.weights[(l * problem.experts + i) * problem.experts + j]
            prices[l * problem.experts + i] += weight / 4
            prices[(l + 1) * problem.experts + j] += weight / 4
          }
        }
      }
      let vector = CertificatePrices(experts: prices)
      let dolls = [Int](repeating: 0, count: problem.layers + 1)
      let leaf = CertificateTree.Node(
        deletions: [vector], kind: .exhausted(prices: vector, dolls: dolls))
      let branch = CertificateTree.Node(
        kind: .branch(layer: problem.layers - 1, first: 0, second: 1, together: 1, apart: 2))
      let trees = [CertificateTree(nodes: [leaf]), CertificateTree(nodes: [branch, leaf, leaf])]
      for tree in trees {
        #expect(
          accepts(
            certificate(instance, placement, kept: kept, bound: kept, .tree(tree)), instance),
          "seed \(seed)")
      }
      proved += 1
      // A worse placement is not the best one.
      guard let worse = try worsePlacement(than: kept, instance, seed: seed) else { continue }
      let value = problem.kept(worse.assignment)
      for tree in trees {
        #expect(
          !accepts(
            certificate(instance, worse, kept: value, bound: value, .tree(tree)), instance),
          "seed \(seed)")
      }
      // Dolls that claim too much.
      var boast = dolls
      for l in 0..<problem.layers { boast[l] = 1 << 40 }
      #expect(
        !accepts(
          certificate(
            instance, worse, kept: value, bound: value,
            .tree(.init(nodes: [.init(kind: .exhausted(prices: vector, dolls: boast))]))),
          instance),
        "seed \(seed)")
    }
    #expect(proved > 20)
  }

  @Test func certificatesOfTheSolver() throws {
    for seed in 1...40 as ClosedRange<UInt64> {
      guard let (instance, _, kept) = try instance(seed: seed) else { continue }
      var options = SolverOptions()
      options.timeLimit = 20
      options.keepsCertificate = true
      let outcome = try Solver(options).solve(instance)
      let made = try #require(
        Certificate(of: outcome, instance: instance, control: control), "seed \(seed)")
      let findings = try made.check(counts: instance.counts, effort: CertificateEffort())
      #expect(findings.count == 1, "seed \(seed)")
      #expect(findings[0].crossings == instance.gpuProblem.total - kept, "seed \(seed)")
      #expect(findings[0].isOptimal, "seed \(seed)")
    }
  }
}
