import ArgumentParser
import ColocateFormats
import Foundation

/// `colocate count`: traces of any size become counts, a few megabytes.
struct CountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "count",
    abstract: "Count traces, once, into a small file that every other command takes.",
    usage: "colocate count <traces> … -o <counts.safetensors> [<options>]",
    discussion: """
      Reads traces one after the other, in blocks: memory is that of the counts and a block, \
      however long the traces. The file has the transitions, the loads, which experts a token uses \
      together, and of each trace its name, tokens and SHA-256. The other commands read it where \
      they read a trace.

      Many machines may each count some of the traces; colocate merge adds up what they wrote, in \
      any grouping, and the result is byte for byte what one machine writes that counts all of \
      them in the same order.

      EXAMPLES
        colocate count trace.npy -o counts.safetensors
        colocate count day1/*.jsonl -o day1.safetensors
        colocate merge day*.safetensors -o week.safetensors
        colocate solve week.safetensors --gpus 8 -o plan.json
      """)

  @Argument(
    help: ArgumentHelp(
      "Traces: .npy, .npz, .safetensors, recordings, folders of them, - for standard input.",
      valueName: "traces"))
  var inputs: [String]

  @OptionGroup var reading: ReadingOptions

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where the counts go.", valueName: "FILE.safetensors"))
  var output: String

  @OptionGroup var progress: QuietOptions

  func run() throws {
    try CountsOutput.check(output, inputs: inputs)
    var reading = reading.understanding
    // Here co-activation is counted unless it is forbidden: who reads the file decides on its use.
    reading.coactivation = self.reading.coactivation ?? true
    let meter = CountMeter(inputs, isOn: progress.isOn)
    var sum: CountsFile?
    for path in inputs {
      let file = try TraceFile(path, reading) { done, total in meter.show(path, done, of: total) }
      guard file.kind == .trace else {
        throw FormatError(path, "holds counts, expected a trace (colocate merge adds counts up)")
      }
      meter.finish(path)
      if !progress.quiet { ReadingOptions.say(file) }
      try CountsOutput.add(try CountsFile(file), path, to: &sum)
    }
    try CountsOutput.write(sum, to: output, quiet: progress.quiet)
  }
}

/// `colocate merge`: counts of several files added up.
struct MergeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "merge",
    abstract: "Add up what colocate count wrote on several machines.",
    usage: "colocate merge <counts> … -o <counts.safetensors>",
    discussion: """
      The files must be of one model, counted alike. Traces keep the order of the files.

      EXAMPLE
        colocate merge part-*.safetensors -o all.safetensors
      """)

  @Argument(help: ArgumentHelp("Files that colocate count or merge wrote.", valueName: "counts"))
  var inputs: [String]

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where the sum goes.", valueName: "FILE.safetensors"))
  var output: String

  @OptionGroup var progress: QuietOptions

  func run() throws {
    try CountsOutput.check(output, inputs: inputs)
    let meter = CountMeter(inputs, isOn: progress.isOn)
    var sum: CountsFile?
    for path in inputs {
      try CountsOutput.add(try CountsFile.read(path), path, to: &sum)
      meter.finish(path)
    }
    try CountsOutput.write(sum, to: output, quiet: progress.quiet)
  }
}

/// How much a long run says.
struct QuietOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Progress lines: when standard error is a terminal, always, never (timeless), never.",
      valueName: "auto|on|timeless|off"))
  var log: LogMode = .auto

  @Flag(name: .shortAndLong, help: "Say nothing on standard error but errors.")
  var quiet = false

  var isOn: Bool {
    !quiet && (log == .on || (log == .auto && Terminal.isInteractive))
  }
}

/// What `count` and `merge` have in common.
private enum CountsOutput {
  static func check(_ output: String, inputs: [String]) throws {
    guard output.hasSuffix(".safetensors") || output.hasPrefix("/dev/") else {
      throw ValidationError("--output \(output): expected a name that ends in .safetensors")
    }
    try OutputPath.check([("--output", output)], inputs: inputs.map { ("the input", $0) })
  }

  static func add(_ part: CountsFile, _ path: String, to sum: inout CountsFile?) throws {
    if sum == nil { sum = part } else { try sum?.add(part, file: path) }
  }

  static func write(_ sum: CountsFile?, to output: String, quiet: Bool) throws {
    guard let sum else { throw ValidationError("no files: expected at least 1") }
    try sum.write(to: output)
    guard !quiet else { return }
    let (counts, record) = (sum.counts, sum.record)
    let traces = record.sources.count
    Terminal.note(
      "\(output): \(record.tokens) tokens of \(traces) trace\(traces == 1 ? "" : "s"), "
        + "\(counts.layers) layers × \(counts.experts) experts, \(counts.total) transitions")
  }
}

/// How far a run over many files is: at most a line in two seconds, with the rate since the start
/// and the time that the rest takes at that rate.
private final class CountMeter {
  private static let interval = 2.0
  private let isOn: Bool
  private let files: Int
  private let sizes: [String: Int]
  private let total: Int
  private let start = Date()
  private var last = 0.0
  private var (done, finished) = (0, 0)

  /// - Parameter paths: files, of which those that have a size are measured by it.
  init(_ paths: [String], isOn: Bool) {
    self.isOn = isOn
    files = paths.count
    var sizes = [String: Int]()
    for path in isOn ? paths : [] {
      let attributes = try? FileManager.default.attributesOfItem(atPath: path)
      sizes[path] = (attributes?[.size] as? Int) ?? 0
    }
    self.sizes = sizes
    total = paths.reduce(0) { $0 + (sizes[$1] ?? 0) }
  }

  /// - Parameters:
  ///   - part: steps done of `all` that reading the file takes.
  func show(_ path: String, _ part: Int, of all: Int) {
    let share = Double(part) / Double(max(all, 1))
    report(done + Int(Double(sizes[path] ?? 0) * share), path)
  }

  func finish(_ path: String) {
    done += sizes[path] ?? 0
    finished += 1
    report(done, path)
  }

  private func report(_ bytes: Int, _ path: String) {
    let time = Date().timeIntervalSince(start)
    guard isOn, time - last >= Self.interval else { return }
    last = time
    func giga(_ bytes: Double) -> String { ProgressLog.fixed(bytes / 1e9, 2) }
    let rate = Double(bytes) / time
    let left = ProgressLog.fixed(Double(total - bytes) / max(rate, 1), 0)
    Terminal.note(
      "file \(min(finished + 1, files)) of \(files), \(giga(Double(bytes))) of "
        + "\(giga(Double(total))) GB, \(giga(rate)) GB/s, \(left) s left")
  }
}
