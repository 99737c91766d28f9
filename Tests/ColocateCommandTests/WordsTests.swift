import Colocate
import ColocateFormats
import Foundation
import Testing

/// What the words say: nothing stands under a figure that it does not bound, nothing is recorded
/// that was not done, and what differs from what was asked is said.
@Suite struct WordsTests {
  let runner: CommandRunner
  init() throws { runner = try CommandRunner() }

  private func generate(_ name: String, _ more: [String] = []) throws {
    let result = try runner.run(
      ["generate", "--layers", "6", "--experts", "16", "--tokens", "2000", "-o", name] + more)
    #expect(result.code == 0, "\(result.errors)")
  }

  /// Every line of a text.
  private func expectNarrow(_ text: String, at location: SourceLocation = #_sourceLocation) {
    for line in text.split(separator: "\n") {
      #expect(line.count <= 80, "\(line.count): \(line)", sourceLocation: location)
    }
  }

  @Test func optionsWithoutEffectAreSaidAndNotRecorded() throws {
    try generate("t.npy")
    try generate("c.npy", ["--choices", "2", "--counts"])
    try generate("k.npy", ["--choices", "2"])
    for (file, option, reason) in [
      ("t.npy", ["--coactivation"], "has one expert a token"),
      ("c.npy", ["--coactivation"], "holds counts"),
      ("c.npy", ["--top-k", "first"], "holds counts"),
      ("t.npy", ["--top-k", "first"], "has one expert a token"),
    ] {
      let solve = ["solve", file, "--gpus", "2", "--time-limit", "1", "-o", "p.json"] + option
      let result = try runner.run(solve)
      let warnings = result.errors.split(separator: "\n").filter { $0.contains("warning: ") }
      #expect(warnings.count == 1, "\(result.errors)")
      #expect(result.errors.contains("\(option[0]) has no effect: \(file): the file \(reason)"))
      let text = try String(contentsOfFile: runner.file("p.json"), encoding: .utf8)
      #expect(text.contains("\"coactivation\": false") && text.contains("\"top_k\": null"))
      #expect(try runner.run(solve + ["-q"]).errors.isEmpty)
    }
    // Where they have one, nothing is said, and it is recorded.
    let solve = ["solve", "k.npy", "--gpus", "2", "--time-limit", "1", "-o", "k.json"]
    let both = try runner.run(solve + ["--coactivation", "--top-k", "pairs"])
    #expect(!both.errors.contains("warning"), "\(both.errors)")
    let plan = try PlanFile.read(runner.file("k.json"))
    #expect(plan.coactivation == true && plan.counting == .pairs)
    let first = try runner.run(solve + ["--coactivation", "--top-k", "first"])
    #expect(first.errors.contains("--coactivation has no effect with --top-k first"))
    let other = try PlanFile.read(runner.file("k.json"))
    #expect(other.coactivation == false && other.counting == .first)
    let weights = try runner.run([
      "solve", "t.npy", "--gpus", "2", "--time-limit", "1", "-o", "p.json", "--inter-node", "9",
    ])
    #expect(weights.errors.contains("warning: --inter-node and --intra-node have no effect"))
  }

  @Test func evaluateCountsAsThePlanWasMade() throws {
    try generate("k.npy", ["--choices", "2"])
    let solve = [
      "solve", "k.npy", "--gpus", "4", "--nodes", "2", "--objective", "flat", "--time-limit", "1",
      "-q", "-o", "k.json",
    ]
    func gpu(_ more: [String]) throws -> (Int, String) {
      let result = try runner.run(["evaluate", "k.json", "k.npy", "--json"] + more)
      let crossings = try #require(try result.json()["crossings"] as? [String: Any])
      return (try #require(crossings["gpu"] as? Int), result.errors)
    }
    for (option, other, difference) in [
      (["--top-k", "first"], ["--top-k", "pairs"], "with --top-k first, counted with pairs"),
      (["--coactivation"], ["--no-coactivation"], "with --coactivation, counted without"),
      ([], ["--coactivation"], "without --coactivation, counted with"),
    ] {
      #expect(try runner.run(solve + option).errors.isEmpty)
      let plan = try PlanFile.read(runner.file("k.json"))
      let (same, quiet) = try gpu([])
      #expect(same == plan.value && quiet.isEmpty, "\(option): \(quiet)")
      let (changed, said) = try gpu(other)
      #expect(
        changed != plan.value && said == "colocate: note: k.json: made \(difference)\n", "\(option)"
      )
    }
    let nodes = try runner.run(["evaluate", "k.json", "k.npy", "--json", "--nodes", "4"])
    #expect(nodes.errors == "colocate: note: k.json: made for 2 nodes, counted on 4 (--nodes)\n")
    let topology = try #require(try nodes.json()["topology"] as? [String: Int])
    #expect(topology == ["nodes": 4, "gpus_per_node": 1])
    try runner.refuses(
      ["evaluate", "k.json", "k.npy", "--gpus", "8"], "k.json: a plan for 4 GPUs, expected 8")
    try runner.refuses(["evaluate", "k.json", "k.npy", "--nodes", "3"], "k.json: 4 GPUs")
    #expect(try runner.run(["evaluate", "k.json", "k.npy", "--gpus", "4"]).errors.isEmpty)
  }

