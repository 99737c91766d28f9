import Colocate
import ColocateFormats
import Foundation
import Testing

/// What the command says about the files that it reads.
@Suite struct ReadingCommandTests {
  let runner: CommandRunner
  init() throws { runner = try CommandRunner() }

  /// Random routing, one expert a token.
  private func ids(tokens: Int, layers: Int, experts: Int) -> [UInt8] {
    var random = SeededGenerator(seed: 3)
    return (0..<(tokens * layers)).map { _ in UInt8(random.next(below: experts)) }
  }

  @Test func denseLayersEndInThePlan() throws {
    let moe = ids(tokens: 300, layers: 3, experts: 8)
    let dense = stride(from: 0, to: moe.count, by: 3).flatMap {
      [255, moe[$0], 255, moe[$0 + 1], moe[$0 + 2]] as [UInt8]
    }
    _ = try runner.npy("(300, 3)", moe, name: "moe.npy")
    _ = try runner.npy("(300, 5)", dense, type: "|i1", name: "dense.npy")
    var values = [Int]()
    for (name, layers) in [("moe.npy", nil), ("dense.npy", [1, 3, 4])] as [(String, [Int]?)] {
      let result = try runner.run(["solve", name, "--gpus", "4", "-o", "plan.json"])
      #expect(result.code == 0, "\(result.errors)")
      #expect(
        result.errors.contains("note: \(name): 2 of 5 layers are dense (0, 2)") == (layers != nil))
      let plan = try PlanFile.read(runner.file("plan.json"))
      #expect(plan.moeLayers == layers && plan.placement.layers == 3)
      values.append(try #require(plan.value))
    }
    #expect(values[0] == values[1])
    let shown = try runner.run(["inspect", "dense.npy"])
    #expect(shown.output.contains("layers       3, MoE layers 1, 3, 4 of the file\n"))
    let json = try runner.run(["inspect", "dense.npy", "--json"]).json()
    let file = try #require((json["files"] as? [[String: Any]])?.first)
    #expect(file["moe_layers"] as? [Int] == [1, 3, 4])
    #expect((file["remarks"] as? [String])?.count == 1)
    // A quiet run says nothing; another trace needs the same layers.
    let quiet = try runner.run(["solve", "dense.npy", "--gpus", "4", "-q", "-o", "plan.json"])
    #expect(quiet.code == 0 && quiet.errors.isEmpty)
    let named = try runner.run(["evaluate", "plan.json", "dense.npy", "--moe-layers", "1,3-4"])
    #expect(named.code == 0)
    let other = try runner.run(["evaluate", "plan.json", "dense.npy", "--moe-layers", "3,4"])
    #expect(other.code == 2)
    #expect(other.errors.contains("(the plan's layers are 1, 3, 4 of its trace: --moe-layers)"))
    try runner.refuses(["inspect", "dense.npy", "--moe-layers", "4-3"], "'4-3'")
  }

  @Test func sizesThatDoNotFitSayWhereTheyComeFrom() throws {
    let last = try runner.npy("(300, 3)", ids(tokens: 300, layers: 3, experts: 14), name: "l.npy")
    try runner.refuses(
      ["solve", last, "--gpus", "8", "-q"],
      "(14 is the largest id seen + 1: if the model has more experts, --experts 16")
    // Two different experts and the shared one.
    var fused = [UInt8]()
    var random = SeededGenerator(seed: 5)
    for _ in 0..<900 {
      let first = random.next(below: 16)
      let second = (first + 1 + random.next(below: 15)) % 16
      fused += [UInt8(first), UInt8(second), 16]
    }
    let shared = try runner.npy("(300, 3, 3)", fused, name: "s.npy")
    try runner.refuses(
      ["compare", shared, "--gpus", "8", "-q"],
      "(ids from 16 on are in every token's row: --experts 16 leaves these shared experts out)")
    let cured = try runner.run(["inspect", shared, "--experts", "16"])
    #expect(cured.code == 0 && cured.output.contains("experts      16\n"))
    #expect(cured.errors.contains("expert 16 is in every token's row of every layer: shared"))
    // Counts are of as many experts as they are.
    let counts = try runner.npy("(1, 2, 2)", [1, 2, 3, 4], name: "c.npy")
    let result = try runner.run(["solve", counts, "--gpus", "4"])
    #expect(result.code == 2 && !result.errors.contains("--experts"))
  }

  /// `--from` is taken by every command that reads traces; a name that is none is answered with all
  /// of them.
  @Test func theTracesFormatIsNamed() throws {
    let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("ColocateFormatsTests/Stacks/Fixtures")
    let responses = try String(
      contentsOf: fixtures.appendingPathComponent("sglang.jsonl"), encoding: .utf8)
    let path = try runner.write(
      Array(("{\"error\": \"no room\"}\n" + responses).utf8), "late.jsonl")
    try runner.refuses(["inspect", path], "late.jsonl: JSON lines (.jsonl), expected a .npy")
    let shown = try runner.run(["inspect", path, "--from", "sglang"])
    #expect(shown.code == 0 && shown.output.contains("experts      16 ("), "\(shown.output)")
    try runner.refuses(
      ["inspect", path, "--from", "vllm"], "late.jsonl: no response has routed experts")
    let (counts, plan) = (runner.file("c.safetensors"), runner.file("p.json"))
    for arguments in [
      ["count", path, "-o", counts],
      ["solve", path, "--gpus", "4", "--time-limit", "1", "-o", plan],
      ["evaluate", plan, path], ["compare", path, "--gpus", "4", "--time-limit", "1"],
      ["export", path, "--gpus", "4", "-o", runner.file("m.lp")],
    ] {
      let result = try runner.run(arguments + ["--from", "sglang"])
      #expect(result.code == 0 || result.code == 4, "\(arguments): \(result.errors)")
      let other = try runner.run(arguments + ["--from", "npy"])
      #expect(other.code == 2 && other.errors.contains("late.jsonl: "), "\(arguments)")
      let none = try runner.run(arguments + ["--from", "megatron"])
      #expect(none.code == 2, "\(arguments)")
      let names = TraceFormat.allCases.map(\.rawValue).joined(separator: ", ")
      #expect(none.errors.contains(" following: \(names) ("), "\(arguments): \(none.errors)")
    }
    // Loads alone, by their name.
    let loads = fixtures.appendingPathComponent("trtllm").path
    let balance = try runner.run(["evaluate", plan, loads, "--from", "tensorrt-llm"])
    let guessed = try runner.run(["evaluate", plan, loads])
    #expect(balance.output == guessed.output && balance.code == guessed.code)
    let wrong = try runner.run(["evaluate", plan, loads, "--from", "npz"])
    #expect(wrong.code == 2 && wrong.errors.contains("a folder, expected a file (--from npz)"))
  }
}
