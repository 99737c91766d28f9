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
    guard !SlotPlanFile.isNamed(by: document) else {
      throw JSONProblem(
        message: "format '\(SlotPlanFile.formatName)', a plan with copies of experts, expected "
          + "'\(formatName)', one slot for each expert")
    }
    try SharedFields.checkHeader(document, formatName, version: formatVersion)
    var plan = PlanFile(
      placement: try SharedFields.placement(document, machines: document.member("topology")))
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

  /// What the plan says of how it came about.
  private static func parseRecord(
    _ document: JSONNode, into plan: inout PlanFile
  ) throws(JSONProblem) {
    if let objective = try document.optional("objective") {
      if try objective.optional("mode") != nil {
        plan.goal = try SharedFields.goal(objective)
      } else {
        plan.objective = try SharedFields.objective(objective)
      }
    }
    plan.loadCap = try SharedFields.loadCap(document)
    plan.status = try document.optional("status")?.oneOf(SolverStatus.allCases)
    if let reason = try document.optional("stop_reason") {
      // Version 0.1.0 called tree nodes nodes.
      plan.stopReason =
        try reason.string() == "nodes" ? .treeNodes : reason.oneOf(StopReason.allCases)
    }
    plan.value = try crossings("value", of: document)
    plan.bound = try crossings("bound", of: document)
    plan.traces = try SharedFields.traces(document)
    plan.moeLayers = try SharedFields.moeLayers(document, layers: plan.placement.layers)
    if let options = try document.optional("options") {
      plan.counting = try options.optional("top_k")?.oneOf(TopKCounting.allCases)
      plan.coactivation = try options.optional("coactivation")?.bool()
    }
    plan.tool = try document.optional("tool")?.string()
  }
}
