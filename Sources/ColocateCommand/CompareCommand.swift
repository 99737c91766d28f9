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
      The columns: crossings between GPUs (and between nodes, where there are several) as a share of all transitions, on the trace that the methods saw and on \
      the hold-out that they did not; the fullest GPU's load over the mean, the worst layer; seconds; and for the solver the bound and the gap, \
      (value - bound) / value of its objective. A dash: the method does not fit the instance, or nothing is known; the reason stands below.

      EXAMPLES
        colocate compare train.npy --gpus 4 --holdout test.npy
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
      "What the solver minimises; may be given several times. Without it flat on one node, flat, staged and joint on several.",
      valueName: "flat|staged|joint"))
  var objective: [ObjectiveName] = []

  @OptionGroup var joint: JointOptions
  @OptionGroup var load: LoadOptions
  @OptionGroup var solver: SolverArguments
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var printing: OutputOptions

  /// One line of the table.
  private struct Row {
    let method: String
    var placement: Placement?
    var seconds: Double
    var outcome: Outcome?
    var objective = Objective.flat
    var reason: String?
  }

  func run() throws {
    var reading = reading
    var input = try reading.read(inputs, printing)
    var unseen = try holdout.isEmpty ? nil : reading.read(holdout, printing)
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
      input = try reading.read(inputs, printing)
      unseen = try reading.read(holdout, printing)
    }
    if let unseen, unseen.counts.layers != input.counts.layers {
      throw FormatError(
        unseen.paths.joined(separator: " + "),
        "\(unseen.counts.layers) layers, expected \(input.counts.layers) as in the trace")
    }
    let topology = try machines.topology()
    let cap = try load.loadCap()
    let names =
      !objective.isEmpty ? objective : topology.nodes > 1 ? [.flat, .staged, .joint] : [.flat]
    func instance(_ objective: Objective) throws -> Instance {
      try input.naming(for: topology.gpus) { () throws(ModelError) in
        try Instance(counts: input.counts, topology: topology, objective: objective, loadCap: cap)
      }
    }
    let flat = try instance(.flat)
    let interrupt = Interrupt()
    let options = solver.options(defaultTime: 10)
    var rows = [Row]()
    for baseline in Baseline.allCases where !interrupt.isRequested {
      let start = DispatchTime.now().uptimeNanoseconds
      var row = Row(method: baseline.description, seconds: 0)
      do throws(Baseline.NotApplicable) {
        row.placement = try baseline.placement(
          for: flat,
          control: SearchControl(
            timeLimit: options.timeLimit, threads: options.threads,
            cancelledWhen: { interrupt.isRequested }))
      } catch {
        row.reason = error.description
      }
      row.seconds = Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-9
      rows.append(row)
    }
    let log = printing.progressLog()
    for name in names where !interrupt.isRequested {
      let objective = joint.objective(name)
      let outcome = try Solver(options).solve(try instance(objective)) {
        progress in
        log?.show(progress)
        return interrupt.isRequested ? .stop : .proceed
      }
      rows.append(
        Row(
          method: names.count == 1 ? "colocate" : "colocate \(name.rawValue)",
          placement: outcome.placement?.canonical(), seconds: outcome.statistics.seconds,
          outcome: outcome, objective: objective,
          reason: outcome.placement == nil
            ? "colocate: \(outcome.status.rawValue) (\(outcome.stopReason.rawValue))" : nil))
    }
    if printing.json {
      Terminal.result(try json(rows, input: input, unseen: unseen).text)
    } else {
      Terminal.result(try table(rows, input: input, unseen: unseen))
    }
    if interrupt.isRequested { throw ExitStatus.interrupted }
  }

  private func table(_ rows: [Row], input: TraceInput, unseen: TraceInput?) throws -> String {
    let counts = input.counts
    let nodes = machines.nodes > 1
    var header = ["method", "GPU crossings"]
    if nodes { header.append("node crossings") }
    if unseen != nil {
      header.append("GPU, hold-out")
      if nodes { header.append("node, hold-out") }
    }
    header.append("max load")
    if unseen != nil { header.append("max load, hold-out") }
    header += ["time", "bound", "gap"]
    var table = TextTable(header)
    for row in rows {
      guard let placement = row.placement else {
        table.add([row.method] + header.dropFirst().map { _ in "-" })
        continue
      }
      let crossings = try counts.crossings(of: placement)
      let other = try unseen?.counts.crossings(of: placement)
      var cells = [row.method, Show.percent(crossings.gpuShare)]
      if nodes { cells.append(Show.percent(crossings.nodeShare)) }
      if let other {
        cells.append(Show.percent(other.gpuShare))
        if nodes { cells.append(Show.percent(other.nodeShare)) }
      }
      cells.append(Show.ratio(try counts.loadImbalance(of: placement)))
      if let unseen { cells.append(Show.ratio(try unseen.counts.loadImbalance(of: placement))) }
      cells.append(Show.seconds(row.seconds))
      if let outcome = row.outcome, let bound = outcome.bound, let gap = outcome.gap {
        if case .joint = row.objective {
          cells.append("\(bound)")
        } else {
          cells.append(Show.percent(Double(bound) / Double(max(crossings.total, 1))))
        }
        cells.append(outcome.status == .optimal ? "optimal" : Show.percent(gap))
      } else {
        cells += ["-", "-"]
      }
      table.add(cells)
    }
    var text = "\(counts.layers) layers × \(counts.experts) experts, \(machines.gpus) GPUs"
    text += nodes ? " on \(machines.nodes) nodes, " : ", "
    text += "\(counts.total) transitions"
    text += unseen.map { ", hold-out \($0.counts.total)" } ?? ""
    text += load.maxLoad.map { ", max load \($0)" } ?? ", no load cap"
    text += "\n\n" + table.text
    for row in rows {
      if let reason = row.reason { text += "\(reason)\n" }
      for stage in row.outcome?.stages ?? [] where (row.outcome?.stages.count ?? 0) > 1 {
        text +=
          "\(row.method), \(stage.name): \(Show.stage(stage)), \(stage.status.rawValue)\n"
      }
    }
    return text
  }

  private func json(_ rows: [Row], input: TraceInput, unseen: TraceInput?) throws -> JSONText {
    let counts = input.counts
    let entries = try rows.map { row -> JSONText in
      var members: [(key: String, value: JSONText)] = [
        ("method", .string(row.method)), ("seconds", .number(row.seconds)),
      ]
      if let reason = row.reason { members.append(("reason", .string(reason))) }
      if let placement = row.placement {
        members.append(("crossings", PlanFile.json(try counts.crossings(of: placement))))
        members.append(("max_load", .number(try counts.loadImbalance(of: placement))))
        if let unseen {
          members.append(
            ("holdout_crossings", PlanFile.json(try unseen.counts.crossings(of: placement))))
          members.append(
            ("holdout_max_load", .number(try unseen.counts.loadImbalance(of: placement))))
        }
      }
      if let outcome = row.outcome {
        members.append(("objective", PlanFile.json(row.objective)))
        members.append(("status", .string(outcome.status.rawValue)))
        members.append(("stop_reason", .string(outcome.stopReason.rawValue)))
        members.append(("value", outcome.value.map { .integer($0) } ?? nil))
        members.append(("bound", outcome.bound.map { .integer($0) } ?? nil))
        members.append(("gap", outcome.gap.map { .number($0) } ?? nil))
        members.append(("stages", .array(outcome.stages.map { PlanFile.json($0) })))
      }
      return .object(members)
    }
    return .object([
      ("layers", .integer(counts.layers)), ("experts", .integer(counts.experts)),
      ("gpus", .integer(machines.gpus)), ("nodes", .integer(machines.nodes)),
      ("transitions", .integer(counts.total)),
      ("traces", .array(input.paths.map { .string($0) })),
      ("holdout", .array((unseen?.paths ?? []).map { .string($0) })),
      ("max_load", load.maxLoad.map { .number($0) } ?? nil), ("methods", .array(entries)),
    ])
  }
}
