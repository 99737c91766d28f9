import ColocateModel

/// The fields that plans and certificates have in common, coded once: what the file is, the
/// machines and the placement, the objective, the load cap.
///
///     "format": …, "version": 1
///     "nodes": N, "gpus_per_node": G          (a plan has these two in "topology")
///     "objective": { "name": "flat" }, { "name": "staged" }, or
///                  { "name": "joint", "inter_node": …, "intra_node": … }
///     "load_cap": { "numerator": …, "denominator": …, "relaxed_to_feasible": … } or null
///     "layers": L, "experts": E, "assignment": [ GPU of each expert, a row for each layer ]
///     "traces": [ { "file": …, "sha256": … } ], "moe_layers": [ … ]
enum SharedFields {
  typealias Members = [(key: String, value: JSONText)]

  /// Most nodes, and most GPUs of one: their product is far from overflow.
  private static let mostMachines = 1_000_000

  // MARK: What the file is

  static func header(_ format: String, version: Int) -> Members {
    [("format", .string(format)), ("version", .integer(version))]
  }

  /// - Throws: where the document is of another format or version.
  static func checkHeader(
    _ document: JSONNode, _ format: String, version: Int
  ) throws(JSONProblem) {
    let found = try document.member("format").string()
    guard found == format else {
      throw JSONProblem(message: "format '\(found)', expected '\(format)'")
    }
    let number = try document.member("version").integer()
    guard number == version else {
      throw JSONProblem(message: "version \(number), expected \(version)")
    }
  }

  /// A certificate's document: what it is about in front, its claims at the end.
  static func certificate(
    _ format: String, version: Int, of placement: Placement, objective: JSONText,
    loadCap: LoadCap?, caps: [Int]?, digest: (key: String, value: String),
    claims: (key: String, value: JSONText), tool: String?
  ) -> JSONText {
    var members = header(format, version: version)
    members += [("layers", .integer(placement.layers)), ("experts", .integer(placement.experts))]
    members += machines(placement.topology)
    members += [
      ("objective", objective), ("load_cap", json(loadCap)),
      ("caps", caps.map { JSONText($0) } ?? nil), (digest.key, .string(digest.value)),
      ("assignment", assignment(placement)), claims,
    ]
    if let tool { members.append(("tool", .string(tool))) }
    return .object(members)
  }

  // MARK: Machines and placement

  static func machines(_ topology: Topology) -> Members {
    [("nodes", .integer(topology.nodes)), ("gpus_per_node", .integer(topology.gpusPerNode))]
  }

  private static func sizes(
    of machines: JSONNode
  ) throws(JSONProblem) -> (nodes: Int, perNode: Int) {
    let nodes = try machines.member("nodes").integer()
    let perNode = try machines.member("gpus_per_node").integer()
    guard (1...mostMachines).contains(nodes), (1...mostMachines).contains(perNode) else {
      throw JSONProblem(
        message: "\(nodes) nodes × \(perNode) GPUs: expected 1 to \(mostMachines) of each")
    }
    return (nodes, perNode)
  }

  /// The machines of a node that has "nodes" and "gpus_per_node".
  static func topology(_ machines: JSONNode) throws(JSONProblem) -> Topology {
    let (nodes, perNode) = try sizes(of: machines)
    return try naming { () throws(ModelError) in
      try Topology(gpus: nodes * perNode, nodes: nodes)
    }
  }

  /// `[L, E]` as a row for each layer.
  static func assignment(_ placement: Placement) -> JSONText {
    JSONText(placement.assignment, width: placement.experts)
  }

  /// - Parameter machines: the node of the document that has "nodes" and "gpus_per_node".
  /// - Throws: where sizes do not agree, or the assignment is no placement.
  static func placement(
    _ document: JSONNode, machines: JSONNode
  ) throws(JSONProblem) -> Placement {
    let layers = try document.member("layers").integer()
    let experts = try document.member("experts").integer()
    let (nodes, perNode) = try sizes(of: machines)
    let rows = try document.member("assignment").table()
    guard rows.count == layers else {
      throw JSONProblem(message: "assignment with \(rows.count) rows, expected \(layers) layers")
    }
    if let layer = rows.firstIndex(where: { $0.count != experts }) {
      throw JSONProblem(
        message: "assignment[\(layer)] has \(rows[layer].count) entries, expected \(experts) "
          + "experts")
    }
    return try naming { () throws(ModelError) in
      try Placement(
        topology: Topology(gpus: nodes * perNode, nodes: nodes), layers: layers, experts: experts,
        assignment: rows.flatMap { $0 })
    }
  }

