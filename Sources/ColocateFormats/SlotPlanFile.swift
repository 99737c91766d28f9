import Colocate

/// The tool's own plan where experts have copies: which expert each slot holds, as JSON.
///
///     { "format": "colocate-slots", "version": 1,
///       "layers": 24, "experts": 32,
///       "topology": { "nodes": 2, "gpus_per_node": 4 },
///       "objective": { "mode": "home", "name": "flat" },   (DestinationGoal.swift)
///       "dispatch": "vllm",                                (DispatchRule.swift)
///       "load_cap": { … } or null, "status": "feasible", "stop_reason": "finished",
///       "value": …, "bound": null,
///       "destinations": { "tokens": …, "gpus": …, "nodes": …, "rows": …, "gpus_per_token": …,
///                         "nodes_per_token": …, "rows_per_token": …, "gpus_per_layer": […],
///                         "nodes_per_layer": […], "rows_per_layer": […] },
///       "load": { "max_over_mean": …, "per_layer": [ tokens of each GPU, a row for each layer ] },
///       "traces": [ { "file": …, "sha256": … } ], "moe_layers": […], "options": { … },
///       "slots": [ expert of each slot, a row for each layer ], "tool": "colocate 0.2.0" }
///
/// Slot `s` of `S` lives on GPU `s / (S / P)`. Figures are means under the rule of "dispatch"
/// (`SlotDestinations`). A format of its own, and not a version of the plan without copies, so that
/// whatever reads plans says what it has met: no program that knows placements alone can follow it.
///
/// Only `format`, `version`, `layers`, `experts`, `topology` and `slots` are needed to read one. No
/// GPU may hold an expert twice.
public struct SlotPlanFile: Sendable {
  /// The value of "format".
  public static let formatName = "colocate-slots"
  /// The value of "version".
  public static let formatVersion = 1

  /// What each slot holds.
  public var plan: SlotPlan
  /// What was minimised; nil where the file does not say.
  public var objective: DestinationObjective?
  /// The rule under which the figures are; nil where the file does not say.
  public var dispatch: DispatchRule?
  public var loadCap: LoadCap?
  public var stopReason: StopReason?
  /// The figures; nil where they are not known, and after reading.
  public var destinations: SlotDestinations?
  public var traces: [PlanFile.Trace] = []
  /// The traces' layers that the plan's layers are, shape `[L]`; nil where they are all of them.
  public var moeLayers: [Int]?
  /// What the solver was asked, in the order to be written.
  public var options: [(key: String, value: JSONText)] = []
  /// The program and its version.
  public var tool: String?

  /// - Throws: `ModelError.placement` where a GPU holds an expert twice.
  public init(_ plan: SlotPlan) throws(ModelError) {
    if let useless = plan.uselessReplica {
      throw .placement(
        "layer \(useless.layer): GPU \(useless.gpu) holds expert \(useless.expert) twice, "
          + "expected different experts on each GPU")
    }
    self.plan = plan
  }

  /// The document.
  public var json: JSONText {
    var members = SharedFields.header(Self.formatName, version: Self.formatVersion)
    members += [
      ("layers", .integer(plan.layers)), ("experts", .integer(plan.experts)),
      ("topology", .object(SharedFields.machines(plan.topology))),
    ]
    if let objective { members.append(("objective", SharedFields.json(.home(objective)))) }
    if let dispatch { members.append(("dispatch", .string(dispatch.rawValue))) }
    members.append(("load_cap", SharedFields.json(loadCap)))
    if let stopReason {
      // Nothing is proved about plans with copies.
      members += [("status", "feasible"), ("stop_reason", .string(stopReason.rawValue))]
    }
    if let destinations {
      if let objective {
        members += [("value", .number(objective.value(of: destinations))), ("bound", nil)]
      }
      members += [
        ("destinations", Self.json(destinations)),
        ("load", Self.load(destinations, gpus: plan.topology.gpus)),
      ]
    }
    if !traces.isEmpty { members.append(("traces", SharedFields.json(traces))) }
    if let moeLayers { members.append(("moe_layers", JSONText(moeLayers))) }
    if !options.isEmpty { members.append(("options", .object(options))) }
    members.append(("slots", .array(plan.slots.map { JSONText($0) })))
    if let tool { members.append(("tool", .string(tool))) }
    return .object(members)
  }

