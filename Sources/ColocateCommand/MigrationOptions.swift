import ArgumentParser
import Colocate
import ColocateFormats

/// The plan in use, and how far a new one may be from it.
struct MigrationOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The plan in use, in any format that convert knows. The search starts from it, and the new "
        + "plan's GPUs are named so that few experts move; how many, and how many bytes, is said.",
      valueName: "PLAN"))
  var current: String?

  @Option(
    help: ArgumentHelp(
      "Look for the best plan in which at most M experts leave their GPU (needs --current).",
      valueName: "M"))
  var maxMoves: Int?

  @Option(
    help: ArgumentHelp(
      "A Hugging Face checkpoint of the model, for the bytes that moves copy (needs --current).",
      valueName: "DIR"))
  var model: String?

  /// The share of the time that the search within a limit of moves gets.
  private static let limitedShare = 0.25

  /// Seconds of the search for any plan, and of that within the limit of moves.
  func times(_ limit: Double?) -> (any: Double?, limited: Double?) {
    guard let limit, maxMoves != nil else { return (limit, limit) }
    return (limit * (1 - Self.limitedShare), limit * Self.limitedShare)
  }

  func validate() throws {
    if let maxMoves, maxMoves < 0 {
      throw ValidationError("--max-moves \(maxMoves): expected 0 or more")
    }
    guard current == nil else { return }
    for (name, isGiven) in [("--max-moves", maxMoves != nil), ("--model", model != nil)]
    where isGiven {
      throw ValidationError("\(name) without --current: expected both")
    }
  }

  /// The plan in use on the machines of this run; nil without `--current`.
  func start(_ input: TraceInput, _ topology: Topology) throws -> WarmStart? {
    try current.map { try WarmStart($0, input: input, topology: topology) }
  }
}

/// From the plan in use to a new one.
struct MigrationStep {
  let options: MigrationOptions
  let instance: Instance
  let current: WarmStart
  let weights: JointWeights
  let sizes: ExpertSizes?

  init(
    _ options: MigrationOptions, _ instance: Instance, _ current: WarmStart, _ weights: JointWeights
  ) throws {
    (self.options, self.instance, self.current) = (options, instance, current)
    self.weights = weights
    sizes = try options.model.map { try ExpertSizes(model: $0) }
  }

  /// The answer under the names that move fewest experts, or the best within the limit of moves.
  func answer(
    _ outcome: SolverOutcome, seed: UInt64, timeLimit: Double?, interrupt: Interrupt
  ) throws -> SolverOutcome {
    guard let found = outcome.placement else { return outcome }
    let placement = current.placement
    let renamed = try instance.renamed(found, near: placement, weights: weights)
    let limit = options.maxMoves ?? .max
    guard try Migration(from: placement, to: renamed).copies > limit else {
      return try outcome.replacing(placement: renamed, on: instance)
    }
    let limited = try instance.limited(
      to: limit, from: placement, towards: [renamed], weights: weights, seed: seed,
      timeLimit: timeLimit, isCancelled: { interrupt.isRequested })
    return try outcome.replacing(limited: limited, on: instance)
  }

  /// What the plan says of the way to it.
  func record(of plan: PlanFile, moeLayers: [Int]?) throws -> MigrationRecord {
    let migration = try Migration(from: current.placement, to: plan.placement)
    var record = MigrationRecord(current: options.current ?? "", migration: migration)
    record.mostCopies = options.maxMoves
    if let sizes {
      let bytes = try sizes.bytes(
        of: migration, experts: plan.placement.experts, moeLayers: moeLayers,
        file: options.model ?? "")
      (record.bytes, record.nodeBytes) = (bytes.copied, bytes.betweenNodes)
    }
    return record
  }

  /// Lines for people.
  static func lines(_ record: MigrationRecord, of placement: Placement) -> [String] {
    let migration = record.migration
    let all = placement.layers * placement.experts
    var text = "\(migration.copies) of \(all) experts are copied"
    if placement.topology.nodes > 1 { text += ", \(migration.nodeCopies) of them between nodes" }
    if let limit = record.mostCopies { text += " (at most \(limit))" }
    var lines = [ProgressLog.left("moves", 16) + text]
    if let bytes = record.bytes {
      func giga(_ bytes: Int) -> String { ProgressLog.fixed(Double(bytes) / 1e9, 3) + " GB" }
      var text = giga(bytes)
      if placement.topology.nodes > 1, let far = record.nodeBytes {
        text += ", \(giga(far)) of it between nodes"
      }
      lines.append(ProgressLog.left("", 16) + text)
    }
    return lines
  }
}
