import Colocate
import ColocateCertificate
import ColocateFormats
import TestSupport
import Testing

/// Forged certificates of every kind. One may be accepted, but only if what it claims is true of
/// the very problem it names, whose optimum brute force knows.
@Suite struct CertificateForgeryTests {
  /// A small random instance, its counts scaled to a total of about 2^bits where that is given.
  static func instance(seed: UInt64) throws -> Instance? {
    let problem = RandomProblem(seed: seed, experts: [2, 4, 6], maxLayers: 4, caps: false).problem
    var random = SeededGenerator(seed: seed)
    var (weights, together) = (problem.weights, problem.coactivation)
    let bits = [0, 0, 31, 41, 50][random.next(below: 5)]
    if bits > 0, problem.total > 0 {
      let scale = max(1, (1 << bits) / problem.total)
      // Half of them have a large common divisor, the others none.
      let noise = random.next(below: 2) == 0 ? 1 : scale
      weights = weights.map { $0 == 0 ? 0 : $0 * scale + random.next(below: noise) }
      together = together.map { $0 * scale }
    }
    // More than counts may add up to is no instance.
    guard
      let counts = try? TransitionCounts(
        layers: problem.layers, experts: problem.experts, weights: weights, coactivation: together)
    else { return nil }
    let nodes = problem.groups % 2 == 0 && problem.groups > 2 ? 1 + random.next(below: 2) : 1
    let objective: Objective =
      nodes == 1
      ? .flat : [.flat, .staged, .joint(interNode: 5, intraNode: 2)][random.next(below: 3)]
    let cap = random.next(below: 2) == 0 ? nil : try LoadCap(1.25, relaxedToFeasible: true)
    return try? Instance(
      counts: counts, topology: Topology(gpus: problem.groups, nodes: nodes),
      objective: objective, loadCap: cap)
  }

  /// Options that lead to each kind of evidence. But for the first, without local search: it costs
  /// a second each, and what is claimed of a worse placement can be forged as well.
  static let ways: [@Sendable (inout SolverOptions) -> Void] = [
    { _ in },
    { $0.methods.colocation = false },
    {
      $0.methods.dolls = false
      ($0.methods.pathEvaluations, $0.methods.pathCutRounds) = (4, 1)
    },
    {
      ($0.methods.tree, $0.methods.dolls, $0.methods.colocation) = (false, false, false)
      $0.methods.pathEvaluations = 4
    },
    {
      $0.methods.path = false
      $0.methods.colocationIterations = 120
    },
    {
      ($0.methods.path, $0.methods.colocationFixing) = (false, false)
      $0.methods.colocationIterations = 120
    },
    {
      ($0.methods.path, $0.methods.colocationStates) = (false, 0)
      $0.methods.colocationIterations = 120
    },
  ]

  /// What no placement of a stage keeps more than, by brute force.
  static func optimum(
    _ level: Stage, _ certificate: Certificate, _ counts: TransitionCounts
  ) -> Int? {
    let topology = certificate.placement.topology
    let experts = counts.experts
    let whole = GroupingProblem(
      layers: counts.layers, experts: experts, groups: topology.gpus, weights: counts.weights,
      coactivation: counts.coactivation, loads: counts.loads, caps: certificate.caps)
    switch level {
    case .gpus: return whole.bruteForce()?.kept
    case .nodes:
      return GroupingProblem(
        layers: counts.layers, experts: experts, groups: topology.nodes, weights: counts.weights,
        coactivation: counts.coactivation, loads: counts.loads,
        caps: certificate.caps?.map { min($0, 1 << 55) * topology.gpusPerNode }
      ).bruteForce()?.kept
    case .joint, .gpusForJoint, .groups, .block: return nil
    case .node(let node):
      let members = (0..<counts.layers).map { l in
        (0..<experts).filter {
          topology.node(of: certificate.placement.assignment[l * experts + $0]) == node
        }
      }
      return whole.restricted(
        to: members, groups: topology.gpusPerNode, caps: certificate.caps
      ).bruteForce()?.kept
    }
  }

