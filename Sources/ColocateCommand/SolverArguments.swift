import ArgumentParser
import Colocate
import Foundation

/// When the solver stops and how it works; shared by `solve` and `compare`. Meanings, ranges and
/// defaults are those of `OptionDescription.table`.
struct SolverArguments: ParsableArguments {
  @Option(help: help("time-limit", value: "S"))
  var timeLimit: Double?

  @Option(help: help("gap", value: "G"))
  var gap = SolverOptions().gapLimit

  @Option(name: .customLong("tree-nodes"), help: help("tree-nodes", value: "K"))
  var treeNodeLimit: Int?

  @Option(help: help("work-limit", value: "W"))
  var workLimit: Int?

  @Option(help: help("threads", value: "T", note: "All cores without it."))
  var threads: Int?

  @Option(help: help("seed"))
  var seed = SolverOptions().seed

  @Flag(help: "Look for a good placement only, not for bounds and proofs.")
  var noProof = false

  @Option(
    help: ArgumentHelp(
      "Set an advanced option; may be given several times. They are listed below.",
      discussion: advancedOptions(), valueName: "NAME=VALUE"))
  var set: [String] = []

  func validate() throws {
    if let timeLimit, !(timeLimit > 0) {
      throw ValidationError("--time-limit \(timeLimit): expected more than 0 seconds")
    }
    do throws(ModelError) {
      try options(defaultTime: 1).validate()
      var checked = SolverOptions()
      for assignment in set { try Self.apply(assignment, to: &checked) }
    } catch {
      throw ValidationError("--\(error.description)")
    }
  }

  /// - Parameter defaultTime: seconds where neither time nor work is limited.
  func options(defaultTime: Double) -> SolverOptions {
    var options = SolverOptions()
    options.timeLimit = timeLimit ?? (workLimit == nil ? defaultTime : nil)
    options.gapLimit = gap
    options.treeNodeLimit = treeNodeLimit
    options.workLimit = workLimit
    options.threads = ThreadProbe.threads(
      threads ?? min(1024, ProcessInfo.processInfo.activeProcessorCount))
    options.seed = seed
    options.proves = !noProof
    // `validate` has read them once and refused what cannot be set.
    for assignment in set { try? Self.apply(assignment, to: &options) }
    return options
  }

  /// Sets what `NAME=VALUE` says.
  private static func apply(
    _ assignment: String, to options: inout SolverOptions
  ) throws(ModelError) {
    let parts = assignment.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else {
      throw .option("set \(assignment): expected NAME=VALUE, for example chain=off")
    }
    guard let option = OptionDescription.named(String(parts[0])), option.isAdvanced else {
      let names = OptionDescription.table.filter(\.isAdvanced).map(\.name)
      throw .option("set \(assignment): expected one of \(names.joined(separator: ", "))")
    }
    do {
      try option.set(String(parts[1]), in: &options)
    } catch {
      throw .option("set \(error.description)")
    }
  }

  /// The help of an option from the solver's table.
  private static func help(
    _ name: String, value: String? = nil, note: String? = nil
  ) -> ArgumentHelp {
    let meaning = OptionDescription.named(name)?.meaning ?? name
    return ArgumentHelp(
      StringLiteralType([meaning, note].compactMap { $0 }.joined(separator: " ")),
      valueName: value)
  }

  /// The advanced options, two lines each.
  private static func advancedOptions() -> String {
    OptionDescription.table.filter(\.isAdvanced).map { option in
      "\(option.name)=\(option.defaultText)  (\(option.rangeText))\n  \(option.meaning)"
    }.joined(separator: "\n")
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

  /// - Parameter tokens: of the trace, once in each layer.
  func destinationLog(tokens: Int) -> DestinationLog? {
    progressLog().map { _ in DestinationLog(showsTime: log != .timeless, tokens: tokens) }
  }

  func note(_ line: String) {
    if !quiet { Terminal.note(line) }
  }
}
