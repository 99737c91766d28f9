import ColocateFormats
import Foundation
import Testing

/// The program on destinations.
@Suite struct HomeModeTests {
  let runner: CommandRunner
  init() throws { runner = try CommandRunner() }

  /// Top-2 of 4 experts, 3 layers: experts 0 and 2 are always used together, 1 and 3 too.
  private func trace(_ name: String = "t.npy", tokens: Int = 40) throws -> String {
    var ids = [UInt8]()
    for t in 0..<tokens {
      for l in 0..<3 { ids += (t + l) % 2 == 0 ? [0, 2] : [3, 1] }
    }
    return try runner.npy("(\(tokens), 3, 2)", ids, name: name)
  }

  @Test func solveFindsTheObviousAndProvesIt() throws {
    let trace = try trace()
    let result = try runner.run([
      "solve", trace, "--gpus", "2", "--mode", "home", "-o", "plan.json", "--certificate", "c.json",
      "--json",
    ])
    #expect(result.code == 0, "\(result.errors)")
    let plan = try result.json()
    #expect(plan["value"] as? Int == 120 && plan["bound"] as? Int == 120)
    #expect(plan["status"] as? String == "optimal")
    // Names are matched: a token goes on where it was.
    #expect(plan["assignment"] as? [[Int]] == [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
    let found = try #require(plan["destinations"] as? [String: Any])
    #expect(found["gpus_per_token"] as? Double == 1 && found["tokens"] as? Int == 120)
    #expect((plan["objective"] as? [String: Any])?["mode"] as? String == "home")
    #expect(result.errors.contains("GPUs per token  1.0000 of 2"))
    for line in result.errors.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }

    let check = try runner.run(["check", "c.json", trace])
    #expect(check.code == 0 && check.output.contains("value      120, proved optimal"))
    let json = try runner.run(["check", "c.json", trace, "--json"]).json()
    #expect(json["optimal"] as? Bool == true && json["bound"] as? Int == 120)
    try runner.refuses(["check", "c.json", try self.trace("other.npy", tokens: 41)], "SHA-256")

