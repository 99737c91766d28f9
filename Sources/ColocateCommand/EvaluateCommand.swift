import ArgumentParser
import Colocate
import ColocateFormats

/// `colocate evaluate`: what any plan costs on any trace of its model.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Count a plan's crossings and loads on a trace.",
    usage: "colocate evaluate <plan> <trace-or-counts> ... [<options>]",
    discussion: """
      Counts as the plan's record says (--top-k, --coactivation, nodes), unless these options say \
      otherwise; one line says what then differs. A recording that has loads alone (SGLang's stat \
      and per_pass, TensorRT-LLM's statistics) gives the balance alone.

      COPIES
        Where a plan has several slots for an expert, the stack chooses which copy serves a \
      token, and --dispatch names its rule. What a trace does not say (the token's home GPU, its \
      row in a batch, what the stack draws) is averaged over: GPUs and nodes per token, rows \
      dispatched and loads are means. Crossings are not counted then.

      BALANCE
        vLLM's balancedness is Σ mean / Σ max of all layers, SGLang's the mean over layers of \
      mean / max: 1 is even. TensorRT-LLM's imbalance is (max - mean) / mean, vLLM-Ascend's peak \
      max / mean, of the layer on average and of the worst.

      EXAMPLES
        colocate evaluate plan.json test.npy
        colocate evaluate exflow.csv test.npy --gpus 8 --nodes 2 --json
        colocate evaluate sglang.json top8.npy --gpus 8 --dispatch sglang
      """)

  @Argument(help: "A plan in any format that convert knows; ExFlow's table ends in .csv.")
  var plan: String

  @Argument(
    help: ArgumentHelp(
      "Traces or counts (.npy, .safetensors); several are added up.", valueName: "trace-or-counts"))
  var inputs: [String]

  @Option(
    help: ArgumentHelp(
      "GPUs of a plan whose file does not say (stacks' files); of a .csv plan without it the "
        + "largest number in it + 1.",
      valueName: "P"))
  var gpus: Int?

  @Option(
    help: ArgumentHelp(
      "Nodes that the plan's GPUs are spread over. Without it as the plan says, or 1.",
      valueName: "N"))
  var nodes: Int?

  @Option(
    help: DispatchRule.help(
      "Count means under the rule by which a stack chooses among copies of an expert.",
      "Without it as the plan says."))
  var dispatch: DispatchRule?

  @OptionGroup var reading: ReadingOptions

  @Flag(help: "Print the result as JSON on standard output.")
  var json = false

  func run() throws {
    if let loads = try loadsAlone() { return try showBalance(of: loads) }
    if let slots = try SlotEvaluation(self) { return try slots.run() }
    let recorded = try PlanInput.recorded(self.plan)
    // What the command line does not say is as the plan has it.
    var reading = reading
    if reading.topK == nil { reading.topK = recorded?.counting }
    if reading.coactivation == nil { reading.coactivation = recorded?.coactivation }
    let isOrdered = reading.topK == .first || recorded?.goal == .rows
    let input = try reading.read(inputs, sets: isOrdered ? .followers : .sets)
    let plan = try PlanInput.read(
      self.plan, for: input.counts,
      .init(gpus: gpus, nodes: nodes ?? 1, moeLayers: input.moeLayers))
    let placement = try placement(of: plan)
    for line in self.reading.warnings(for: input) + differences(plan, reading, input) {
      Terminal.note(line)
    }
    let figures = try Figures(
      plan: plan, placement: placement, input: input, counting: reading.counting)
    Terminal.result(json ? figures.json(plan: self.plan).text : figures.text)
  }

  /// The plan's placement on the machines of the command line, where it names any.
  private func placement(of plan: PlanFile) throws -> Placement {
    let placement = plan.placement
    let topology = placement.topology
    if let gpus, gpus != topology.gpus {
      throw FormatError(self.plan, "a plan for \(topology.gpus) GPUs, expected \(gpus) (--gpus)")
    }
    guard let nodes, nodes != topology.nodes else { return placement }
    return try CommandFailure.naming([self.plan]) { () throws(ModelError) in
      try Placement(
        topology: Topology(gpus: topology.gpus, nodes: nodes), layers: placement.layers,
        experts: placement.experts, assignment: placement.assignment)
    }
  }

  /// One line for each thing that is not as it was when the plan was made.
  private func differences(
    _ plan: PlanFile, _ reading: ReadingOptions, _ input: TraceInput
  ) -> [String] {
    var lines = [String]()
    func add(_ text: String) {
      lines.append("colocate: note: " + FormatError(self.plan, text).description)
    }
    let made = plan.placement.topology.nodes
    if let nodes, nodes != made {
      add("made for \(made) nodes, counted on \(nodes) (--nodes)")
    }
    if let counting = plan.counting, let counted = input.topK, counting != counted {
      add("made with --top-k \(counting.rawValue), counted with \(counted.rawValue)")
    }
    let isCounted = !input.counts.coactivation.isEmpty
    if let coactivation = plan.coactivation, coactivation != isCounted {
      add(
        coactivation
          ? "made with --coactivation, counted without"
          : "made without --coactivation, counted with")
    }
    return lines
  }
}

