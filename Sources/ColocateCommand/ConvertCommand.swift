import ArgumentParser
import Colocate
import ColocateFormats

extension PlacementFormat: ExpressibleByArgument {}

/// `colocate convert`: a placement from any stack's file to any other's.
struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Turn a plan into the file that a serving stack loads, or back.",
    usage: "colocate convert <plan> --to <format> -o <FILE> [<options>]",
    discussion: """
      Reads a plan of any of the formats and writes it in another, checked for what the stacks do \
      not check themselves: that every expert has a slot, that layers and slots are as many as \
      they should be. How the stack is made to follow the file, and where it would ignore it \
      without a word, is said on standard error.

      Plans with copies of experts (E + R slots) go to and from colocate, sglang, tensorrt-llm, \
      vllm, vllm-map and vllm-ascend; exflow and lmdeploy have one place for each expert and \
      refuse them.

      FORMATS
        colocate      the tool's own plan, or plan of slots (JSON)
        exflow        ExFlow's table Expert,Node (CSV)
        sglang        SGLang, --init-expert-location (JSON)
        tensorrt-llm  TensorRT-LLM, moe_load_balancer (YAML)
        vllm          vLLM with the plugin, a mapping record (JSON lines)
        vllm-map      the same as a bare table (JSON)
        vllm-ascend   vLLM-Ascend, expert_map_path (JSON)
        lmdeploy      LMDeploy, loads that it packs into the plan (JSON)

      EXAMPLES
        colocate convert plan.json --to sglang --moe-layers 3-60 --hidden-layers 61 -o sglang.json
        colocate convert sglang.json --gpus 8 --moe-layers 3-60 --to colocate -o plan.json
      """)

  @Argument(help: "A plan in any of the formats; its content tells which.")
  var plan: String

  @Option(help: ArgumentHelp("The format to write.", valueName: "FORMAT"))
  var to: PlacementFormat

  @Option(
    help: ArgumentHelp(
      "The plan's format, where the content does not tell.", valueName: "FORMAT"))
  var from: PlacementFormat?

  @Option(
    help: ArgumentHelp(
      "GPUs that the plan is for, where its file does not say (sglang, tensorrt-llm, vllm, "
        + "vllm-map, lmdeploy).", valueName: "P"))
  var gpus: Int?

  @Option(
    help: ArgumentHelp(
      "Nodes that the GPUs are spread over. Without it as the plan says, or 1.", valueName: "N"))
  var nodes: Int?

  @Option(
    help: ArgumentHelp(
      "Experts per layer, where the file does not say (exflow; else a check).", valueName: "E"))
  var experts: Int?

  @Option(
    help: ArgumentHelp(
      "The model's layers that are MoE layers, e.g. 3-60. Without it as the plan says, or all.",
      valueName: "LIST"))
  var moeLayers: LayerList?

  @Option(
    help: ArgumentHelp(
      "All layers of the model, dense ones too. Without it up to the last MoE layer.",
      valueName: "H"))
  var hiddenLayers: Int?

  @Option(name: .shortAndLong, help: ArgumentHelp("Where it goes.", valueName: "FILE"))
  var output: String

  @Flag(name: .shortAndLong, help: "Say nothing on standard error but errors.")
  var quiet = false

  func run() throws {
    try OutputPath.check([("--output", output)], inputs: [("the plan", plan)])
    try PlacementWriter.checkName(output, for: to)
    var reading = PlacementReading()
    (reading.gpus, reading.nodes, reading.experts) = (gpus, nodes, experts)
    (reading.moeLayers, reading.hiddenLayers) = (moeLayers?.layers, hiddenLayers)
    let result = try PlacementReader.read(plan, as: from, reading)
    let placement = result.placement
    let text = try CommandFailure.naming([plan]) { () throws(ModelError) in
      try PlacementWriter.text(placement, as: to)
    }
    try AtomicFile.write(text, to: output)
    guard !quiet else { return }
    for remark in result.remarks {
      let text = FormatError(plan, remark.text).description
      Terminal.note("colocate: \(remark.isWarning ? "warning" : "note"): \(text)")
    }
    explain(result)
  }

  private func explain(_ result: PlacementReader.Result) {
    let slots = result.placement.plan
    let topology = slots.topology
    Terminal.note(
      "\(plan) (\(result.format.rawValue)): \(slots.layers) MoE layers, \(slots.experts) experts, "
        + "\(slots.slotsPerLayer) slots on \(topology.gpus) GPUs")
    guard let recipe = StackRecipe(for: to, result.placement, path: output) else { return }
    Terminal.note("start it: \(recipe.start)")
    if !recipe.proof.isEmpty { Terminal.note("see it:   \(recipe.proof)") }
    Terminal.note("undo it:  \(recipe.undo)")
    for warning in recipe.warnings { Terminal.note("colocate: warning: \(warning)") }
  }
}
