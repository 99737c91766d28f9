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
      One rank is one GPU of the plan: mpirun -n 4 colocate-engine … Without mpirun there is one \
      rank. Matrix products are OpenBLAS's, on one thread per rank, in float32.

      As root mpirun needs --allow-run-as-root, and for more ranks than there are cores \
      --oversubscribe.

      EXIT CODES
          0  done; of verify: everything agrees
          1  internal error, a message that arrived damaged included
          2  bad input or usage, no memory, or an output that cannot be written
          5  verify: something does not agree or was not compared
      """,
    version: "colocate-engine \(ToolVersion.current)",
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
  @Option(
    help: """
      Plan of colocate solve, .json or .csv: on which GPU (rank) each expert lives. Contiguous \
      without.
      """)
  var plan: String?
  @Option(help: "Ranks that count as one node; without it MPI says which ranks share memory.")
  var ranksPerNode: Int?
  @Option(
    help: """
      Home mode on several nodes. direct: a token goes to each rank of its experts. node: once to \
      each other node, where it is spread and its sums are added; of verify, home × the plan.
      """)
  var exchange: ExchangeRoute = .direct

  func validate() throws {
    if let window, window < 1 { throw ValidationError("--window \(window): expected at least 1") }
    if let sequences, sequences < 1 {
      throw ValidationError("--sequences \(sequences): expected at least 1")
    }
  }

  /// Opens everything, or fails on all ranks with one error.
  /// - Parameters:
  ///   - output: a file that will be written: checked now, not after the work.
  ///   - new: tokens to be added to each sequence.
  func open(
    output: String?, new: Int = 0
  ) throws -> (model: Model, tokens: Tokens, placement: Placement) {
    let communicator = try Communicator(ranksPerNode: ranksPerNode, process: process)
    try communicator.together { () throws(EngineError) in
      guard communicator.isFirst else { return }
      try EngineError.naming { () throws(FormatError) in try checkOutput(output) }
    }
    var model = try Model(folder: self.model, communicator: communicator)
    model.route = exchange
    let (read, placed) = try communicator.together { () throws(EngineError) in
      (try readTokens(for: model), try readPlan(for: model))
    }
    try model.checkLength(read, new: new)
    if communicator.isFirst, let note = placed?.note { say(note) }
    return (model, read, placed?.placement ?? model.contiguous)
  }

  /// Looks at the place of a file that will be written.
  /// - Throws: `FormatError` where it cannot become a `.npy` file, or is one of the inputs.
  private func checkOutput(_ output: String?) throws(FormatError) {
    let inputs = [("the token ids", tokens)] + (plan.map { [("the plan", $0)] } ?? [])
    let checked = try OutputPath.check([("--output", output)], inputs: inputs)
    // A device or a pipe takes the bytes under any name.
    for file in checked where file.isReplaced && !file.target.hasSuffix(".npy") {
      throw FormatError(
        file.path, "only .npy can be written, expected a name that ends in .npy")
    }
  }

  private func readTokens(for model: Model) throws(EngineError) -> Tokens {
    let all = try Tokens(tokens, vocabulary: model.config.vocabulary, window: window)
    return sequences.map { all.first($0) } ?? all
  }

  private func readPlan(for model: Model) throws(EngineError) -> EnginePlan? {
    guard let plan else { return nil }
    return try EnginePlan(plan, for: model, ranksPerNode: ranksPerNode)
  }
}

struct ModeOption: ParsableArguments {
  @Option(
    help: """
      home: a token goes back to its sequence's rank after every layer. coherent: every rank has \
      the context of all sequences, a token stays where its strongest expert is.
      """)
  var mode: Mode = .home
}

extension Mode: ExpressibleByArgument {}
extension ExchangeRoute: ExpressibleByArgument {}

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
    let (model, tokens, placement) = try options.open(output: output)
    let routes = try model.trace(tokens, placement: placement, mode: mode.mode)
    guard model.communicator.isFirst else { return }
    let config = model.config
    let shape = [tokens.sequences * tokens.positions, config.layers, config.expertsPerToken]
    switch config.experts {
    case ...(1 << 8):
      try NpyWriter.write(routes.map { UInt8($0) }, type: "|u1", shape: shape, to: output)
    case ...(1 << 16):
      try NpyWriter.write(routes.map { UInt16($0) }, type: "<u2", shape: shape, to: output)
    default: try NpyWriter.write(routes, type: "<i4", shape: shape, to: output)
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
    let (model, tokens, placement) = try options.open(output: output)
    try model.checkMemory(forLogitsOf: tokens)
    let logits = try model.logits(tokens, placement: placement, mode: mode.mode)
    guard model.communicator.isFirst else { return }
    let shape = [tokens.sequences, tokens.positions, model.config.vocabulary]
    try NpyWriter.write(logits, type: "<f4", shape: shape, to: output)
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
    help: """
      Compare the exchanges of the decode steps with bare MPI_Alltoallv of the same rows (slows \
      the run).
      """)
  var compareExchange = false
  @Flag(help: "Print the figures as JSON.")
  var json = false
  @Option(
    name: [.short, .long],
    help: "The tokens: .npy, int32 [sequences, positions + new]. Without, they are not kept.")
  var output: String?

  func validate() throws {
    guard new >= 1 else { throw ValidationError("--new \(new): expected at least 1") }
  }

  func run() throws {
    let (model, tokens, placement) = try options.open(output: output, new: new)
    let comparison =
      compareExchange && model.communicator.size > 1 ? ExchangeComparison(model.communicator) : nil
    let result = try model.generate(
      tokens, new: new, placement: placement, mode: mode.mode, times: timings,
      decodeObserver: comparison)
    let exchange = ExchangeFigures(comparison, model.communicator)
    guard model.communicator.isFirst else { return }
    if let output {
      try NpyWriter.write(
        result.tokens, type: "<i4", shape: [tokens.sequences, tokens.positions + new], to: output)
    }
    let figures = GenerationFigures(
      result, model, tokens, mode: mode.mode, timed: timings, exchange: exchange, output: output)
    if json { try give(figures.json) } else { say(figures.text) }
  }
}
