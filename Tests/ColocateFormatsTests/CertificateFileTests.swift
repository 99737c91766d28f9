import Colocate
import ColocateCertificate
import ColocateFormats
import Foundation
import Testing

@Suite struct CertificateFileTests {
  /// Two blocks of experts that hand on to each other, with some noise.
  func instance(layers: Int = 3, experts: Int = 6, gpus: Int, cap: LoadCap? = nil) throws
    -> Instance
  {
    var random = SeededGenerator(seed: 9)
    var weights = [Int]()
    for _ in 0..<(layers - 1) {
      for i in 0..<experts {
        for j in 0..<experts { weights.append((i % 2 == j % 2 ? 40 : 5) + random.next(below: 20)) }
      }
    }
    return try Instance(
      counts: TransitionCounts(layers: layers, experts: experts, weights: weights),
      topology: Topology(gpus: gpus), loadCap: cap)
  }

  func withFile(_ text: String, _ body: (String) throws -> Void) throws {
    let path = FileManager.default.temporaryDirectory
      .appendingPathComponent("certificate-\(UUID().uuidString).json").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    try body(path)
  }

  func accepts(_ text: String, _ instance: Instance) throws -> Bool {
    var accepted = false
    try withFile(text) { path in
      accepted =
        (try? CertificateFile.read(path).check(counts: instance.counts, path: path)) != nil
    }
    return accepted
  }

  /// The placement that keeps the most on two GPUs, and certificates of every kind for it.
  func certificates() throws -> [(instance: Instance, file: CertificateFile)] {
    var list = [(instance: Instance, file: CertificateFile)]()
    for gpus in [1, 2, 6] {
      let instance = try instance(gpus: gpus)
      var options = SolverOptions()
      options.keepsCertificate = true
      let outcome = try Solver(options).solve(instance)
      list.append((instance, try #require(CertificateFile(of: outcome, instance: instance))))
    }
    let capped = try instance(gpus: 2, cap: LoadCap(1.3))
    for instance in [list[1].instance, capped] {
      let problem = instance.gpuProblem
      let outcome = try Solver().solve(instance)
      let placement = try #require(outcome.placement)
      let kept = problem.kept(placement.assignment)
      let relaxation = ColocationRelaxation(problem: problem, control: SearchControl())
      relaxation.parameters.maxIterations = 300
      relaxation.run()
      var claim = Certificate.Claim(
        kept: kept, keptBound: 0,
        evidence: .colocation(CertificateColocation(try #require(relaxation.multipliers))))
      claim.keptBound = try #require(
        claim.leastClaim(of: CertifiedProblem(problem), kept: kept, effort: CertificateEffort()))
      list.append(
        (
          instance,
          CertificateFile(
            Certificate(
              placement: placement, objective: .flat, loadCap: instance.loadCap,
              caps: instance.capPerLayer, claims: [claim]),
            counts: instance.counts)
        ))
    }
    // Any prices bound; a tree of one exhausted leaf proves.
    let instance = list[1].instance
    let problem = instance.gpuProblem
    let placement = try #require(try Solver().solve(instance).placement)
    let prices = CertificatePrices(
      experts: [Int](repeating: 64 * 30, count: 18),
      cuts: [.init(layer: 1, members: 0b111, price: 5)])
    let dolls = [Int](repeating: 0, count: 4)
    let leaf = CertificateTree.Node(
      deletions: [prices], kind: .exhausted(prices: prices, dolls: dolls))
    for tree in [
      CertificateTree(nodes: [leaf]),
      CertificateTree(nodes: [
        .init(kind: .branch(layer: 1, first: 0, second: 1, together: 1, apart: 2)),
        .init(kind: .exhausted(prices: prices, dolls: dolls)), leaf,
      ]),
    ] {
      let kept = problem.kept(placement.assignment)
      list.append(
        (
          instance,
          CertificateFile(
            Certificate(
              placement: placement, objective: .flat, loadCap: nil, caps: nil,
              claims: [.init(kept: kept, keptBound: kept, evidence: .tree(tree))]),
            counts: instance.counts)
        ))
    }
    for gpus in [2, 3] {
      let small = try self.instance(gpus: gpus)
      list.append((small, try fixingFile(small)))
      list.append((small, try windowsFile(small)))
    }
    return list
  }

  /// A certificate whose bound is the least that its evidence proves.
  private func file(
    _ instance: Instance, _ placement: Placement, _ evidence: Certificate.Evidence
  ) throws -> CertificateFile {
    let kept = instance.gpuProblem.kept(placement.assignment)
    var claim = Certificate.Claim(kept: kept, keptBound: 0, evidence: evidence)
    claim.keptBound = try #require(
      claim.leastClaim(
        of: CertifiedProblem(instance.gpuProblem), kept: kept, effort: CertificateEffort()))
    return CertificateFile(
      Certificate(
        placement: placement, objective: .flat, loadCap: instance.loadCap,
        caps: instance.capPerLayer, claims: [claim]),
      counts: instance.counts)
  }

  /// Steps of fixing from an optimal placement.
  private func fixingFile(_ instance: Instance) throws -> CertificateFile {
    let problem = instance.gpuProblem
    let placement = try #require(try Solver().solve(instance).placement)
    let relaxation = ColocationRelaxation(problem: problem, control: SearchControl())
    relaxation.parameters.maxIterations = 200
    relaxation.keepsFixingSteps = true
    relaxation.incumbent = problem.kept(placement.assignment)
    relaxation.run()
    return try file(
      instance, placement,
      .fixing(CertificateFixing(relaxation.evidenceSteps, search: relaxation.searchStart)))
  }

  /// Windows with trees that branch.
  private func windowsFile(_ instance: Instance) throws -> CertificateFile {
    let problem = instance.gpuProblem
    let placement = try #require(try Solver().solve(instance).placement)
    let relaxation = ColocationRelaxation(problem: problem, control: SearchControl())
    relaxation.parameters.maxIterations = 20
    relaxation.run()
    var parameters = WindowSearch.Parameters()
    (parameters.rootIterations, parameters.nodeIterations) = (15, 15)
    (parameters.searchStates, parameters.keepsEvidence) = (0, true)
    let search = try #require(
      WindowSearch.atMultipliers(
        of: relaxation, incumbent: placement.assignment, parameters: parameters,
        control: SearchControl()))
    var rounds = 0
    search.run { _ in
      rounds += 1
      return rounds < 4
    }
    return try file(instance, placement, .windows(CertificateWindows(search.proof)))
  }

  @Test func everyKindSurvivesTheFile() throws {
    for (instance, file) in try certificates() {
      let text = file.json(tool: "test").text
      try withFile(text) { path in
        let back = try CertificateFile.read(path)
        #expect(back.json(tool: "test").text == text)
        let report = try back.check(counts: instance.counts, path: path)
        #expect(report.stages.count == 1 && report.stages[0].name == "gpus")
        #expect(report.stages[0].bound <= report.stages[0].crossings)
      }
    }
  }

  /// Lowers every number of a certificate, one at a time, and changes every text. The chain's
  /// values are the smallest possible, so none of these is another true certificate.
  @Test func everyChangedFieldIsRefused() throws {
    let (instance, file) = try certificates()[1]
    #expect(file.certificate.claims[0].evidence.name == "chain")
    let text = file.json().text
    #expect(try accepts(text, instance))
    let root = try JSONSerialization.jsonObject(with: Data(text.utf8))
    var changes = 0
    func change(_ node: Any, _ path: String, _ rebuild: (Any) -> Any) throws {
      if let object = node as? [String: Any] {
        for (key, value) in object {
          try change(value, "\(path).\(key)") { new in
            var copy = object
            copy[key] = new
            return rebuild(copy)
          }
        }
      } else if let array = node as? [Any] {
        for (index, value) in array.enumerated() {
          try change(value, "\(path)[\(index)]") { new in
            var copy = array
            copy[index] = new
            return rebuild(copy)
          }
        }
      } else if !(node is NSNull) {
        let new: Any = (node as? Int).map { $0 - 1 } ?? "x" + "\(node)"
        let data = try JSONSerialization.data(withJSONObject: rebuild(new))
        changes += 1
        #expect(try !accepts(String(decoding: data, as: UTF8.self), instance), "\(path)")
      }
    }
    try change(root, "") { $0 }
    #expect(changes > 40)
  }

  /// A file that is larger than a checker reads is refused by who writes it, and nothing is left.
  @Test func whatNoCheckerReadsIsNotWritten() throws {
    let path = FileManager.default.temporaryDirectory
      .appendingPathComponent("certificate-\(UUID().uuidString).json").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let json = JSONText.object([
      ("format", .string("colocate-certificate")),
      ("rows", .array([JSONText([1, -2]), .array([]), 3])),
    ])
    let readable = json.text.utf8.count
    try CertificateFile.write(json, to: path, mostBytes: readable)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == json.text)
    // Where that is too large it has no spaces and line breaks that can be spared.
    try CertificateFile.write(json, to: path, mostBytes: readable - 1)
    let compact = try String(contentsOfFile: path, encoding: .utf8)
    #expect(compact == #"{"format":"colocate-certificate","rows":[[1,-2],[],3]}"# + "\n")
    try FileManager.default.removeItem(atPath: path)
    let bytes = compact.utf8.count
    #expect(throws: FormatError.self) {
      try CertificateFile.write(json, to: path, mostBytes: bytes - 1)
    }
    #expect(!FileManager.default.fileExists(atPath: path))
    try CertificateFile.write(json, to: path, mostBytes: bytes)
    #expect(FileManager.default.fileExists(atPath: path))
  }

