import Colocate
import ColocateFormats
import Foundation
import MoEEngine
import Testing

/// The program itself, as a user starts it: one process, and under mpirun with several ranks.
///
/// Every number of ranks, mode and plan must give the tokens and logits of Hugging Face's single
/// process, and `verify` must find that what was sent is what the objective predicts. One test at a
/// time: each starts up to 8 processes.
@Suite(.serialized)
struct RankTests {
  static let checkpoints = ["tiny-olmoe-16x8", "random-qwen3-moe"]

  @Test(arguments: checkpoints, [2, 4, 8])
  func sameTokensUnderARandomPlan(name: String, ranks: Int) throws {
    let scratch = try Scratch()
    let plan = try scratch.randomPlan(name, ranks: ranks, seed: UInt64(ranks))
    let expected = try Fixture.integers(name, "greedy.npy")
    for mode in ["home", "coherent"] {
      let output = scratch.path("tokens.npy")
      let run = try Program.run(
        ranks,
        [
          "generate", "--model", Fixture.checkpoint(name), "--tokens",
          "\(Fixture.folder)/\(name)/ids.npy", "--new",
          "48", "--mode", mode, "--plan", plan, "-o", output,
        ])
      try #require(run.code == 0, "\(run.errors)")
      #expect(try IntegerFile(output).values == expected, "\(mode)")
    }
  }

  @Test(arguments: checkpoints, ["home", "coherent"])
  func sameLogitsOnFourRanks(name: String, mode: String) throws {
    let scratch = try Scratch()
    let plan = try scratch.randomPlan(name, ranks: 4, seed: 9)
    let output = scratch.path("logits.npy")
    let run = try Program.run(
      4,
      [
        "logits", "--model", Fixture.checkpoint(name), "--tokens",
        "\(Fixture.folder)/\(name)/ids.npy", "--mode", mode,
        "--plan", plan, "-o", output,
      ])
    try #require(run.code == 0, "\(run.errors)")
    let (model, tokens) = try Fixture.open(name)
    let alone = try model.logits(tokens, placement: model.contiguous, mode: .home)
    let logits = try Fixture.floats(output)
    #expect(logits.count == alone.count)
    let scale = alone.reduce(0) { max($0, abs($1)) }
    let largest = zip(logits, alone).reduce(0) { max($0, abs($1.0 - $1.1)) }
    #expect(largest <= 1e-4 * scale, "largest difference \(largest), scale \(scale)")
  }

