import Colocate
import ColocateFormats
import Dispatch

/// One method of a comparison whose plan has copies of experts.
struct CopyRow {
  let method: String
  let plan: SlotPlan
  let seconds: Double
  /// Whether the plan breaks the load cap; nil without a cap.
  let breaksCap: Bool?
}

/// The plans with copies of a comparison: EPLB's as people run it and the solver's, judged by the
/// same rule of which copy serves a token.
struct CopyComparison {
  let redundant: Int
  let rule: DispatchRule
  private(set) var rows = [CopyRow]()

  init(redundant: Int, rule: DispatchRule) { (self.redundant, self.rule) = (redundant, rule) }

  /// Adds both methods' plans.
  mutating func run(
    _ sets: TokenSets, topology: Topology, cap: LoadCap?, options: DestinationOptions,
    interrupt: Interrupt
  ) throws(ModelError) {
    let start = DispatchTime.now().uptimeNanoseconds
    let packed = try EPLBReplicas.plan(sets, topology: topology, redundant: redundant)
    let seconds = Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-9
    rows.append(try row("EPLB, \(redundant) redundant", packed, seconds, sets, cap))
    let relaxed = try cap.map { cap throws(ModelError) in
      try LoadCap(
        numerator: cap.numerator, denominator: cap.denominator, relaxedToFeasible: true)
    }
    let outcome = try ReplicaSolver(options).solve(
      sets, topology: topology, redundant: redundant, rule: rule, loadCap: relaxed
    ) { _ in interrupt.isRequested ? .stop : .proceed }
    rows.append(
      try row("colocate, \(redundant) redundant", outcome.plan, outcome.seconds, sets, cap))
  }

  private func row(
    _ method: String, _ plan: SlotPlan, _ seconds: Double, _ sets: TokenSets, _ cap: LoadCap?
  ) throws(ModelError) -> CopyRow {
    let peak = try sets.destinations(of: plan, rule: rule).balance.worstPeak
    return CopyRow(
      method: method, plan: plan, seconds: seconds,
      breaksCap: cap.map { peak > $0.ratio * (1 + 1e-6) })
  }

  /// What stands above the table.
  var heading: String {
    "copies of experts: \(redundant) redundant slots a layer, --dispatch \(rule.rawValue), means"
  }

  /// The cells of a table of `HomeComparison`.
  func cells(
    _ row: CopyRow, on sets: TokenSets, showsNodes: Bool, isSeen: Bool
  ) throws(ModelError) -> [String] {
    let found = try sets.destinations(of: row.plan, rule: rule)
    var cells = [row.method, Show.ratio(found.gpusPerToken)]
    if showsNodes { cells.append(Show.ratio(found.nodesPerToken)) }
    cells += ["-", Show.ratio(found.balance.worstPeak)]
    guard isSeen else { return cells }
    return cells + [Show.seconds(row.seconds)]
      + (row.breaksCap == true ? ["breaks the cap"] : ["-", "-"])
  }

  func json(
    _ row: CopyRow, on sets: TokenSets, unseen: TokenSets?
  ) throws(ModelError) -> JSONText {
    let found = try sets.destinations(of: row.plan, rule: rule)
    var members: [(key: String, value: JSONText)] = [
      ("method", .string(row.method)), ("seconds", .number(row.seconds)),
      ("redundant", .integer(redundant)), ("dispatch", .string(rule.rawValue)),
      ("destinations", SlotPlanFile.json(found)),
      ("max_load", .number(found.balance.worstPeak)),
      ("breaks_cap", row.breaksCap.map { .bool($0) } ?? nil),
    ]
    if let unseen {
      let other = try unseen.destinations(of: row.plan, rule: rule)
      members += [
        ("holdout_destinations", SlotPlanFile.json(other)),
        ("holdout_max_load", .number(other.balance.worstPeak)),
      ]
    }
    return .object(members)
  }
}
