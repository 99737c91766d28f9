import Colocate

/// The tool's own plan: a placement with what is known about it, as JSON.
///
///     { "format": "colocate-plan", "version": 1,
///       "layers": 24, "experts": 32,
///       "topology": { "nodes": 2, "gpus_per_node": 4 },
///       "objective": { "name": "joint", "inter_node": 4, "intra_node": 1 },
///                    (of destinations: DestinationGoal.swift)
///       "load_cap": { "numerator": 12, "denominator": 10, "relaxed_to_feasible": false } or null,
///       "status": "feasible", "stop_reason": "time",
///       "value": …, "bound": … or null, "gap": … or null,
///       "crossings": { "total": …, "gpu": …, "node": …,
///                      "gpu_per_boundary": […], "node_per_boundary": […] },
///       "destinations": { "tokens": …, "gpus": …, "nodes": …, "gpus_per_token": …,
///                         "nodes_per_token": …, "gpus_per_layer": […], "nodes_per_layer": […] },
///       "layer_bounds": [ { "value": …, "bound": …, "status": …, "seconds": … } ],
///       "load": { "max_over_mean": …, "per_layer": [ tokens of each GPU, a row for each layer ] },
///       "stages": [ { "name": …, "status": …, "stop_reason": …, "value": …, "bound": …, … } ],
///       "joint": { "inter_node": 8, "intra_node": 1, "value": …, "bound": …, "gap": … },
///       "migration": { "current": …, "copies": …, "bytes": …, … } where a plan was in use,
///       "traces": [ { "file": …, "sha256": … } ],
///       "moe_layers": [ layers of the traces that were counted, where not all are ],
///       "options": { … },
///       "assignment": [ GPU of each expert, a row for each layer ], "tool": "colocate 0.2.0" }
///
/// What is not known is null. A staged plan has no bound of its own, since no single number bounds
/// the crossings of all placements there: "stages" has what is proved of each step, and "joint"
/// what its joint cost is and what any placement's is at least.
///
/// Only `format`, `version`, `layers`, `experts`, `topology` and `assignment` are needed to read
/// one.
public struct PlanFile: Sendable {
  /// The value of "format".
  public static let formatName = "colocate-plan"
  /// The value of "version".
  public static let formatVersion = 1

  /// A trace that the plan was made from.
  public struct Trace: Hashable, Sendable {
    public var file: String
    public var sha256: String
    public init(file: String, sha256: String) {
      self.file = file
      self.sha256 = sha256
    }
  }

  /// Where the experts live.
  public var placement: Placement
  /// What was minimised; nil where the file does not say, or says `goal`.
  public var objective: Objective?
  /// What was minimised where that was not crossings.
  public var goal: DestinationGoal?
  public var loadCap: LoadCap?
  public var status: SolverStatus?
  public var stopReason: StopReason?
  /// `Objective.value(of:)` and its bound.
  public var value: Int?
  public var bound: Int?
  public var crossings: Crossings?
  /// GPUs and nodes of each token's experts, layer by layer; nil where that is not known.
  public var destinations: Destinations?
  /// Rows that coherent mode sends; nil where that is not known.
  public var rows: CoherentRows?
  /// What is known of each layer of a plan for `goal`, `[L]`, or empty.
  public var layerOutcomes: [DestinationLayerOutcome] = []
  /// Tokens of each GPU in each layer, `[L, P]`, and the largest over the mean.
  public var gpuLoads: [Int] = []
  public var loadImbalance: Double?
  public var stages: [StageOutcome] = []
  /// What a staged plan is worth by the joint objective.
  public var joint: JointComparison?
  /// The way from the plan that was in use; nil where none was named.
  public var migration: MigrationRecord?
  public var traces: [Trace] = []
  /// The traces' layers that the plan's layers are, shape `[L]`; nil where they are all of them.
  public var moeLayers: [Int]?
  /// What the solver was asked, in the order to be written.
  public var options: [(key: String, value: JSONText)] = []
  /// How a token's experts were counted, and whether those that it uses together in a layer were
  /// (parts of `options`); nil where the file does not say.
  public internal(set) var counting: TopKCounting?
  public internal(set) var coactivation: Bool?
  /// The program and its version.
  public var tool: String?

  public init(placement: Placement) { self.placement = placement }

  /// A plan with the figures of `placement` on `counts`.
  /// - Throws: `ModelError.placement` where the placement is for a model of other sizes.
  public init(placement: Placement, on counts: TransitionCounts, objective: Objective)
    throws(ModelError)
  {
    self.placement = placement
    self.objective = objective
    let crossings = try counts.crossings(of: placement)
    self.crossings = crossings
    value = objective.value(of: crossings)
    gpuLoads = try counts.gpuLoads(of: placement)
    loadImbalance = try counts.loadImbalance(of: placement)
  }

  /// A plan for `goal` with the figures of `placement` on a trace.
  /// - Throws: `ModelError.placement` where the placement is for a model of other sizes.
  public init(
    placement: Placement, on counts: TransitionCounts, goal: DestinationGoal, sets: TokenSets
  ) throws(ModelError) {
    self.placement = placement
    self.goal = goal
    let (crossings, found) = (
      try counts.crossings(of: placement), try sets.destinations(of: placement)
    )
    self.crossings = crossings
    destinations = found
    rows = try sets.coherentRows(of: placement)
    value = goal.value(destinations: found, crossings: crossings, rows: rows)
    gpuLoads = try sets.gpuLoads(of: placement)
    loadImbalance = try counts.loadImbalance(of: placement)
  }

