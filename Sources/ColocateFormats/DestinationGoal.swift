import Colocate

/// What a plan minimised where it was not crossings: the other objectives of `solve`.
///
///     { "mode": "home", "name": "flat" }, nodes, staged, or joint with inter_node and intra_node;
///       with "crossing_weight" where crossings counted too
///     { "mode": "coherent", "name": "rows" }
public enum DestinationGoal: Hashable, Sendable {
  /// Destinations of an engine that sends tokens home, and so much for each GPU crossing.
  case home(DestinationObjective, crossingWeight: Int = 0)
  /// Rows that coherent mode sends, with several experts a token.
  case rows

  /// What a placement is worth.
  /// - Returns: nil where a figure that it takes is not known.
  public func value(destinations: Destinations, crossings: Crossings?, rows: CoherentRows?) -> Int?
  {
    switch self {
    case .home(let objective, let weight):
      let value = objective.value(of: destinations)
      if weight == 0 { return value }
      return crossings.map { value + weight * $0.gpu }
    case .rows: return rows?.total
    }
  }
}

extension SharedFields {
  private enum GoalName: String, CaseIterable {
    case flat, nodes, staged, joint, rows
  }

  static func json(_ goal: DestinationGoal) -> JSONText {
    func named(_ mode: String, _ name: GoalName, _ rest: Members = []) -> JSONText {
      .object([("mode", .string(mode)), ("name", .string(name.rawValue))] + rest)
    }
    guard case .home(let objective, let weight) = goal else { return named("coherent", .rows) }
    let more: Members = weight == 0 ? [] : [("crossing_weight", .integer(weight))]
    switch objective {
    case .gpus: return named("home", .flat, more)
    case .nodes: return named("home", .nodes, more)
    case .staged: return named("home", .staged, more)
    case .joint(let inter, let intra):
      return named(
        "home", .joint, [("inter_node", .integer(inter)), ("intra_node", .integer(intra))] + more)
    }
  }

  /// The goal of an objective that has a mode.
  /// - Throws: for another mode or name, other keys, or weights that are out of order.
  static func goal(_ node: JSONNode) throws(JSONProblem) -> DestinationGoal {
    let mode = try node.member("mode").string()
    let name: GoalName = try node.member("name").oneOf(GoalName.allCases)
    guard mode == (name == .rows ? "coherent" : "home") else {
      throw JSONProblem(message: "objective '\(name.rawValue)' in mode '\(mode)'")
    }
    try node.checkKeys(
      ["mode", "name"] + (name == .rows ? [] : ["crossing_weight"])
        + (name == .joint ? ["inter_node", "intra_node"] : []))
    if name == .rows { return .rows }
    let weight = try node.optional("crossing_weight")?.integer() ?? 0
    guard (0...(1 << 20)).contains(weight) else {
      throw JSONProblem(message: "'crossing_weight' is \(weight), expected 0 to \(1 << 20)")
    }
    switch name {
    case .flat, .rows: return .home(.gpus, crossingWeight: weight)
    case .nodes: return .home(.nodes, crossingWeight: weight)
    case .staged: return .home(.staged, crossingWeight: weight)
    case .joint:
      let inter = try node.member("inter_node").integer()
      let intra = try node.member("intra_node").integer()
      guard 0 <= intra, intra <= inter, (1...(1 << 20)).contains(inter) else {
        throw JSONProblem(
          message: "weights \(inter) and \(intra), expected 0 ≤ intra_node ≤ inter_node ≤ 2^20")
      }
      return .home(.joint(interNode: inter, intraNode: intra), crossingWeight: weight)
    }
  }
}
