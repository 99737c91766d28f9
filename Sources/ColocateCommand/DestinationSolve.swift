import Colocate
import ColocateFormats
import Synchronization

/// `colocate solve` where destinations are minimised (`--mode home`), or the rows of coherent mode
/// (`--objective rows`).
struct DestinationSolve {
  let command: SolveCommand
  private let goal: DestinationGoal
  private let objective: DestinationObjective

  init(_ command: SolveCommand) {
    self.command = command
    let name = command.objective ?? .flat
    objective = command.joint.destinations(name)
    goal =
      name == .rows
      ? .rows : .home(objective, crossingWeight: command.counted.crossingWeight ?? 0)
  }

  private var printing: OutputOptions { command.printing }
  private var isRows: Bool { goal == .rows }
  private var crossingWeight: Int {
    if case .home(_, let weight) = goal { return weight }
    return 0
  }

  func run(output: OutputPath?, collision: FormatError?) throws {
    let input = try command.reading.read(
      command.inputs, printing, sets: isRows ? .followers : .sets)
    let sets = try Self.tokenSets(of: input)
    let topology = try command.machines.topology()
    for line in notes(on: input, sets) { printing.note(line) }
    let cap = try command.load.loadCap()
    let options = try options(input, sets, topology, cap)
    let draft = Draft(
      input: input, sets: sets, goal: goal, loadCap: cap, record: record(of: options, for: input))

    PlanRescue.prepare(for: output)
    let interrupt = Interrupt()
    Signals.rescuePlanOnInternalError()
    let outcome = try search(input, sets, topology, cap, options, draft, interrupt)
    let placement = try linked(outcome, input, sets, topology, options, interrupt).canonical()
    interrupt.searchIsOver()

    let plan = try draft.plan(of: placement, outcome: outcome)
    try command.deliver(plan)
    for line in DestinationSummary.lines(plan, outcome, goal: goal) { printing.note(line) }
    if let collision { throw collision }
    if let certificate = command.certificate {
      try DestinationCertificateFile(
        of: outcome, placement: placement, objective: objective, loadCap: cap, sets: sets
      ).write(to: certificate, tool: PlanDraft.tool)
    }
    let status = exitStatus(outcome, interrupt)
    if status != .done { throw status }
  }

  // MARK: - Before the search

  /// What the tokens use together.
  /// - Throws: `CommandFailure` where the files do not say.
  static func tokenSets(of input: TraceInput) throws -> TokenSets {
    if let sets = input.sets { return sets }
    let files = input.paths.joined(separator: " + ")
    let hasCounts = input.files.contains { $0.kind == .counts }
    throw CommandFailure(
      FormatError(
        files,
        hasCounts
          ? "counts do not say which experts a token uses together: expected a trace "
            + "[tokens, layers, k] (or --mode coherent without --objective rows)"
          : "one expert a token: it goes to one GPU in every layer under every placement; expected "
            + "a trace [tokens, layers, k] (or --mode coherent without --objective rows)"
      ).description)
  }

  private func notes(on input: TraceInput, _ sets: TokenSets) -> [String] {
    var lines = command.solver.warnings + SampleNote.lines(sets, paths: input.paths)
    func idle(_ option: String, _ isGiven: Bool, _ why: String) {
      if isGiven { lines.append("colocate: warning: \(option) has no effect: \(why)") }
    }
    let sets = "destinations count all of a token's experts"
    idle("--coactivation", command.reading.coactivation == true, sets)
    idle("--top-k", command.reading.topK != nil && crossingWeight == 0 && !isRows, sets)
    idle("--tree-nodes", command.solver.treeNodeLimit != nil, "destinations have no search tree")
    idle("--gap", command.solver.gap > 0, "destinations are solved layer by layer")
    idle("--set", !command.solver.set.isEmpty, "it is about crossings")
    let nodes = command.machines.nodes
    if nodes > 1, command.objective == nil {
      lines.append(
        "colocate: note: flat, the default, ignores --nodes \(nodes); nodes, staged and joint "
          + "do not")
    }
    if !isRows, let line = command.joint.warning(command.objective ?? .flat, nodes: nodes) {
      lines.append(line)
    }
    if isRows {
      lines.append(
        "colocate: note: rows are counted from a token's first expert in each layer: the trace "
          + "must name the strongest first")
    }
    return lines
  }

  private func options(
    _ input: TraceInput, _ sets: TokenSets, _ topology: Topology, _ cap: LoadCap?
  ) throws -> DestinationOptions {
    var options = Self.options(command.solver.options(defaultTime: 60))
    if let path = command.warmStart {
      let start = try WarmStart(path, input: input, topology: topology)
      options.warmStart = start.placement
      if let cap, let violation = try LoadViolation(of: start.placement, in: sets, cap: cap) {
        printing.note(
          "colocate: warning: "
            + FormatError(path, "\(violation); only its layers within the cap are used")
            .description)
      }
    }
    return options
  }

