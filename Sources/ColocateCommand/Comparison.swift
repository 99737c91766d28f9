import Colocate
import ColocateFormats

/// One method of a comparison: its placement, or why there is none.
struct MethodRow<Outcome, Goal> {
  let method: String
  var placement: Placement?
  var seconds = 0.0
  /// Of the solver's own rows.
  var outcome: Outcome?
  /// What the solver was asked for; of other rows it says nothing.
  var objective: Goal
  /// Why there is no placement.
  var reason: String?
  /// Whether the placement breaks the load cap; nil without a cap.
  var breaksCap: Bool?
  /// The method whose placement this is the repaired form of.
  var repairs: String?

  init(method: String, objective: Goal) {
    (self.method, self.objective) = (method, objective)
  }
}

/// One method of a comparison about crossings.
typealias ComparisonRow = MethodRow<SolverOutcome, Objective>

/// What `compare` found: two tables of at most 80 columns, or JSON.
struct Comparison {
  let rows: [ComparisonRow]
  let counts: TransitionCounts
  /// The hold-out.
  let unseen: TransitionCounts?
  /// What tokens use together, there and here; nil where the files do not say.
  let sets: TokenSets?
  let unseenSets: TokenSets?
  let topology: Topology
  let maxLoad: Double?

  var text: String {
    get throws {
      var text = "\(counts.layers) layers × \(counts.experts) experts, \(topology.gpus) GPUs"
      text += topology.nodes > 1 ? " on \(topology.nodes) nodes" : ""
      text += maxLoad.map { ", load cap \($0)" } ?? ", no load cap"
      text += "\non the trace, \(counts.total) transitions:\n\n"
      text += try table(on: counts, isSeen: true)
      if let unseen {
        text += "\non the hold-out, \(unseen.total) transitions that no method saw:\n\n"
        text += try table(on: unseen, isSeen: false)
      }
      if let sets {
        text += "\nGPUs\(topology.nodes > 1 ? " and nodes" : "") of a token, a layer's mean"
        text += " (what --mode home minimises):\n\n"
        text += try destinations(sets)
      }
      let notes = rows.flatMap(notes)
      return text + (notes.isEmpty ? "" : "\n") + notes.joined()
    }
  }

  private func table(on counts: TransitionCounts, isSeen: Bool) throws -> String {
    let crossings = topology.nodes > 1 ? ["GPUs", "nodes"] : ["GPUs"]
    let header = ["crossings between"] + crossings + ["load"]
    var table = TextTable(isSeen ? header + ["time", "bound", "gap"] : header)
    for row in rows {
      guard let placement = row.placement else {
        table.add([row.method] + crossings.map { _ in "-" } + ["-"])
        continue
      }
      let found = try counts.crossings(of: placement)
      var cells = [row.method, Show.percent(found.gpuShare)]
      if topology.nodes > 1 { cells.append(Show.percent(found.nodeShare)) }
      cells.append(Show.ratio(try counts.loadImbalance(of: placement)))
      if isSeen { cells += [Show.seconds(row.seconds)] + proof(of: row, total: found.total) }
      table.add(cells)
    }
    return table.text
  }

  /// What an engine that sends tokens home would send under the same placements.
  private func destinations(_ sets: TokenSets) throws -> String {
    let levels = topology.nodes > 1 ? ["GPUs", "nodes"] : ["GPUs"]
    let all = [sets] + [unseenSets].compactMap { $0 }
    var table = TextTable(
      ["method"] + levels + (all.count > 1 ? levels.map { "hold-out \($0)" } : []))
    for row in rows {
      guard let placement = row.placement else {
        table.add([row.method] + all.flatMap { _ in levels.map { _ in "-" } })
        continue
      }
      table.add(
        [row.method]
          + (try all.flatMap { sets in
            let found = try sets.destinations(of: placement)
            return [Show.ratio(found.gpusPerToken)]
              + (topology.nodes > 1 ? [Show.ratio(found.nodesPerToken)] : [])
          }))
    }
    return table.text
  }