  @Test func otherCountsAreRefused() throws {
    let (instance, file) = try certificates()[1]
    var weights = instance.counts.weights
    weights[3] += 1
    let other = try TransitionCounts(layers: 3, experts: 6, weights: weights)
    #expect(throws: FormatError.self) { try file.check(counts: other, path: "proof.json") }
  }

  @Test func brokenFilesAreRefusedInOneLine() throws {
    let text = try certificates()[3].file.json().text
    for broken in [
      "", "[]", "{}", "{\"format\": \"colocate-plan\"}", String(text.dropLast(text.count / 2)),
      text.replacingOccurrences(of: "co-location", with: "astrology"),
      text.replacingOccurrences(of: "\"gpus_per_node\": ", with: "\"gpus_per_node\": 4000000000"),
      text.replacingOccurrences(of: "\"nodes\": 1", with: "\"nodes\": 4611686018427387905"),
      text.replacingOccurrences(of: "\"flat\"", with: "\"joint\""),
      text.replacingOccurrences(of: "\"fraction_bits\"", with: "\"fractionbits\""),
    ] {
      try withFile(broken) { path in
        do {
          _ = try CertificateFile.read(path)
          Issue.record("accepted: \(broken.prefix(60))")
        } catch let error as FormatError {
          #expect(!error.description.contains("\n"), "\(error)")
          #expect(error.file == path)
        }
      }
    }
  }
}