  /// `(value - bound) / value`; nil where there is no bound.
  public var gap: Double? {
    guard let value, let bound else { return nil }
    return value == 0 ? 0 : Double(value - bound) / Double(value)
  }

  /// The document.
  public var json: JSONText {
    var members = SharedFields.header(Self.formatName, version: Self.formatVersion)
    members += [
      ("layers", .integer(placement.layers)), ("experts", .integer(placement.experts)),
      ("topology", .object(SharedFields.machines(placement.topology))),
    ]
    if let objective { members.append(("objective", Self.json(objective))) }
    if let goal { members.append(("objective", Self.json(goal))) }
    members.append(("load_cap", SharedFields.json(loadCap)))
    if let status { members.append(("status", .string(status.rawValue))) }
    if let stopReason { members.append(("stop_reason", .string(stopReason.rawValue))) }
    if let value {
      members += [("value", .integer(value)), ("bound", JSONText(bound)), ("gap", JSONText(gap))]
    }
    if let crossings { members.append(("crossings", Self.json(crossings))) }
    if let destinations { members.append(("destinations", Self.json(destinations))) }
    if let rows { members.append(("rows", Self.json(rows))) }
    if !layerOutcomes.isEmpty {
      members.append(("layer_bounds", .array(layerOutcomes.map(Self.json))))
    }
    if let loadImbalance {
      members.append(
        (
          "load",
          .object([
            ("max_over_mean", .number(loadImbalance)),
            ("per_layer", JSONText(gpuLoads, width: placement.topology.gpus)),
          ])
        ))
    }
    if !stages.isEmpty { members.append(("stages", .array(stages.map(Self.json)))) }
    if let joint { members.append(("joint", Self.json(joint))) }
    if let migration { members.append(("migration", migration.json)) }
    if !traces.isEmpty { members.append(("traces", SharedFields.json(traces))) }
    if let moeLayers { members.append(("moe_layers", JSONText(moeLayers))) }
    if !options.isEmpty { members.append(("options", .object(options))) }
    members.append(("assignment", SharedFields.assignment(placement)))
    if let tool { members.append(("tool", .string(tool))) }
    return .object(members)
  }

  /// An objective as the plan has it.
  public static func json(_ objective: Objective) -> JSONText { SharedFields.json(objective) }

  /// An objective of destinations as the plan has it.
  public static func json(_ goal: DestinationGoal) -> JSONText { SharedFields.json(goal) }

  /// Destinations as the plan has them.
  public static func json(_ destinations: Destinations) -> JSONText {
    .object([
      ("tokens", .integer(destinations.tokens)), ("gpus", .integer(destinations.gpu)),
      ("nodes", .integer(destinations.node)),
      ("gpus_per_token", .number(destinations.gpusPerToken)),
      ("nodes_per_token", .number(destinations.nodesPerToken)),
      ("gpus_per_layer", JSONText(destinations.gpuPerLayer)),
      ("nodes_per_layer", JSONText(destinations.nodePerLayer)),
    ])
  }

  /// Rows of coherent mode as the plan has them.
  public static func json(_ rows: CoherentRows) -> JSONText {
    .object([
      ("total", .integer(rows.total)), ("dispatched_per_layer", JSONText(rows.dispatchedPerLayer)),
      ("combined_per_layer", JSONText(rows.combinedPerLayer)),
    ])
  }

  /// What is known of a layer, as the plan has it.
  public static func json(_ layer: DestinationLayerOutcome) -> JSONText {
    .object([
      ("value", .integer(layer.value)), ("bound", JSONText(layer.bound)),
      ("status", .string(layer.status.rawValue)),
      ("seconds", .number((layer.seconds * 1000).rounded() / 1000)),
    ])
  }

  /// Crossings as the plan has them.
  public static func json(_ crossings: Crossings) -> JSONText {
    var members: [(key: String, value: JSONText)] = [
      ("total", .integer(crossings.total)), ("gpu", .integer(crossings.gpu)),
      ("gpu_share", .number(crossings.gpuShare)), ("node", .integer(crossings.node)),
      ("node_share", .number(crossings.nodeShare)),
      ("gpu_per_boundary", JSONText(crossings.gpuPerBoundary)),
      ("node_per_boundary", JSONText(crossings.nodePerBoundary)),
    ]
    if crossings.splitsPerLayer.contains(where: { $0 != 0 }) {
      members.append(("splits_per_layer", JSONText(crossings.splitsPerLayer)))
    }
    return .object(members)
  }

  /// A stage as the plan has it.
  public static func json(_ stage: StageOutcome) -> JSONText {
    .object([
      ("name", .string(stage.stage.description)), ("status", .string(stage.status.rawValue)),
      ("stop_reason", .string(stage.stopReason.rawValue)), ("value", JSONText(stage.value)),
      ("bound", JSONText(stage.bound)), ("gap", JSONText(stage.gap)),
      ("bound_method", stage.boundMethod.map { .string($0.rawValue) } ?? nil),
      ("tree_nodes", .integer(stage.treeNodes)),
      ("seconds", .number((stage.seconds * 1000).rounded() / 1000)),
    ])
  }

  /// What a staged answer is worth by the joint objective, as the plan has it.
  public static func json(_ joint: JointComparison) -> JSONText {
    .object(
      SharedFields.weights(joint.weights) + [
        ("value", .integer(joint.value)), ("bound", JSONText(joint.bound)),
        ("gap", JSONText(joint.gap)),
      ])
  }

  /// Writes the plan, whole or not at all.
  /// - Throws: `FormatError` where the file cannot be written.
  public func write(to path: String) throws { try AtomicFile.write(json.text, to: path) }
}
