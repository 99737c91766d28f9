import Colocate
import ColocateFormats

/// An answer about destinations for people, in lines of at most 80 columns.
enum DestinationSummary {
  static func lines(
    _ plan: PlanFile, _ outcome: DestinationOutcome, goal: DestinationGoal
  ) -> [String] {
    guard let destinations = plan.destinations, let imbalance = plan.loadImbalance else {
      return []
    }
    let topology = plan.placement.topology
    var lines = [head(plan, outcome, goal)]
    lines += text(of: destinations, topology: topology)
    lines += proof(plan, outcome, goal)
    if let crossings = plan.crossings, crossings.total > 0 {
      lines.append(
        row(
          "GPU crossings",
          "\(crossings.gpu) of \(crossings.total) (\(Show.percent(crossings.gpuShare))), not sent "
            + "in home mode"))
    }
    lines += SolveSummary.load(imbalance, plan.loadCap)
    if let cap = plan.loadCap { lines.append(row("", SampleNote.line(forCap: cap.ratio))) }
    return lines
  }

  /// Destinations, in a line or two.
  static func text(of destinations: Destinations, topology: Topology) -> [String] {
    var lines = [
      row(
        "GPUs per token",
        "\(Show.fixed(destinations.gpusPerToken, 4)) of \(topology.gpus), a layer's mean")
    ]
    if topology.nodes > 1 {
      lines.append(
        row(
          "nodes per token",
          "\(Show.fixed(destinations.nodesPerToken, 4)) of \(topology.nodes)"))
    }
    return lines
  }

  private static func head(
    _ plan: PlanFile, _ outcome: DestinationOutcome, _ goal: DestinationGoal
  ) -> String {
    let isStaged = goal == .home(.staged) && plan.placement.topology.nodes > 1
    let status = plan.status ?? .feasible
    let what =
      isStaged && status == .optimal
      ? "each step proved"
      : "\(status.rawValue) (\((plan.stopReason ?? outcome.stopReason).rawValue))"
    return "\(what) after \(Show.seconds(outcome.seconds))"
  }

  private static func proof(
    _ plan: PlanFile, _ outcome: DestinationOutcome, _ goal: DestinationGoal
  ) -> [String] {
    guard case .home(let objective, let weight) = goal else { return rows(plan) }
    let proved = outcome.layers.count { $0.status == .optimal }
    let layers = "\(proved) of \(outcome.layers.count) layers proved"
    var lines = [String]()
    if weight > 0, let value = plan.value {
      lines.append(row("cost", "\(value) = destinations + \(weight) × GPU crossings"))
    } else if case .joint(let inter, let intra) = objective, let value = plan.value {
      lines.append(
        row("joint cost", "\(value) = \(inter) × nodes + \(intra) × further GPUs of tokens"))
    }
    guard let bound = plan.bound, let gap = plan.gap else {
      return lines + [row("proof", plan.bound == nil && proved == 0 ? "none" : layers)]
    }
    let note = weight > 0 ? ", of the destinations alone" : ""
    return lines + [row("bound", "\(bound), gap \(Show.percent(gap, 3)), \(layers)\(note)")]
  }

  private static func rows(_ plan: PlanFile) -> [String] {
    guard let value = plan.value else { return [] }
    var lines = [row("rows", "\(value) dispatched and combined")]
    if let bound = plan.bound, let gap = plan.gap {
      lines.append(row("bound", "\(bound), gap \(Show.percent(gap, 3)), from destinations alone"))
    }
    return lines
  }

  private static func row(_ name: String, _ text: String) -> String {
    SolveSummary.row(name, text)
  }
}

/// What to know about the tokens that a plan was made from.
enum SampleNote {
  /// Sequences below which a plan carries over badly to other traffic.
  static let fewSequences = 100
  /// How much more, of an even share, the fullest GPU of a layer may carry on unseen sequences than
  /// on those that a plan was made from (`Benchmarks/results/destinations-2026-11-27.md`).
  static let loadMargin = 0.15

  /// The cap to plan with so that `cap` is kept on unseen traffic.
  static func line(forCap cap: Double) -> String {
    let planned = ((cap - loadMargin) * 100).rounded() / 100
    return planned > 1
      ? "(for \(cap) on unseen traffic plan with --max-load \(planned))"
      : "(unseen traffic may add \(loadMargin), more than a smaller cap can take off)"
  }

  static func lines(_ sets: TokenSets, paths: [String]) -> [String] {
    let sample = sets.sample
    let files = FormatError(paths.joined(separator: " + "), "").file
    var lines = [String]()
    if !sample.isWhole {
      lines.append(
        "colocate: note: \(files): \(sample.tokensTaken) of \(sample.tokensRead) tokens are "
          + "looked at, whole sequences of them, as many as memory was set aside for")
    }
    if sample.sequencesAreNamed, sample.sequencesTaken < fewSequences {
      lines.append(
        "colocate: warning: \(files): \(sample.sequencesTaken) sequences; with fewer than "
          + "\(fewSequences) a plan carries over badly to other traffic")
    }
    return lines
  }
}
