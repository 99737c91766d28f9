// Random options on random instances against the true optimum, as long as one likes:
//
//     swift run -c release SolverFuzz [--cases N] [--seed S] [--bits B] [--replay LINE]
//
// Case i has the seed S + i. A case that fails is shrunk and printed as the line that runs it
// again. The cases run in a process of their own, so that a trap or an endless loop is a failure
// like any other. Exit code 1 where any case failed.
import Colocate
import Foundation
import TestSupport

/// What the command line says.
struct Arguments {
  var cases = 2_000
  var seed: UInt64 = 1
  var kind = FuzzCase.Kind()
  var replay: String?
  /// Of the process that runs the cases: where it notes the seed of the present one.
  var mark: String?

  init?(_ words: [String]) {
    var words = words[...]
    while let name = words.popFirst() {
      guard let value = words.popFirst() else { return nil }
      switch name {
      case "--cases": cases = Int(value) ?? 0
      case "--seed": seed = UInt64(value) ?? 0
      case "--bits": kind.bits = Int(value) ?? 0
      case "--replay": replay = value
      case "--mark": mark = value
      default: return nil
      }
    }
    guard cases > 0, (1...55).contains(kind.bits) else { return nil }
  }

  /// Those of the process that runs `cases` from `seed` on.
  func worker(seed: UInt64, cases: Int, mark: String) -> [String] {
    [
      "--cases", "\(cases)", "--seed", "\(seed)", "--bits", "\(kind.bits)", "--mark", mark,
    ]
  }
}

/// A line at once, into a pipe too.
func line(_ text: String) {
  print(text)
  fflush(nil)
}

func kind(of fault: String) -> Substring { fault.prefix { $0 != ":" } }

/// The faults, and the smallest case that has the first of them.
func tell(_ fuzz: FuzzCase, _ name: String, faults: [String], while fails: (FuzzCase) -> Bool) {
  for fault in faults { line("FAULT \(name): \(fault)") }
  line("  as drawn: --replay \"\(fuzz)\"")
  let smallest = fuzz.shrunk(while: fails)
  for fault in FuzzRun.report(on: smallest).faults { line("  shrunk: \(fault)") }
  line("  shrunk: --replay \"\(smallest)\"")
}

/// Runs the cases; answers whether all passed.
func runCases(_ arguments: Arguments, mark: FileHandle) throws -> Bool {
  var tally = FuzzTally()
  var passed = true
  let parent = getppid()
  // The supervisor ends first only where somebody ended it.
  for index in 0..<arguments.cases where getppid() == parent {
    let seed = arguments.seed &+ UInt64(index)
    try mark.seek(toOffset: 0)
    try mark.write(contentsOf: Data("\(seed)\n".utf8))
    let fuzz = FuzzCase(seed: seed, kind: arguments.kind)
    let begun = Date()
    let report = FuzzRun.report(on: fuzz)
    tally.add(report, seconds: Date().timeIntervalSince(begun))
    guard let first = report.faults.first else { continue }
    passed = false
    tell(fuzz, "seed \(seed)", faults: report.faults) { candidate in
      FuzzRun.report(on: candidate).faults.contains { kind(of: $0) == kind(of: first) }
    }
  }
  line(tally.text)
  return passed
}

/// A process of this program; ended after `seconds` without a new mark.
func spawn(_ words: [String], mark: String?, quiet: Bool = false, patience: Double) throws -> Int32
{
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
  process.arguments = words
  if quiet {
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
  }
  try process.run()
  var last = (text: "", time: Date())
  while process.isRunning {
    Thread.sleep(forTimeInterval: quiet ? 0.002 : 0.1)
    let text = mark.flatMap { try? String(contentsOfFile: $0, encoding: .utf8) } ?? ""
    if text != last.text { last = (text, Date()) }
    if Date().timeIntervalSince(last.time) > patience { kill(process.processIdentifier, SIGKILL) }
  }
  process.waitUntilExit()
  return process.terminationReason == .exit
    ? process.terminationStatus : -process.terminationStatus
}

/// Runs the cases in processes, a new one after each that died.
func supervise(_ arguments: Arguments) throws -> Bool {
  let mark = NSTemporaryDirectory() + "/solver-fuzz-\(UUID().uuidString)"
  defer { try? FileManager.default.removeItem(atPath: mark) }
  var passed = true
  var next = arguments.seed
  let end = arguments.seed &+ UInt64(arguments.cases)
  while next < end {
    _ = FileManager.default.createFile(atPath: mark, contents: nil)
    let code = try spawn(
      arguments.worker(seed: next, cases: Int(end - next), mark: mark), mark: mark, patience: 120)
    if code >= 0 { return passed && code == 0 }
    passed = false
    let text = try String(contentsOfFile: mark, encoding: .utf8).split(separator: "\n").first
    guard let seed = text.flatMap({ UInt64($0) }) else { return false }
    let fuzz = FuzzCase(seed: seed, kind: arguments.kind)
    line("FAULT seed \(seed): died of signal \(-code)")
    line("  as drawn: --replay \"\(fuzz)\"")
    let smallest = fuzz.shrunk { candidate in
      let code = try? spawn(["--replay", "\(candidate)"], mark: nil, quiet: true, patience: 30)
      return (code ?? 0) < 0
    }
    line("  shrunk: --replay \"\(smallest)\"")
    next = seed + 1
  }
  return passed
}

guard let arguments = Arguments(Array(CommandLine.arguments.dropFirst())) else {
  line("usage: SolverFuzz [--cases N] [--seed S] [--bits 1...55] [--replay LINE]")
  exit(2)
}
if let replay = arguments.replay {
  guard let fuzz = FuzzCase(line: replay) else {
    line("no case: \(replay)")
    exit(2)
  }
  let report = FuzzRun.report(on: fuzz)
  for fault in report.faults { line("FAULT \(fault)") }
  line("proofs: \(report.proofs.joined(separator: ", "))")
  exit(report.faults.isEmpty ? 0 : 1)
}
if let mark = arguments.mark {
  guard let handle = FileHandle(forWritingAtPath: mark) else { exit(2) }
  exit(try runCases(arguments, mark: handle) ? 0 : 1)
}
let start = Date()
let passed = try supervise(arguments)
line("\(arguments.cases) cases in \(Int(Date().timeIntervalSince(start).rounded())) s")
exit(passed ? 0 : 1)
