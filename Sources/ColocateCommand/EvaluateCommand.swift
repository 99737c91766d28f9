import ArgumentParser
import Colocate
import ColocateFormats

/// `colocate evaluate`: what any plan costs on any trace of its model.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Count a plan's crossings and loads on a trace.",
    discussion: """
      EXAMPLES
        colocate evaluate plan.json test.npy
        colocate evaluate exflow.csv test.npy --gpus 8 --nodes 2 --json
      """)

  @Argument(help: "A plan: .json (own format) or .csv (ExFlow).")
  var plan: String

  @Argument(
    help: ArgumentHelp(
      "Traces or counts (.npy, .safetensors); several are added up.", valueName: "trace-or-counts"))
  var inputs: [String]

  @Option(
    help: ArgumentHelp(
      "GPUs of a .csv plan; without it the largest number in it + 1.", valueName: "P"))
  var gpus: Int?

  @Option(help: ArgumentHelp("Nodes of a .csv plan.", valueName: "N"))
  var nodes: Int = 1

  @OptionGroup var reading: ReadingOptions

  @Flag(help: "Print the result as JSON on standard output.")
  var json = false

  func run() throws {
    let input = try reading.read(inputs)
    let plan = try PlanInput.read(self.plan, for: input.counts, gpus: gpus, nodes: nodes)
    let placement = plan.placement
    let topology = placement.topology
    let crossings = try input.counts.crossings(of: placement)
    let loads = try input.counts.gpuLoads(of: placement)
    let imbalance = try input.counts.loadImbalance(of: placement)
    let destinations =
      try reading.topK == .pairs
      ? Destinations(of: placement, in: input.files) : nil
    if json {
      var members: [(key: String, value: JSONText)] = [
        ("plan", .string(self.plan)),
        ("traces", .array(input.paths.map { .string($0) })),
        ("crossings", PlanFile.json(crossings)),
        (
          "load",
          .object([
            ("max_over_mean", .number(imbalance)),
            ("per_layer", JSONText(loads, width: topology.gpus)),
          ])
        ),
      ]
      if let objective = plan.objective {
        members.append(("objective", PlanFile.json(objective)))
        members.append(("value", .integer(objective.value(of: crossings))))
      }
      if let destinations {
        members.append(("gpus_per_token_and_layer", .number(destinations.gpus)))
        members.append(("nodes_per_token_and_layer", .number(destinations.nodes)))
      }
      Terminal.result(JSONText.object(members).text)
      return
    }
    var text =
      "GPU crossings   \(crossings.gpu) of \(crossings.total) (\(Show.percent(crossings.gpuShare, 4)))\n"
    if topology.nodes > 1 {
      text +=
        "node crossings  \(crossings.node) of \(crossings.total) (\(Show.percent(crossings.nodeShare, 4)))\n"
    }
    if case .joint? = plan.objective, let value = plan.objective?.value(of: crossings) {
      text += "objective       \(value) (joint)\n"
    }
    text += "load            \(Show.ratio(imbalance)) × the mean on the fullest GPU of any layer\n"
    if let destinations {
      text += "destinations    \(Show.ratio(destinations.gpus)) GPUs for each token and layer"
      text += topology.nodes > 1 ? ", \(Show.ratio(destinations.nodes)) nodes\n" : "\n"
    }
    Terminal.result(text)
  }
}

/// Distinct GPUs and nodes that a token's k experts of one layer sit on, averaged over tokens and layers: what a placement changes in
/// engines that send every token home after each layer.
struct Destinations {
  let gpus: Double
  let nodes: Double

  /// nil where a file holds counts, which do not say what a token uses together, or one expert a token.
  init?(of placement: Placement, in files: [TraceFile]) throws {
    guard files.allSatisfy({ $0.kind == .trace && $0.choices > 1 }) else { return nil }
    var (gpus, nodes, visits) = (0, 0, 0)
    for file in files {
      let sums = try file.destinations(of: placement)
      gpus += sums.gpus
      nodes += sums.nodes
      visits += sums.visits
    }
    self.gpus = Double(gpus) / Double(max(visits, 1))
    self.nodes = Double(nodes) / Double(max(visits, 1))
  }
}
