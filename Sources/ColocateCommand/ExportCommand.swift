import ArgumentParser
import Colocate
import ColocateFormats
import Foundation

/// `colocate export`: the integer program itself, for other solvers.
struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write the placement problem as an integer program (free MPS or LP).",
    usage: "colocate export <trace-or-counts> ... --gpus <P> -o <FILE> [<options>]",
    discussion: """
      The aggregated program: one binary for each layer, expert and GPU, one variable for each \
      pair of experts that tokens use in a row. Its optimum is the number \
      of crossings (or the joint objective). The extension of --output chooses the format.

      EXAMPLES
        colocate export trace.npy --gpus 4 -o model.mps
        colocate export trace.npy --gpus 4 --max-load 1.2 --break-symmetry -o model.lp
      """)

  @Argument(
    help: ArgumentHelp(
      "Traces or counts (.npy, .safetensors); several are added up.", valueName: "instance"))
  var inputs: [String]

  @OptionGroup var machines: MachineOptions

  @Option(
    help: ArgumentHelp(
      "What to minimise. (staged is several programs: export its first with as many GPUs as "
        + "nodes.)",
      valueName: "flat|joint"))
  var objective: ObjectiveName?

  @OptionGroup var joint: JointOptions
  @OptionGroup var load: LoadOptions

  @Flag(
    help:
      "Number GPUs by their smallest expert in layer 0, so that each placement has one form."
  )
  var breakSymmetry = false

  @OptionGroup var reading: ReadingOptions

  @Option(
    name: .shortAndLong, help: ArgumentHelp("Where it goes.", valueName: "MODEL.mps|MODEL.lp"))
  var output: String

  func validate() throws {
    guard ["mps", "lp"].contains(URL(fileURLWithPath: output).pathExtension) else {
      throw ValidationError("--output \(output): expected a name that ends in .mps or .lp")
    }
  }

  func run() throws {
    try OutputPath.check([("--output", output)], inputs: inputs.map { ("the input", $0) })
    let input = try reading.read(inputs)
    let objective = self.objective ?? .flat
    let notes =
      reading.warnings(for: input)
      + [machines.note(self.objective), joint.warning(objective, nodes: machines.nodes)]
      .compactMap { $0 }
    for line in notes { Terminal.note(line) }
    let topology = try machines.topology()
    let cap = try load.loadCap()
    let program = try input.naming(for: topology.gpus) { () throws(ModelError) in
      try IntegerProgram(
        Instance(
          counts: input.counts, topology: topology, objective: joint.objective(objective),
          loadCap: cap), breaksSymmetry: breakSymmetry)
    }
    if output.hasSuffix(".mps") {
      try program.writeMPS(to: output)
    } else {
      try program.writeLP(to: output)
    }
  }
}
