import ArgumentParser
import Colocate
import ColocateFormats

/// `colocate generate`: a synthetic trace of known structure.
struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Make a synthetic trace: tokens with a slowly moving hidden state, balanced gates.",
    usage: "colocate generate --layers <L> --experts <E> -o <FILE.npy> [<options>]",
    discussion: """
      Each token has a unit vector that drifts from layer to layer; a layer's gate picks the \
      experts whose random directions fit it best, with biases that make \
      loads even. --affinity is how much of the vector stays: near 1 experts attract each other \
      strongly, at 0 layers are independent. The same options make the \
      same file on every machine.

      EXAMPLES
        colocate generate --layers 24 --experts 16 --affinity 0.95 --seed 1 -o synthetic.npy
        colocate generate --layers 40 --experts 256 --counts -o large.npy
      """)

  @Option(help: ArgumentHelp("MoE layers.", valueName: "L"))
  var layers: Int

  @Option(help: ArgumentHelp("Experts per layer.", valueName: "E"))
  var experts: Int

  @Option(help: ArgumentHelp("Tokens.", valueName: "T"))
  var tokens: Int = 40_000

  @Option(
    name: .customLong("choices"), help: ArgumentHelp("Experts per token and layer.", valueName: "K")
  )
  var choices: Int = 1

  @Option(help: ArgumentHelp("How slowly the hidden state moves, 0 to 1.", valueName: "RHO"))
  var affinity: Double = 0.95

  @Option(help: "Names the trace.")
  var seed: UInt64 = 1

  @Flag(help: "Write transition counts, [L - 1, E, E], instead of the trace.")
  var counts = false

  @Option(name: .shortAndLong, help: ArgumentHelp("Where it goes.", valueName: "FILE.npy"))
  var output: String

  func validate() throws {
    guard output.hasSuffix(".npy") else {
      throw ValidationError("--output \(output): expected a name that ends in .npy")
    }
  }

  func run() throws {
    try OutputPath.check([("--output", output)])
    let trace = try SyntheticTrace(
      layers: layers, experts: experts, tokens: tokens, choices: choices, affinity: affinity,
      seed: seed)
    if counts {
      try NpyWriter.write(try trace.counts(), to: output)
    } else {
      try NpyWriter.write(trace: trace.ids(), layers: layers, choices: choices, to: output)
    }
  }
}
