import ArgumentParser
import Colocate
import ColocateFormats

extension DispatchRule: ExpressibleByArgument {
  /// The help of `--dispatch`, for every command that has it.
  static func help(_ start: String, _ end: String) -> ArgumentHelp {
    ArgumentHelp(
      StringLiteralType(
        start + " vllm: a hash of the token's row, one for all its experts (vLLM 0.33.0). sglang: "
          + "the copy on the token's own GPU, else on its node, else one drawn for each GPU "
          + "(SGLang 0.5.23, static, all-to-all). tensorrt-llm: round robin for each expert "
          + "(TensorRT-LLM, commit 004d78b0). uniform: all copies alike (LMDeploy 0.18.0). " + end),
      valueName: "vllm|sglang|tensorrt-llm|uniform")
  }
}

/// `colocate evaluate` of plans in which experts have copies, and of any plan with `--dispatch`:
/// means under the rule by which a stack chooses the copy that serves a token.
struct SlotEvaluation {
  private let command: EvaluateCommand
  /// What the plan's own record says; nil for other formats.
  private let recorded: SlotPlanFile?
  private let rule: DispatchRule

  /// - Returns: nil where neither the command line nor the plan speaks of copies.
  /// - Throws: `FormatError` for a plan with copies that does not say by which rule.
  init?(_ command: EvaluateCommand) throws {
    recorded =
      SlotPlanFile.isNamed(by: command.plan) ? try SlotPlanFile.read(command.plan) : nil
    guard command.dispatch != nil || recorded != nil else { return nil }
    guard let rule = command.dispatch ?? recorded?.dispatch else {
      throw FormatError(
        command.plan, "which copy of an expert serves a token is not said, expected --dispatch")
    }
    self.command = command
    self.rule = rule
  }

  func run() throws {
    let input = try command.reading.read(command.inputs, sets: .sets)
    let sets = try Self.tokenSets(of: input)
    let plan = try plan(for: input)
    for line in notes(input, plan) { Terminal.note(line) }
    let found = try CommandFailure.naming([command.plan]) { () throws(ModelError) in
      try sets.destinations(of: plan, rule: rule)
    }
    Terminal.result(
      command.json ? json(plan, input, found).text : SlotSummary.text(found, plan, rule: rule))
  }

  /// What the tokens use together; of tokens with one expert, that one.
  private static func tokenSets(of input: TraceInput) throws -> TokenSets {
    if let sets = input.sets { return sets }
    let counts = input.counts
    guard input.files.allSatisfy({ $0.choices == 1 }) else {
      throw FormatError(
        input.paths.joined(separator: " + "),
        "counts do not say which experts a token uses together, expected a trace "
          + "[tokens, layers, k] (--dispatch)")
    }
    let layers = try (0..<counts.layers).map { layer in
      try TokenSets.Layer(
        experts: counts.experts, sets: (0..<counts.experts).map { [$0] },
        multiplicities: Array(counts.loads[(layer * counts.experts)...].prefix(counts.experts)))
    }
    return try TokenSets(experts: counts.experts, layers: layers)
  }

  /// The plan's slots, on the machines of the command line where it names any.
  private func plan(for input: TraceInput) throws -> SlotPlan {
    let counts = input.counts
    let plan = try PlanInput.slots(
      command.plan, experts: counts.experts,
      .init(gpus: command.gpus, nodes: command.nodes, moeLayers: input.moeLayers))
    guard plan.layers == counts.layers, plan.experts == counts.experts else {
      throw FormatError(
        command.plan,
        "a plan for \(plan.layers) layers × \(plan.experts) experts, expected "
          + "\(counts.layers) × \(counts.experts) as in the trace")
    }
    return plan
  }

  private func notes(_ input: TraceInput, _ plan: SlotPlan) -> [String] {
    var lines = [String]()
    for (option, isGiven) in [
      ("--coactivation", command.reading.coactivation == true),
      ("--top-k", command.reading.topK != nil),
    ] where isGiven {
      lines.append(
        "colocate: warning: \(option) has no effect with copies of experts: all of a token's "
          + "experts count")
    }
    func add(_ kind: String, _ text: String) {
      lines.append("colocate: \(kind): " + FormatError(command.plan, text).description)
    }
    if let made = recorded?.dispatch, made != rule {
      add("note", "made for \(made.rawValue), counted as \(rule.rawValue) (--dispatch)")
    }
    if let nodes = recorded?.plan.topology.nodes, nodes != plan.topology.nodes {
      add("note", "made for \(nodes) nodes, counted on \(plan.topology.nodes) (--nodes)")
    }
    if let useless = plan.uselessReplica {
      add(
        "warning",
        "layer \(useless.layer): GPU \(useless.gpu) has expert \(useless.expert) twice, where once "
          + "would do")
    }
    return lines
  }

  private func json(
    _ plan: SlotPlan, _ input: TraceInput, _ found: SlotDestinations
  ) -> JSONText {
    let topology = plan.topology
    return .object([
      ("plan", .string(command.plan)), ("traces", .array(input.paths.map { .string($0) })),
      (
        "topology",
        .object([
          ("nodes", .integer(topology.nodes)), ("gpus_per_node", .integer(topology.gpusPerNode)),
        ])
      ),
      ("slots_per_layer", .integer(plan.slotsPerLayer)), ("redundant", .integer(plan.redundant)),
      ("dispatch", .string(rule.rawValue)), ("destinations", SlotPlanFile.json(found)),
      ("load", SlotPlanFile.load(found, gpus: topology.gpus)), ("balance", found.balance.json),
    ])
  }
}

/// Means of a plan of slots for people, in lines of at most 80 columns.
enum SlotSummary {
  static func text(_ found: SlotDestinations, _ plan: SlotPlan, rule: DispatchRule) -> String {
    let lines =
      [row("slots", "\(plan.slotsPerLayer) a layer, \(plan.redundant) redundant")]
      + means(found, plan, rule: rule)
      + [
        row(
          "load",
          "\(Show.ratio(found.balance.worstPeak)) × the mean on any layer's fullest GPU")
      ]
    return lines.map { $0 + "\n" }.joined() + found.balance.text
  }

  /// Destinations and rows.
  static func means(
    _ found: SlotDestinations, _ plan: SlotPlan, rule: DispatchRule
  ) -> [String] {
    let topology = plan.topology
    var lines = [
      row("dispatch", "\(rule.rawValue), means over where tokens come from"),
      row(
        "GPUs per token", "\(Show.fixed(found.gpusPerToken, 4)) of \(topology.gpus), a layer's mean"
      ),
    ]
    if topology.nodes > 1 {
      lines.append(
        row("nodes per token", "\(Show.fixed(found.nodesPerToken, 4)) of \(topology.nodes)"))
    }
    lines.append(
      row("rows per token", "\(Show.fixed(found.rowsPerToken, 4)) dispatched to other GPUs"))
    return lines
  }

  private static func row(_ name: String, _ text: String) -> String {
    SolveSummary.row(name, text)
  }
}
