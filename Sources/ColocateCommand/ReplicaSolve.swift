import Colocate
import ColocateFormats

/// `colocate solve --mode home --redundant R`: a plan in which experts have copies.
struct ReplicaSolve {
  let command: SolveCommand
  private let redundant: Int
  private let rule: DispatchRule
  private let objective: DestinationObjective

  init(_ command: SolveCommand, redundant: Int) {
    self.command = command
    self.redundant = redundant
    rule = command.replicas.rule
    objective = command.joint.destinations(command.objective ?? .flat)
  }

  private var printing: OutputOptions { command.printing }

  func run(output: OutputPath?) throws {
    let input = try command.reading.read(command.inputs, printing, sets: .sets)
    let sets = try DestinationSolve.tokenSets(of: input)
    let topology = try command.machines.topology()
    for line in notes(on: sets, input) { printing.note(line) }
    let cap = try command.load.loadCap()
    let options = DestinationSolve.options(command.solver.options(defaultTime: 60))
    let record = record(of: options, for: input)

    PlanRescue.prepare(for: output)
    let interrupt = Interrupt()
    Signals.rescuePlanOnInternalError()
    let showsProgress = printing.progressLog() != nil
    let outcome = try input.naming(for: topology.gpus) { () throws(ModelError) in
      try ReplicaSolver(options).solve(
        sets, topology: topology, redundant: redundant, rule: rule, objective: objective,
        loadCap: cap
      ) { progress in
        let texts = PlanRescue.Reason.allCases.compactMap { reason in
          try? file(
            progress.plan, cap, reason == .cancelled ? .cancelled : .internalError, input, record
          ).json.text
        }
        if texts.count == PlanRescue.Reason.allCases.count { PlanRescue.hold(texts) }
        InternalErrorTest.fire()
        if showsProgress, let layer = progress.layer {
          printing.note("layer \(layer) of \(progress.layers) placed")
        }
        return interrupt.isRequested && !InternalErrorTest.isDeaf ? .stop : .proceed
      }
    }
    interrupt.searchIsOver()

    var plan = try file(outcome.plan, cap, outcome.stopReason, input, record)
    plan.destinations = outcome.destinations
    try command.deliver(plan.json.text) { try plan.write(to: $0) }
    for line in lines(outcome, cap) { printing.note(line) }
    let status = exitStatus(outcome, interrupt)
    if status != .done { throw status }
  }

  private func notes(on sets: TokenSets, _ input: TraceInput) -> [String] {
    var lines = SampleNote.lines(sets, paths: input.paths)
    for (option, isGiven) in [
      ("--coactivation", command.reading.coactivation == true),
      ("--top-k", command.reading.topK != nil), ("--gap", command.solver.gap > 0),
      ("--tree-nodes", command.solver.treeNodeLimit != nil),
      ("--set", !command.solver.set.isEmpty),
    ] where isGiven {
      lines.append("colocate: warning: \(option) has no effect with --redundant")
    }
    if command.machines.nodes > 1, command.objective == nil {
      lines.append(
        "colocate: note: flat, the default, ignores --nodes \(command.machines.nodes); nodes and "
          + "joint do not")
    }
    return lines
  }

  private func record(
    of options: DestinationOptions, for input: TraceInput
  ) -> [(key: String, value: JSONText)] {
    let seed = Int(exactly: options.seed)
    return [
      ("redundant", .integer(redundant)), ("time_limit", JSONText(options.timeLimit)),
      ("work_limit", JSONText(options.workLimit)), ("threads", .integer(options.threads)),
      ("seed", seed.map { .integer($0) } ?? .string("\(options.seed)")),
    ] + command.reading.record(of: input)
  }

  private func file(
    _ slots: SlotPlan, _ cap: LoadCap?, _ reason: StopReason, _ input: TraceInput,
    _ record: [(key: String, value: JSONText)]
  ) throws(ModelError) -> SlotPlanFile {
    var plan = try SlotPlanFile(slots)
    plan.objective = objective
    plan.dispatch = rule
    plan.loadCap = cap
    plan.stopReason = reason
    plan.traces = input.traces
    plan.moeLayers = input.moeLayers
    plan.options = record
    plan.tool = PlanDraft.tool
    return plan
  }

  private func lines(_ outcome: ReplicaOutcome, _ cap: LoadCap?) -> [String] {
    let plan = outcome.plan
    var lines = [
      "feasible (\(outcome.stopReason.rawValue)) after \(Show.seconds(outcome.seconds))",
      SolveSummary.row("slots", "\(plan.slotsPerLayer) a layer, \(plan.redundant) redundant"),
    ]
    lines += SlotSummary.means(outcome.destinations, plan, rule: rule)
    lines.append(SolveSummary.row("bound", "none: no bound of plans with copies is known"))
    lines += SolveSummary.load(outcome.destinations.balance.worstPeak, cap)
    if outcome.relaxedLayers > 0 {
      lines.append(
        SolveSummary.row("", "\(outcome.relaxedLayers) layers are beyond the cap"))
    }
    return lines
  }

  private func exitStatus(_ outcome: ReplicaOutcome, _ interrupt: Interrupt) -> ExitStatus {
    if interrupt.isRequested { return interrupt.status }
    switch outcome.stopReason {
    case .proved, .gap, .finished: return .done
    case .time, .treeNodes, .work: return .limit
    case .cancelled: return interrupt.status
    case .internalError: return .internalError
    }
  }
}