  /// What `general` says about destinations.
  static func options(_ general: SolverOptions) -> DestinationOptions {
    var options = DestinationOptions()
    options.timeLimit = general.timeLimit
    options.workLimit = general.workLimit
    options.threads = general.threads
    options.seed = general.seed
    options.proves = general.proves
    return options
  }

  private func record(
    of options: DestinationOptions, for input: TraceInput
  ) -> [(key: String, value: JSONText)] {
    let seed = Int(exactly: options.seed)
    return [
      ("time_limit", JSONText(options.timeLimit)), ("work_limit", JSONText(options.workLimit)),
      ("threads", .integer(options.threads)),
      ("seed", seed.map { .integer($0) } ?? .string("\(options.seed)")),
      ("proof", .bool(options.proves)),
      ("warm_start", command.warmStart.map { .string($0) } ?? nil),
    ] + command.reading.record(of: input)
  }

  // MARK: - The search and its answer

  private func search(
    _ input: TraceInput, _ sets: TokenSets, _ topology: Topology, _ cap: LoadCap?,
    _ options: DestinationOptions, _ draft: Draft, _ interrupt: Interrupt
  ) throws -> DestinationOutcome {
    let log = printing.destinationLog(tokens: sets.layerSets.reduce(0) { $0 + $1.tokens })
    let incumbents = IncumbentPlans { placement, reason in
      let plan = try draft.plan(of: placement, stopReason: reason)
      return command.isTable ? ExFlowCSV.text(plan.placement) : plan.json.text
    }
    // One call at a time, from any thread.
    nonisolated(unsafe) let (shown, held) = (log, incumbents)
    var part = options
    // Crossings and rows are improved in what is left.
    if crossingWeight > 0 || isRows { part.timeLimit = options.timeLimit.map { $0 * 0.6 } }
    return try input.naming(for: topology.gpus) { () throws(ModelError) in
      try DestinationSolver(part).solve(
        sets, topology: topology, objective: objective, loadCap: cap, counts: input.counts
      ) { progress in
        held.show(progress.placement)
        InternalErrorTest.fire()
        shown?.show(progress)
        return interrupt.isRequested && !InternalErrorTest.isDeaf ? .stop : .proceed
      }
    }
  }

  /// The answer, improved for what couples its layers.
  private func linked(
    _ outcome: DestinationOutcome, _ input: TraceInput, _ sets: TokenSets, _ topology: Topology,
    _ options: DestinationOptions, _ interrupt: Interrupt
  ) throws -> Placement {
    guard crossingWeight > 0 || isRows, !interrupt.isRequested else { return outcome.placement }
    var rest = options
    rest.timeLimit = options.timeLimit.map { max(0.1, $0 - outcome.seconds) }
    return try input.naming(for: topology.gpus) { () throws(ModelError) in
      let linked = try LinkedDestinations(
        sets, counts: input.counts, topology: topology,
        target: isRows ? .rows : .crossings(weight: crossingWeight), caps: outcome.caps,
        options: rest, cancelledWhen: { interrupt.isRequested })
      return try linked.improve(outcome.placement)
    }
  }

  private func exitStatus(_ outcome: DestinationOutcome, _ interrupt: Interrupt) -> ExitStatus {
    if interrupt.isRequested { return interrupt.status }
    switch outcome.stopReason {
    case .proved, .gap, .finished: return .done
    case .time, .treeNodes, .work: return .limit
    case .cancelled: return interrupt.status
    case .internalError: return .internalError
    }
  }

  /// What all plans of one run have in common.
  struct Draft {
    let input: TraceInput
    let sets: TokenSets
    let goal: DestinationGoal
    let loadCap: LoadCap?
    let record: [(key: String, value: JSONText)]

    /// The plan of a placement whose run did not come to its end.
    func plan(of placement: Placement, stopReason: StopReason) throws -> PlanFile {
      var plan = try PlanFile(placement: placement, on: input.counts, goal: goal, sets: sets)
      plan.describe(loadCap: loadCap, stopReason: stopReason, input: input, options: record)
      return plan
    }

    /// The plan of an answer.
    func plan(of placement: Placement, outcome: DestinationOutcome) throws -> PlanFile {
      let isOnlyDestinations =
        if case .home(_, crossingWeight: 0) = goal { true } else { false }
      // Proved destinations prove nothing else.
      let isElse = outcome.stopReason == .proved && !isOnlyDestinations
      let reason = isElse ? .finished : outcome.stopReason
      var plan = try plan(of: placement, stopReason: reason)
      switch goal {
      case .home:
        // What counts beside destinations costs 0 at the least.
        plan.bound = outcome.bound
      case .rows:
        plan.bound = outcome.bound.map {
          CoherentRows.bound(destinations: $0, tokens: sets.layerSets.reduce(0) { $0 + $1.tokens })
        }
      }
      if isOnlyDestinations {
        (plan.layerOutcomes, plan.status) = (outcome.layers, outcome.status)
      } else if let bound = plan.bound, bound == plan.value {
        (plan.status, plan.stopReason) = (.optimal, .proved)
      }
      return plan
    }
  }
}
