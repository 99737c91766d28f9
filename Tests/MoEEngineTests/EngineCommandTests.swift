import Colocate
import ColocateFormats
import Foundation
import MoEEngine
import Testing

/// The program's face: arguments, files, launchers and limits. Bad input is one line and exit code
/// 2, before the work.
@Suite(.serialized)
struct EngineCommandTests {
  static let model = Fixture.checkpoint("random-mixtral")
  static let ids = "\(Fixture.folder)/random-mixtral/ids.npy"
  static let base = ["--model", model, "--tokens", ids]

  /// Runs on one rank and expects one line that contains `says`, and exit code 2.
  func expectRefusal(
    _ arguments: [String], says: String, ranks: Int = 1,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let run = try Program.run(ranks, arguments)
    let lines = run.errors.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
    #expect(run.code == 2, "\(run.code) \(run.errors)", sourceLocation: sourceLocation)
    #expect(lines.count == 1, "\(run.errors)", sourceLocation: sourceLocation)
    #expect(run.errors.contains(says), "\(run.errors)", sourceLocation: sourceLocation)
    #expect(run.output.isEmpty, sourceLocation: sourceLocation)
  }

  @Test func versionAndHelpGoToStandardOutput() throws {
    let version = try Program.run(1, ["--version"])
    #expect(version.code == 0 && version.output.hasPrefix("colocate-engine "))
    let help = try Program.run(1, ["--help"])
    #expect(help.code == 0 && help.output.contains("EXIT CODES"))
  }

  @Test func badArgumentsEndWithTwo() throws {
    for arguments in [["generate"], ["nonsense"], ["generate"] + Self.base + ["--new", "0"]] {
      #expect(try Program.run(1, arguments).code == 2, "\(arguments)")
    }
  }

  @Test(arguments: ["4000000000", "9223372036854775807", "237"])
  func moreNewTokensThanPositions(new: String) throws {
    for command in ["generate", "verify"] {
      try expectRefusal([command] + Self.base + ["--new", new], says: "max_position_embeddings")
    }
  }

