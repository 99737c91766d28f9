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
      Without --output the plan goes to standard output as JSON. The extension of --output chooses \
      the format: .json, the tool's own, or .csv, ExFlow's \
      table. Where it goes is checked before the search begins.

      Ctrl-C, SIGTERM and a closed session (SIGHUP) stop the search and write the best plan found \
      so far; a second Ctrl-C writes it at once. An internal \
      error writes it too. A warm start that breaks the load cap is repaired first.

      EXAMPLES
        colocate solve trace.npy --gpus 4 --time-limit 30 -o plan.json
        colocate solve trace.npy --gpus 16 --nodes 2 --objective staged \\
          --max-load 1.3 -o plan.csv
        colocate solve top4.safetensors --gpus 8 --mode home --max-load 1.3 -o plan.json
        colocate solve top4.npy --gpus 8 --mode home --redundant 8 --dispatch sglang \\
          --max-load 1.1 -o slots.json
        colocate solve prose.npy docs.npy code.npy --gpus 8 --gap 0.01 \\
          --warm-start plan.json > better.json
        colocate solve today.npy --gpus 8 --current plan.json --max-moves 64 \\
          --model DIR -o next.json
      """)

  @Argument(
    help: ArgumentHelp(
      "Traces or counts (.npy, .safetensors); several are added up.", valueName: "trace-or-counts"))
  var inputs: [String]

  @OptionGroup var machines: MachineOptions

  @Option(
    help: ArgumentHelp(
      "flat (the default): tokens that change GPUs. staged: first those that change nodes, then "
        + "GPUs inside each node (ExFlow). joint: both at once, weighted. In home mode the same of "
        + "a token's GPUs and nodes, and nodes: its nodes alone. rows: what coherent mode sends "
        + "with several experts a token, strongest first.",
      valueName: "flat|staged|joint|nodes|rows"))
  var objective: ObjectiveName?

  @OptionGroup var counted: ModeOptions
  @OptionGroup var replicas: ReplicaOptions

  @OptionGroup var joint: JointOptions
  @OptionGroup var load: LoadOptions
  @OptionGroup var solver: SolverArguments

  @Option(
    help: ArgumentHelp(
      "A plan to start from, in any format that convert knows.", valueName: "PLAN"))
  var warmStart: String?

  @OptionGroup var migration: MigrationOptions

  @Option(
    help: ArgumentHelp(
      "The router chooses among G groups of neighbouring experts first (n_group of DeepSeek's "
        + "config.json): keep each group on one GPU, or on GPUs of its own, as a checkpoint that "
        + "is to be renumbered needs it.",
      valueName: "G"))
  var preserveGroups: Int?

  @OptionGroup var reading: ReadingOptions

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where the plan goes.", valueName: "PLAN.json|PLAN.csv"))
  var output: String?

  @Option(
    help: ArgumentHelp(
      "Where the evidence for the bound goes, for `colocate check` (JSON). Not with --no-proof, "
        + "and not for joint on several nodes.",
      valueName: "FILE"))
  var certificate: String?

  @OptionGroup var printing: OutputOptions

  private var objectiveName: ObjectiveName { objective ?? .flat }

  func validate() throws {
    if let output, !["json", "csv"].contains(URL(fileURLWithPath: output).pathExtension) {
      throw ValidationError("--output \(output): expected a name that ends in .json or .csv")
    }
    try migration.validate()
    if preserveGroups != nil, migration.maxMoves != nil {
      throw ValidationError("--preserve-groups with --max-moves: expected one of them")
    }
    try counted.check(objective, nodes: machines.nodes)
    try replicas.check(self)
    if counted.isAboutSets(objective) {
      for (name, isGiven) in [
        ("--current", migration.current != nil), ("--preserve-groups", preserveGroups != nil),
      ] where isGiven {
        throw ValidationError("\(name): expected with objectives about crossings")
      }
    }
    guard certificate != nil else { return }
    guard preserveGroups == nil else {
      throw ValidationError(
        "--certificate with --preserve-groups: no certificate can hold a bound of such placements")
    }
    guard migration.maxMoves == nil else {
      throw ValidationError(
        "--certificate with --max-moves: no certificate can hold a bound within a limit of moves")
    }
    if objective == .rows || counted.crossingWeight ?? 0 > 0 {
      throw ValidationError(
        "--certificate with --objective rows or --crossing-weight: no certificate can hold that")
    }
    guard !solver.noProof else {
      throw ValidationError("--certificate with --no-proof: expected one of them")
    }
    // Its bound joins two levels' bounds, for which there is no certificate. On one node, or with
    // one GPU a node, the two levels are one.
    if counted.mode != .home, objective == .joint, machines.nodes > 1,
      machines.gpus > machines.nodes
    {
      throw ValidationError(
        "--certificate with --objective joint on several nodes: "
          + "no certificate can hold its bound, expected flat or staged")
    }
  }

  func run() throws {
    let (output, collision) = try checkOutputs()
    if let collision { printing.note("colocate: warning: \(collision)") }
    if let redundant = replicas.redundant {
      return try ReplicaSolve(self, redundant: redundant).run(output: output)
    }
    if counted.isAboutSets(objective) {
      return try DestinationSolve(self).run(output: output, collision: collision)
    }
    let input = try reading.read(
      inputs, printing, sets: reading.topK == .first ? .followers : .sets)
    let topology = try machines.topology()
    let current = try migration.start(input, topology)
    let start = try warmStart.map { try WarmStart($0, input: input, topology: topology) } ?? current
    let instance = try instance(of: input, topology, known: start?.placement)
    for line in notes(on: input) { printing.note(line) }
    let options = try options(for: instance, start)
    let groups = try preserveGroups.map { groups in
      try input.naming(for: topology.gpus) { () throws(ModelError) in
        try PreservedGroups(instance, groups: groups)
      }
    }
    if let groups { try check(groups, start) }
    let draft = PlanDraft(
      instance: instance, input: input, record: record(of: options, for: input))

    PlanRescue.prepare(for: output)
    let interrupt = Interrupt()
    Signals.rescuePlanOnInternalError()
    let step = try current.map { current in
      try MigrationStep(migration, instance, current, options.jointWeights)
    }
    let (time, limitedTime) = migration.times(options.timeLimit)
    var first = options
    first.timeLimit = time
    var outcome = try search(draft, interrupt) { onProgress throws(ModelError) in
      if let groups { return try groups.solve(first, onProgress: onProgress) }
      return try Solver(first).solve(instance, onProgress: onProgress)
    }
    if let step {
      outcome = try step.answer(
        outcome, seed: options.seed, timeLimit: limitedTime, interrupt: interrupt)
    }
    interrupt.searchIsOver()
    guard let placement = step == nil ? outcome.placement?.canonical() : outcome.placement else {
      throw failure(outcome, input, interrupt)
    }

    var plan = try draft.plan(of: placement, outcome: outcome)
    plan.migration = try step?.record(of: plan, moeLayers: input.moeLayers)
    try deliver(plan)
    for line in SolveSummary.lines(plan, outcome) { printing.note(line) }
    if let record = plan.migration {
      for line in MigrationStep.lines(record, of: placement) { printing.note(line) }
    }
    if plan.destinations != nil {
      printing.note(
        "colocate: note: engines that send tokens home: --mode home minimises GPUs per token")
    }
    if let fault = outcome.internalFault {
      throw CommandFailure("internal: \(fault); the plan is valid, and written", .internalError)
    }
    if let collision { throw collision }
    try writeCertificate(outcome, instance, threads: options.threads)
    let status = Self.exitStatus(outcome, interrupt)
    if status != .done { throw status }
  }

  // MARK: - Before the search

  /// - Returns: where the plan goes, nil for standard output; and why there will be no certificate.
  private func checkOutputs() throws -> (output: OutputPath?, collision: FormatError?) {
    if output == nil { try Terminal.checkResult() }
    let checked = try OutputPath.check(
      [("--output", output), ("--certificate", certificate)],
      inputs: inputs.map { ("the input", $0) }
        + [warmStart].compactMap { $0 }.map { ("the warm start", $0) }
        + [migration.current].compactMap { $0 }.map { ("the current plan", $0) })
    guard let output else { return (nil, nil) }
    guard let certificate, checked[0].isSame(as: checked[1]) else { return (checked[0], nil) }
    let collision = FormatError(
      certificate,
      "--certificate names the same file as --output \(output): "
        + "the plan goes there, and no certificate is written")
    return (checked[0], collision)
  }

  private func instance(
    of input: TraceInput, _ topology: Topology, known: Placement?
  ) throws -> Instance {
    let cap = try load.loadCap()
    return try input.naming(for: topology.gpus) { () throws(ModelError) in
      try Instance(
        counts: input.counts, topology: topology, objective: joint.objective(objectiveName),
        loadCap: cap, known: known)
    }
  }

  /// What groups forbid.
  private func check(_ groups: PreservedGroups, _ start: WarmStart?) throws {
    if migration.current != nil, groups.spreadsGroups {
      throw CommandFailure(
        "--current with --preserve-groups \(groups.groups) on more GPUs than that: other names of "
          + "the GPUs would tear the groups, expected at most \(groups.groups) GPUs")
    }
    if let start, !groups.keeps(start.placement) {
      printing.note(
        "colocate: note: the plan to start from tears router groups: the search starts without it")
    }
  }

  private func notes(on input: TraceInput) -> [String] {
    var lines = reading.warnings(for: input) + solver.warnings
    lines += [machines.note(objective)].compactMap { $0 }
    lines += [joint.warning(objectiveName, nodes: machines.nodes)].compactMap { $0 }
    return lines
  }

  private func options(for instance: Instance, _ start: WarmStart?) throws -> SolverOptions {
    var options = solver.options(defaultTime: 60)
    options.keepsCertificate = certificate != nil
    options.jointWeights = JointWeights(interNode: joint.interNode, intraNode: joint.intraNode)
    options.warmStart = try start?.placement(for: instance, note: printing.note)
    return options
  }

  /// What was asked and done, for the plan.
  private func record(
    of options: SolverOptions, for input: TraceInput
  ) -> [(key: String, value: JSONText)] {
    let seed = Int(exactly: options.seed)
    return [
      ("time_limit", JSONText(options.timeLimit)), ("gap", .number(options.gapLimit)),
      ("tree_nodes", JSONText(options.treeNodeLimit)), ("work_limit", JSONText(options.workLimit)),
      ("threads", .integer(options.threads)),
      ("seed", seed.map { .integer($0) } ?? .string("\(options.seed)")),
      ("proof", .bool(options.proves)),
      ("preserve_groups", JSONText(preserveGroups)),
      ("warm_start", (warmStart ?? migration.current).map { .string($0) } ?? nil),
    ] + reading.record(of: input)
  }

  // MARK: - The search and its answer

  /// What `solver` answers, its incumbents ready to be rescued.
  private func search(
    _ draft: PlanDraft, _ interrupt: Interrupt,
    _ solver: ((SolverProgress) -> ProgressAction) throws(ModelError) -> SolverOutcome
  ) throws -> SolverOutcome {
    let log = printing.progressLog()
    let incumbents = IncumbentPlans { placement, reason in
      let plan = try draft.plan(of: placement, stopReason: reason)
      return isTable ? ExFlowCSV.text(plan.placement) : plan.json.text
    }
    do {
      return try solver { progress in
        // A plan that may move too many experts is none to be rescued.
        if migration.maxMoves == nil { incumbents.show(progress) }
        InternalErrorTest.fire(after: progress)
        log?.show(progress)
        return interrupt.isRequested && !InternalErrorTest.isDeaf ? .stop : .proceed
      }
    } catch {
      // What is thrown before the first incumbent is about the input.
      guard PlanRescue.claim(), PlanRescue.write(.internalError) else { throw error }
      throw CommandFailure(
        "internal: \(error.description); the best plan so far is written", .internalError)
    }
  }

  private func failure(
    _ outcome: SolverOutcome, _ input: TraceInput, _ interrupt: Interrupt
  ) -> CommandFailure {
    let files = input.paths.joined(separator: " + ")
    if outcome.status == .infeasible {
      return CommandFailure("\(files): proved that no placement meets the load cap", .infeasible)
    }
    return CommandFailure(
      "\(files): no placement within the load cap was found, and it is not proved that there is "
        + "none (stopped: \(outcome.stopReason.rawValue)): "
        + "try a larger --max-load, or --relax-max-load",
      outcome.stopReason == .cancelled ? interrupt.status : .limit)
  }

  var isTable: Bool { output?.hasSuffix(".csv") ?? false }

  /// Writes the plan to where it was asked for; where that fails, to standard output.
  func deliver(_ plan: PlanFile) throws {
    try deliver(plan.json.text) { path in
      if isTable {
        try ExFlowCSV.write(plan.placement, to: path)
      } else {
        try plan.write(to: path)
      }
    }
  }

  /// The same of a plan whose JSON is `text`.
  func deliver(_ text: String, write: (String) throws -> Void) throws {
    if let output {
      do {
        try write(output)
      } catch let error as FormatError {
        Terminal.result(text)
        let place = Terminal.resultFailure == nil ? "; the plan is on standard output" : ""
        throw CommandFailure(error.description + place)
      }
    }
    if output == nil || printing.json { Terminal.result(text) }
    PlanRescue.deliver()
  }

  private func writeCertificate(
    _ outcome: SolverOutcome, _ instance: Instance, threads: Int
  ) throws {
    guard let certificate else { return }
    guard let proof = CertificateFile(of: outcome, instance: instance, threads: threads) else {
      let methods = outcome.stages.map { $0.boundMethod?.rawValue ?? "none" }
      throw CommandFailure(
        "\(certificate): no certificate: the run ended without evidence that one can hold "
          + "(bounds: \(methods.joined(separator: ", "))); the plan is written", .limit)
    }
    try proof.write(to: certificate, tool: PlanDraft.tool)
  }

  static func exitStatus(_ outcome: SolverOutcome, _ interrupt: Interrupt) -> ExitStatus {
    switch outcome.stopReason {
    case .proved, .gap, .finished: return .done
    case .time, .treeNodes, .work: return .limit
    case .cancelled: return interrupt.status
    case .internalError: return .internalError
    }
  }
}
