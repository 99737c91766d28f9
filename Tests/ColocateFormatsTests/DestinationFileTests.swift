import Colocate
import ColocateCertificate
import ColocateFormats
import Foundation
import TestSupport
import Testing

@Suite struct DestinationFileTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  static let topology: Topology = valid { try Topology(gpus: 4, nodes: 2) }

  static let objectives: [DestinationObjective] = [
    .gpus, .nodes, .staged, .joint(interNode: 3, intraNode: 1),
  ]

  static func sets(seed: UInt64 = 4, layers: Int = 3) throws -> TokenSets {
    var random = SeededGenerator(seed: seed)
    return try TokenSets(
      experts: 8,
      layers: (0..<layers).map { _ in
        try TokenSets.Layer(
          experts: 8,
          sets: (0..<60).map { _ in
            (0..<3).map { _ in min(random.next(below: 8), random.next(below: 8)) }
          })
      })
  }

  static func solved(
    _ sets: TokenSets, _ objective: DestinationObjective, cap: LoadCap? = nil
  ) throws -> DestinationCertificateFile {
    var options = DestinationOptions()
    options.timeLimit = nil
    let outcome = try DestinationSolver(options).solve(
      sets, topology: topology, objective: objective, loadCap: cap)
    // Two levels at once, and a cap that their nodes may not leave room for, have a gap at times.
    let isOneLevel = objective == .gpus || (objective == .nodes && cap == nil)
    #expect(outcome.status == .optimal || !isOneLevel, "\(objective)")
    return DestinationCertificateFile(
      of: outcome, placement: outcome.placement.canonical(), objective: objective, loadCap: cap,
      sets: sets)
  }

  func accepts(_ text: String, _ sets: TokenSets) throws -> DestinationReport? {
    let path = try scratch.write(Array(text.utf8), "certificate.json")
    guard case .destinations(let file)? = try? AnyCertificateFile.read(path) else { return nil }
    return try? file.check(sets: sets, path: path)
  }

  /// Every objective, with and without a cap: what the solver proved is proved again from the file.
  @Test(arguments: 0..<8) func answersAreProvedFromTheirFiles(index: Int) throws {
    let sets = try Self.sets(seed: UInt64(index))
    let objective = Self.objectives[index % 4]
    let cap = index < 4 ? nil : try LoadCap(1.2, relaxedToFeasible: true)
    let file = try Self.solved(sets, objective, cap: cap)
    let report = try #require(try accepts(file.json().text, sets), "\(objective)")
    #expect(report.isOptimal || objective != .gpus, "\(objective)")
    let found = try sets.destinations(of: file.certificate.placement)
    #expect(report.value == objective.value(of: found))
    #expect(
      objective == .staged ? report.bound == nil : report.bound.map { $0 <= report.value } == true)
    // Another trace's.
    #expect(try accepts(file.json().text, Self.sets(seed: 99)) == nil)
  }

  /// A bound that is one better than the truth is refused at every claim.
  @Test func betterClaimsAreRefused() throws {
    var (checked, sharp) = (0, 0)
    for (index, objective) in Self.objectives.enumerated() {
      let sets = try Self.sets(seed: UInt64(20 + index))
      let file = try Self.solved(sets, objective)
      for (place, claim) in file.certificate.claims.enumerated() {
        var claims = file.certificate.claims
        claims[place] = DestinationCertificate.Claim(
          layer: claim.layer, level: claim.level, bound: claim.bound + 1, unit: claim.unit,
          prices: claim.prices)
        let forged = DestinationCertificateFile(
          DestinationCertificate(
            placement: file.certificate.placement, objective: objective, loadCap: nil, caps: nil,
            claims: claims), sets: sets)
        checked += 1
        if try accepts(forged.json().text, sets) == nil { sharp += 1 }
      }
    }
    #expect(checked >= 8 && sharp == checked, "\(sharp) of \(checked)")
  }

  @Test func changedFieldsAreRefused() throws {
    let sets = try Self.sets(seed: 7)
    let cap = try LoadCap(1.5, relaxedToFeasible: true)
    let file = try Self.solved(sets, .gpus, cap: cap)
    let text = file.json().text
    #expect(try accepts(text, sets) != nil)
    let changes = [
      ("\"layers\": 3", "\"layers\": 2"), ("\"experts\": 8", "\"experts\": 4"),
      ("\"nodes\": 2", "\"nodes\": 1"), ("\"mode\": \"home\"", "\"mode\": \"coherent\""),
      ("\"name\": \"flat\"", "\"name\": \"rows\""), ("\"numerator\": 15", "\"numerator\": 25"),
      ("\"relaxed_to_feasible\": true", "\"relaxed_to_feasible\": 1"),
      ("\"level\": \"gpus\"", "\"level\": \"nodes\""), ("\"claims\"", "\"Claims\""),
      ("\"sets_sha256\": \"", "\"sets_sha256\": \"0"), ("\"version\": 1", "\"version\": 2"),
    ]
    for (old, new) in changes {
      let changed = text.replacingOccurrences(of: old, with: new)
      #expect(changed != text, "\(old)")
      #expect(try accepts(changed, sets) == nil, "\(new)")
    }
  }

  @Test func plansSurviveTheFile() throws {
    let sets = try Self.sets()
    let counts = try TransitionCounts(
      layers: 3, experts: 8, weights: (0..<128).map { $0 % 5 },
      loads: sets.layerSets.flatMap(\.loads))
    let placement = try Placement(
      topology: Self.topology, layers: 3, experts: 8, assignment: (0..<24).map { $0 % 8 / 2 })
    let goals: [DestinationGoal] =
      Self.objectives.map { .home($0) } + [.home(.gpus, crossingWeight: 5), .rows]
    for goal in goals {
      let plan = try PlanFile(placement: placement, on: counts, goal: goal, sets: sets)
      let path = scratch.file("plan.json")
      try plan.write(to: path)
      let again = try PlanFile.read(path)
      #expect(again.goal == goal && again.objective == nil && again.placement == placement)
      #expect(again.value == plan.value)
    }
    let destinations = try sets.destinations(of: placement)
    let crossings = try counts.crossings(of: placement)
    #expect(
      DestinationGoal.home(.gpus, crossingWeight: 5).value(
        destinations: destinations, crossings: crossings, rows: nil)
        == destinations.gpu + 5 * crossings.gpu)
  }

  @Test func badGoalsAreRefusedWithTheirPlace() throws {
    let sets = try Self.sets()
    let counts = try TransitionCounts(
      layers: 3, experts: 8, weights: [Int](repeating: 1, count: 128))
    let placement = try Placement(
      topology: Self.topology, layers: 3, experts: 8, assignment: (0..<24).map { $0 % 8 / 2 })
    let text = try PlanFile(placement: placement, on: counts, goal: .home(.gpus), sets: sets)
      .json.text
    let old = "\"name\": \"flat\""
    for (new, reason) in [
      ("\"name\": \"rows\"", "'rows' in mode 'home'"), ("\"name\": \"flut\"", "flut"),
      ("\"name\": \"joint\"", "inter_node"), ("\"name\": \"flat\", \"x\": 1", "objective.x"),
      ("\"name\": \"flat\", \"crossing_weight\": -1", "crossing_weight"),
      ("\"name\": \"joint\", \"inter_node\": 1, \"intra_node\": 2", "1 and 2"),
    ] {
      let path = try scratch.write(
        Array(text.replacingOccurrences(of: old, with: new).utf8), "plan.json")
      do {
        _ = try PlanFile.read(path)
        Issue.record("read: \(new)")
      } catch { #expect("\(error)".contains(reason), "\(error)") }
    }
  }

  /// Sequences from a file of their own, or from the trace's.
  @Test func sequencesAreRead() throws {
    let ids = (0..<(6 * 2 * 2)).map { $0 % 2 + $0 / 2 % 3 }
    let trace = try scratch.write(npy("|u1", shape: "(6, 2, 2)", data: bytes(ids, "|u1")), "t.npy")
    let names = try scratch.write(
      npy("<i4", shape: "(6,)", data: bytes([5, 5, 5, 9, 9, 9], "<i4")), "s.npy")
    var reading = TraceFile.Reading()
    reading.kind = .trace
    let plain = try TraceFile(trace, reading)
    reading.sequences = names
    let named = try TraceFile(trace, reading)
    let both = try scratch.write(
      safetensors([("trace", [6, 2, 2], ids), ("sequences", [6], [5, 5, 5, 9, 9, 9])]),
      "t.safetensors")
    reading.sequences = nil
    let inside = try TraceFile(both, reading)
    let sets = try [plain, named, inside].map { try #require(try TraceFile.tokenSets(of: [$0])) }
    #expect(!sets[0].sample.sequencesAreNamed)
    #expect(sets[1].sample.sequencesAreNamed && sets[1].sample.sequencesRead == 2)
    #expect(sets[1] == sets[2] && sets[0].layerSets == sets[1].layerSets)
    let twice = try #require(try TraceFile.tokenSets(of: [named, inside]))
    #expect(twice.sample.sequencesRead == 4)
    #expect(twice.layerSets[0].tokens == 2 * sets[0].layerSets[0].tokens)
    #expect(throws: FormatError.self) { try TraceFile.tokenSets(of: [plain, named]) }
    reading.sequences = try scratch.write(
      npy("<i4", shape: "(5,)", data: bytes([1, 2, 3, 4, 5], "<i4")), "five.npy")
    #expect(throws: FormatError.self) { try TraceFile(trace, reading) }
  }
}