  @Test func severalNodesWithoutAnObjectiveAreSaid() throws {
    try generate("t.npy")
    let solve = [
      "solve", "t.npy", "--gpus", "4", "--nodes", "2", "--time-limit", "1", "-o", "p.json",
    ]
    #expect(try runner.run(solve).errors.contains("flat, the default, ignores --nodes 2"))
    #expect(try !runner.run(solve + ["--objective", "flat"]).errors.contains("ignores --nodes"))
    let export = ["export", "t.npy", "--gpus", "4", "--nodes", "2", "-o", "m.lp"]
    #expect(try runner.run(export).errors.contains("flat, the default, ignores --nodes 2"))
  }

  @Test func warmStartsThatBreakTheCapAreNamedAndRepaired() throws {
    let trace = runner.instance("tiny-16x8.npy")
    _ = try runner.run(["solve", trace, "--gpus", "4", "-q", "--time-limit", "1", "-o", "w.json"])
    let warm = try PlanFile.read(runner.file("w.json"))
    let counts = try TraceFile(trace).counts
    #expect(try counts.loadImbalance(of: warm.placement) > 1.2)
    let result = try runner.run([
      "solve", trace, "--gpus", "4", "--max-load", "1.2", "--time-limit", "1", "--warm-start",
      "w.json", "-o", "p.json",
    ])
    #expect(result.code == 0 || result.code == 4, "\(result.errors)")
    #expect(result.errors.contains("w.json: breaks the load cap: layer "), "\(result.errors)")
    #expect(result.errors.contains("repaired by swaps"))
    let plan = try PlanFile.read(runner.file("p.json"))
    #expect(try counts.loadImbalance(of: plan.placement) <= 1.2)
  }

