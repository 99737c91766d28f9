import Colocate
import ColocateFormats
import Dispatch

/// One method of a comparison in home mode.
typealias HomeRow = MethodRow<DestinationOutcome, DestinationObjective>

/// `colocate compare --mode home`: the methods that people use about destinations, and the solver.
struct HomeComparison {
  let input: TraceInput
  let sets: TokenSets
  let unseen: TraceInput?
  let topology: Topology
  let maxLoad: Double?
  var rows = [HomeRow]()
  /// Plans with copies of experts; nil where they were not asked for.
  var copies: CopyComparison?

  // MARK: - Running

  /// Adds a rival as people run it; and where that breaks the cap, as repaired by swaps.
  mutating func add(
    _ rival: DestinationRival, cap: LoadCap?, threads: Int, interrupt: Interrupt
  ) throws {
    let start = DispatchTime.now().uptimeNanoseconds
    func seconds() -> Double { Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-9 }
    var row = HomeRow(method: rival.description, objective: .gpus)
    row.placement = try rival.placement(
      sets, topology: topology, threads: threads, isStopped: { interrupt.isRequested })
    row.seconds = seconds()
    guard let placement = row.placement else {
      row.reason = "\(rival): interrupted"
      return rows.append(row)
    }
    if let cap { row.breaksCap = try LoadViolation(of: placement, in: sets, cap: cap) != nil }
    rows.append(row)
    guard let cap, row.breaksCap == true else { return }
    var repaired = HomeRow(method: "  repaired by swaps", objective: .gpus)
    repaired.repairs = row.method
    repaired.placement = try sets.repaired(placement, loadCap: cap)
    if repaired.placement == nil {
      repaired.reason = "\(rival): swaps do not bring it under the load cap"
    } else {
      repaired.breaksCap = false
    }
    repaired.seconds = seconds()
    rows.append(repaired)
  }

  // MARK: - For people

  var text: String {
    get throws {
      var text = "\(sets.layers) layers × \(sets.experts) experts, \(topology.gpus) GPUs"
      text += topology.nodes > 1 ? " on \(topology.nodes) nodes" : ""
      text += maxLoad.map { ", load cap \($0)" } ?? ", no load cap"
      text +=
        "\nhome mode: GPUs\(topology.nodes > 1 ? " and nodes" : "") of a token, a layer's mean"
      if let copies { text += "\n" + copies.heading }
      text += "\non the trace:\n\n"
      text += try table(sets, input.counts, isSeen: true)
      if let unseen, let unseenSets = unseen.sets {
        text += "\non the hold-out, which no method saw:\n\n"
        text += try table(unseenSets, unseen.counts, isSeen: false)
        if let line = try capLine(unseen.counts) { text += "\n" + Show.wrapped(line, indent: 0) }
      }
      let notes = rows.compactMap { $0.reason.map { Show.wrapped($0, indent: 2) } }
      return text + (notes.isEmpty ? "" : "\n") + notes.joined()
    }
  }

  /// What to plan with where the hold-out breaks the cap that the plan keeps.
  private func capLine(_ unseen: TransitionCounts) throws -> String? {
    guard let maxLoad, let row = rows.first(where: { $0.outcome != nil }),
      let placement = row.placement, row.breaksCap != true
    else { return nil }
    let (seen, found) = (
      try input.counts.loadImbalance(of: placement), try unseen.loadImbalance(of: placement)
    )
    guard seen <= maxLoad + 1e-9, found > maxLoad else { return nil }
    let planned = (100 * maxLoad * maxLoad / found).rounded(.down) / 100
    return
      "\(row.method) keeps the load cap of \(maxLoad) on the trace and has "
      + "\(Show.ratio(found)) on the hold-out: for \(maxLoad) on such traffic, plan with "
      + (planned > 1 ? "--max-load \(planned)" : "more redundant copies (--redundant)")
  }