  /// The last columns: what is proved about GPU crossings, or a word about the load cap.
  private func proof(of row: ComparisonRow, total: Int) -> [String] {
    if row.breaksCap == true { return ["breaks the cap"] }
    guard row.objective == .flat, let outcome = row.outcome, let bound = outcome.bound,
      let gap = outcome.gap
    else { return ["-", "-"] }
    let isOptimal = outcome.status == .optimal
    return [
      Show.percent(Double(bound) / Double(max(total, 1))),
      isOptimal ? "optimal" : Show.percent(gap),
    ]
  }

  /// What the table has no columns for.
  private func notes(_ row: ComparisonRow) -> [String] {
    var lines = [String]()
    if let reason = row.reason { lines.append(reason) }
    if let outcome = row.outcome, row.objective != .flat {
      if SolveSummary.isStaged(outcome) {
        let isProved = outcome.status == .optimal
        let steps = outcome.stages.map { "\($0.stage): \(SolveSummary.text(of: $0))" }
        lines.append(
          isProved
            ? "\(row.method): each step proved"
            : "\(row.method), step by step: \(steps.joined(separator: "; "))")
      }
      if let cost = jointCost(row, outcome) { lines.append("\(row.method): \(cost)") }
    }
    return lines.map { Show.wrapped($0, indent: 2) }
  }

  private func jointCost(_ row: ComparisonRow, _ outcome: SolverOutcome) -> String? {
    let weights: JointWeights
    var (value, bound) = (outcome.value, outcome.bound)
    var gap = outcome.gap
    if let joint = outcome.joint {
      weights = joint.weights
      (value, bound, gap) = (joint.value, joint.bound, joint.gap)
    } else if case .joint(let ofObjective) = row.objective {
      weights = ofObjective
    } else {
      return nil
    }
    guard let value else { return nil }
    let cost = "joint cost \(value) = \(Show.weights(weights))"
    guard let bound, let gap else { return cost }
    if gap == 0 { return cost + "; proved optimal" }
    return cost + "; any placement's is at least \(bound), gap \(Show.percent(gap))"
  }

  func json(traces: [String], holdout: [String]) throws -> JSONText {
    .object([
      ("layers", .integer(counts.layers)), ("experts", .integer(counts.experts)),
      ("gpus", .integer(topology.gpus)), ("nodes", .integer(topology.nodes)),
      ("transitions", .integer(counts.total)),
      ("traces", .array(traces.map { .string($0) })),
      ("holdout", .array(holdout.map { .string($0) })),
      ("max_load", JSONText(maxLoad)), ("methods", .array(try rows.map(json))),
    ])
  }

  private func json(_ row: ComparisonRow) throws -> JSONText {
    let name = row.repairs.map { "\($0), repaired to meet the cap" } ?? row.method
    var members: [(key: String, value: JSONText)] = [
      ("method", .string(name)), ("seconds", .number(row.seconds)),
    ]
    if let reason = row.reason { members.append(("reason", .string(reason))) }
    if let placement = row.placement {
      members.append(("crossings", PlanFile.json(try counts.crossings(of: placement))))
      members.append(("max_load", .number(try counts.loadImbalance(of: placement))))
      members.append(("breaks_cap", row.breaksCap.map { .bool($0) } ?? nil))
      if let sets {
        members.append(("destinations", PlanFile.json(try sets.destinations(of: placement))))
      }
      if let unseenSets {
        members.append(
          ("holdout_destinations", PlanFile.json(try unseenSets.destinations(of: placement))))
      }
      if let unseen {
        members.append(("holdout_crossings", PlanFile.json(try unseen.crossings(of: placement))))
        members.append(("holdout_max_load", .number(try unseen.loadImbalance(of: placement))))
      }
    }
    if let outcome = row.outcome {
      members += [
        ("objective", PlanFile.json(row.objective)),
        ("status", .string(outcome.status.rawValue)),
        ("stop_reason", .string(outcome.stopReason.rawValue)),
        ("value", JSONText(outcome.value)), ("bound", JSONText(outcome.bound)),
        ("gap", JSONText(outcome.gap)),
        ("stages", .array(outcome.stages.map { PlanFile.json($0) })),
        ("joint", outcome.joint.map { PlanFile.json($0) } ?? nil),
      ]
    }
    return .object(members)
  }
}
