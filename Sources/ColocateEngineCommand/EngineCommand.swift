import ArgumentParser
import Foundation
import MoEEngine

struct EngineCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "colocate-engine",
    abstract:
      "Run a Mixture-of-Experts checkpoint over MPI ranks under a placement of its experts.",
    subcommands: [TraceCommand.self, LogitsCommand.self, GenerateCommand.self, VerifyCommand.self])
}

struct ModelOptions: ParsableArguments {
  @Option(help: "Hugging Face checkpoint folder (OLMoE, Mixtral or Qwen3-MoE).")
  var model: String
  @Option(
    help: "Token ids: .npy of whole numbers, [sequences, positions], or [tokens] with --window.")
  var tokens: String
  @Option(help: "Cut a one-dimensional file into sequences of this many tokens.")
  var window: Int?
  @Option(help: "How tokens meet their experts: home or coherent.")
  var mode: Mode = .home
  @Option(help: "Plan that says on which rank each expert lives; contiguous without.")
  var plan: String?
  @Option(help: "Ranks that count as one node; without it MPI says which ranks share memory.")
  var ranksPerNode: Int?

  func open() throws -> (model: Model, tokens: Tokens, assignment: [Int]) {
    let communicator = try Communicator(ranksPerNode: ranksPerNode, process: process)
    let model = try Model(folder: self.model, communicator: communicator)
    let tokens = try communicator.together { () throws(EngineError) in
      try Tokens(self.tokens, vocabulary: model.config.vocabulary, window: window)
    }
    var assignment = model.contiguous
    if let plan { assignment = try Npy.readIntegers(plan).values }
    return (model, tokens, assignment)
  }
}

extension Mode: ExpressibleByArgument {}

struct TraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace", abstract: "Record which experts each token uses, for `colocate solve`.")
  @OptionGroup var options: ModelOptions
  @Option(
    name: [.short, .long], help: "The trace: .npy, [tokens, layers, k], the strongest expert first."
  )
  var output: String

  func run() throws {
    let (model, tokens, assignment) = try options.open()
    let routes = try model.trace(tokens, assignment: assignment, mode: options.mode)
    guard model.communicator.isFirst else { return }
    let bytes = routes.map { UInt8($0) }
    try Npy.write(
      output, type: "|u1",
      shape: [
        tokens.sequences * tokens.positions, model.config.layers, model.config.expertsPerToken,
      ], data: bytes)
  }
}

struct LogitsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logits",
    abstract: "Compute the logits of every position, to compare with other programs.")
  @OptionGroup var options: ModelOptions
  @Option(
    name: [.short, .long], help: "The logits: .npy, float32 [sequences, positions, vocabulary].")
  var output: String

  func run() throws {
    let (model, tokens, assignment) = try options.open()
    let logits = try model.logits(tokens, assignment: assignment, mode: options.mode)
    guard model.communicator.isFirst else { return }
    try Npy.write(
      output, type: "<f4", shape: [tokens.sequences, tokens.positions, model.config.vocabulary],
      data: logits)
  }
}

struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Decode greedily.")
  @OptionGroup var options: ModelOptions
  @Option(help: "New tokens per sequence.")
  var new: Int
  @Flag(help: "Print where the time goes.")
  var timings = false
  @Option(name: [.short, .long], help: "The tokens: .npy, int32 [sequences, positions + new].")
  var output: String?

  func run() throws {
    let (model, tokens, assignment) = try options.open()
    let result = try model.generate(
      tokens, new: new, assignment: assignment, mode: options.mode, times: timings)
    guard model.communicator.isFirst else { return }
    if let output {
      try Npy.write(
        output, type: "<i4", shape: [tokens.sequences, tokens.positions + new], data: result.tokens)
    }
    print(
      "prefill \(Double(result.prefillTokens) / result.prefillSeconds) decode \(Double(result.decodeTokens) / result.decodeSeconds)"
    )
    if timings { print("decode per CPU second", Double(result.decodeTokens) / result.timings.computing); for p in Timings.Part.allCases { print(p, result.timings.share(p)) } }
  }
}
