import ArgumentParser
import Colocate
import Foundation

/// When the solver stops and how it works; shared by `solve` and `compare`.
struct SolverArguments: ParsableArguments {
  @Option(help: ArgumentHelp("Stop after this many seconds.", valueName: "S"))
  var timeLimit: Double?

  @Option(
    help: ArgumentHelp(
      "Stop once (incumbent - bound) / incumbent is at most this; 0 asks for a proof.",
      valueName: "G"))
  var gap: Double = 0

  @Option(help: ArgumentHelp("Stop after this many nodes of the search tree.", valueName: "K"))
  var nodesLimit: Int?

  @Option(
    help: ArgumentHelp(
      "Stop after this much work, in units that do not depend on the machine. Without a time limit the result can then be repeated.",
      valueName: "W"))
  var workLimit: Int?

  @Option(help: ArgumentHelp("Threads; all cores without it.", valueName: "T"))
  var threads: Int?

  @Option(help: "Names the run's random numbers.")
  var seed: UInt64 = 1

  @Flag(help: "Look for a good placement only, not for bounds and proofs.")
  var noProof = false

  func validate() throws {
    if let timeLimit, !(timeLimit > 0) {
      throw ValidationError("--time-limit \(timeLimit): expected more than 0 seconds")
    }
    guard gap >= 0, gap < 1 else { throw ValidationError("--gap \(gap): expected 0 to 1") }
    for (name, value) in [
      ("--nodes-limit", nodesLimit), ("--work-limit", workLimit), ("--threads", threads),
    ] {
      if let value, value < 1 { throw ValidationError("\(name) \(value): expected at least 1") }
    }
    if let threads, threads > 1024 {
      throw ValidationError("--threads \(threads): expected at most 1024")
    }
  }

  /// - Parameter defaultTime: seconds where neither time nor work is limited.
  func options(defaultTime: Double) -> SolverOptions {
    var options = SolverOptions()
    options.timeLimit = timeLimit ?? (workLimit == nil ? defaultTime : nil)
    options.gapLimit = gap
    options.nodesLimit = nodesLimit
    options.workLimit = workLimit
    options.threads = threads ?? ProcessInfo.processInfo.activeProcessorCount
    options.seed = seed
    options.proves = !noProof
    return options
  }
}

/// What is said on standard error while the solver runs.
enum LogMode: String, ExpressibleByArgument, CaseIterable {
  /// Where standard error is a terminal.
  case auto
  case on
  /// On, without the column of seconds: two logs can be compared.
  case timeless
  case off
}

struct OutputOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Progress lines: when standard error is a terminal, always, always but without times, never.",
      valueName: "auto|on|timeless|off"))
  var log: LogMode = .auto

  @Flag(help: "Print the result as JSON on standard output.")
  var json = false

  @Flag(name: .shortAndLong, help: "Say nothing on standard error but errors.")
  var quiet = false

  func progressLog() -> ProgressLog? {
    guard !quiet, log == .on || log == .timeless || (log == .auto && Terminal.isInteractive) else {
      return nil
    }
    return ProgressLog(showsTime: log != .timeless)
  }

  func note(_ line: String) {
    if !quiet { Terminal.note(line) }
  }
}