  // MARK: Traces

  /// What the plan was made from.
  static func json(_ traces: [PlanFile.Trace]) -> JSONText {
    .array(traces.map { .object([("file", .string($0.file)), ("sha256", .string($0.sha256))]) })
  }

  /// The traces of a document; none where it does not say.
  static func traces(_ document: JSONNode) throws(JSONProblem) -> [PlanFile.Trace] {
    var traces = [PlanFile.Trace]()
    for trace in try document.optional("traces")?.elements() ?? [] {
      traces.append(
        PlanFile.Trace(
          file: try trace.member("file").string(), sha256: try trace.member("sha256").string()))
    }
    return traces
  }

  /// The traces' layers that a plan of `layers` layers is about; nil where they are all.
  /// - Throws: where they are not as many, ascending.
  static func moeLayers(_ document: JSONNode, layers: Int) throws(JSONProblem) -> [Int]? {
    guard let moeLayers = try document.optional("moe_layers")?.integers() else { return nil }
    guard moeLayers.count == layers, zip(moeLayers, moeLayers.dropFirst()).allSatisfy(<),
      moeLayers.allSatisfy({ $0 >= 0 })
    else {
      throw JSONProblem(message: "'moe_layers' is \(moeLayers), expected \(layers) ascending")
    }
    return moeLayers
  }

  // MARK: Objective

  /// Names of the objectives.
  private enum ObjectiveName: String, CaseIterable {
    case flat, staged, joint
  }

  static func json(_ objective: Objective) -> JSONText {
    func named(_ name: ObjectiveName, _ rest: Members = []) -> JSONText {
      .object([("name", .string(name.rawValue))] + rest)
    }
    switch objective {
    case .flat: return named(.flat)
    case .staged: return named(.staged)
    case .joint(let joint): return named(.joint, weights(joint))
    }
  }

  /// The two weights of the joint objective.
  static func weights(_ weights: JointWeights) -> Members {
    [
      ("inter_node", .integer(weights.interNode)), ("intra_node", .integer(weights.intraNode)),
    ]
  }

  /// - Throws: for another name, other keys, or weights that are not 0 ≤ intra ≤ inter ≤ 10^6.
  static func objective(_ node: JSONNode) throws(JSONProblem) -> Objective {
    let name: ObjectiveName = try node.member("name").oneOf(ObjectiveName.allCases)
    try node.checkKeys(name == .joint ? ["name", "inter_node", "intra_node"] : ["name"])
    switch name {
    case .flat: return .flat
    case .staged: return .staged
    case .joint:
      let weights = JointWeights(
        interNode: try node.member("inter_node").integer(),
        intraNode: try node.member("intra_node").integer())
      try naming { () throws(ModelError) in try weights.check() }
      return .joint(weights)
    }
  }

  // MARK: Load cap

  /// Null where there is none.
  static func json(_ cap: LoadCap?) -> JSONText {
    guard let cap else { return nil }
    return .object([
      ("numerator", .integer(cap.numerator)), ("denominator", .integer(cap.denominator)),
      ("relaxed_to_feasible", .bool(cap.relaxedToFeasible)),
    ])
  }

  /// The cap of a document; nil where it has none.
  /// - Throws: for other keys, or a ratio that is no load cap.
  static func loadCap(_ document: JSONNode) throws(JSONProblem) -> LoadCap? {
    guard let node = try document.optional("load_cap") else { return nil }
    try node.checkKeys(["numerator", "denominator", "relaxed_to_feasible"])
    let numerator = try node.member("numerator").integer()
    let denominator = try node.member("denominator").integer()
    let relaxed = try node.member("relaxed_to_feasible").bool()
    return try naming { () throws(ModelError) in
      try LoadCap(numerator: numerator, denominator: denominator, relaxedToFeasible: relaxed)
    }
  }

  /// Does what may fail with a `ModelError`, and passes its words on.
  static func naming<Result>(
    _ body: () throws(ModelError) -> Result
  ) throws(JSONProblem) -> Result {
    do throws(ModelError) { return try body() } catch {
      throw JSONProblem(message: error.description)
    }
  }
}
