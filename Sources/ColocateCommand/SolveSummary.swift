import Colocate
import ColocateFormats

/// A solve's answer for people, in lines of at most 80 columns.
///
/// "bound" and "gap" stand only beside the number that they bound: GPU crossings for flat, the
/// joint cost for joint. A staged answer minimises two numbers one after the other; of it is said
/// what is proved of each step, and what any placement's joint cost is at least.
enum SolveSummary {
  static func lines(_ plan: PlanFile, _ outcome: SolverOutcome) -> [String] {
    guard let crossings = plan.crossings, let imbalance = plan.loadImbalance else { return [] }
    var lines = [head(outcome)]
    lines.append(row("GPU crossings", share(crossings.gpu, crossings, crossings.gpuShare)))
    if plan.placement.topology.nodes > 1 {
      lines.append(row("node crossings", share(crossings.node, crossings, crossings.nodeShare)))
    }
    if case .joint(let weights)? = plan.objective, let value = plan.value {
      lines.append(
        row("joint cost", "\(value) = \(Show.weights(weights))"))
    }
    if isStaged(outcome) {
      lines += outcome.stages.map { row("  \($0.stage)", text(of: $0)) }
      if let joint = outcome.joint { lines += text(of: joint) }
    } else {
      if let bound = outcome.bound, let gap = outcome.gap {
        lines.append(row("bound", "\(bound), gap \(Show.percent(gap, 3))"))
      } else {
        lines.append(row("bound", "none known"))
      }
      if outcome.stages.count > 1 {
        // The first is the joint cost itself.
        lines += outcome.stages.dropFirst().map { row("  \($0.stage) alone", text(of: $0)) }
      }
    }
    if let destinations = plan.destinations {
      lines += DestinationSummary.text(of: destinations, topology: plan.placement.topology)
    }
    if let rows = plan.rows { lines.append(row("rows", "\(rows.total) dispatched and combined")) }
    return lines + load(imbalance, plan.loadCap)
  }

  /// The load beside its cap.
  static func load(_ imbalance: Double, _ loadCap: LoadCap?) -> [String] {
    let cap = loadCap.map { "(cap \($0.ratio))" } ?? "(no cap)"
    var lines = [
      row("load", "\(Show.ratio(imbalance)) × the mean on any layer's fullest GPU \(cap)")
    ]
    if loadCap?.relaxedToFeasible == true {
      lines.append(row("", "(the cap is relaxed in layers that cannot meet it)"))
    }
    return lines
  }

  /// Whether the answer came about in two steps.
  static func isStaged(_ outcome: SolverOutcome) -> Bool {
    outcome.stages.contains { $0.stage == .nodes } && outcome.stages.first?.stage != .joint
  }

  private static func head(_ outcome: SolverOutcome) -> String {
    let isProved = outcome.status == .optimal
    let what =
      isStaged(outcome) && isProved
      ? "each step proved" : "\(outcome.status.rawValue) (\(outcome.stopReason.rawValue))"
    return "\(what) after \(Show.seconds(outcome.statistics.seconds))"
  }

  static func row(_ name: String, _ text: String) -> String {
    ProgressLog.left(name, 16) + text
  }

  private static func share(_ count: Int, _ crossings: Crossings, _ share: Double) -> String {
    "\(count) of \(crossings.total) (\(Show.percent(share, 4)))"
  }

  /// What is known of one stage.
  static func text(of stage: StageOutcome) -> String {
    let crossings = stage.value.map { "\($0) crossings" } ?? "no placement"
    if stage.status == .optimal { return "\(crossings), proved" }
    guard let bound = stage.bound, let gap = stage.gap else {
      return "\(crossings), no bound (\(stage.stopReason.rawValue))"
    }
    let method = stage.boundMethod.map { " (\($0.rawValue))" } ?? ""
    return "\(crossings), bound \(bound)\(method), gap \(Show.percent(gap))"
  }

  /// What a staged placement costs when both levels count at once.
  private static func text(of joint: JointComparison) -> [String] {
    let weights = Show.weights(joint.weights)
    guard let bound = joint.bound, let gap = joint.gap else {
      return [row("joint cost", "\(joint.value) = \(weights)")]
    }
    return [
      row("joint cost", "\(joint.value) = \(weights);"),
      row("", "any placement's is at least \(bound) (\(Show.percent(gap)) less)"),
    ]
  }
}