  @Test func compareShowsMethodsAsTheyAreRunAndRepaired() throws {
    let compare = [
      "compare", runner.instance("tiny-16x8.npy"), "--gpus", "4", "--nodes", "2", "--max-load",
      "1.2", "--time-limit", "1",
    ]
    let methods = try #require(
      try runner.run(compare + ["--json"]).json()["methods"] as? [[String: Any]])
    let counts = try TraceFile(runner.instance("tiny-16x8.npy")).counts
    let instance = try Instance(counts: counts, topology: Topology(gpus: 4, nodes: 2))
    let contiguous = try Baseline.contiguous.placement(for: instance)
    let plain = try #require(methods.first { $0["method"] as? String == "contiguous" })
    #expect(
      (plain["crossings"] as? [String: Any])?["gpu"] as? Int
        == (try counts.crossings(of: contiguous).gpu))
    var repaired = 0
    for (index, method) in methods.enumerated() where method["breaks_cap"] as? Bool == true {
      #expect(try #require(method["max_load"] as? Double) > 1.2)
      let next = methods[index + 1]
      let name = try #require(method["method"] as? String)
      #expect(next["method"] as? String == "\(name), repaired to meet the cap")
      #expect(
        try #require(next["max_load"] as? Double) <= 1.2 && next["breaks_cap"] as? Bool == false)
      repaired += 1
    }
    #expect(repaired >= 1)
    let table = try runner.run(compare + ["--holdout", runner.instance("tiny-16x8-code.npy")])
    expectNarrow(table.output)
    for text in ["breaks the cap", "  repaired to meet the cap", "EPLB packing, no replicas"] {
      #expect(table.output.contains(text), "\(table.output)")
    }
    #expect(table.output.contains("joint cost "), "\(table.output)")
  }

  @Test func stagedAnswersHaveNoBoundOfTheirOwn() throws {
    let solve = [
      "solve", runner.instance("synthetic-8-95-24.npy"), "--gpus", "4", "--nodes", "2",
      "--time-limit", "20", "-o", "p.json",
    ]
    let staged = try runner.run(solve + ["--objective", "staged"])
    #expect(staged.code == 0, "\(staged.errors)")
    #expect(staged.errors.contains("each step proved"), "\(staged.errors)")
    #expect(!staged.errors.contains("bound ") && !staged.errors.contains("optimal"))
    #expect(staged.errors.contains("any placement's is at least"), "\(staged.errors)")
    expectNarrow(staged.errors)
    let text = try String(contentsOfFile: runner.file("p.json"), encoding: .utf8)
    #expect(text.contains("\n  \"bound\": null,\n  \"gap\": null,\n"))
    let plan = try PlanFile.read(runner.file("p.json"))
    #expect(plan.bound == nil && plan.gap == nil && plan.value != nil)
    let flat = try runner.run(solve + ["--objective", "flat"])
    #expect(flat.errors.contains("bound  ") && flat.errors.contains("optimal (proved)"))
    expectNarrow(flat.errors)
    // The flat optimum is not above the staged answer, and the joint bound not above its cost.
    let optimum = try #require(try PlanFile.read(runner.file("p.json")).value)
    #expect(optimum <= (try #require(plan.value)))
    let joint = try runner.run(solve + ["--objective", "joint"])
    expectNarrow(joint.errors)
    #expect(joint.errors.contains("joint cost"))
  }

  @Test func unknownBoundsAreNull() throws {
    let result = try runner.run([
      "solve", runner.instance("tiny-16x8.npy"), "--gpus", "4", "--no-proof", "--time-limit", "1",
      "-q",
    ])
    let plan = try result.json()
    #expect(plan["bound"] is NSNull && plan["gap"] is NSNull, "\(result.output)")
    let stages = try #require(plan["stages"] as? [[String: Any]])
    #expect(stages[0]["bound"] is NSNull && stages[0]["bound_method"] is NSNull)
    // One spelling of keys.
    func keys(_ value: Any) -> [String] {
      if let object = value as? [String: Any] {
        return object.flatMap { [$0.key] + keys($0.value) }
      }
      return (value as? [Any])?.flatMap(keys) ?? []
    }
    for key in keys(plan) { #expect(key == key.lowercased() && !key.contains("-"), "\(key)") }
  }

  @Test func helpFitsAndListsTheExitCodes() throws {
    for name in [[], ["solve"], ["compare"], ["evaluate"], ["export"], ["generate"], ["inspect"]] {
      let help = try runner.run(name + ["--help"])
      expectNarrow(help.output)
    }
    let help = try runner.run(["--help"]).output
    for code in ["  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "130  "] {
      #expect(help.contains(code), "\(code)")
    }
  }

  @Test func numbersOutOfRangeAreRefused() throws {
    try generate("t.npy")
    for (option, values) in [
      ("--time-limit", ["0", "-1", "nan", "x", "inf", "1e300"]), ("--threads", ["0", "-1", "1e9"]),
      ("--gpus", ["0", "-4", "3", "9223372036854775807", "99999999999999999999"]),
      ("--nodes", ["0", "-1", "3", "9223372036854775807"]), ("--seed", ["-1", "1.5", "x"]),
      ("--work-limit", ["0", "-1", "1e400"]), ("--tree-nodes", ["0", "-1"]),
      ("--gap", ["-0.1", "1.5", "nan", "inf"]),
      ("--max-load", ["0", "-1", "0.99", "nan", "inf", "1e300"]),
      ("--experts", ["0", "-1", "9223372036854775807"]),
      ("--inter-node", ["-1", "9223372036854775807"]), ("--intra-node", ["-1", "9"]),
    ] {
      for value in values {
        var arguments = ["solve", "t.npy", "--nodes=2", "--objective=joint", "\(option)=\(value)"]
        if option != "--gpus" { arguments.append("--gpus=4") }
        if option == "--nodes" { arguments.removeAll { $0 == "--nodes=2" } }
        let result = try runner.run(arguments)
        #expect(result.code == 2, "\(option) \(value): \(result.code) \(result.errors)")
        #expect(result.output.isEmpty && result.errors.hasPrefix("colocate: error: "))
      }
    }
    // The largest of what there is.
    let largest = ["--time-limit=1e9", "--seed=18446744073709551615", "--threads=1024"]
    let result = try runner.run(
      ["solve", runner.instance("synthetic-8-95-24.npy"), "--gpus=4", "-q", "-o", "p.json"]
        + largest)
    #expect(result.code == 0, "\(result.errors)")
    let plan = try String(contentsOfFile: runner.file("p.json"), encoding: .utf8)
    #expect(plan.contains("\"seed\": \"18446744073709551615\""))
  }
}
