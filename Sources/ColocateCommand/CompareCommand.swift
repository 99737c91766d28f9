import ArgumentParser
import Colocate
import ColocateFormats
import Dispatch

/// `colocate compare`: every method on one table.
struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Run all baselines and the solver, and put them on one table.",
    discussion: """
      The columns: crossings between GPUs (and between nodes, where there are several) as shares \
      of all transitions; the fullest GPU's load over the mean, \
      in the worst layer; seconds; and for flat the bound on GPU crossings and the gap, (value - \
      bound) / value. A second table has the same placements on \
      the hold-out, which no method saw. Staged and joint minimise other numbers: what is proved \
      of those stands below the table. A dash: the method does \
      not fit the instance, or nothing is known; the reason stands below.

      With --max-load every known method stands there as people run it, marked where it breaks the \
      cap, and once more as repaired by swaps. \
      "EPLB packing" is the balanced packing step of DeepSeek's EPLB without its replicas: loads \
      alone, blind to transitions.

      With --mode home the columns are the mean number of a token's GPUs (and nodes) in a layer, \
      crossings, load, time, the bound on the first (on nodes where these are minimised) and its \
      gap (of staged: layers of which each step is proved); the known methods are those that \
      people use about destinations. With --redundant two rows more have R copies: EPLB's plan as \
      people run it and the solver's, whose figures are means under --dispatch.

      EXAMPLES
        colocate compare train.npy --gpus 4 --holdout test.npy
        colocate compare train.npy --gpus 8 --mode home --holdout test.npy
        colocate compare train.npy --gpus 16 --nodes 2 --max-load 1.5 --time-limit 60
      """)

  @Argument(
    help: ArgumentHelp(
      "Traces or counts (.npy, .safetensors); several are added up.", valueName: "trace-or-counts"))
  var inputs: [String]

  @OptionGroup var machines: MachineOptions

  @Option(
    help: ArgumentHelp(
      "A trace that no method sees, of the same model; may be given several times.",
      valueName: "TRACE2"))
  var holdout: [String] = []

  @Option(
    help: ArgumentHelp(
      "What the solver minimises; may be given several times. Without it flat on one node, flat, "
        + "staged and joint on several; in home mode nodes too.",
      valueName: "flat|staged|joint|nodes"))
  var objective: [ObjectiveName] = []

  @OptionGroup var counted: ModeOptions
  @OptionGroup var replicas: ReplicaOptions

  @OptionGroup var joint: JointOptions
  @OptionGroup var load: LoadOptions
  @OptionGroup var solver: SolverArguments
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var printing: OutputOptions

  func validate() throws {
    for name in objective { try counted.check(name, nodes: machines.nodes) }
    _ = try replicas.checked(mode: counted.mode)
    guard !objective.contains(.rows), counted.crossingWeight == nil else {
      throw ValidationError("--objective rows and --crossing-weight are options of solve")
    }
  }

  func run() throws {
    let (input, unseen) = try read()
    if counted.mode == .home { return try compareAtHome(input, unseen) }
    for line in reading.warnings(for: input) + solver.warnings { printing.note(line) }
    let topology = try machines.topology()
    let cap = try load.loadCap()
    let names =
      !objective.isEmpty ? objective : topology.nodes > 1 ? [.flat, .staged, .joint] : [.flat]
    if !names.contains(.joint), !names.contains(.staged),
      let line = joint.warning(.flat, nodes: topology.nodes)
    {
      printing.note(line)
    }
    func instance(_ objective: Objective) throws -> Instance {
      try input.naming(for: topology.gpus) { () throws(ModelError) in
        try Instance(counts: input.counts, topology: topology, objective: objective, loadCap: cap)
      }
    }
    let flat = try instance(.flat)
    let interrupt = Interrupt()
    var rows = [ComparisonRow]()
    for baseline in Baseline.allCases where !interrupt.isRequested {
      rows += try self.rows(baseline, on: flat, interrupt: interrupt)
    }
    let log = printing.progressLog()
    for name in names where !interrupt.isRequested {
      let objective = joint.objective(name)
      let outcome = try Solver(solver.options(defaultTime: 10)).solve(
        try instance(objective)
      ) { progress in
        log?.show(progress)
        return interrupt.isRequested ? .stop : .proceed
      }
      var row = ComparisonRow(
        method: names.count == 1 ? "colocate" : "colocate \(name.rawValue)", objective: .flat)
      row.placement = outcome.placement?.canonical()
      row.seconds = outcome.statistics.seconds
      row.outcome = outcome
      row.objective = objective
      if outcome.placement == nil {
        row.reason =
          "\(row.method): \(outcome.status.rawValue) (\(outcome.stopReason.rawValue))"
      }
      rows.append(row)
    }
    interrupt.searchIsOver()
    let comparison = Comparison(
      rows: rows, counts: input.counts, unseen: unseen?.counts, sets: input.sets,
      unseenSets: unseen?.sets, topology: topology, maxLoad: load.maxLoad)
    if printing.json {
      let files = (input.paths, unseen?.paths ?? [])
      Terminal.result(try comparison.json(traces: files.0, holdout: files.1).text)
    } else {
      Terminal.result(try comparison.text)
    }
    if interrupt.isRequested { throw interrupt.status }
  }

  /// Home mode: the methods about destinations, and the solver.
  private func compareAtHome(_ input: TraceInput, _ unseen: TraceInput?) throws {
    let sets = try DestinationSolve.tokenSets(of: input)
    for line in solver.warnings + SampleNote.lines(sets, paths: input.paths) {
      printing.note(line)
    }
    let (topology, cap) = (try machines.topology(), try load.loadCap())
    let names =
      !objective.isEmpty
      ? objective : topology.nodes > 1 ? [.flat, .nodes, .staged, .joint] : [.flat]
    let options = DestinationSolve.options(solver.options(defaultTime: 10))
    let interrupt = Interrupt()
    var comparison = HomeComparison(
      input: input, sets: sets, unseen: unseen, topology: topology, maxLoad: load.maxLoad)
    let tokens = sets.layerSets.reduce(0) { $0 + $1.tokens }
    for rival in DestinationRival.allCases where !interrupt.isRequested {
      try input.naming(for: topology.gpus) { () throws(ModelError) in
        _ = try topology.expertsPerGPU(experts: sets.experts)
      }
      try comparison.add(rival, cap: cap, threads: options.threads, interrupt: interrupt)
    }
    for name in names where !interrupt.isRequested {
      // One call at a time, from any thread.
      nonisolated(unsafe) let log = printing.destinationLog(tokens: tokens)
      let goal = joint.destinations(name)
      let outcome = try input.naming(for: topology.gpus) { () throws(ModelError) in
        try DestinationSolver(options).solve(
          sets, topology: topology, objective: goal, loadCap: cap, counts: input.counts
        ) { progress in
          log?.show(progress)
          return interrupt.isRequested ? .stop : .proceed
        }
      }
      var row = HomeRow(
        method: names.count == 1 ? "colocate" : "colocate \(name.rawValue)", objective: .gpus)
      row.placement = outcome.placement.canonical()
      row.seconds = outcome.seconds
      (row.outcome, row.objective) = (outcome, goal)
      comparison.rows.append(row)
    }
    if let redundant = replicas.redundant, !interrupt.isRequested {
      var copies = CopyComparison(redundant: redundant, rule: replicas.rule)
      try input.naming(for: topology.gpus) { () throws(ModelError) in
        try copies.run(
          sets, topology: topology, cap: cap, options: options, interrupt: interrupt)
      }
      comparison.copies = copies
    }
    interrupt.searchIsOver()
    Terminal.result(try printing.json ? comparison.json.text : comparison.text)
    if interrupt.isRequested { throw interrupt.status }
  }

  /// The trace and the hold-out, as models of the same size.
  private func read() throws -> (TraceInput, TraceInput?) {
    var reading = reading
    func seen() throws -> TraceInput { try reading.read(inputs, printing, sets: .sets) }
    func notSeen() throws -> TraceInput {
      try reading.read(holdout, printing, sets: .sets, isNamed: false)
    }
    var input = try seen()
    var unseen = try holdout.isEmpty ? nil : notSeen()
    if let other = unseen, other.counts.experts != input.counts.experts {
      // A trace of the same model need not use its last experts.
      let most = max(other.counts.experts, input.counts.experts)
      guard
        (input.files + other.files).allSatisfy({ $0.expertsInferred || $0.counts.experts == most })
      else {
        throw FormatError(
          other.paths.joined(separator: " + "),
          "\(other.counts.experts) experts, expected \(input.counts.experts) as in the trace")
      }
      reading.experts = most
      input = try seen()
      unseen = try notSeen()
    }
    if let unseen, unseen.counts.layers != input.counts.layers {
      throw FormatError(
        unseen.paths.joined(separator: " + "),
        "\(unseen.counts.layers) layers, expected \(input.counts.layers) as in the trace")
    }
    return (input, unseen)
  }

  /// A baseline as people run it; and where that breaks the cap, as repaired by swaps.
  private func rows(
    _ baseline: Baseline, on instance: Instance, interrupt: Interrupt
  ) throws -> [ComparisonRow] {
    let options = solver.options(defaultTime: 10)
    let control = SearchControl(
      timeLimit: options.timeLimit, threads: options.threads,
      cancelledWhen: { interrupt.isRequested })
    let start = DispatchTime.now().uptimeNanoseconds
    func seconds() -> Double { Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-9 }
    var row = ComparisonRow(method: baseline.description, objective: .flat)
    do throws(Baseline.NotApplicable) {
      row.placement = try baseline.plainPlacement(for: instance, control: control)
    } catch {
      row.reason = error.description
    }
    row.seconds = seconds()
    guard let placement = row.placement, instance.loadCap != nil else { return [row] }
    row.breaksCap = try LoadViolation(of: placement, in: instance) != nil
    guard row.breaksCap == true else { return [row] }
    var repaired = ComparisonRow(method: "  repaired to meet the cap", objective: .flat)
    repaired.repairs = row.method
    do throws(Baseline.NotApplicable) {
      repaired.placement = try baseline.repaired(placement, for: instance, control: control)
      repaired.breaksCap = false
    } catch {
      repaired.reason = error.description
    }
    repaired.seconds = seconds()
    return [row, repaired]
  }
}