  private func table(
    _ sets: TokenSets, _ counts: TransitionCounts, isSeen: Bool
  ) throws -> String {
    let levels = topology.nodes > 1 ? ["GPUs", "nodes"] : ["GPUs"]
    let header = ["method"] + levels + ["crossed", "load"]
    var table = TextTable(isSeen ? header + ["time", "bound", "gap"] : header)
    for row in rows {
      guard let placement = row.placement else {
        table.add([row.method] + levels.map { _ in "-" } + ["-", "-"])
        continue
      }
      let found = try sets.destinations(of: placement)
      var cells = [row.method, Show.ratio(found.gpusPerToken)]
      if topology.nodes > 1 { cells.append(Show.ratio(found.nodesPerToken)) }
      cells.append(Show.percent(try counts.crossings(of: placement).gpuShare, 1))
      cells.append(Show.ratio(try counts.loadImbalance(of: placement)))
      if isSeen { cells += [Show.seconds(row.seconds)] + proof(of: row, tokens: found.tokens) }
      table.add(cells)
    }
    for row in copies?.rows ?? [] {
      if let cells = try copies?.cells(
        row, on: sets, showsNodes: topology.nodes > 1, isSeen: isSeen)
      {
        table.add(cells)
      }
    }
    return table.text
  }

  /// The last columns: what is proved of the objective, or a word about the load cap.
  private func proof(of row: HomeRow, tokens: Int) -> [String] {
    if row.breaksCap == true { return ["breaks the cap"] }
    guard let outcome = row.outcome else { return ["-", "-"] }
    guard let bound = outcome.bound, let gap = outcome.gap else {
      let proved = outcome.layers.count { $0.status == .optimal }
      return ["-", "\(proved)/\(outcome.layers.count)"]
    }
    // A joint cost is no number of GPUs.
    var perToken = "-"
    if case .joint = row.objective {
    } else {
      perToken = Show.ratio(Double(bound) / Double(max(1, tokens)))
    }
    return [perToken, outcome.status == .optimal ? "optimal" : Show.percent(gap)]
  }

  // MARK: - For programs

  var json: JSONText {
    get throws {
      .object([
        ("mode", "home"), ("layers", .integer(sets.layers)), ("experts", .integer(sets.experts)),
        ("gpus", .integer(topology.gpus)), ("nodes", .integer(topology.nodes)),
        ("traces", .array(input.paths.map { .string($0) })),
        ("holdout", .array((unseen?.paths ?? []).map { .string($0) })),
        ("max_load", JSONText(maxLoad)), ("methods", .array(try rows.map(json) + copiesJSON)),
      ])
    }
  }

  private var copiesJSON: [JSONText] {
    get throws {
      guard let copies else { return [] }
      return try copies.rows.map { try copies.json($0, on: sets, unseen: unseen?.sets) }
    }
  }

  private func json(_ row: HomeRow) throws -> JSONText {
    let name = row.repairs.map { "\($0), repaired to meet the cap" } ?? row.method
    var members: [(key: String, value: JSONText)] = [
      ("method", .string(name)), ("seconds", .number(row.seconds)),
    ]
    if let reason = row.reason { members.append(("reason", .string(reason))) }
    if let placement = row.placement {
      members.append(("destinations", PlanFile.json(try sets.destinations(of: placement))))
      members.append(("crossings", PlanFile.json(try input.counts.crossings(of: placement))))
      members.append(("max_load", .number(try input.counts.loadImbalance(of: placement))))
      members.append(("breaks_cap", row.breaksCap.map { .bool($0) } ?? nil))
      if let unseen, let unseenSets = unseen.sets {
        members += [
          ("holdout_destinations", PlanFile.json(try unseenSets.destinations(of: placement))),
          ("holdout_crossings", PlanFile.json(try unseen.counts.crossings(of: placement))),
          ("holdout_max_load", .number(try unseen.counts.loadImbalance(of: placement))),
        ]
      }
    }
    if let outcome = row.outcome {
      members += [
        ("objective", PlanFile.json(DestinationGoal.home(row.objective))),
        ("status", .string(outcome.status.rawValue)),
        ("stop_reason", .string(outcome.stopReason.rawValue)),
        ("value", .integer(outcome.value)), ("bound", JSONText(outcome.bound)),
        ("gap", JSONText(outcome.gap)), ("layer_bounds", .array(outcome.layers.map(PlanFile.json))),
      ]
    }
    return .object(members)
  }
}