  @Test func outputsThatCannotBeAreRefusedBeforeTheWork() throws {
    let scratch = try Scratch()
    let copy = scratch.path("ids.npy")
    try FileManager.default.copyItem(atPath: Self.ids, toPath: copy)
    let link = scratch.path("link.npy")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: copy)
    let before = try Data(contentsOf: URL(fileURLWithPath: copy))
    for (output, says) in [
      (scratch.path("t.csv"), ".npy"), (scratch.path("t"), ".npy"),
      (scratch.path("no/such/folder/t.npy"), "folder '"), (scratch.folder.path, "a folder"),
      (copy, "would overwrite the token ids"), (link, "would overwrite the token ids"),
    ] {
      // The model does not exist: what comes first is the output.
      try expectRefusal(
        ["trace", "--model", "/nowhere", "--tokens", copy, "-o", output], says: says)
    }
    #expect(try Data(contentsOf: URL(fileURLWithPath: copy)) == before)
    // Nothing was left behind by the look.
    let left = try FileManager.default.contentsOfDirectory(atPath: scratch.folder.path).sorted()
    #expect(left == ["ids.npy", "link.npy"])
  }

  /// Without standard input, output and error, no file takes their place: what is said would end
  /// up in the tokens.
  @Test func closedStandardStreamsSpoilNothing() throws {
    let scratch = try Scratch()
    let expected = try Fixture.integers("random-mixtral", "greedy.npy")
    let output = scratch.path("out.npy")
    let run = try Program.shell(
      "exec \"$0\" generate --model \"$1\" --tokens \"$2\" --new 48 -o \"$3\" <&- >&- 2>&-",
      Program.path, Self.model, Self.ids, output)
    #expect(run.code == 0)
    #expect(try IntegerFile(output).values == expected)
    let lost = try Program.shell(
      "exec \"$0\" generate --model \"$1\" --tokens \"$2\" --new 2 --json >&-",
      Program.path, Self.model, Self.ids)
    #expect(lost.code == 2 && lost.errors.contains("standard output"), "\(lost.errors)")
  }

  @Test func aSignalEndsTheProgramUnlessItIsIgnored() throws {
    // 20 seconds of tokens, ended after one; then a moment's, whose signals are to be ignored.
    let scratch = try Scratch()
    let ids = scratch.path("ids.npy")
    try NpyWriter.write(
      [Int32](repeating: 3, count: 512), type: "<i4", shape: [64, 8], to: ids)
    let command = "--model \"$1\" --tokens \"$2\" -o \"$3\""
    let ended = try Program.shell(
      "exec timeout --preserve-status -s TERM 1 \"$0\" generate --new 500 \(command)",
      Program.path, Fixture.checkpoint("tiny-olmoe-16x8"), ids, scratch.path("out.npy"))
    #expect(ended.code == 128 + SIGTERM, "\(ended.errors)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.folder.path) == ["ids.npy"])
    let ignored = try Program.shell(
      "trap '' TERM; \"$0\" generate --new 100 \(command) & kill -TERM $!; sleep 0.3; "
        + "kill -TERM $!; wait $!",
      Program.path, Fixture.checkpoint("tiny-olmoe-16x8"), ids, scratch.path("out.npy"))
    #expect(ignored.code == 0, "\(ignored.errors)")
    #expect(try IntegerFile(scratch.path("out.npy")).shape == [64, 108])
  }

  @Test func tokenFilesAsNumpyWritesThem() throws {
    let scratch = try Scratch()
    let (rows, columns) = (2, 5)
    let ids = (0..<(rows * columns)).map { Int32($0 * 7 % 90) }
    let transposed = (0..<columns).flatMap { j in (0..<rows).map { ids[$0 * columns + j] } }
    func file(_ name: String, _ descriptor: String, fortran: Bool, _ data: Data) throws {
      var text = "{\"descr\": \"\(descriptor)\", 'fortran_order': \(fortran ? "True" : "False"), "
      text += "'shape': (\(rows), \(columns)), }"
      text += String(repeating: " ", count: 117 - text.utf8.count) + "\n"
      var bytes = Data([0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0])
      bytes.append(Data(text.utf8))
      bytes.append(data)
      try bytes.write(to: URL(fileURLWithPath: scratch.path(name)))
    }
    func data<Integer: FixedWidthInteger>(_ values: [Integer]) -> Data {
      values.withUnsafeBytes { Data($0) }
    }
    try file("plain.npy", "<i4", fortran: false, data(ids))
    try file("fortran.npy", "<i4", fortran: true, data(transposed))
    try file("big.npy", ">i4", fortran: false, data(ids.map(\.bigEndian)))
    try file("wide.npy", "<i8", fortran: false, data(ids.map { Int64($0) }))
    try file("wide-big.npy", ">u8", fortran: true, data(transposed.map { UInt64($0).bigEndian }))
    for name in ["plain", "fortran", "big", "wide", "wide-big"] {
      let tokens = try Tokens(scratch.path(name + ".npy"), vocabulary: 100, window: nil)
      #expect(tokens.ids == ids && tokens.positions == columns, "\(name)")
    }
    let error = try #require(throws: EngineError.self) {
      _ = try Tokens(scratch.path("plain.npy"), vocabulary: 50, window: nil)
    }
    #expect(error.description.contains("token id 56 at [1, 3]"), "\(error)")
  }

  @Test func generateSaysWhereItsTokensGo() throws {
    let scratch = try Scratch()
    let output = scratch.path("out.npy")
    let command = ["generate"] + Self.base + ["--new", "2"]
    #expect(try Program.run(1, command).errors.contains("not kept"))
    #expect(try Program.run(1, command + ["-o", output]).errors.contains(output))
    for (arguments, kept) in [([], false), (["-o", output], true)] {
      let run = try Program.run(1, command + ["--json"] + arguments)
      let figures =
        try #require(
          JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
      #expect(figures["decode_steps"] as? Int == 1)
      #expect(figures["output"] as? String == (kept ? output : nil))
      // What was not asked for is null, not 0, and not left out.
      #expect(figures["bare_exchange_seconds"] is NSNull && figures["shares"] is NSNull)
      #expect(figures.keys.allSatisfy { $0 == $0.lowercased() })
    }
  }

  @Test func resultsThatCannotBeWrittenAreAnError() throws {
    let run = try Program.shell(
      "exec \"$0\" generate --model \"$1\" --tokens \"$2\" --new 2 --json > /dev/full",
      Program.path, Self.model, Self.ids)
    #expect(run.code == 2 && run.errors.contains("standard output"), "\(run.code) \(run.errors)")
    let closed = try Program.shell(
      "exec \"$0\" generate --model \"$1\" --tokens \"$2\" --new 2 2>&-",
      Program.path, Self.model, Self.ids)
    #expect(closed.code == 0)
  }

  // Plans.

  /// A random plan as a CSV table, and the same as JSON for `nodes` nodes.
  func plans(_ scratch: Scratch, ranks: Int, nodes: Int) throws -> (csv: String, json: String) {
    let made = try scratch.randomPlan("random-mixtral", ranks: ranks, seed: 3)
    let placement = try PlanFile.read(made).placement
    let (csv, json) = (scratch.path("plan.csv"), scratch.path("plan.json"))
    try ExFlowCSV.write(placement, to: csv)
    let onNodes = try Placement(
      topology: Topology(gpus: ranks, nodes: nodes), layers: placement.layers,
      experts: placement.experts, assignment: placement.assignment)
    try PlanFile(placement: onNodes).write(to: json)
    return (csv, json)
  }

  @Test func aPlanMayBeATable() throws {
    let scratch = try Scratch()
    let (csv, json) = try plans(scratch, ranks: 2, nodes: 1)
    var bytes: [Int] = []
    for plan in [csv, json] {
      let run = try Program.run(
        2, ["generate"] + Self.base + ["--new", "3", "--json", "--plan", plan])
      try #require(run.code == 0, "\(run.errors)")
      let figures =
        try #require(
          JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
      let perToken = try #require(figures["decode_bytes_per_token"] as? Double)
      bytes.append(Int((perToken * 1000).rounded()))
    }
    #expect(bytes[0] == bytes[1] && bytes[0] > 0, "\(bytes)")
    // Without mpirun there is one rank.
    for plan in [csv, json] {
      try expectRefusal(
        ["generate"] + Self.base + ["--new", "2", "--plan", plan], says: "mpirun -n 2")
    }
  }

  @Test func aPlansNodesAreComparedWithTheRanks() throws {
    let scratch = try Scratch()
    let plan = try plans(scratch, ranks: 4, nodes: 2).json
    let command = ["generate"] + Self.base + ["--new", "2", "--plan", plan]
    try expectRefusal(
      command + ["--ranks-per-node", "1"], says: "expected --ranks-per-node 2", ranks: 4)
    let noted = try Program.run(4, command)
    #expect(noted.code == 0 && noted.errors.contains("made for 2 nodes"), "\(noted.errors)")
    let same = try Program.run(4, command + ["--ranks-per-node", "2"])
    #expect(same.code == 0 && !same.errors.contains("made for"), "\(same.errors)")
  }

  // Launchers.

  struct Start: Sendable {
    let environment: [String: String]
    let size: Int
    let says: String?
  }

  @Test(arguments: [
    Start(environment: ["PMI_RANK": "0", "PMI_SIZE": "2"], size: 1, says: "PMI_SIZE"),
    Start(environment: ["SLURM_PROCID": "1", "SLURM_NTASKS": "4"], size: 1, says: "SLURM_NTASKS"),
    Start(environment: ["OMPI_COMM_WORLD_SIZE": "4"], size: 1, says: "OMPI_COMM_WORLD_SIZE"),
    Start(environment: ["MV2_COMM_WORLD_SIZE": "8"], size: 1, says: "mpirun -n 8"),
    Start(environment: [:], size: 1, says: nil),
    Start(environment: ["PMI_RANK": "0", "PMI_SIZE": "4"], size: 4, says: nil),
    // A shell inside an allocation, where nothing has been started yet.
    Start(environment: ["SLURM_NTASKS": "4"], size: 1, says: nil),
    // mpirun inside an allocation of another size.
    Start(
      environment: ["OMPI_COMM_WORLD_SIZE": "2", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"],
      size: 2, says: nil),
  ])
  func aLauncherThatMPIDoesNotKnow(_ start: Start) {
    let error = Launcher.contradiction(size: start.size, environment: start.environment)
    if let says = start.says {
      #expect(error?.description.contains(says) == true, "\(String(describing: error))")
    } else {
      #expect(error == nil, "\(String(describing: error))")
    }
  }

  @Test(arguments: ["PMI_RANK=0 PMI_SIZE=2", "SLURM_PROCID=0 SLURM_NTASKS=2"])
  func aStartByAnotherLauncherIsRefused(environment: String) throws {
    let scratch = try Scratch()
    let run = try Program.shell(
      "\(environment) exec \"$0\" generate --model \"$1\" --tokens \"$2\" --new 2 -o \"$3\"",
      Program.path, Self.model, Self.ids, scratch.path("out.npy"))
    #expect(run.code == 2 && run.errors.contains("launcher"), "\(run.code) \(run.errors)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.folder.path).isEmpty)
  }

  // Limits.

  /// Address space in KiB, down from where everything fits: either the answer or one line, and
  /// never a hang or a signal.
  @Test func littleMemoryIsSaid() throws {
    var refused = 0
    for limit in stride(from: 600_000, through: 180_000, by: -60_000) {
      let scratch = try Scratch()
      let run = try Program.shell(
        "ulimit -v \(limit); exec timeout -s KILL 60 \"$0\" trace --model \"$1\" "
          + "--tokens \"$2\" -o \"$3\"",
        Program.path, Self.model, Self.ids, scratch.path("t.npy"))
      #expect(run.code == 0 || run.code == 2, "\(limit): \(run.code) \(run.errors)")
      if run.code == 2 {
        refused += 1
        #expect(run.errors.hasPrefix("Error: no memory"), "\(run.errors)")
      }
    }
    #expect(refused >= 2)
  }

  @Test func logitsThatFitNowhereAreRefusedAtOnce() throws {
    let scratch = try Scratch()
    let ids = scratch.path("ids.npy")
    // 100,000 × 100 positions × 128 logits: 5 GB, of which 2 may be had.
    try NpyWriter.write(
      [UInt8](repeating: 1, count: 10_000_000), type: "|u1", shape: [100_000, 100], to: ids)
    let run = try Program.shell(
      "ulimit -v 2000000; exec timeout -s KILL 60 \"$0\" logits --model \"$1\" "
        + "--tokens \"$2\" -o \"$3\"",
      Program.path, Self.model, ids, scratch.path("l.npy"))
    #expect(run.code == 2 && run.errors.contains("logits"), "\(run.code) \(run.errors)")
  }
}
