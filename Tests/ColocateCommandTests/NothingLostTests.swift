import Colocate
import ColocateFormats
import Foundation
import Testing

/// Whatever happens to the outputs, the session or the program: the plan is there, nothing else is
/// overwritten, nothing stays behind, and the exit code says what happened.
@Suite struct NothingLostTests {
  let runner: CommandRunner
  init() throws { runner = try CommandRunner() }

  /// Far from proved within any limit of these tests.
  private var long: String { runner.instance("synthetic-64-50-24.npy") }
  /// Proved in a moment.
  private var short: String { runner.instance("synthetic-8-95-24.npy") }

  private func trace(_ name: String = "t.npy") throws -> String {
    let ids = (0..<600).map { (index: Int) -> UInt8 in
      let mixed = index * index / 7 + index % 5
      return UInt8(mixed % 8)
    }
    return try runner.npy("(100, 6)", ids, name: name)
  }

  // MARK: - Before the work

  @Test func outputsAreCheckedBeforeTheWork() throws {
    let trace = try trace()
    try FileManager.default.createDirectory(
      atPath: runner.file("folder.json"), withIntermediateDirectories: false)
    // Were they checked at the end, this would not come back.
    let solve = ["solve", long, "--gpus", "8", "--time-limit", "100000"]
    try runner.refuses(solve + ["-o", "absent/p.json"], "absent/p.json: folder 'absent'")
    try runner.refuses(solve + ["-o", "folder.json"], "folder.json: a folder")
    try runner.refuses(solve + ["-o", "t.npy/p.json"], "t.npy/p.json: not a directory")
    try runner.refuses(
      solve + ["-o", String(repeating: "x", count: 300) + ".json"], "file name too long")
    try runner.refuses(
      solve + ["-o", "p.json", "--certificate", "absent/c.json"], "absent/c.json: folder 'absent'")
    try runner.refuses(solve + ["--certificate", "folder.json"], "folder.json: a folder")
    try runner.refuses(
      ["generate", "--layers", "9", "--experts", "256", "-o", "a/g.npy"], "a/g.npy")
    try runner.refuses(["export", long, "--gpus", "8", "-o", "a/m.mps"], "a/m.mps")
    #expect(try runner.leftovers.isEmpty)
    _ = trace
  }

  @Test func noInputIsOverwrittenUnderAnyName() throws {
    let trace = try trace()
    let before = try Data(contentsOf: URL(fileURLWithPath: trace))
    #expect(try runner.run(["solve", trace, "--gpus", "2", "-q", "-o", "w.json"]).code == 0)
    let warm = try Data(contentsOf: URL(fileURLWithPath: runner.file("w.json")))
    let links = """
      ln -s t.npy soft.json && ln t.npy hard.json && ln -s w.json w2.json && ln -s p.json p2.json
      ln t.npy m.mps
      """
    #expect(try runner.shell(links).code == 0)
    let solve = ["solve", trace, "--gpus", "2", "--time-limit", "100000"]
    for name in ["t.npy", "./t.npy", runner.file("t.npy"), "soft.json", "hard.json"] {
      try runner.refuses(
        solve + ["-o", "p.json", "--certificate", name], "--certificate would overwrite the input")
    }
    try runner.refuses(solve + ["-o", "soft.json"], "--output would overwrite the input")
    for name in ["w.json", "w2.json"] {
      try runner.refuses(
        solve + ["--warm-start", "w.json", "--certificate", name],
        "--certificate would overwrite the warm start")
    }
    try runner.refuses(
      ["export", trace, "--gpus", "2", "-o", "m.mps"], "would overwrite the input")
    // The plan goes before the certificate.
    for name in ["p.json", "./p.json", "p2.json"] {
      let result = try runner.run(
        ["solve", trace, "--gpus", "2", "-q", "-o", "p.json", "--certificate", name])
      #expect(result.code == 2 && result.errors.contains("names the same file as --output"))
      #expect(try PlanFile.read(runner.file("p.json")).status == .optimal)
    }
    #expect(try Data(contentsOf: URL(fileURLWithPath: trace)) == before)
    #expect(try Data(contentsOf: URL(fileURLWithPath: runner.file("w.json"))) == warm)
    // Devices are nobody's own.
    let null = ["--certificate", "/dev/null", "-q"]
    #expect(try runner.run(["solve", trace, "--gpus", "2"] + null).code == 0)
  }

