import ColocateModel
import Synchronization

/// Places experts with copies: `S = E + R` slots a layer, so that tokens go to few GPUs (or nodes)
/// under the rule by which a stack chooses among copies.
///
///     let outcome = try ReplicaSolver().solve(
///       sets, topology: Topology(gpus: 8), redundant: 8, rule: .sglang, loadCap: LoadCap(1.1))
///     print(outcome.destinations.gpusPerToken)
///
/// Which experts have copies follows from their loads (`CopyCounts`), where they are from a search
/// by swaps, layer by layer (`SlotSearch`). No bound is known of such plans, so none is claimed.
public struct ReplicaSolver: Sendable {
  /// What to spend, and when to stop. Of these `proves`, `warmStart` and `starts` have no meaning
  /// here.
  public let options: DestinationOptions

  public init(_ options: DestinationOptions = DestinationOptions()) { self.options = options }

  /// Finds a plan. Always answers with one that has all slots filled, however short the limits.
  ///
  /// - Parameters:
  ///   - redundant: `R`, slots beyond one for each expert.
  ///   - objective: what to minimise, of means; not `staged`.
  ///   - progress: called at the start and for each layer that is done, from any thread, one call
  ///     at a time; `.stop` ends the run with what there is.
  /// - Throws: `ModelError.sizes` where the slots do not spread evenly over the GPUs, or are more
  ///   than one of each expert on every GPU; `ModelError.option` for `staged` and weights that are
  ///   out of order; `ModelError.cap` where no plan within the cap was found.
  public func solve(
    _ sets: TokenSets, topology: Topology, redundant: Int, rule: DispatchRule,
    objective: DestinationObjective = .gpus, loadCap: LoadCap? = nil,
    progress: @escaping @Sendable (ReplicaProgress) -> ProgressAction = { _ in .proceed }
  ) throws(ModelError) -> ReplicaOutcome {
    try Self.check(sets.experts, topology, redundant, objective)
    let slots = sets.experts + redundant
    let control = SearchControl(
      timeLimit: options.timeLimit, workLimit: options.workLimit, threads: options.threads)
    let searches = try Self.searches(
      sets, topology, slots: slots, rule, objective, loadCap, seed: options.seed)
    let first = searches.map { $0(control).best.slots }
    let rows = Mutex(first)
    @Sendable func report(_ layer: Int?, _ slots: [[Int]]) {
      guard
        let plan = try? SlotPlan(topology: topology, experts: sets.experts, slots: slots)
      else { return }
      let news = ReplicaProgress(
        layer: layer, layers: sets.layers, plan: plan, seconds: control.elapsed)
      if progress(news) == .stop { control.cancel() }
    }
    rows.withLock { report(nil, $0) }
    let work = options.workLimit.map { max(1, $0 / sets.layers) }
    let begun = Atomic<Int>(0)
    let found = concurrentMap(sets.layers, threads: control.threads) { layer in
      let waiting = sets.layers - begun.wrappingAdd(1, ordering: .relaxed).oldValue
      let threads = Double(min(control.threads, waiting))
      let part = control.share(
        seconds: control.remaining * threads / Double(waiting), work: work)
      var search = searches[layer](part)
      search.run()
      control.spend(part.workSpent)
      rows.withLock { rows in
        rows[layer] = Self.ordered(search.best.slots, gpus: topology.gpus)
        report(layer, rows)
      }
      return LayerEnd(best: search.best, isCut: part.isOver)
    }
    try Self.check(found, loadCap, sets)
    let plan = try SlotPlan(
      topology: topology, experts: sets.experts, slots: rows.withLock { $0 })
    let destinations = try sets.destinations(of: plan, rule: rule)
    let reason: StopReason =
      control.isCancelled
      ? .cancelled
      : !found.contains { $0.isCut } ? .finished : options.timeLimit == nil ? .work : .time
    return ReplicaOutcome(
      stopReason: reason, plan: plan, destinations: destinations,
      value: objective.value(of: destinations),
      relaxedLayers: found.count { $0.best.excess > 0 }, seconds: control.elapsed,
      work: control.workSpent)
  }

  private struct LayerEnd: Sendable {
    let best: SlotSearch.Found
    /// Whether a limit ended the search.
    let isCut: Bool
  }

  private static func check(
    _ experts: Int, _ topology: Topology, _ redundant: Int, _ objective: DestinationObjective
  ) throws(ModelError) {
    switch objective {
    case .staged: throw .option("copies of experts are not placed in stages: expected joint")
    case .joint(let inter, let intra):
      guard inter >= intra, intra >= 0, inter > 0, inter <= 1 << 20 else {
        throw .option(
          "weights of \(inter) between nodes and \(intra) inside: expected "
            + "inside from 0 to between, and between from 1 to \(1 << 20)")
      }
    case .gpus, .nodes: break
    }
    try checkSizes(experts, topology, redundant)
  }

