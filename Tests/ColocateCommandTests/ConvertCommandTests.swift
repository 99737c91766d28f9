import Foundation
import Testing

/// `colocate convert`, and recordings where other commands read traces.
@Suite struct ConvertCommandTests {
  let runner: CommandRunner
  init() throws { runner = try CommandRunner() }

  /// A plan of 4 MoE layers, 1, 2, 4 and 5 of 6, with 4 experts on 2 GPUs.
  private func plan() throws -> String {
    let rows = "[[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]]"
    return try runner.write(
      Array(
        ("{\"format\": \"colocate-plan\", \"version\": 1, \"layers\": 4, \"experts\": 4, "
          + "\"topology\": {\"nodes\": 1, \"gpus_per_node\": 2}, \"moe_layers\": [1, 2, 4, 5], "
          + "\"assignment\": \(rows)}").utf8), "plan.json")
  }

  @Test func throughEveryFormatAndBack() throws {
    let plan = try plan()
    let own = runner.file("own.json")
    #expect(try runner.run(["convert", plan, "--to", "colocate", "-o", own]).code == 0)
    let expected = try String(contentsOfFile: own, encoding: .utf8)
    for format in [
      "exflow", "sglang", "tensorrt-llm", "vllm", "vllm-map", "vllm-ascend", "lmdeploy",
    ] {
      let file = runner.file("there.json")
      let there = try runner.run(
        ["convert", plan, "--to", format, "--hidden-layers", "6", "-o", file])
      #expect(there.code == 0 && there.output.isEmpty, "\(format): \(there.errors)")
      #expect(there.errors.contains("4 MoE layers, 4 experts, 4 slots on 2 GPUs"))
      #expect(there.errors.contains("start it: ") == (format != "exflow"), "\(there.errors)")
      let back = runner.file("back.json")
      let returned = try runner.run([
        "convert", file, "--to", "colocate", "--gpus", "2", "--experts", "4", "--moe-layers",
        "1,2,4,5", "-o", back, "--quiet",
      ])
      #expect(returned.code == 0 && returned.errors.isEmpty, "\(format): \(returned.errors)")
      #expect(try String(contentsOfFile: back, encoding: .utf8) == expected, "\(format)")
    }
  }

  @Test func refusals() throws {
    let plan = try plan()
    let output = runner.file("o.json")
    try runner.refuses(
      ["convert", plan, "--to", "colocate", "-o", plan], "would overwrite the plan")
    try runner.refuses(
      ["convert", plan, "--to", "sglang", "-o", runner.file("o.txt")], "names that end in .json")
    try runner.refuses(
      ["convert", plan, "--to", "vllm", "--gpus", "4", "-o", output], "a plan for 2 GPUs")
    try runner.refuses(
      ["convert", plan, "--to", "sglang", "--hidden-layers", "5", "-o", output], "MoE layer 5")
    #expect(try runner.run(["convert", plan, "--to", "vllm-map", "-o", output]).code == 0)
    try runner.refuses(["convert", output, "--to", "colocate", "-o", plan + "2"], "--gpus")
    let text = try runner.write(Array("hello".utf8), "hello.txt")
    try runner.refuses(["convert", text, "--to", "vllm", "-o", output], "expected a placement")
    #expect(try runner.leftovers.isEmpty)
  }

  /// A recording from standard input, and from two files: the same counts as from its own file.
  @Test func recordingsFromStandardInput() throws {
    func response(_ rows: String) -> String { "{\"prompt_routed_experts\": \(rows)}\n" }
    let one = response("[[[0, 1], [2, 3]], [[1, 0], [3, 2]]]")
    let two = response("[[[2, 1], [0, 3]]]")
    _ = try runner.write(Array((one + two).utf8), "both.jsonl")
    _ = try runner.write(Array(one.utf8), "one.jsonl")
    _ = try runner.write(Array(two.utf8), "two.jsonl")
    let options = "--experts 4 --json"
    let plan = try runner.write(
      Array(
        ("{\"format\": \"colocate-plan\", \"version\": 1, \"layers\": 2, \"experts\": 4, "
          + "\"topology\": {\"nodes\": 1, \"gpus_per_node\": 2}, "
          + "\"assignment\": [[0, 0, 1, 1], [0, 0, 1, 1]]}").utf8), "p.json")
    let file = try runner.shell("colocate evaluate '\(plan)' both.jsonl \(options)").json()
    let crossings = try #require(file["crossings"] as? [String: Any])
    #expect(crossings["total"] as? Int == 12)
    for source in ["- < both.jsonl", "- < both.jsonl --hidden-layers 2", "one.jsonl two.jsonl"] {
      let result = try runner.shell("colocate evaluate '\(plan)' \(source) \(options)")
      #expect(result.code == 0, "\(result.errors)")
      let found = try #require(try result.json()["crossings"] as? [String: Any])
      #expect(found["gpu"] as? Int == crossings["gpu"] as? Int, "\(source)")
    }
    let piped = try runner.shell("cat both.jsonl | colocate evaluate '\(plan)' - \(options)")
    #expect(piped.code == 0, "\(piped.errors)")
    #expect(try piped.json()["crossings"] as? [String: Any] != nil)
  }
}