    let evaluated = try runner.run(["evaluate", "plan.json", trace, "--json"]).json()
    #expect(evaluated["value"] as? Int == 120)
    #expect(evaluated["gpus_per_token_and_layer"] as? Double == 1)
    let text = try runner.run(["evaluate", "plan.json", trace, "--top-k", "first"]).output
    #expect(text.contains("GPUs per token  1.0000 of 2") && text.contains("coherent rows"))
  }

  @Test func everyObjectiveAnswersAndIsChecked() throws {
    let trace = runner.instance("tiny-32x12-code.npy")
    for objective in ["flat", "nodes", "staged", "joint"] {
      let result = try runner.run([
        "solve", trace, "--gpus", "8", "--nodes", "2", "--mode", "home", "--objective", objective,
        "--max-load", "1.5", "--relax-max-load", "-o", "plan.json", "--certificate", "c.json",
        "--time-limit", "20", "--log", "timeless", "--json",
      ])
      #expect(result.code == 0 || result.code == 4, "\(result.errors)")
      let plan = try result.json()
      #expect((plan["bound"] as? Int != nil) == (objective != "staged"), "\(objective)")
      #expect(result.errors.contains("per token"), "\(result.errors)")
      #expect(result.errors.contains("(for 1.5 on unseen traffic plan with --max-load 1.35)"))
      let check = try runner.run(["check", "c.json", trace])
      #expect(check.code == 0, "\(objective): \(check.errors)")
      for line in (check.output + result.errors).split(separator: "\n") {
        #expect(line.count <= 80, "\(line)")
      }
    }
  }

  @Test func crossingsAndRowsCanCountToo() throws {
    let trace = runner.instance("tiny-32x12-prose.npy")
    func value(_ arguments: [String], gpus: Int = 4) throws -> (
      destinations: Int, crossings: Int, plan: [String: Any]
    ) {
      let result = try runner.run(
        ["solve", trace, "--gpus", "\(gpus)", "--work-limit", "3000000", "--threads", "2"]
          + arguments)
      let plan = try result.json()
      let found = try #require(plan["destinations"] as? [String: Any])
      let crossings = try #require(plan["crossings"] as? [String: Any])
      return (
        try #require(found["gpus"] as? Int), try #require(crossings["gpu"] as? Int), plan
      )
    }
    let alone = try value(["--mode", "home"])
    let both = try value(["--mode", "home", "--crossing-weight", "2"])
    #expect(both.destinations + 2 * both.crossings <= alone.destinations + 2 * alone.crossings)
    #expect(both.crossings < alone.crossings)
    #expect(both.plan["value"] as? Int == both.destinations + 2 * both.crossings)
    #expect(try #require(both.plan["bound"] as? Int) <= both.destinations)
    let rows = try value(["--objective", "rows"], gpus: 2)
    let total = try #require((rows.plan["rows"] as? [String: Any])?["total"] as? Int)
    #expect(total == rows.plan["value"] as? Int)
    // Both ways, of every token and layer, from the destinations' optimum.
    let tokens = try #require((rows.plan["destinations"] as? [String: Any])?["tokens"] as? Int)
    let least = try #require(value(["--mode", "home"], gpus: 2).plan["bound"] as? Int)
    let bound = try #require(rows.plan["bound"] as? Int)
    #expect(bound <= total && bound <= 2 * (least - tokens) && bound > 0)
    #expect(rows.plan["status"] as? String == "feasible" || bound == total)
  }

  @Test func comparesWithWhatPeopleUse() throws {
    let (seen, unseen) = (
      runner.instance("tiny-32x12-code.npy"), runner.instance("tiny-32x12-docs.npy")
    )
    let arguments = [
      "compare", seen, "--gpus", "8", "--nodes", "2", "--mode", "home", "--max-load", "2",
      "--relax-max-load", "--holdout", unseen, "--time-limit", "4",
    ]
    let text = try runner.run(arguments)
    #expect(text.code == 0, "\(text.errors)")
    #expect(text.output.contains("keeps the load cap of 2.0 on the trace"))
    #expect(text.output.contains("on such traffic, plan with --max-load 1.97"))
    for name in ["contiguous", "EPLB packing, no replicas", "TRT-LLM co-occurrence", "spectral"] {
      #expect(text.output.contains(name), "\(text.output)")
    }
    for line in text.output.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
    let json = try runner.run(arguments + ["--json"]).json()
    let methods = try #require(json["methods"] as? [[String: Any]])
    func gpus(_ row: [String: Any]) -> Int? {
      (row["destinations"] as? [String: Any])?["gpus"] as? Int
    }
    let own = try #require(
      methods.first { $0["method"] as? String == "colocate flat" }.flatMap(gpus))
    for row in methods where row["breaks_cap"] as? Bool != true {
      if let found = gpus(row) { #expect(own <= found, "\(row["method"] ?? "")") }
      #expect(row["holdout_destinations"] != nil)
    }
    // Coherent mode shows destinations of top-k traces too.
    let coherent = try runner.run(["compare", seen, "--gpus", "4", "--time-limit", "1"])
    #expect(coherent.output.contains("GPUs of a token"))
    for line in coherent.output.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
  }

  @Test func inspectShowsTheSpread() throws {
    let trace = try trace()
    let names = try runner.npy("(40,)", (0..<40).map { UInt8($0 / 10) }, name: "s.npy")
    let result = try runner.run(["inspect", trace, "--sequences", names])
    #expect(result.output.contains("spread       2 GPUs 2.00 4 GPUs 2.00"), "\(result.output)")
    #expect(result.output.contains("token sets   2 different ones a layer, from 4 sequences"))
    #expect(result.errors.contains("4 sequences; with fewer than 100"))
    let json = try runner.run(["inspect", trace, "--json"]).json()
    #expect((json["token_sets"] as? [String: Any])?["tokens_read"] as? Int == 40)
  }

  @Test func whatCannotBeIsRefusedInOneLine() throws {
    let trace = try trace()
    let top1 = try runner.npy("(4, 2)", [0, 1, 1, 0, 2, 3, 3, 2], name: "top1.npy")
    try runner.refuses(["solve", top1, "--gpus", "2", "--mode", "home"], "one expert a token")
    try runner.refuses(
      ["solve", runner.instance("tiny-16x8.npy"), "--gpus", "2", "--mode", "home"], "counts do not")
    try runner.refuses(["solve", trace, "--gpus", "2", "--objective", "nodes"], "--mode home")
    try runner.refuses(
      ["solve", trace, "--gpus", "2", "--objective", "rows", "--mode", "home"], "--mode coherent")
    try runner.refuses(["solve", trace, "--gpus", "2", "--crossing-weight", "1"], "--mode home")
    try runner.refuses(
      [
        "solve", trace, "--gpus", "2", "--mode", "home", "--crossing-weight", "1", "--certificate",
        "c",
      ],
      "no certificate")
    try runner.refuses(["solve", trace, "--gpus", "3", "--mode", "home"], "3 GPUs")
    try runner.refuses(
      ["solve", trace, "--gpus", "2", "--mode", "home", "--sequences", top1],
      "sequence ids of shape")
    try runner.refuses(
      ["solve", trace, trace, "--gpus", "2", "--mode", "home", "--sequences", top1],
      "given 1 times, expected once for each of the 2")
    try runner.refuses(
      ["compare", trace, "--gpus", "2", "--mode", "home", "--objective", "rows"], "coherent")
  }

  @Test func ctrlCWritesThePlan() throws {
    let trace = runner.instance("gpt-oss-20b-train-top4.npy")
    let result = try runner.run(
      ["solve", trace, "--gpus", "4", "--mode", "home", "--time-limit", "300", "-o", "plan.json"],
      interrupt: 3)
    #expect(result.code == 130, "\(result.errors)")
    let plan = try PlanFile.read(runner.file("plan.json"))
    #expect(plan.stopReason == .cancelled && plan.goal == .home(.gpus))
    #expect(try runner.leftovers.isEmpty)
  }
}