  /// Means as the plan has them.
  public static func json(_ destinations: SlotDestinations) -> JSONText {
    func numbers(_ values: [Double]) -> JSONText { .array(values.map { .number($0) }) }
    return .object([
      ("tokens", .integer(destinations.tokens)), ("gpus", .number(destinations.gpu)),
      ("nodes", .number(destinations.node)), ("rows", .number(destinations.rows)),
      ("gpus_per_token", .number(destinations.gpusPerToken)),
      ("nodes_per_token", .number(destinations.nodesPerToken)),
      ("rows_per_token", .number(destinations.rowsPerToken)),
      ("gpus_per_layer", numbers(destinations.gpuPerLayer)),
      ("nodes_per_layer", numbers(destinations.nodePerLayer)),
      ("rows_per_layer", numbers(destinations.rowsPerLayer)),
    ])
  }

  /// Loads as the plan has them.
  public static func load(_ destinations: SlotDestinations, gpus: Int) -> JSONText {
    let rows = stride(from: 0, to: destinations.gpuLoads.count, by: gpus).map { start in
      JSONText.array(destinations.gpuLoads[start..<(start + gpus)].map { .number($0) })
    }
    return .object([
      ("max_over_mean", .number(destinations.balance.worstPeak)), ("per_layer", .array(rows)),
    ])
  }

  /// Writes the plan, whole or not at all.
  /// - Throws: `FormatError` where the file cannot be written.
  public func write(to path: String) throws { try AtomicFile.write(json.text, to: path) }
}

/// Reading plans with copies.
extension SlotPlanFile {
  /// Whether a document says that it is one.
  static func isNamed(by document: JSONNode) -> Bool {
    (try? document.optional("format")?.string()) == formatName
  }

  /// Whether the file at `path` says that it is one.
  public static func isNamed(by path: String) -> Bool {
    (try? JSONDocument.read(path, expected: "a plan") { document throws(JSONProblem) in
      isNamed(by: document)
    }) ?? false
  }

  /// Reads a plan.
  /// - Throws: `FormatError` with the place of what is wrong.
  public static func read(_ path: String) throws(FormatError) -> SlotPlanFile {
    try JSONDocument.read(path, expected: "a plan (.json)") { document throws(JSONProblem) in
      try parse(document)
    }
  }

  private static func parse(_ document: JSONNode) throws(JSONProblem) -> SlotPlanFile {
    try SharedFields.checkHeader(document, formatName, version: formatVersion)
    let plan = try slots(document)
    var file = try SharedFields.naming { () throws(ModelError) in try SlotPlanFile(plan) }
    if let node = try document.optional("objective") {
      guard case .home(let objective, 0) = try SharedFields.goal(node) else {
        throw JSONProblem(message: "'objective' is no number of destinations alone")
      }
      file.objective = objective
    }
    file.dispatch = try document.optional("dispatch")?.oneOf(DispatchRule.allCases)
    file.loadCap = try SharedFields.loadCap(document)
    file.stopReason = try document.optional("stop_reason")?.oneOf(StopReason.allCases)
    file.traces = try SharedFields.traces(document)
    file.moeLayers = try SharedFields.moeLayers(document, layers: file.plan.layers)
    file.tool = try document.optional("tool")?.string()
    return file
  }

  private static func slots(_ document: JSONNode) throws(JSONProblem) -> SlotPlan {
    let layers = try document.member("layers").integer()
    let experts = try document.member("experts").integer()
    let topology = try SharedFields.topology(document.member("topology"))
    let rows = try document.member("slots").table()
    guard rows.count == layers else {
      throw JSONProblem(message: "slots with \(rows.count) rows, expected \(layers) layers")
    }
    return try SharedFields.naming { () throws(ModelError) in
      try SlotPlan(topology: topology, experts: experts, slots: rows)
    }
  }
}
