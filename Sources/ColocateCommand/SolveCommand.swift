import ArgumentParser
import Colocate
import ColocateFormats
import Foundation

/// `colocate solve`: a plan, and what is proved about it.
struct SolveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "solve",
    abstract: "Find a placement and prove how good it is.",
    discussion: """
      Without --output the plan goes to standard output as JSON. The extension of --output chooses the format: .json, the tool's own, or .csv, ExFlow's \
      table. Ctrl-C stops the search and writes the best plan found so far.

      EXAMPLES
        colocate solve trace.npy --gpus 4 --time-limit 30 -o plan.json
        colocate solve trace.npy --gpus 16 --nodes 2 --objective staged --max-load 1.3 -o plan.csv
        colocate solve prose.npy docs.npy code.npy --gpus 8 --gap 0.01 --warm-start plan.json > better.json
      """)

  @Argument(
    help: ArgumentHelp(
      "Traces or counts (.npy, .safetensors); several are added up.", valueName: "trace-or-counts"))
  var inputs: [String]

  @OptionGroup var machines: MachineOptions

  @Option(
    help: ArgumentHelp(
      "flat: tokens that change GPUs. staged: first those that change nodes, then GPUs inside each node (ExFlow). joint: both at once, weighted.",
      valueName: "flat|staged|joint"))
  var objective: ObjectiveName = .flat

  @OptionGroup var joint: JointOptions
  @OptionGroup var load: LoadOptions
  @OptionGroup var solver: SolverArguments

  @Option(help: ArgumentHelp("A plan to start from (.json or .csv).", valueName: "PLAN"))
  var warmStart: String?

  @OptionGroup var reading: ReadingOptions

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where the plan goes.", valueName: "PLAN.json|PLAN.csv"))
  var output: String?

  @Option(
    help: ArgumentHelp(
      "Where the evidence for the bound goes, for `colocate check` (JSON).", valueName: "FILE"))
  var certificate: String?

  @OptionGroup var printing: OutputOptions

  func validate() throws {
    if let output, !["json", "csv"].contains(URL(fileURLWithPath: output).pathExtension) {
      throw ValidationError("--output \(output): expected a name that ends in .json or .csv")
    }
  }

  func run() throws {
    let input = try reading.read(inputs, printing)
    let topology = try machines.topology()
    let cap = try load.loadCap()
    let instance = try input.naming(for: topology.gpus) { () throws(ModelError) in
      try Instance(
        counts: input.counts, topology: topology, objective: joint.objective(objective),
        loadCap: cap)
    }
    var options = solver.options(defaultTime: 60)
    options.keepsCertificate = certificate != nil
    options.jointWeights = JointWeights(interNode: joint.interNode, intraNode: joint.intraNode)
    options.warmStart = try warmStart.map {
      let plan = try PlanInput.read(
        $0, for: input.counts, gpus: topology.gpus, nodes: topology.nodes)
      guard plan.placement.topology.gpus == topology.gpus else {
        throw FormatError(
          $0, "a plan for \(plan.placement.topology.gpus) GPUs, expected \(topology.gpus)")
      }
      // Its GPUs, on the nodes of this run.
      return try Placement(
        topology: topology, layers: plan.placement.layers, experts: plan.placement.experts,
        assignment: plan.placement.assignment)
    }
    let interrupt = Interrupt()
    let log = printing.progressLog()
    let outcome = try Solver(options).solve(instance) { progress in
      log?.show(progress)
      return interrupt.isRequested ? .stop : .proceed
    }
    guard let placement = outcome.placement?.canonical() else {
      if outcome.status == .infeasible {
        throw CommandFailure(
          "\(input.paths.joined(separator: " + ")): proved that no placement meets the load cap",
          .infeasible)
      }
      throw CommandFailure(
        "\(input.paths.joined(separator: " + ")): no placement that meets the load cap was found, and it is not proved that there is none (stopped: \(outcome.stopReason.rawValue))",
        outcome.stopReason == .cancelled ? .interrupted : .limit)
    }
    var plan = try PlanFile(
      placement: placement, on: input.counts, objective: instance.objective)
    plan.loadCap = cap
    plan.status = outcome.status
    plan.stopReason = outcome.stopReason
    plan.bound = outcome.bound
    plan.stages = outcome.stages
    plan.joint = outcome.joint
    plan.traces = input.traces
    plan.moeLayers = input.moeLayers
    plan.options = Self.json(options, reading: reading)
    plan.tool = "colocate \(ColocateTool.version)"
    if let output {
      if output.hasSuffix(".csv") {
        try ExFlowCSV.write(placement, to: output)
      } else {
        try plan.write(to: output)
      }
    }
    if let certificate {
      guard
        let proof = CertificateFile(of: outcome, instance: instance, threads: options.threads)
      else {
        throw CommandFailure(
          "no certificate: the run ended without evidence that one can hold (\(outcome.stages.map { $0.boundMethod?.rawValue ?? "none" }.joined(separator: ", ")))",
          .limit)
      }
      try proof.write(to: certificate, tool: plan.tool)
    }
    if output == nil || printing.json { Terminal.result(plan.json.text) }
    summarise(plan, outcome)
    if let fault = outcome.internalFault {
      throw CommandFailure(
        "internal: \(fault); the plan is written, its bound is not", .internalError)
    }
    let status = Self.exitStatus(outcome)
    if status != .done { throw status }
  }

  /// What the options were, for the plan.
  static func json(
    _ options: SolverOptions, reading: ReadingOptions
  ) -> [(key: String, value: JSONText)] {
    [
      ("time_limit", options.timeLimit.map { .number($0) } ?? nil),
      ("gap", .number(options.gapLimit)),
      ("nodes_limit", options.nodesLimit.map { .integer($0) } ?? nil),
      ("work_limit", options.workLimit.map { .integer($0) } ?? nil),
      ("threads", .integer(options.threads)),
      ("seed", .integer(Int(truncatingIfNeeded: options.seed))),
      ("proof", .bool(options.proves)), ("top_k", .string(reading.topK.rawValue)),
      ("coactivation", .bool(reading.coactivation)),
    ]
  }

  static func exitStatus(_ outcome: Outcome) -> ExitStatus {
    if outcome.status == .infeasible { return .infeasible }
    switch outcome.stopReason {
    case .proved, .gap, .finished: return .done
    case .time, .nodes, .work: return .limit
    case .cancelled: return .interrupted
    }
  }

  /// The answer for people.
  private func summarise(_ plan: PlanFile, _ outcome: Outcome) {
    guard let crossings = plan.crossings, let imbalance = plan.loadImbalance else { return }
    let topology = plan.placement.topology
    printing.note(
      "\(outcome.status.rawValue) (\(outcome.stopReason.rawValue)) after \(Show.seconds(outcome.statistics.seconds))"
    )
    printing.note(
      "GPU crossings   \(crossings.gpu) of \(crossings.total) (\(Show.percent(crossings.gpuShare, 4)))"
    )
    if topology.nodes > 1 {
      printing.note(
        "node crossings  \(crossings.node) of \(crossings.total) (\(Show.percent(crossings.nodeShare, 4)))"
      )
    }
    if plan.objective != .flat, let value = plan.value {
      printing.note("objective       \(value) (\(objective.rawValue))")
    }
    if let bound = plan.bound, let gap = plan.gap {
      printing.note("bound           \(bound), gap \(Show.percent(gap, 3))")
    }
    for stage in outcome.stages where outcome.stages.count > 1 {
      printing.note(
        "  \(ProgressLog.left(stage.name, 14))\(Show.stage(stage)), \(stage.status.rawValue) (\(stage.stopReason.rawValue))"
      )
    }
    if let joint = outcome.joint {
      printing.note(
        "joint           \(joint.value) (\(joint.interNode) × between nodes + \(joint.intraNode) × inside), \(joint.bound.map { "no placement below \($0), gap \(Show.percent(joint.gap ?? 0, 3))" } ?? "no bound")"
      )
    }
    printing.note(
      "load            \(Show.ratio(imbalance)) × the mean on the fullest GPU of any layer"
        + (plan.loadCap.map {
          " (cap \($0.ratio)\($0.relaxedToFeasible ? ", relaxed where a layer needs more" : ""))"
        } ?? " (no cap)"))
  }
}