  @Test func impossibleCertificatesAreRefusedBeforeTheWork() throws {
    let solve = ["solve", long, "--gpus", "8", "--time-limit", "100000", "--certificate", "c.json"]
    try runner.refuses(solve + ["--no-proof"], "--certificate with --no-proof")
    try runner.refuses(
      solve + ["--nodes", "2", "--objective", "joint"], "--certificate with --objective joint")
    // On one node the two levels are one, and there is a certificate.
    let one = try runner.run([
      "solve", short, "--gpus", "4", "--objective", "joint", "--certificate", "c.json", "-q", "-o",
      "p.json",
    ])
    #expect(one.code == 0, "\(one.errors)")
    #expect(try runner.run(["check", "c.json", short]).code == 0)
  }

  // MARK: - Standard output and error

  @Test func resultsThatDoNotArriveAreNoSuccess() throws {
    let trace = try trace()
    #expect(
      try runner.run([
        "solve", trace, "--gpus", "2", "-q", "-o", "p.json", "--certificate", "c.json",
      ]).code == 0)
    for command in [
      "inspect t.npy", "inspect t.npy --json", "solve t.npy --gpus 2 -q", "evaluate p.json t.npy",
      "evaluate p.json t.npy --json", "compare t.npy --gpus 2 --time-limit 1", "check c.json t.npy",
      "check c.json t.npy --json", "solve t.npy --gpus 2 -q -o q.json --json", "--help",
      "solve --help", "--version",
    ] {
      for (target, reason) in [("> /dev/full", "no space left"), (">&-", "standard output")] {
        let result = try runner.shell("colocate \(command) \(target)")
        #expect(result.code == 2, "\(command) \(target): \(result.code)")
        #expect(result.errors.hasPrefix("colocate: error: "), "\(command) \(target)")
        #expect(result.errors.contains(reason), "\(command) \(target): \(result.errors)")
      }
    }
    // The plan that was to go to a file is there all the same.
    #expect(try PlanFile.read(runner.file("q.json")).status == .optimal)
  }

  @Test func standardErrorDisturbsNothing() throws {
    _ = try trace()
    for (index, ending) in ["2> /dev/full", "--log on 2> /dev/full", "2>&-", "--log on 2>&-"]
      .enumerated()
    {
      let result = try runner.shell("colocate solve t.npy --gpus 2 -o \(index).json \(ending)")
      #expect(result.code == 0, "\(ending)")
      #expect(try PlanFile.read(runner.file("\(index).json")).status == .optimal, "\(ending)")
    }
    #expect(try runner.shell("colocate solve absent.npy --gpus 2 2>&-").code == 2)
    #expect(try runner.shell("colocate solve absent.npy --gpus 2 2> /dev/full").code == 2)
    // Nothing at all is open; and a reader of the log that has gone.
    let bare = try runner.shell("colocate solve t.npy --gpus 2 -o bare.json <&- >&- 2>&-")
    #expect(bare.code == 0)
    #expect(try PlanFile.read(runner.file("bare.json")).status == .optimal)
    let piped = try runner.shell(
      "{ colocate solve \(long) --gpus 8 --time-limit 1 --log on -o piped.json; echo $? > code; } "
        + "2>&1 | head -1")
    #expect(piped.code == 0)
    #expect(try String(contentsOfFile: runner.file("code"), encoding: .utf8) == "4\n")
    #expect(try PlanFile.read(runner.file("piped.json")).stopReason == .time)
  }

  // MARK: - Signals and crashes

  @Test(arguments: [SIGHUP, SIGTERM, SIGQUIT])
  func signalsWriteTheIncumbent(_ number: Int32) throws {
    let result = try runner.run(
      ["solve", long, "--gpus", "8", "--time-limit", "100000", "-o", "plan.json"], interrupt: 1.5,
      signal: number)
    #expect(result.code == 128 + number, "\(result.errors)")
    let plan = try PlanFile.read(runner.file("plan.json"))
    #expect(plan.stopReason == .cancelled && plan.status == .feasible)
    let counts = try TraceFile(long).counts
    #expect(plan.value == (try counts.crossings(of: plan.placement).gpu))
    #expect(try FileManager.default.contentsOfDirectory(atPath: runner.folder) == ["plan.json"])
  }

  @Test(arguments: [SIGILL, SIGTRAP, SIGABRT, SIGSEGV, SIGBUS])
  func internalErrorsWriteTheIncumbent(_ number: Int32) throws {
    let environment = ["COLOCATE_TEST_FAULT": "\(number)"]
    let solve = [
      "solve", long, "--gpus", "8", "--nodes", "2", "--max-load", "1.5", "--time-limit", "20",
    ]
    let counts = try TraceFile(long).counts
    for objective in number == SIGILL ? ["flat", "staged", "joint"] : ["flat"] {
      let result = try runner.run(
        solve + ["--objective", objective, "-o", "plan.json"], environment: environment)
      #expect(result.code == 1, "\(result.errors)")
      #expect(result.errors.contains("best plan so far is written"), "\(result.errors)")
      let plan = try PlanFile.read(runner.file("plan.json"))
      #expect(plan.stopReason == .internalError && plan.status == .feasible)
      #expect(plan.crossings == nil || plan.bound == nil)
      let imbalance = try counts.loadImbalance(of: plan.placement)
      #expect(imbalance <= 1.5 + 1e-9, "\(objective): \(imbalance)")
      #expect(try runner.leftovers.isEmpty)
    }
    // ExFlow's table, and standard output.
    let table = try runner.run(
      ["solve", long, "--gpus", "8", "--time-limit", "20", "-o", "plan.csv"],
      environment: environment)
    #expect(table.code == 1)
    _ = try ExFlowCSV.read(runner.file("plan.csv"), layers: 24, experts: 64)
    let printed = try runner.run(
      ["solve", long, "--gpus", "8", "--time-limit", "20"], environment: environment)
    #expect(printed.code == 1)
    #expect(try printed.json()["stop_reason"] as? String == "internal_error")
  }

  @Test func secondInterruptWritesAtOnce() throws {
    // A search that does not listen to the first. A signal before the program listens is lost.
    let result = try runner.shell(
      """
      export COLOCATE_TEST_FAULT=deaf
      '\(CommandRunner.program.path)' solve \(long) --gpus 8 --time-limit 100000 -o plan.json &
      for i in $(seq 50); do sleep 0.6; kill -INT $! 2>/dev/null || break; done
      kill -KILL $! 2>/dev/null; wait $!
      """)
    #expect(result.code == 130, "\(result.errors)")
    let plan = try PlanFile.read(runner.file("plan.json"))
    #expect(plan.stopReason == .cancelled && plan.status == .feasible)
    #expect(try runner.leftovers.isEmpty)
  }

  // MARK: - Leftovers

  @Test func fileSizeLimitsLeaveNothingBehind() throws {
    let result = try runner.shell(
      "ulimit -f 8; colocate generate --layers 12 --experts 16 --tokens 4000 -o g.npy")
    #expect(result.code == 2 && result.errors.contains("g.npy: file too large"), "\(result.errors)")
    let export = try runner.shell(
      "ulimit -f 8; colocate export \(short) --gpus 4 -o m.mps")
    #expect(export.code == 2 && export.errors.contains("m.mps: file too large"), "\(export.errors)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: runner.folder).isEmpty)
  }

  @Test func planThatCannotBeWrittenGoesToStandardOutput() throws {
    // The folder goes while the search runs.
    let result = try runner.shell(
      """
      mkdir gone
      colocate solve \(long) --gpus 8 --time-limit 2 -q -o gone/p.json &
      sleep 0.7; rmdir gone; wait $!
      """)
    #expect(result.code == 2 && result.errors.contains("the plan is on standard output"))
    #expect(try result.json()["stop_reason"] as? String == "time")
  }
}