  /// - Throws: `ModelError.sizes` where the slots do not spread evenly over the GPUs, or are more
  ///   than one of each expert on every GPU.
  static func checkSizes(
    _ experts: Int, _ topology: Topology, _ redundant: Int
  ) throws(ModelError) {
    let gpus = topology.gpus
    guard redundant >= 0, redundant <= experts * (gpus - 1) else {
      throw .sizes(
        "\(redundant) redundant slots for \(experts) experts on \(gpus) GPUs: expected 0 to "
          + "\(experts * (gpus - 1)), one copy of each on every GPU")
    }
    guard (experts + redundant) % gpus == 0 else {
      let least = (gpus - experts % gpus) % gpus
      throw .sizes(
        "\(experts) experts and \(redundant) redundant slots do not spread evenly over \(gpus) "
          + "GPUs: expected \(least == 0 ? gpus : least) redundant ones, or \(gpus), \(2 * gpus), "
          + "… more")
    }
  }

  /// For each layer what makes its search, given the control of its part of the run.
  private static func searches(
    _ sets: TokenSets, _ topology: Topology, slots: Int, _ rule: DispatchRule,
    _ objective: DestinationObjective, _ loadCap: LoadCap?, seed: UInt64
  ) throws(ModelError) -> [@Sendable (SearchControl) -> SlotSearch] {
    var searches = [@Sendable (SearchControl) -> SlotSearch]()
    for (index, layer) in sets.layerSets.enumerated() {
      let counts = CopyCounts.counts(layer.loads, slots: slots, gpus: topology.gpus)
      // Whether one hash can be followed depends on how many copies there are, not on where.
      let copies = counts.map { [Int](repeating: 0, count: $0) }
      do throws(ModelError) {
        try LayerCopies(copies, topology: topology, rule: rule).check(layer)
      } catch {
        throw .sizes("layer \(index): \(error.description)")
      }
      let cap = loadCap.map {
        $0.ratio * Double(layer.loads.reduce(0, +)) / Double(topology.gpus)
      }
      var stream = SeededGenerator.stream(seed: seed, index: index)
      let layerSeed = stream.next()
      searches.append { control in
        SlotSearch(
          layer, topology: topology, rule: rule, objective: objective, cap: cap, counts: counts,
          seed: layerSeed, control: control)
      }
    }
    return searches
  }

  /// - Throws: `ModelError.cap` where a layer is beyond a cap that is not to be relaxed.
  private static func check(
    _ found: [LayerEnd], _ loadCap: LoadCap?, _ sets: TokenSets
  ) throws(ModelError) {
    guard let loadCap, !loadCap.relaxedToFeasible,
      let layer = found.firstIndex(where: { $0.best.excess > 0 })
    else { return }
    throw .cap(
      "layer \(layer): no plan with copies within the load cap of \(loadCap.text) was found, and "
        + "it is not proved that there is none: expected a larger cap, one that may be relaxed, or "
        + "more redundant slots")
  }

  /// The experts of each GPU in ascending order: no GPU holds one twice, so no rule sees it.
  private static func ordered(_ slots: [Int], gpus: Int) -> [Int] {
    let room = slots.count / gpus
    return (0..<gpus).flatMap { slots[($0 * room)..<(($0 + 1) * room)].sorted() }
  }
}

/// A layer that is done, or the start of a run.
public struct ReplicaProgress: Sendable {
  /// The layer that is done; nil at the start.
  public let layer: Int?
  public let layers: Int
  /// The plan so far, all slots filled; layers that are not done may be beyond the load cap.
  public let plan: SlotPlan
  /// Seconds since the start.
  public let seconds: Double
}

/// The answer of a run of `ReplicaSolver`. No bound belongs to it.
public struct ReplicaOutcome: Sendable {
  /// Why the run ended.
  public let stopReason: StopReason
  public let plan: SlotPlan
  /// The plan's means, by the definition in `SlotDestinations.swift`.
  public let destinations: SlotDestinations
  /// `DestinationObjective.value(of:)` of them.
  public let value: Double
  /// Layers beyond the load cap, where it may be relaxed.
  public let relaxedLayers: Int
  /// Seconds of wall time.
  public let seconds: Double
  /// Work spent, in the units of `DestinationOptions.workLimit`.
  public let work: Int
}
