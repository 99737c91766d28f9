import ColocateFormats
import ColocateModel
import Foundation
import Testing

/// The program on plans in which experts have copies.
@Suite struct ReplicaCommandTests {
  let runner: CommandRunner
  init() throws { runner = try CommandRunner() }

  /// Top-2 of 4 experts, 2 layers; expert 0 is in every token's row.
  private func trace() throws -> String {
    var ids = [UInt8]()
    for t in 0..<30 {
      for l in 0..<2 { ids += [0, UInt8(1 + (t + l) % 3)] }
    }
    return try runner.npy("(30, 2, 2)", ids)
  }

  /// 4 experts in 6 slots on 2 GPUs: expert 0 on both, expert 1 on both.
  private func sglang() throws -> String {
    try runner.write(
      Array("{\"physical_to_logical_map\": [[0, 1, 2, 0, 1, 3], [0, 1, 2, 0, 1, 3]]}".utf8),
      "sglang.json")
  }

  /// Top-2 of 8 experts, 3 layers, 400 tokens; some experts are asked for far more than others.
  private func skewed(seed: UInt64) throws -> String {
    var random = SeededGenerator(seed: seed)
    var ids = [UInt8]()
    for _ in 0..<400 {
      let first = min(random.next(below: 8), random.next(below: 8))
      for layer in 0..<3 {
        let expert = (first + layer) % 8
        let other = (expert + 1 + min(random.next(below: 7), random.next(below: 7))) % 8
        ids += [UInt8(expert), UInt8(other)]
      }
    }
    return try runner.npy("(400, 3, 2)", ids, name: "skewed-\(seed).npy")
  }

  private func expectNarrow(_ text: String) {
    for line in text.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
  }

  /// By hand, each layer with 10 tokens of {0, 1}, of {0, 2} and of {0, 3}.
  @Test func evaluateCountsUnderTheRule() throws {
    let (trace, plan) = (try trace(), try sglang())
    let expected: [(rule: String, gpus: Double, rows: Double)] = [
      // {0, 1}: both the same copy. {0, 2}: half the tokens.
      ("vllm", 4.0 / 3, 2.0 / 3),
      // All three sets: half the tokens go to a second GPU.
      ("uniform", 1.5, 0.75), ("tensorrt-llm", 1.5, 0.75),
      // {0, 1} stays at home; of {0, 2} and {0, 3} half the tokens send one row.
      ("sglang", 4.0 / 3, 1.0 / 3),
    ]
    for (rule, gpus, rows) in expected {
      let arguments = ["evaluate", plan, trace, "--gpus", "2", "--dispatch", rule]
      let json = try runner.run(arguments + ["--json"]).json()
      let found = try #require(json["destinations"] as? [String: Any])
      #expect(abs((found["gpus_per_token"] as? Double ?? 0) - gpus) < 1e-12, "\(rule)")
      #expect(abs((found["rows_per_token"] as? Double ?? 0) - rows) < 1e-12, "\(rule)")
      let load = try #require(json["load"] as? [String: Any])
      #expect(load["max_over_mean"] as? Double == 1 && json["dispatch"] as? String == rule)
      let text = try runner.run(arguments)
      #expect(text.code == 0 && text.output.contains("6 a layer, 2 redundant"), "\(text.errors)")
      #expect(text.output.contains("rows per token") && text.output.contains(rule))
      expectNarrow(text.output)
    }
    // No expert in every row, so that there is nothing to warn of.
    let quiet = try runner.npy("(2, 2, 2)", [0, 1, 2, 3, 1, 2, 3, 0], name: "quiet.npy")
    try runner.refuses(
      ["evaluate", plan, quiet, "--as", "trace", "--gpus", "2"], "evaluate --dispatch")
    let wrong = try runner.run(["evaluate", plan, trace, "--gpus", "2", "--dispatch", "ours"])
    #expect(wrong.code == 2)
  }

