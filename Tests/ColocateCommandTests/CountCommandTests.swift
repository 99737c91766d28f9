import Foundation
import Testing

/// `colocate count` and `colocate merge`: a map and a reduce over traces.
@Suite struct CountCommandTests {
  let runner: CommandRunner
  init() throws { runner = try CommandRunner() }

  private func trace(_ name: String, seed: Int, tokens: Int) throws -> String {
    // Two different experts of 8 in each of 3 layers.
    let ids = (0..<(tokens * 3)).flatMap { row -> [UInt8] in
      let first = (row * 5 + row / 7 + seed) % 8
      return [UInt8(first), UInt8((first + 1 + row % 6) % 8)]
    }
    return try runner.npy("(\(tokens), 3, 2)", ids, name: name)
  }

  @Test func mergedPartsAreTheWhole() throws {
    _ = try trace("a.npy", seed: 1, tokens: 100)
    _ = try trace("b.npy", seed: 2, tokens: 57)
    _ = try trace("c.npy", seed: 3, tokens: 31)
    let result = try runner.shell(
      """
      set -e
      colocate count a.npy b.npy c.npy -o whole.safetensors
      colocate count a.npy -o 1.safetensors --quiet
      colocate count b.npy c.npy -o 2.safetensors --log on
      colocate merge 1.safetensors 2.safetensors -o sum.safetensors
      cmp whole.safetensors sum.safetensors
      """)
    #expect(result.code == 0 && result.output.isEmpty, "\(result.errors)")
    #expect(result.errors.contains("whole.safetensors: 188 tokens of 3 traces"), "\(result.errors)")
    // What other commands make of the counts is what they make of the traces.
    let plan = runner.file("p.json")
    let solve = ["--gpus", "2", "--time-limit", "5", "--quiet", "-o", plan]
    for options in [[], ["--coactivation"]] {
      let traces = try runner.run(["solve", "a.npy", "b.npy", "c.npy"] + options + solve)
      #expect(traces.code == 0, "\(traces.errors)")
      let expected = try crossings(plan)
      let counts = try runner.run(["solve", "whole.safetensors"] + options + solve)
      #expect(counts.code == 0, "\(counts.errors)")
      #expect(try crossings(plan) == expected, "\(options)")
      let evaluated = try runner.run(["evaluate", plan, "whole.safetensors", "--json"])
      #expect(evaluated.code == 0 && evaluated.errors.isEmpty, "\(evaluated.errors)")
    }
  }

  private func crossings(_ plan: String) throws -> [Int] {
    let data = try Data(contentsOf: URL(fileURLWithPath: plan))
    let document = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    let crossings = try #require(document["crossings"] as? [String: Any])
    let options = try #require(document["options"] as? [String: Any])
    #expect(options["top_k"] as? String == "pairs")
    return [crossings["total"] as? Int ?? -1, crossings["gpu"] as? Int ?? -1]
  }

  @Test func refusals() throws {
    _ = try trace("a.npy", seed: 1, tokens: 20)
    try runner.refuses(["count", "a.npy", "-o", runner.file("c.npy")], "ends in .safetensors")
    let counts = runner.file("c.safetensors")
    #expect(try runner.run(["count", "a.npy", "-o", counts, "--quiet"]).code == 0)
    try runner.refuses(
      ["count", counts, "-o", runner.file("d.safetensors")], "colocate merge adds counts up")
    try runner.refuses(["merge", "a.npy", "-o", runner.file("d.safetensors")], "no record")
    try runner.refuses(["merge", counts, "-o", counts], "would overwrite the input")
    #expect(try runner.leftovers.isEmpty)
  }
}
