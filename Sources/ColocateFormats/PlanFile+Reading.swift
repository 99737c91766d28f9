import Colocate

/// Reading plans.
extension PlanFile {
  /// Reads a plan.
  /// - Throws: `FormatError` with the place of what is wrong.
  public static func read(_ path: String) throws(FormatError) -> PlanFile {
    try JSONDocument.read(path, expected: "a plan (.json, .csv)") { document throws(JSONProblem) in
      try parse(document)
    }
  }

  private static func parse(_ document: JSONNode) throws(JSONProblem) -> PlanFile {
    let format = try document.member("format").string()
    guard format == formatName else {
      throw JSONProblem(message: "format '\(format)', expected '\(formatName)'")
    }
    let version = try document.member("version").integer()
    guard version == formatVersion else {
      throw JSONProblem(message: "version \(version), expected \(formatVersion)")
    }
    let layers = try document.member("layers").integer()
    let experts = try document.member("experts").integer()
    let machines = try document.member("topology")
    let nodes = try machines.member("nodes").integer()
    let perNode = try machines.member("gpus_per_node").integer()
    guard (1...1_000_000).contains(nodes), (1...1_000_000).contains(perNode) else {
      throw JSONProblem(message: "\(nodes) nodes × \(perNode) GPUs: expected 1 or more of each")
    }
    let rows = try document.member("assignment").elements()
    guard rows.count == layers else {
      throw JSONProblem(
        message: "assignment with \(rows.count) rows, expected \(layers) layers")
    }
    var assignment = [Int]()
    for (layer, row) in rows.enumerated() {
      let gpus = try row.integers()
      guard gpus.count == experts else {
        throw JSONProblem(
          message: "assignment[\(layer)] has \(gpus.count) entries, expected \(experts) experts")
      }
      assignment += gpus
    }
    var plan = PlanFile(
      placement: try model { () throws(ModelError) in
        try Placement(
          topology: Topology(gpus: nodes * perNode, nodes: nodes), layers: layers,
          experts: experts, assignment: assignment)
      })
    try parseRecord(document, into: &plan)
    return plan
  }

  private static func crossings(
    _ key: String, of document: JSONNode
  ) throws(JSONProblem) -> Int? {
    guard let number = try document.optional(key)?.integer() else { return nil }
    guard number >= 0 else {
      throw JSONProblem(message: "'\(key)' is \(number), expected 0 or more")
    }
    return number
  }

  private static func model<Result>(
    _ make: () throws(ModelError) -> Result
  ) throws(JSONProblem) -> Result {
    do throws(ModelError) { return try make() } catch {
      throw JSONProblem(message: error.description)
    }
  }

  /// What the plan says of how it came about.
  private static func parseRecord(
    _ document: JSONNode, into plan: inout PlanFile
  ) throws(JSONProblem) {
    if let objective = try document.optional("objective") {
      switch try objective.member("name").string() {
      case "flat": plan.objective = .flat
      case "staged": plan.objective = .staged
      case "joint":
        let inter = try objective.member("inter_node").integer()
        let intra = try objective.member("intra_node").integer()
        guard (0...1_000_000).contains(inter), (0...inter).contains(intra) else {
          throw JSONProblem(
            message: "inter_node \(inter), intra_node \(intra): "
              + "expected 0 ≤ intra_node ≤ inter_node ≤ 1000000")
        }
        plan.objective = .joint(interNode: inter, intraNode: intra)
      case let name:
        throw JSONProblem(message: "objective '\(name)', expected flat, staged or joint")
      }
    }
    if let cap = try document.optional("load_cap") {
      let numerator = try cap.member("numerator").integer()
      let denominator = try cap.member("denominator").integer()
      let relaxed = try cap.optional("relaxed_to_feasible")?.bool() ?? false
      plan.loadCap = try model { () throws(ModelError) in
        try LoadCap(
          numerator: numerator, denominator: denominator, relaxedToFeasible: relaxed)
      }
    }
    plan.status = try document.optional("status")?.oneOf(SolverStatus.allCases)
    plan.stopReason = try document.optional("stop_reason")?.oneOf(StopReason.allCases)
    plan.value = try crossings("value", of: document)
    plan.bound = try crossings("bound", of: document)
    for trace in try document.optional("traces")?.elements() ?? [] {
      plan.traces.append(
        Trace(
          file: try trace.member("file").string(), sha256: try trace.member("sha256").string()))
    }
    plan.moeLayers = try document.optional("moe_layers")?.integers()
    if let moeLayers = plan.moeLayers {
      guard moeLayers.count == plan.placement.layers,
        zip(moeLayers, moeLayers.dropFirst()).allSatisfy(<), moeLayers.allSatisfy({ $0 >= 0 })
      else {
        throw JSONProblem(
          message: "'moe_layers' is \(moeLayers), expected \(plan.placement.layers) ascending")
      }
    }
    if let options = try document.optional("options") {
      plan.counting = try options.optional("top_k")?.oneOf(TopKCounting.allCases)
      plan.coactivation = try options.optional("coactivation")?.bool()
    }
    plan.tool = try document.optional("tool")?.string()
  }
}