  /// A plan without copies is worth the same with the option, under every rule.
  @Test func plansWithoutCopiesStayWhatTheyAre() throws {
    let trace = try skewed(seed: 1)
    let solve = try runner.run([
      "solve", trace, "--gpus", "4", "--nodes", "2", "--mode", "home", "--time-limit", "2",
      "--no-proof", "-q", "-o", "plan.json",
    ])
    #expect(solve.code == 0 || solve.code == 4, "\(solve.errors)")
    let plain = try runner.run(["evaluate", "plan.json", trace, "--json"]).json()
    for rule in ["vllm", "sglang", "tensorrt-llm", "uniform"] {
      let json = try runner.run(["evaluate", "plan.json", trace, "--dispatch", rule, "--json"])
        .json()
      let found = try #require(json["destinations"] as? [String: Any])
      #expect(
        found["gpus_per_token"] as? Double == plain["gpus_per_token_and_layer"] as? Double)
      #expect(
        found["nodes_per_token"] as? Double == plain["nodes_per_token_and_layer"] as? Double)
      #expect(json["balance"] as? NSDictionary == plain["balance"] as? NSDictionary)
    }
  }

  @Test func solveWritesAPlanThatEvaluatesAndConverts() throws {
    let trace = try skewed(seed: 1)
    let arguments = [
      "solve", trace, "--gpus", "4", "--nodes", "2", "--mode", "home", "--redundant", "4",
      "--dispatch", "sglang", "--objective", "joint", "--work-limit", "400000", "--max-load",
      "1.3", "--relax-max-load",
    ]
    let solved = try runner.run(arguments + ["-o", "slots.json", "--threads", "2"])
    #expect(solved.code == 0 || solved.code == 4, "\(solved.errors)")
    #expect(solved.errors.contains("none: no bound of plans with copies is known"))
    expectNarrow(solved.errors)
    let text = try String(contentsOfFile: runner.file("slots.json"), encoding: .utf8)
    let again = try runner.run(arguments + ["--threads", "1"])
    func slots(_ text: String) throws -> Any? {
      (try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])?["slots"]
    }
    #expect(try slots(again.output) as? [[Int]] == slots(text) as? [[Int]])
    #expect(text.contains("\"bound\": null") && text.contains("\"dispatch\": \"sglang\""))
    let plan = try SlotPlanFile.read(runner.file("slots.json"))
    #expect(plan.plan.redundant == 4 && plan.plan.uselessReplica == nil)

    // The rule is as the plan says, and so are the figures.
    let own = try runner.run(["evaluate", "slots.json", trace, "--json"]).json()
    let object = try #require(
      try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    #expect(own["destinations"] as? NSDictionary == object["destinations"] as? NSDictionary)
    let other = try runner.run(["evaluate", "slots.json", trace, "--dispatch", "vllm"])
    #expect(other.errors.contains("made for sglang, counted as vllm (--dispatch)"))

    for (format, name) in [
      ("sglang", "a.json"), ("tensorrt-llm", "a.yaml"), ("vllm", "a.jsonl"), ("vllm-map", "b.json"),
      ("vllm-ascend", "c.json"), ("colocate", "d.json"),
    ] {
      let there = try runner.run(["convert", "slots.json", "--to", format, "-o", name])
      #expect(there.code == 0, "\(format): \(there.errors)")
      let found = try runner.run([
        "evaluate", name, trace, "--gpus", "4", "--nodes", "2", "--dispatch", "sglang", "--json",
      ])
      #expect(found.code == 0, "\(format): \(found.errors)")
      #expect(
        try found.json()["destinations"] as? NSDictionary == own["destinations"] as? NSDictionary,
        "\(format)")
    }
    for format in ["exflow", "lmdeploy"] {
      try runner.refuses(
        ["convert", "slots.json", "--to", format, "-o", "x.json"], "4 redundant slots")
    }
    for command in [
      ["solve", trace, "--gpus", "4", "--warm-start", "slots.json"],
      ["renumber", "--model", runner.folder, "--plan", "slots.json", "-o", "new"],
    ] {
      let refused = try runner.run(command)
      #expect(refused.code == 2, "\(refused.errors)")
    }
    try runner.refuses(
      ["solve", trace, "--gpus", "4", "--warm-start", "slots.json"],
      "a plan with copies of experts")
    #expect(try runner.leftovers.isEmpty)
  }

  @Test func comparesPlansWithCopies() throws {
    let arguments = [
      "compare", try skewed(seed: 1), "--gpus", "4", "--nodes", "2", "--mode",
      "home", "--objective", "flat", "--redundant", "4", "--dispatch", "vllm", "--time-limit", "2",
      "--holdout", try skewed(seed: 2),
    ]
    let text = try runner.run(arguments)
    #expect(text.code == 0, "\(text.errors)")
    #expect(text.output.contains("4 redundant slots a layer, --dispatch vllm, means"))
    expectNarrow(text.output)
    let json = try runner.run(arguments + ["--json"]).json()
    let methods = try #require(json["methods"] as? [[String: Any]])
    func gpus(_ name: String) throws -> Double {
      let row = try #require(methods.first { $0["method"] as? String == name })
      #expect(row["dispatch"] as? String == "vllm" && row["holdout_max_load"] as? Double != nil)
      return try #require((row["destinations"] as? [String: Any])?["gpus_per_token"] as? Double)
    }
    #expect(try gpus("colocate, 4 redundant") <= gpus("EPLB, 4 redundant"))
  }

  @Test func whatCannotBeIsRefused() throws {
    let trace = try skewed(seed: 1)
    let solve = [
      "solve", trace, "--as", "trace", "--gpus", "2", "--mode", "home", "--redundant",
    ]
    try runner.refuses(solve + ["1"], "do not spread evenly over 2 GPUs: expected 2 redundant")
    try runner.refuses(solve + ["10"], "expected 0 to 8")
    try runner.refuses(solve + ["0"], "expected 1 or more")
    try runner.refuses(solve + ["2", "--objective", "staged"], "expected flat, nodes or joint")
    try runner.refuses(solve + ["2", "--certificate", "c.json"], "no such thing")
    try runner.refuses(solve + ["2", "--warm-start", "p.json"], "no such thing")
    try runner.refuses(solve + ["2", "-o", "p.csv"], "ends in .json")
    try runner.refuses(
      ["solve", trace, "--gpus", "2", "--redundant", "2"], "expected with --mode home")
    try runner.refuses(
      ["solve", trace, "--gpus", "2", "--mode", "home", "--dispatch", "vllm"],
      "without --redundant")
    try runner.refuses(
      ["compare", trace, "--gpus", "2", "--redundant", "2"], "expected with --mode home")
  }

  /// Loads alone: a plan with copies has a balance under a rule, without one it is asked for.
  @Test func loadsAloneHaveABalance() throws {
    let folder = CommandRunner.instances + "/../Tests/ColocateFormatsTests/Stacks/Fixtures/trtllm"
    let slots: [Int] = Array(0..<16) + [0, 4, 8, 12]
    let rows = [String](repeating: "\(slots)", count: 4).joined(separator: ", ")
    let plan = try runner.write(Array("[\(rows)]".utf8), "map.json")
    let arguments = ["evaluate", plan, folder, "--gpus", "4"]
    let json = try runner.run(arguments + ["--dispatch", "uniform", "--json"])
    #expect(json.code == 0, "\(json.errors)")
    let load = try #require(try json.json()["load"] as? [String: Any])
    let loads = try #require(load["per_layer"] as? [[Double]])
    #expect(loads.count == 4 && loads.allSatisfy { $0.count == 4 })
    try runner.refuses(arguments, "evaluate --dispatch")
  }

  @Test func ctrlCWritesThePlan() throws {
    let result = try runner.run(
      [
        "solve", runner.instance("gpt-oss-20b-train-top4.npy"), "--gpus", "8", "--mode", "home",
        "--redundant", "8", "--time-limit", "300", "-o", "plan.json",
      ], interrupt: 4)
    #expect(result.code == 130, "\(result.errors)")
    #expect(try SlotPlanFile.read(runner.file("plan.json")).stopReason == .cancelled)
    #expect(try runner.leftovers.isEmpty)
  }
}