/// What a placement costs on a trace.
private struct Figures {
  let plan: PlanFile
  let placement: Placement
  let input: TraceInput
  let counting: TopKCounting
  let crossings: Crossings
  let loads: [Int]
  let imbalance: Double
  let balance: Balance
  let destinations: Destinations?
  let rows: CoherentRows?

  init(
    plan: PlanFile, placement: Placement, input: TraceInput, counting: TopKCounting
  ) throws {
    (self.plan, self.placement, self.input, self.counting) = (plan, placement, input, counting)
    crossings = try input.counts.crossings(of: placement)
    if case .joint(let weights)? = plan.objective {
      guard !crossings.total.multipliedReportingOverflow(by: weights.interNode).overflow else {
        throw FormatError(
          input.paths.joined(separator: " + "),
          "\(crossings.total) transitions are too many for the plan's weight of "
            + "\(weights.interNode)"
        )
      }
    }
    loads = try input.counts.gpuLoads(of: placement)
    balance = Balance(gpuLoads: loads, gpus: placement.topology.gpus)
    imbalance = try input.counts.loadImbalance(of: placement)
    destinations = try input.sets?.destinations(of: placement)
    rows = try input.sets?.coherentRows(of: placement)
  }

  func json(plan path: String) -> JSONText {
    let topology = placement.topology
    var members: [(key: String, value: JSONText)] = [
      ("plan", .string(path)),
      ("traces", .array(input.paths.map { .string($0) })),
      (
        "topology",
        .object([
          ("nodes", .integer(topology.nodes)), ("gpus_per_node", .integer(topology.gpusPerNode)),
        ])
      ),
      ("top_k", input.topK.map { .string($0.rawValue) } ?? nil),
      ("coactivation", .bool(!input.counts.coactivation.isEmpty)),
      ("crossings", PlanFile.json(crossings)),
      (
        "load",
        .object([
          ("max_over_mean", .number(imbalance)),
          ("per_layer", JSONText(loads, width: topology.gpus)),
        ])
      ),
      ("balance", balance.json),
    ]
    if let objective = plan.objective {
      members.append(("objective", PlanFile.json(objective)))
      members.append(("value", .integer(objective.value(of: crossings))))
    }
    if let destinations {
      members.append(("gpus_per_token_and_layer", .number(destinations.gpusPerToken)))
      members.append(("nodes_per_token_and_layer", .number(destinations.nodesPerToken)))
      members.append(("destinations", PlanFile.json(destinations)))
      if let goal = plan.goal {
        members.append(("objective", PlanFile.json(goal)))
        members.append(("value", JSONText(value(of: goal, destinations))))
      }
    }
    if let rows { members.append(("rows", PlanFile.json(rows))) }
    return .object(members)
  }

  private func value(of goal: DestinationGoal, _ destinations: Destinations) -> Int? {
    goal.value(destinations: destinations, crossings: crossings, rows: rows)
  }

  var text: String {
    func line(_ name: String, _ text: String) -> String {
      ProgressLog.left(name, 16) + text + "\n"
    }
    func share(_ count: Int, _ share: Double) -> String {
      "\(count) of \(crossings.total) (\(Show.percent(share, 4)))"
    }
    let nodes = placement.topology.nodes
    var text = line("GPU crossings", share(crossings.gpu, crossings.gpuShare))
    if nodes > 1 { text += line("node crossings", share(crossings.node, crossings.nodeShare)) }
    if case .joint(let weights)? = plan.objective {
      let value = weights.value(of: crossings)
      text += line("joint cost", "\(value) = \(Show.weights(weights))")
    }
    text += line("load", "\(Show.ratio(imbalance)) × the mean on any layer's fullest GPU")
    if let cap = plan.loadCap, imbalance > cap.ratio {
      text += line("", "(the plan's load cap is \(cap.ratio))")
    }
    text += balance.text
    if let destinations {
      for line in DestinationSummary.text(of: destinations, topology: placement.topology) {
        text += line + "\n"
      }
    }
    if let rows {
      let (dispatched, combined) = (
        rows.dispatchedPerLayer.reduce(0, +), rows.combinedPerLayer.reduce(0, +)
      )
      text += line(
        "coherent rows", "\(dispatched) dispatched + \(combined) combined = \(rows.total)")
    }
    return text
  }
}
