import ArgumentParser
import Colocate
import ColocateFormats
import Foundation
import MoEEngine

struct EngineCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "colocate-engine",
    abstract:
      "Run a Mixture-of-Experts checkpoint over MPI ranks under a placement of its experts.",
    discussion: """
      One rank is one GPU of the plan: mpirun -n 4 colocate-engine … Without mpirun there is one rank. Matrix products are \
      OpenBLAS's, on one thread per rank, in float32.
      """,
    subcommands: [
      TraceCommand.self, LogitsCommand.self, GenerateCommand.self, VerifyCommand.self,
    ])
}

/// What every command needs to know.
struct RunOptions: ParsableArguments {
  @Option(help: "Hugging Face checkpoint folder (OLMoE, Mixtral or Qwen3-MoE).")
  var model: String
  @Option(
    help: "Token ids: .npy of whole numbers, [sequences, positions], or [tokens] with --window.")
  var tokens: String
  @Option(help: "Cut a one-dimensional file into sequences of this many tokens.")
  var window: Int?
  @Option(help: "Read the first sequences only.")
  var sequences: Int?
  @Option(help: "Plan: on which GPU (rank) each expert lives. Contiguous without.")
  var plan: String?
  @Option(help: "Ranks that count as one node; without it MPI says which ranks share memory.")
  var ranksPerNode: Int?

  func validate() throws {
    if let window, window < 1 { throw ValidationError("--window \(window): expected at least 1") }
    if let sequences, sequences < 1 {
      throw ValidationError("--sequences \(sequences): expected at least 1")
    }
  }

  /// Opens everything, or fails on all ranks with one error.
  /// - Parameter output: a file that will be written: checked now, not after the work.
  func open(output: String?) throws -> (model: Model, tokens: Tokens, assignment: [Int]) {
    let communicator = try Communicator(ranksPerNode: ranksPerNode, process: process)
    let model = try Model(folder: self.model, communicator: communicator)
    let (tokens, assignment) = try communicator.together { () throws(EngineError) in
      if let output, communicator.isFirst { try checkWritable(output) }
      var tokens = try Tokens(self.tokens, vocabulary: model.config.vocabulary, window: window)
      if let sequences { tokens = tokens.first(sequences) }
      return (tokens, try plan.map { path throws(EngineError) in try read(plan: path, for: model) })
    }
    return (model, tokens, assignment ?? model.contiguous)
  }

  /// The plan's `[L, E]`, checked against the model and the ranks.
  private func read(plan path: String, for model: Model) throws(EngineError) -> [Int] {
    let placement: Placement
    do throws(FormatError) {
      placement = try PlanFile.read(path).placement
    } catch {
      throw EngineError(error.description)
    }
    let (config, ranks) = (model.config, model.communicator.size)
    guard placement.layers == config.layers, placement.experts == config.experts else {
      throw EngineError(
        "\(path): a plan for \(placement.layers) layers × \(placement.experts) experts; the model has "
          + "\(config.layers) × \(config.experts)")
    }
    guard placement.topology.gpus == ranks else {
      throw EngineError(
        "\(path): a plan for \(placement.topology.gpus) GPUs; expected one for \(ranks), the number of ranks"
      )
    }
    return placement.assignment
  }

  private func checkWritable(_ path: String) throws(EngineError) {
    var isFolder: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
    guard !isFolder.boolValue else {
      throw EngineError("\(path): a folder; expected a file to write")
    }
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    guard FileManager.default.isWritableFile(atPath: exists ? path : folder) else {
      throw EngineError("\(path): cannot be written")
    }
  }
}

struct ModeOption: ParsableArguments {
  @Option(
    help: """
      home: a token goes back to its sequence's rank after every layer. coherent: every rank has the context of all sequences, \
      a token stays where its strongest expert is.
      """)
  var mode: Mode = .home
}

extension Mode: ExpressibleByArgument {}

/// What people read goes to standard error, results to standard output or a file.
func say(_ line: String) {
  FileHandle.standardError.write(Data((line + "\n").utf8))
}

struct TraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace",
    abstract: "Record which experts each token uses, ready for `colocate solve`.")
  @OptionGroup var options: RunOptions
  @OptionGroup var mode: ModeOption
  @Option(
    name: [.short, .long], help: "The trace: .npy, [tokens, layers, k], strongest expert first.")
  var output: String

  func run() throws {
    let (model, tokens, assignment) = try options.open(output: output)
    let routes = try model.trace(tokens, assignment: assignment, mode: mode.mode)
    guard model.communicator.isFirst else { return }
    let config = model.config
    let shape = [tokens.sequences * tokens.positions, config.layers, config.expertsPerToken]
    if config.experts <= 256 {
      try Npy.write(output, type: "|u1", shape: shape, data: routes.map { UInt8($0) })
    } else {
      try Npy.write(output, type: "<u2", shape: shape, data: routes.map { UInt16($0) })
    }
    say("\(output): \(shape[0]) tokens × \(shape[1]) layers × \(shape[2]) experts")
  }
}

struct LogitsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logits",
    abstract: "Compute the logits of every position, to compare with another implementation.")
  @OptionGroup var options: RunOptions
  @OptionGroup var mode: ModeOption
  @Option(
    name: [.short, .long], help: "The logits: .npy, float32 [sequences, positions, vocabulary].")
  var output: String

  func run() throws {
    let (model, tokens, assignment) = try options.open(output: output)
    let logits = try model.logits(tokens, assignment: assignment, mode: mode.mode)
    guard model.communicator.isFirst else { return }
    let shape = [tokens.sequences, tokens.positions, model.config.vocabulary]
    try Npy.write(output, type: "<f4", shape: shape, data: logits)
    say("\(output): \(shape[0]) sequences × \(shape[1]) positions × \(shape[2]) logits")
  }
}

struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Decode greedily from token ids, all sequences together. No token ends a sequence.")
  @OptionGroup var options: RunOptions
  @OptionGroup var mode: ModeOption
  @Option(help: "New tokens per sequence.")
  var new: Int
  @Flag(help: "Say where the time of the decode steps goes.")
  var timings = false
  @Flag(
    help:
      "Compare the exchanges of the decode steps with bare MPI_Alltoallv of the same rows (slows the run)."
  )
  var compareExchange = false
  @Flag(help: "Print the figures as JSON.")
  var json = false
  @Option(
    name: [.short, .long], help: "The tokens: .npy, int32 [sequences, positions + new].")
  var output: String?

  func validate() throws {
    guard new >= 1 else { throw ValidationError("--new \(new): expected at least 1") }
  }

  func run() throws {
    let (model, tokens, assignment) = try options.open(output: output)
    let result = try model.generate(
      tokens, new: new, assignment: assignment, mode: mode.mode, times: timings,
      comparesExchange: compareExchange)
    guard model.communicator.isFirst else { return }
    if let output {
      try Npy.write(
        output, type: "<i4", shape: [tokens.sequences, tokens.positions + new], data: result.tokens)
    }
    let figures = GenerationFigures(result, model, tokens, mode: mode.mode, timed: timings)
    if json { print(try figures.json) } else { say(figures.text) }
  }
}
