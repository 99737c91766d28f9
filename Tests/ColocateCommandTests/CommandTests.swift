import Colocate
import ColocateFormats
import Foundation
import Testing

@Suite struct CommandTests {
  let runner: CommandRunner
  init() throws { runner = try CommandRunner() }

  @Test func helpTeaches() throws {
    let help = try runner.run(["--help"])
    #expect(help.code == 0 && help.output.contains("EXIT CODES") && help.errors.isEmpty)
    for name in ["inspect", "solve", "evaluate", "compare", "generate", "export"] {
      #expect(help.output.contains("\n  \(name) "), "\(name)")
      let one = try runner.run([name, "--help"])
      #expect(one.code == 0 && one.output.contains("EXAMPLES\n  colocate \(name)"), "\(name)")
    }
    let version = try runner.run(["--version"])
    #expect(version.code == 0 && version.output == "colocate \(ToolVersion.current)\n")
  }

  @Test func badInputIsOneLineAndExitCode2() throws {
    let good = try runner.npy("(3, 3)", [0, 1, 2, 3, 0, 1, 2, 3, 0], name: "good.npy")
    try runner.refuses(["sovle", good], "'sovle'")
    try runner.refuses(["solve"], "Missing expected argument")
    try runner.refuses(["solve", good], "--gpus")
    try runner.refuses(["solve", good, "--gpus", "x"], "'x'")
    try runner.refuses(["solve", good, "--gpus", "2", "--time-limit", "0"], "expected more than 0")
    try runner.refuses(["solve", good, "--gpus", "2", "-o", "plan.txt"], ".json or .csv")
    try runner.refuses(["solve", "absent.npy", "--gpus", "2"], "absent.npy: no such file")
    try runner.refuses(["solve", ".", "--gpus", "2"], ".: a folder")
    try runner.refuses(
      ["solve", good, "--gpus", "3"],
      "good.npy: 4 experts do not spread evenly over 3 GPUs: the number of GPUs must be one "
        + "of 1, 2, 4"
    )
    try runner.refuses(["solve", good, "--gpus", "4", "--nodes", "3"], "must be one of 1, 2, 4")
    try runner.refuses(["solve", good, "--gpus", "0"], "0 GPUs")
    try runner.refuses(["solve", good, "--gpus", "2", "--max-load", "0.5"], "a load cap of 0.5")
    try runner.refuses(
      ["solve", good, "--gpus", "2", "--max-load", "1"],
      "good.npy: no placement on 2 GPUs meets a load cap of 1.0: layer", code: 3)
    try runner.refuses(["solve", good, "--gpus", "2", "--relax-max-load"], "--max-load")
    try runner.refuses(
      ["solve", good, "--gpus", "2", "--experts", "3"],
      "good.npy: token 1, layer 0: expert id 3, expected 0 to 2")
    let float = try runner.npy(
      "(1, 2)", [UInt8](repeating: 0, count: 8), type: "<f4", name: "float.npy")
    try runner.refuses(["inspect", float], "float.npy: holds floating-point numbers ('<f4')")
    let huge = try runner.npy("(4000000000, 4000000000)", [0], name: "huge.npy")
    try runner.refuses(["inspect", huge], "huge.npy: 1 bytes of data, expected more than 2^63")
    let lying = try runner.npy("(3000000, 300)", [0, 1], name: "lying.npy")
    try runner.refuses(["inspect", lying], "lying.npy: 2 bytes of data, expected 900000000")
    let one = try runner.npy("(2, 1)", [0, 1], name: "one.npy")
    try runner.refuses(["inspect", one], "one.npy: 1 MoE layer: at least 2")
    let none = try runner.npy("(0, 2)", [], name: "none.npy")
    try runner.refuses(["inspect", none], "none.npy: 0 tokens")
    let negative = try runner.npy("(1, 2)", [0, 0xFE], type: "|i1", name: "negative.npy")
    try runner.refuses(["inspect", negative], "negative.npy: token 0, layer 1: expert id -2")
    let text = try runner.write(Array("no numpy at all\n".utf8), "text.npy")
    try runner.refuses(["inspect", text], "text.npy: text, expected a .npy or .safetensors file")
    try runner.refuses(["inspect", good, "--as", "counts"], "read as counts")
    try runner.refuses(["inspect", good, "--as", "loads"], "'loads'")
    let plan = runner.file("plan.json")
    #expect(try runner.run(["solve", good, "--gpus", "2", "-o", plan]).code == 0)
    let other = try runner.npy("(2, 4)", [0, 1, 2, 3, 0, 1, 2, 3], name: "other.npy")
    try runner.refuses(
      ["evaluate", plan, other],
      "plan.json: a plan for 3 layers × 4 experts, expected 4 × 4 as in the trace")
    try runner.refuses(
      ["evaluate", good, other], "good.npy: a numpy array (.npy), expected a plan (.json, .csv)")
    try runner.refuses(
      ["compare", good, "--gpus", "2", "--holdout", other],
      "other.npy: 4 layers, expected 3 as in the trace")
    try runner.refuses(
      ["solve", good, "--gpus", "4", "--warm-start", plan],
      "plan.json: a plan for 2 GPUs, expected 4")
    try runner.refuses(
      ["solve", good, "--gpus", "2", "-o", "absent/plan.json"],
      "absent/plan.json: folder 'absent': no such file or directory")
    try runner.refuses(
      ["export", good, "--gpus", "2", "--objective", "staged", "-o", "m.lp"], "staged objective")
    try runner.refuses(["export", good, "--gpus", "2", "-o", "m.txt"], ".mps or .lp")
    try runner.refuses(
      ["generate", "--layers", "1", "--experts", "4", "-o", "g.npy"], "1 layers: expected 2 to 4096"
    )
    // Nothing half-written is left.
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: runner.folder).allSatisfy {
        $0.hasSuffix(".npy") || $0 == "plan.json"
      })
  }

  @Test func solvedPlanEvaluatesToItsOwnFigures() throws {
    let instance = runner.instance("synthetic-8-95-24.npy")
    let solved = try runner.run([
      "solve", instance, "--gpus", "4", "--nodes", "2", "--max-load", "1.1", "-o", "plan.json",
      "--json",
    ])
    #expect(solved.code == 0, "\(solved.errors)")
    #expect(solved.errors.contains("GPU crossings") && solved.errors.contains("load "))
    let plan = try PlanFile.read(runner.file("plan.json"))
    #expect(plan.status == .optimal && plan.stopReason == .proved && plan.bound == plan.value)
    #expect(
      solved.output == (try String(contentsOfFile: runner.file("plan.json"), encoding: .utf8)))
    #expect(plan.traces.first?.sha256 == (try Digest.sha256(ofFile: instance)))
    let counts = try TraceFile(instance).counts
    #expect(plan.value == (try counts.crossings(of: plan.placement).gpu))
    #expect(try counts.loadImbalance(of: plan.placement) <= 1.1)
    let evaluated = try runner.run(["evaluate", "plan.json", instance, "--json"])
    #expect(evaluated.code == 0 && evaluated.errors.isEmpty)
    let crossings = try #require(try evaluated.json()["crossings"] as? [String: Any])
    #expect(crossings["gpu"] as? Int == plan.value)
    // The same plan as ExFlow's table; and as a warm start.
    try ExFlowCSV.write(plan.placement, to: runner.file("plan.csv"))
    let table = try runner.run(["evaluate", "plan.csv", instance, "--nodes", "2", "--json"])
    #expect(try table.json()["crossings"] as? NSDictionary == crossings as NSDictionary)
    let again = try runner.run([
      "solve", instance, "--gpus", "4", "--warm-start", "plan.csv", "--max-load", "1.1", "--quiet",
      "-o", "again.csv",
    ])
    #expect(again.code == 0 && again.errors.isEmpty && again.output.isEmpty, "\(again.errors)")
    let other = try ExFlowCSV.read(runner.file("again.csv"), layers: 24, experts: 8)
    #expect(try counts.crossings(of: other).gpu == plan.value)
  }

  @Test func limitsGiveExitCode4AndAnAnswer() throws {
    let result = try runner.run([
      "solve", runner.instance("gpt-oss-20b-train-top1.npy"), "--gpus", "8", "--time-limit", "1",
      "-o", "plan.json", "--log", "on",
    ])
    #expect(result.code == 4, "\(result.errors)")
    let plan = try PlanFile.read(runner.file("plan.json"))
    #expect(plan.stopReason == .time && plan.status == .feasible)
    #expect(try #require(plan.value) > (try #require(plan.bound)))
    // The key once, then the header, then incumbents from worse to better.
    let lines = result.errors.split(separator: "\n").map(String.init)
    let key = "B baseline  W warm start  L local search  P partition pool  X exact method  T tree"
    #expect(lines.first == key)
    #expect(lines.count { $0 == key } == 1)
    #expect(lines.dropFirst().first?.contains("Incumbent") == true)
    #expect(result.errors.contains("load "))
  }

  @Test func interruptedRunWritesItsIncumbent() throws {
    let result = try runner.run(
      [
        "solve", runner.instance("synthetic-64-50-24.npy"), "--gpus", "8", "--time-limit", "120",
        "-o", "plan.json",
      ], interrupt: 3)
    #expect(result.code == 130, "\(result.errors)")
    let plan = try PlanFile.read(runner.file("plan.json"))
    #expect(plan.stopReason == .cancelled)
    let counts = try TraceFile(runner.instance("synthetic-64-50-24.npy")).counts
    #expect(plan.value == (try counts.crossings(of: plan.placement).gpu))
    #expect(try FileManager.default.contentsOfDirectory(atPath: runner.folder) == ["plan.json"])
  }

  @Test func comparePutsTheSolverAheadOfTheBaselines() throws {
    let result = try runner.run([
      "compare", runner.instance("gpt-oss-20b-train-top1.npy"), "--gpus", "4", "--holdout",
      runner.instance("gpt-oss-20b-test-trace.npy"), "--time-limit", "2", "--json",
    ])
    #expect(result.code == 0, "\(result.errors)")
    let methods = try #require(try result.json()["methods"] as? [[String: Any]])
    func gpu(_ name: String, _ key: String = "crossings") throws -> Int {
      let row = try #require(methods.first { $0["method"] as? String == name })
      return try #require((row[key] as? [String: Any])?["gpu"] as? Int)
    }
    let best = try gpu("colocate")
    for method in methods {
      let name = try #require(method["method"] as? String)
      #expect(try best <= gpu(name), "\(name)")
    }
    // Unseen tokens: better than what frameworks do by far.
    #expect(try 2 * gpu("colocate", "holdout_crossings") < gpu("contiguous", "holdout_crossings"))
    let table = try runner.run([
      "compare", runner.instance("tiny-16x8.npy"), "--gpus", "4", "--nodes", "2", "--time-limit",
      "1", "--max-load", "1.3", "--relax-max-load",
    ])
    #expect(table.code == 0, "\(table.errors)")
    for word in ["nodes", "colocate staged", "colocate joint", "load"] {
      #expect(table.output.contains(word), "\(table.output)")
    }
  }

  @Test func inspectShowsAffinityAboveTheNull() throws {
    let result = try runner.run([
      "inspect", runner.instance("gpt-oss-20b-test-trace.npy"), "--json",
    ])
    let document = try result.json()
    let shares = try #require(document["affinity"] as? [Double])
    let null = try #require(document["affinity_null"] as? [Double])
    #expect(shares.count == 23 && null.count == 23)
    for (share, nothing) in zip(shares, null) { #expect(share > 3 * nothing) }
    let text = try runner.run(["inspect", runner.instance("gpt-oss-20b-test-trace.npy")])
    #expect(text.output.contains("experts      32 (the largest id + 1; --experts gives another)"))
    // Independent layers have none.
    #expect(
      try runner.run([
        "generate", "--layers", "4", "--experts", "8", "--affinity", "0", "-o", "none.npy",
      ]).code == 0)
    let none = try runner.run(["inspect", "none.npy", "--json"]).json()
    let (flat, zero) = (none["affinity"] as? [Double], none["affinity_null"] as? [Double])
    for (share, nothing) in zip(try #require(flat), try #require(zero)) {
      #expect(abs(share - nothing) < 0.002)
    }
  }

  @Test func generatedInstancesAreThoseInTheRepository() throws {
    for (name, arguments) in [
      ("generated-8.npy", ["--experts", "8", "--layers", "24", "--seed", "1"]),
      ("generated-16.npy", ["--experts", "16", "--layers", "24", "--seed", "1"]),
    ] {
      let result = try runner.run(["generate", "--counts"] + arguments + ["-o", name])
      #expect(result.code == 0, "\(result.errors)")
      #expect(
        FileManager.default.contents(atPath: runner.file(name))
          == FileManager.default.contents(atPath: runner.instance(name)), "\(name)")
    }
  }

  @Test func knownOptimaAreFound() throws {
    // The instances that are proved in a moment, from the table that the repository keeps.
    let table = try String(contentsOfFile: runner.instance("best-known.csv"), encoding: .utf8)
    let lines = table.split(separator: "\n").map {
      $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }
    #expect(lines[0] == ["instance", "topology", "cap", "crossings", "bound", "proved", "method"])
    var proved = 0
    for line in lines.dropFirst() {
      let fields = line.count
      #expect(fields == 7, "\(line)")
      let crossings = try #require(Int(line[3]))
      let bound = try #require(Int(line[4]))
      #expect((crossings == bound) == (line[5] == "yes") && bound <= crossings, "\(line)")
      let isQuick =
        line[6] == "assignment" || (line[6] == "chain of partitions" && !line[0].contains("-16-"))
      guard isQuick, line[5] == "yes", line[1].hasPrefix("1x"), line[2].isEmpty else { continue }
      let result = try runner.run([
        "solve", runner.instance(line[0] + ".npy"), "--gpus", String(line[1].dropFirst(2)),
        "--quiet",
      ])
      #expect(result.code == 0, "\(line): \(result.errors)")
      let plan = try result.json()
      #expect(
        plan["value"] as? Int == crossings && plan["status"] as? String == "optimal", "\(line)")
      proved += 1
    }
    #expect(proved >= 5)
  }

  @Test func severalTracesAddUp() throws {
    let parts = ["prose", "docs", "code"].map { runner.instance("tiny-16x8-\($0).npy") }
    let sum = try runner.run(["inspect"] + parts + ["--json"]).json()
    let whole = try runner.run(["inspect", runner.instance("tiny-16x8.npy"), "--json"]).json()
    #expect(sum["transitions"] as? Int == 430_080)
    #expect(sum["affinity"] as? [Double] == whole["affinity"] as? [Double])
  }

  @Test func exportedModelsAreWritten() throws {
    for name in ["m.mps", "m.lp"] {
      let result = try runner.run([
        "export", runner.instance("synthetic-8-95-24.npy"), "--gpus", "2", "--break-symmetry", "-o",
        name,
      ])
      #expect(result.code == 0, "\(result.errors)")
      let text = try String(contentsOfFile: runner.file(name), encoding: .utf8)
      #expect(text.hasSuffix(name == "m.mps" ? "ENDATA\n" : "End\n"))
    }
  }
}