  @Test(arguments: checkpoints + ["tiny-olmoe-32x12"], [1, 4])
  func verifyAgrees(name: String, ranks: Int) throws {
    let scratch = try Scratch()
    var arguments = [
      "verify", "--model", Fixture.checkpoint(name), "--tokens",
      "\(Fixture.folder)/\(name)/ids.npy", "--new", "6",
      "--plan", try scratch.randomPlan(name, ranks: ranks, seed: 4), "--json",
    ]
    if ranks == 4 { arguments += ["--ranks-per-node", "2"] }
    let run = try Program.run(ranks, arguments)
    try #require(run.code == 0, "\(run.output) \(run.errors)")
    let report = try VerificationReport(run.output)
    #expect(report.runs.map(\.placement) == ["contiguous", "plan", "contiguous", "greedy", "plan"])
    #expect(report.runs.map(\.mode) == ["home", "home", "coherent", "coherent", "coherent"])
    let boundaries = report.layers - 1
    for home in report.runs.prefix(2) {
      // What left its rank and what stayed is what the solver counts.
      #expect(home.destinations.count == report.layers && home.crossedGPUs.isEmpty)
      #expect(home.destinations == home.destinationsPredicted)
      let tokens = report.sequences * (report.prompt + 5)
      #expect(
        home.destinations.allSatisfy {
          (tokens...(tokens * min(ranks, report.expertsPerToken))).contains($0)
        })
    }
    if ranks > 1, report.expertsPerToken > 1 {
      #expect(report.runs[0].destinations != report.runs[1].destinations)
    }
    for coherent in report.runs.dropFirst(2) {
      // Nothing is set apart: every position and every choice was compared.
      #expect(coherent.positionsCompared == report.sequences * (report.prompt + 5))
      #expect(coherent.choicesCompared == coherent.positionsCompared * report.layers)
      #expect(coherent.nextTokensCompared == report.sequences * 6)
      #expect(coherent.largestLogitDifference != nil && coherent.choicesThatDiffer != nil)
      #expect(coherent.crossedGPUs.count == boundaries)
      #expect(coherent.crossedGPUs == coherent.crossedGPUsPredicted)
      #expect(coherent.crossedNodes == coherent.crossedNodesPredicted)
      let steps = Double(report.layers * (report.expertsPerToken > 1 ? 2 : 1))
      let collectives = coherent.collectivesPerDecodeStep
      #expect(collectives.dispatch + collectives.combine == (ranks > 1 ? steps : 0))
      #expect(collectives.context == (ranks > 1 ? 1 : 0))
      #expect(collectives.counts == (ranks > 1 ? Double(report.layers + 1) : 0))
      if ranks > 1 {
        // A random plan and the contiguous one move most tokens; nothing would make this test see a
        // counter that stays 0.
        #expect(
          coherent.crossedGPUs.allSatisfy { $0 > 0 } && coherent.crossedNodes.reduce(0, +) > 0)
      } else {
        #expect(coherent.crossedGPUs.allSatisfy { $0 == 0 })
      }
    }
    let home = report.runs[0].collectivesPerDecodeStep
    #expect(home.dispatch + home.combine == (ranks > 1 ? Double(2 * report.layers) : 0))
    #expect(home.context == 0)
    #expect(home.counts == (ranks > 1 ? Double(report.layers) : 0))
    // What is not compared, since it is what the others are compared with, is null and not left
    // out.
    #expect(run.output.contains("\"largest_logit_difference\" : null"))
    #expect(report.runs[0].largestLogitDifference == nil)
  }

  /// Once per node: the same tokens, and what goes between nodes is the node objective.
  @Test(arguments: ["random-qwen3-moe", "tiny-olmoe-32x12"])
  func oncePerNode(name: String) throws {
    let scratch = try Scratch()
    let plan = try scratch.randomPlan(name, ranks: 4, seed: 5)
    let shared = [
      "--model", Fixture.checkpoint(name), "--tokens", "\(Fixture.folder)/\(name)/ids.npy",
      "--plan",
      plan, "--ranks-per-node", "2", "--exchange", "node",
    ]
    let run = try Program.run(4, ["verify", "--new", "6", "--json"] + shared)
    try #require(run.code == 0, "\(run.output) \(run.errors)")
    let report = try VerificationReport(run.output)
    #expect(report.runs[0].nodeDestinations.isEmpty)
    let relayed = report.runs[1]
    #expect(relayed.mode == "home" && relayed.nodeDestinations.count == report.layers)
    #expect(relayed.nodeDestinations == relayed.nodeDestinationsPredicted)
    #expect(relayed.destinations == relayed.destinationsPredicted)
    for (nodes, gpus) in zip(relayed.nodeDestinations, relayed.destinations) {
      #expect(nodes <= gpus)
    }
    // Two exchanges there and two back.
    let collectives = relayed.collectivesPerDecodeStep
    #expect(collectives.dispatch == Double(2 * report.layers))
    #expect(collectives.combine == Double(2 * report.layers))
    let outputs = try ["node", "direct"].map { route -> [Int] in
      let output = scratch.path("\(route).npy")
      let arguments = shared.dropLast() + [route]
      let made = try Program.run(
        4, ["generate", "--new", "12", "--mode", "home", "-o", output] + arguments)
      try #require(made.code == 0, "\(made.errors)")
      return try IntegerFile(output).values
    }
    #expect(outputs[0] == outputs[1] && !outputs[0].isEmpty)
  }

  @Test func traceIsTheReferences() throws {
    let scratch = try Scratch()
    let output = scratch.path("trace.npy")
    for name in ["random-mixtral", "random-olmoe-sharded"] {
      let run = try Program.run(
        2,
        [
          "trace", "--model", Fixture.checkpoint(name), "--tokens",
          "\(Fixture.folder)/\(name)/ids.npy", "--mode",
          "coherent", "-o", output,
        ])
      try #require(run.code == 0, "\(run.errors)")
      #expect(try IntegerFile(output).values == Fixture.integers(name, "trace.npy"))
    }
  }

  // Faults: one line from one rank, no output file, no hang, a code that is not 0.

  struct Fault: Sendable, CustomTestStringConvertible {
    let what: String
    let ranks: Int
    let arguments: [String]
    let says: String
    var testDescription: String { what }
  }

  static let model = Fixture.checkpoint("random-mixtral")
  static let ids = "\(Fixture.folder)/random-mixtral/ids.npy"

  @Test(arguments: [
    Fault(
      what: "ranks that do not divide the experts", ranks: 3,
      arguments: ["trace", "--model", model, "--tokens", ids], says: "1, 2, 4, 8"),
    Fault(
      what: "more ranks than experts", ranks: 16,
      arguments: ["trace", "--model", model, "--tokens", ids], says: "1, 2, 4, 8"),
    Fault(
      what: "ids of a larger vocabulary", ranks: 2,
      arguments: [
        "trace", "--model", model, "--tokens", "\(Fixture.folder)/tiny-olmoe-16x8/ids.npy",
      ], says: "token id"),
    Fault(
      what: "no such model", ranks: 2,
      arguments: ["trace", "--model", "/nowhere", "--tokens", ids], says: "/nowhere/config.json"),
    Fault(
      what: "no such tokens", ranks: 1,
      arguments: ["logits", "--model", model, "--tokens", "/nowhere.npy"], says: "/nowhere.npy"),
    Fault(
      what: "nodes that the ranks do not fill", ranks: 4,
      arguments: ["trace", "--model", model, "--tokens", ids, "--ranks-per-node", "3"],
      says: "--ranks-per-node 3"),
  ])
  func faults(_ fault: Fault) throws {
    let scratch = try Scratch()
    let output = scratch.path("output.npy")
    let run = try Program.run(fault.ranks, fault.arguments + ["-o", output])
    #expect(run.code != 0)
    let lines = run.errors.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
    #expect(lines.count == 1, "\(run.errors)")
    #expect(lines.first?.contains(fault.says) == true, "\(run.errors)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.folder.path).isEmpty)
  }

  @Test func aPlanForAnotherModelOrOtherRanks() throws {
    let scratch = try Scratch()
    let other = try scratch.randomPlan("tiny-olmoe-16x8", ranks: 2, seed: 1)
    let four = try scratch.randomPlan("random-mixtral", ranks: 4, seed: 1)
    for (plan, says) in [(other, "8 layers × 16 experts"), (four, "4 GPUs")] {
      let run = try Program.run(
        2, ["generate", "--model", Self.model, "--tokens", Self.ids, "--new", "2", "--plan", plan])
      #expect(run.code != 0)
      let lines = run.errors.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
      #expect(lines.count == 1 && lines[0].contains(says), "\(run.errors)")
    }
  }

  @Test func aKilledRankEndsTheJob() throws {
    // Long enough that the kill comes in the middle; the job would run for minutes.
    let tokens = try Scratch()
    let path = tokens.path("ids.npy")
    try NpyWriter.write(
      [Int32](repeating: 3, count: 512), type: "<i4", shape: [64, 8], to: path)
    let job = try Program.start(
      2,
      [
        "generate", "--model", Fixture.checkpoint("tiny-olmoe-16x8"), "--tokens", path, "--new",
        "500", "--mode", "coherent",
        "-o", tokens.path("out.npy"),
      ])
    let rank = try #require(job.waitForRank(), "no rank was started")
    kill(rank, SIGKILL)
    let run = job.finish()
    #expect(run.code != 0)
    #expect(run.errors.contains("signal 9"), "\(run.errors)")
    #expect(!FileManager.default.fileExists(atPath: tokens.path("out.npy")))
  }
}