  @Test(arguments: 0..<4)
  func noFalseBoundIsAccepted(block: Int) throws {
    var (forgeries, accepted) = (0, 0)
    for seed in UInt64(block * 12)..<UInt64(block * 12 + 12) {
      guard let instance = try Self.instance(seed: seed + 500_000) else { continue }
      for (way, change) in Self.ways.enumerated() {
        var options = SolverOptions()
        options.timeLimit = 5
        options.keepsCertificate = true
        if way > 0 {
          (options.methods.chain, options.methods.assignment, options.methods.localSearch) = (
            false, false, false
          )
        }
        change(&options)
        let outcome = try Solver(options).solve(instance)
        guard let file = CertificateFile(of: outcome, instance: instance) else { continue }
        #expect(throws: Never.self, "seed \(seed), way \(way)") {
          _ = try file.check(counts: instance.counts, path: "proof")
        }
        let document = file.json()
        var forger = CertificateForger(seed: seed &* 16 &+ UInt64(way))
        for number in 0..<30 {
          forgeries += 1
          let forged = forger.forge(document)
          guard let parsed = try? CertificateFile.parse(JSONNode(forged)),
            (try? parsed.check(counts: instance.counts, path: "forged", seconds: 10)) != nil
          else { continue }
          accepted += 1
          for stage in parsed.certificate.claims {
            let most = Self.optimum(stage.stage, parsed.certificate, instance.counts)
            #expect(
              stage.keptBound >= most ?? .max,
              "seed \(seed), way \(way), forgery \(number): \(stage.stage)")
          }
        }
      }
    }
    // Weaker claims and changes without effect are accepted, most forgeries are not.
    #expect(
      forgeries > 800 && accepted > 10 && accepted < forgeries / 2, "\(forgeries) \(accepted)")
  }

  /// Evidence of two layers and four experts that is made to cost time or memory, or to trap.
  private enum Hostile {
    static let (most, least) = (Int.max, Int.min)
    static let prices = "\"prices\": [[0, 0, 0, 0], [0, 0, 0, 0]], \"cuts\": []"
    static let leaf = "{\"deletions\": [], \"leaf\": \"bounded\", \(prices)}"

    static func branch(_ one: Int, _ two: Int) -> String {
      "{\"deletions\": [], \"branch\": [0, 0, 1], \"children\": [\(one), \(two)]}"
    }
    static func tree(_ nodes: [String]) -> String {
      "{\"kind\": \"tree\", \"nodes\": [\(nodes.joined(separator: ","))]}"
    }
    static func path(_ rows: String) -> String {
      "{\"kind\": \"path\", \"prices\": [\(rows)], \"cuts\": []}"
    }
    static func colocation(_ number: Int, bits: Int = 28, cut: String = "") -> String {
      func row(_ count: Int) -> String {
        "[" + [String](repeating: "\(number)", count: count).joined(separator: ",") + "]"
      }
      return "{\"kind\": \"co-location\", \"fraction_bits\": \(bits), \"left\": [\(row(10))], "
        + "\"between\": [\(row(16))], \"right\": [\(row(10))]\(cut)}"
    }

    static let all = [
      // 2^59 paths through 60 nodes.
      tree((0..<59).map { branch($0 + 1, $0 + 1) } + [leaf]),
      tree([branch(0, 0)]), tree([branch(1, 2), leaf]), tree([branch(most, least)]), tree([]),
      String(repeating: "[", count: 1_000_000),
      path("[\(most), \(most), 0, 0], [\(least), 0, 0, 0]"),
      "{\"kind\": \"path\", \(prices.dropLast(2))[[0, \(most), 0, 1, 2], [0, \(most), 0, 1, 3]]}",
      "{\"kind\": \"path\", \(prices), \"kind\": \"one-group\"}",
      "{\"kind\": \"path\", \(prices), \"more\": 1}",
      path("[NaN, 0, 0, 0], [0, 0, 0, 0]"), path("[1e300, 0, 0, 0], [0, 0, 0, 0]"),
      path("[18446744073709551616, 0, 0, 0], [0, 0, 0, 0]"),
      "{\"kind\": \"chain\", \"values\": [[\(least), 0, 0], [\(most), \(most), \(most)]]}",
      "{\"kind\": \"chain\", \"values\": [[0, 0, 0], [0, 0, 0]]}",
      colocation(least), colocation(0, bits: 63), colocation((1 << 52) - 1, bits: 40),
      colocation(0, cut: ", \"load\": [[0, \(most), 0, 0, 1]]"),
      colocation(0, bits: 40, cut: ", \"crowd\": [[0, \(most), 0, 1, 2, 3]]"),
      colocation(0, cut: ", \"company\": [[0, 1, 0, 1, 0, \(most), 2]]"),
      colocation(0, cut: ", \"partition\": [[\(least), 1, \(most), 0, 1]]"),
      colocation(0, cut: ", \"load_product\": [[0, 1, 0, 0, \(least)]]"),
    ]
  }

  /// Files made to cost time or memory, or to trap.
  @Test func hostileFilesAreRefused() throws {
    let counts = try TransitionCounts(
      layers: 2, experts: 4, weights: [Int](repeating: 1 << 40, count: 16))
    let digest = CertificateFile(
      Certificate(
        placement: try Placement(
          topology: Topology(gpus: 2), layers: 2, experts: 4, assignment: [0, 0, 1, 1, 0, 0, 1, 1]),
        objective: .flat, loadCap: nil, caps: nil, claims: []), counts: counts
    ).digest
    func file(_ evidence: String, gpus: Int = 2, kept: String = "8796093022208") -> String {
      let row = gpus == 2 ? "[0, 0, 1, 1]" : "[0, 1, 2, 3]"
      return """
        {"format": "colocate-certificate", "version": 1, "layers": 2, "experts": 4, "nodes": 1,
        "gpus_per_node": \(gpus), "objective": {"name": "flat"}, "load_cap": null,
        "counts_sha256": "\(digest)", "assignment": [\(row), \(row)], "stages": [{"name": "gpus",
        "kept": \(kept), "kept_bound": \(kept), "evidence": \(evidence)}]}
        """
    }
    for (number, evidence) in Hostile.all.enumerated() {
      #expect(throws: (any Error).self, "\(number)") {
        let node = try JSONReader.read(Array(file(evidence).utf8))
        _ = try CertificateFile.parse(node).check(counts: counts, path: "hostile", seconds: 20)
      }
    }
    for dual in [Int.max, Int.min, 1 << 62] {
      let row = "[[\(dual), \(dual), \(dual), \(dual)]]"
      let evidence = "{\"kind\": \"assignment\", \"rows\": \(row), \"columns\": \(row)}"
      #expect(throws: (any Error).self) {
        let node = try JSONReader.read(
          Array(file(evidence, gpus: 4, kept: "4398046511104").utf8))
        _ = try CertificateFile.parse(node).check(counts: counts, path: "hostile")
      }
    }
    // The same frame with evidence that holds is accepted: what is refused above is the evidence.
    // 0 is the price of every expert, so B is 64 times what two whole groups keep: 2 · 4 · 2^40.
    let honest = file("{\"kind\": \"path\", \(Hostile.prices)}")
    let report = try CertificateFile.parse(JSONReader.read(Array(honest.utf8))).check(
      counts: counts, path: "honest")
    #expect(report.stages[0].isOptimal && report.value == 8 << 40)
    // So is one with many levels, however deep.
    let deep = (0..<40_000).flatMap { [Hostile.branch(2 * $0 + 1, 2 * $0 + 2), Hostile.leaf] }
    #expect(throws: Never.self) {
      let node = try JSONReader.read(Array(file(Hostile.tree(deep + [Hostile.leaf])).utf8))
      _ = try CertificateFile.parse(node).check(counts: counts, path: "deep")
    }
  }

  /// A search for the partitions that start a doll, which would take days: the time limit ends it.
  @Test func aLongSearchEndsWithItsTime() throws {
    let (layers, experts, gpus) = (2, 24, 12)
    let counts = try TransitionCounts(
      layers: layers, experts: experts,
      weights: [Int](repeating: 1, count: experts * experts))
    let placement = try Placement(
      topology: Topology(gpus: gpus), layers: layers, experts: experts,
      assignment: (0..<(layers * experts)).map { $0 % experts / 2 })
    var prices = CertificatePrices(experts: [Int](repeating: 0, count: layers * experts))
    // Groups without expert 0 lose a million each, and all but the last fit: a search through most
    // of the 3·10^11 partitions.
    prices.experts[0] = -1_000_000
    let tree = CertificateTree(nodes: [
      .init(kind: .exhausted(prices: prices, dolls: [1 << 30, 0, 0]))
    ])
    let file = CertificateFile(
      Certificate(
        placement: placement, objective: .flat, loadCap: nil, caps: nil,
        claims: [.init(kept: 48, keptBound: 48, evidence: .tree(tree))]), counts: counts)
    #expect(throws: FormatError.self) {
      _ = try file.check(counts: counts, path: "long", seconds: 1)
    }
  }

  /// What is printed names what was proved: another machine, cap or objective reads differently.
  @Test func reportsSayWhatWasProved() throws {
    let counts = try TransitionCounts(
      layers: 2, experts: 4, weights: [Int](repeating: 5, count: 16))
    func text(_ gpus: Int, _ nodes: Int, _ objective: Objective, _ cap: LoadCap?) throws -> String {
      // A joint run keeps no evidence; that of its two levels bounds it.
      let isJoint = if case .joint = objective { true } else { false }
      let instance = try Instance(
        counts: counts, topology: Topology(gpus: gpus, nodes: nodes),
        objective: isJoint ? .flat : objective, loadCap: cap)
      var options = SolverOptions()
      options.keepsCertificate = true
      var certificate = try #require(
        CertificateFile(of: Solver(options).solve(instance), instance: instance)
      ).certificate
      certificate.objective = objective
      let text = try CertificateFile(certificate, counts: counts).check(
        counts: counts, path: "proof"
      ).text(counting: "as given")
      for line in text.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
      return text
    }
    let texts = [
      try text(1, 1, .flat, nil), try text(2, 1, .flat, nil), try text(4, 1, .flat, nil),
      try text(4, 2, .flat, nil), try text(4, 2, .staged, nil),
      try text(4, 2, .joint(interNode: 8, intraNode: 1), nil),
      try text(4, 2, .joint(interNode: 9, intraNode: 1), nil),
      try text(2, 1, .flat, LoadCap(1.5)), try text(2, 1, .flat, LoadCap(1.25)),
    ]
    #expect(Set(texts).count == texts.count)
    #expect(texts[1].contains("2 GPUs on 1 node") && texts[1].contains("crossings 40 of 80"))
    #expect(texts[7].contains("15/10 of a GPU's even share, 60 tokens"))
    #expect(texts[5].contains("value      340, "))
  }
}
