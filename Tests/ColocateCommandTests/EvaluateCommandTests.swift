import Foundation
import Testing

/// `colocate evaluate` on what stacks write: placements of every format, loads alone.
@Suite struct EvaluateCommandTests {
  let runner: CommandRunner
  init() throws { runner = try CommandRunner() }

  private static let samples = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("ColocateFormatsTests/Stacks/Fixtures")
    .path

  /// 4 MoE layers (1, 2, 4, 5 of 6) × 16 experts on 4 GPUs, expert e on GPU e mod 4.
  private func plan() throws -> String {
    let row = "[" + (0..<16).map { "\($0 % 4)" }.joined(separator: ", ") + "]"
    let rows = [String](repeating: row, count: 4).joined(separator: ", ")
    return try runner.write(
      Array(
        ("{\"format\": \"colocate-plan\", \"version\": 1, \"layers\": 4, \"experts\": 16, "
          + "\"topology\": {\"nodes\": 1, \"gpus_per_node\": 4}, \"moe_layers\": [1, 2, 4, 5], "
          + "\"assignment\": [\(rows)]}").utf8), "plan.json")
  }

  @Test func everyFormatOfAPlanCostsTheSame() throws {
    let plan = try plan()
    let trace = Self.samples + "/vllm.jsonl"
    let expected = try runner.run(["evaluate", plan, trace, "--experts", "16", "--json"])
    #expect(expected.code == 0, "\(expected.errors)")
    let crossings = try #require(try expected.json()["crossings"] as? NSDictionary)
    let balance = try #require(try expected.json()["balance"] as? NSDictionary)
    for (format, name) in [
      ("exflow", "p.csv"), ("sglang", "p.json"), ("tensorrt-llm", "p.yaml"), ("vllm", "p.jsonl"),
      ("vllm-map", "m.json"), ("vllm-ascend", "a.json"), ("lmdeploy", "l.json"),
    ] {
      let file = runner.file(name)
      let made = try runner.run(
        ["convert", plan, "--to", format, "--hidden-layers", "6", "-o", file, "--quiet"])
      #expect(made.code == 0, "\(made.errors)")
      let found = try runner.run(
        ["evaluate", file, trace, "--experts", "16", "--gpus", "4", "--json"])
      #expect(found.code == 0, "\(format): \(found.errors)")
      #expect(try found.json()["crossings"] as? NSDictionary == crossings, "\(format)")
      #expect(try found.json()["balance"] as? NSDictionary == balance, "\(format)")
    }
  }

  /// TensorRT-LLM's statistics say how busy the experts are, and no more.
  @Test func loadsAloneGiveTheBalance() throws {
    let plan = try plan()
    let result = try runner.run(["evaluate", plan, Self.samples + "/trtllm", "--json"])
    #expect(result.code == 0, "\(result.errors)")
    let document = try result.json()
    let load = try #require(document["load"] as? [String: Any])
    let loads = try #require(load["per_layer"] as? [[Int]])
    #expect(loads.count == 4 && loads.allSatisfy { $0.count == 4 })
    let balance = try #require(document["balance"] as? [String: Any])
    let means = loads.map { Double($0.reduce(0, +)) / 4 }
    let peaks = loads.map { Double($0.max() ?? 0) }
    let vLLM = try #require(balance["vllm_balancedness"] as? Double)
    #expect(abs(vLLM - means.reduce(0, +) / peaks.reduce(0, +)) < 1e-12)
    #expect(document["crossings"] == nil)
    let text = try runner.run(["evaluate", plan, Self.samples + "/trtllm"])
    #expect(text.output.hasPrefix("balance") && text.errors.contains("loads alone"))
    #expect(text.output.split(separator: "\n").allSatisfy { $0.count <= 80 }, "\(text.output)")
    try runner.refuses(
      ["solve", Self.samples + "/trtllm", "--gpus", "4"], "which expert follows which")
  }
}
