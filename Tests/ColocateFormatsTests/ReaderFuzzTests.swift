import Colocate
import ColocateFormats
import Foundation
import Testing

/// Damaged files: refused with one line, or read as a plain second reading of them says. A trap, or
/// a loop that does not end, fails the run.
@Suite struct ReaderFuzzTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// The error is one line that starts with the file's name.
  private func expectOneLine(_ error: FormatError, _ path: String, seed: Int) {
    #expect(error.description.hasPrefix(path + ": ") && !error.message.isEmpty, "seed \(seed)")
    #expect(!error.description.contains("\n"), "seed \(seed)")
  }

  @Test func npy() throws {
    var read = 0
    for seed in 0..<Mutation.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let type = NpyTests.types[random.next(below: NpyTests.types.count)]
      let shape = [[6], [3, 4], [5, 2, 2], [2, 3, 3], [4, 1, 2]][random.next(below: 5)]
      let values = (0..<shape.reduce(1, *)).map { _ in random.next(below: 6) }
      let text =
        "(" + shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? ",)" : ")")
      let good = ColocateFormatsTests.npy(
        type, fortran: random.next(below: 2) == 0, shape: text, data: bytes(values, type),
        version: UInt8(1 + random.next(below: 3)))
      let file = Mutation.damage(
        good, ["'descr': ", "'<i4'", "True", "(2, 3)", ", ", "}", "'shape'", "-1", "\n"], &random)
      let path = try scratch.write(file, "t.npy")
      do throws(FormatError) {
        let array = try IntegerArray(npy: path)
        let entries = try array.integers()
        let plain = PlainReading.npy(file)
        #expect(
          plain?.shape == array.shape && plain?.values == entries,
          "seed \(seed): \(array.shape) \(entries), plainly \(String(describing: plain))")
        read += 1
      } catch { expectOneLine(error, path, seed: seed) }
      var reading = TraceFile.Reading()
      reading.kind = [nil, .trace, .counts][random.next(below: 3)]
      reading.experts = random.next(below: 3) == 0 ? 6 : nil
      reading.coactivation = random.next(below: 2) == 0
      do throws(FormatError) {
        let trace = try TraceFile(path, reading)
        check(trace, PlainReading.npy(file), experts: reading.experts, seed: seed)
      } catch { expectOneLine(error, path, seed: seed) }
    }
    #expect(read > Mutation.count / 100, "damage that leaves no file readable tests little")
  }

  /// What was counted, against the plain reading; of a trace that needed no interpretation.
  private func check(
    _ trace: TraceFile, _ plain: PlainReading?, experts: Int?, seed: Int
  ) {
    guard let plain, trace.shape == plain.shape else {
      Issue.record("seed \(seed): read as \(trace.shape)")
      return
    }
    guard trace.kind == .trace else {
      #expect(trace.counts.weights == plain.values, "seed \(seed)")
      return
    }
    guard trace.remarks.allSatisfy(\.isWarning) else { return }
    let (layers, choices) = (plain.shape[1], plain.shape.count == 3 ? plain.shape[2] : 1)
    let size = experts ?? (plain.values.max() ?? 0) + 1
    var weights = [Int](repeating: 0, count: (layers - 1) * size * size)
    for token in 0..<plain.shape[0] {
      for l in 0..<(layers - 1) {
        let at = (token * layers + l) * choices
        for i in plain.values[at..<(at + choices)] where i >= 0 {
          for j in plain.values[(at + choices)..<(at + 2 * choices)] where j >= 0 {
            weights[(l * size + i) * size + j] += 1
          }
        }
      }
    }
    #expect(trace.counts.weights == weights, "seed \(seed)")
  }

  @Test func safetensorsFiles() throws {
    var read = 0
    for seed in 0..<Mutation.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let weights = (0..<18).map { _ in 1 + random.next(below: 9) }
      let counts = try TransitionCounts(layers: 3, experts: 3, weights: weights)
      let good =
        random.next(below: 2) == 0
        ? safetensors([("counts", [2, 3, 3], weights), ("loads", [3, 3], counts.loads)])
        : safetensors([("x", [2], [1, 2]), ("trace", [6, 3], weights.map { $0 % 4 })])
      let words = [
        "\"loads\":", "{", "}", ",", "[2,3]", "\"dtype\":\"I64\"", "\"trace\"", "\"U8\"",
      ]
      let file = Mutation.damage(good, words, &random)
      let path = try scratch.write(file, "t.safetensors")
      do throws(FormatError) {
        let trace = try TraceFile(path)
        let name = trace.kind.rawValue
        check(trace, PlainReading.tensor(name, file), experts: nil, seed: seed)
        if trace.kind == .counts, let loads = PlainReading.tensor("loads", file) {
          #expect(trace.counts.loads == loads.values, "seed \(seed)")
        }
        read += 1
      } catch { expectOneLine(error, path, seed: seed) }
    }
    #expect(read > Mutation.count / 100)
  }

  @Test func plans() throws {
    var read = 0
    for seed in 0..<Mutation.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let plan = try randomPlan(&random)
      let words = [
        "\"layers\": 2,", "{", "}", ",", "[0, 1]", "null", "\"gpus_per_node\": 1", "\\u0041",
      ]
      let file = Mutation.damage(Array(plan.json.text.utf8), words, &random)
      let path = try scratch.write(file, "p.json")
      do throws(FormatError) {
        let found = try PlanFile.read(path).placement
        let plain = PlainReading.plan(file)
        #expect(
          plain?.assignment == found.assignment && plain?.layers == found.layers
            && plain?.nodes == found.topology.nodes && plain?.gpus == found.topology.gpus,
          "seed \(seed): \(found), plainly \(String(describing: plain))")
        read += 1
      } catch { expectOneLine(error, path, seed: seed) }
    }
    #expect(read > Mutation.count / 100)
  }

  private func randomPlan(_ random: inout SeededGenerator) throws -> PlanFile {
    let (layers, gpus) = (2 + random.next(below: 2), 2)
    let experts = gpus * (1 + random.next(below: 2))
    let assignment = (0..<layers).flatMap { _ in
      (0..<experts).map { $0 % gpus }.shuffled(using: &random)
    }
    let counts = try TransitionCounts(
      layers: layers, experts: experts,
      weights: (0..<((layers - 1) * experts * experts)).map { _ in 1 + random.next(below: 9) })
    let placement = try Placement(
      topology: Topology(gpus: gpus, nodes: 1 + random.next(below: 2)), layers: layers,
      experts: experts, assignment: assignment)
    var plan = try PlanFile(placement: placement, on: counts, objective: .flat)
    plan.traces = [.init(file: "a.npy", sha256: "00")]
    return plan
  }

  @Test func tables() throws {
    var read = 0
    for seed in 0..<Mutation.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let placement = try randomPlan(&random).placement
      let (layers, experts) = (placement.layers, placement.experts)
      let file = Mutation.damage(
        Array(ExFlowCSV.text(placement).utf8), ["Expert,Node\n", "0,1\n", ",", "\n", "\r", " "],
        &random)
      let path = try scratch.write(file, "p.csv")
      do throws(FormatError) {
        let found = try ExFlowCSV.read(path, layers: layers, experts: experts)
        #expect(
          PlainReading.table(file, entries: layers * experts) == found.assignment, "seed \(seed)")
        read += 1
      } catch { expectOneLine(error, path, seed: seed) }
    }
    #expect(read > Mutation.count / 100)
  }

  @Test func certificates() throws {
    let weights = (0..<18).map { 1 + $0 * 7 % 5 }
    let instance = try Instance(
      counts: TransitionCounts(layers: 3, experts: 3, weights: weights), topology: Topology(gpus: 3)
    )
    var options = SolverOptions()
    options.keepsCertificate = true
    let outcome = try Solver(options).solve(instance)
    let good = scratch.file("good.json")
    try #require(CertificateFile(of: outcome, instance: instance)).write(to: good, tool: "x")
    let text = [UInt8](try Data(contentsOf: URL(fileURLWithPath: good)))
    let words = ["\"layers\": 2,", "{", "}", ",", "[0, 1]", "null", "[[", "]]"]
    for seed in 0..<Mutation.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let path = try scratch.write(Mutation.damage(text, words, &random), "c.json")
      do throws(FormatError) {
        // What it claims is for the checkers' own tests.
        _ = try CertificateFile.read(path)
      } catch { expectOneLine(error, path, seed: seed) }
    }
  }
}
