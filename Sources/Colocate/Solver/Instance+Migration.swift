import ColocateModel

/// Plans in view of where the experts are now.
extension Instance {
  /// What `value` is for searches that look at one number: flat as it is, staged and joint by the
  /// joint weights.
  private func saved(_ weights: JointWeights) -> SavedWeights {
    guard hasTwoLevels else { return .flat(groups: topology.gpus) }
    switch objective {
    case .flat: return .flat(groups: topology.gpus)
    case .staged: return .joint(topology: topology, weights: weights)
    case .joint(let weights): return .joint(topology: topology, weights: weights)
    }
  }

  private var hasTwoLevels: Bool { topology.nodes > 1 && topology.gpusPerNode > 1 }

  /// `placement` under other names of GPUs (and of nodes, where they count), worth the same by the
  /// objective or more, so that few experts leave the GPU on which `current` has them: the fewest
  /// of all names that are the same in every layer (`FewestMoves`).
  /// - Parameters:
  ///   - placement: the new one.
  ///   - current: where experts are now.
  ///   - weights: at which a staged plan's two levels count.
  /// - Throws: `ModelError.placement` where one of them is for a model or machine of other sizes.
  public func renamed(
    _ placement: Placement, near current: Placement, weights: JointWeights = JointWeights()
  ) throws(ModelError) -> Placement {
    try check(placement)
    try check(current)
    let naming = FewestMoves(
      problem: reduced.gpuProblem, saved: saved(weights), perNode: topology.gpusPerNode,
      keepsNodes: hasTwoLevels && objective != .flat, current: current.assignment)
    let renamed = Placement(
      unchecked: topology, layers: placement.layers, experts: placement.experts,
      assignment: naming.renamed(placement.assignment))
    // Two levels that are minimised one after the other are not one number.
    guard try isAsGood(renamed, as: placement) else {
      return Placement(
        unchecked: topology, layers: placement.layers, experts: placement.experts,
        assignment: naming.renamedAlike(placement.assignment))
    }
    return renamed
  }

  private func isAsGood(
    _ a: Placement, as b: Placement
  ) throws(ModelError) -> Bool {
    let (new, old) = (try counts.crossings(of: a), try counts.crossings(of: b))
    guard objective == .staged, hasTwoLevels else {
      return objective.value(of: new) <= objective.value(of: old)
    }
    return (new.node, new.gpu) <= (old.node, old.gpu)
  }

  private func check(_ placement: Placement) throws(ModelError) {
    try counts.check(placement)
    guard placement.topology == topology else {
      throw .placement(
        "the placement is for \(placement.topology.nodes) × \(placement.topology.gpusPerNode) "
          + "GPUs, the instance has \(topology.nodes) × \(topology.gpusPerNode)")
    }
  }

  /// The best plan found within `limit` moves of `current`, and a bound on what any such plan
  /// costs.
  public struct LimitedAnswer: Hashable, Sendable {
    /// nil where none within the load cap was found.
    public let placement: Placement?
    /// No placement within the limit has a smaller `Objective.value(of:)`; nil for staged.
    public let bound: Int?
  }

  /// Looks for the best plan in which at most `limit` experts are on other GPUs than now.
  /// - Parameters:
  ///   - limit: experts that may move, over all layers.
  ///   - current: where experts are now.
  ///   - wanted: plans to go as far towards as the limit allows, within the load cap.
  ///   - weights: at which a staged plan's two levels count.
  ///   - seed: of the search's choices.
  ///   - timeLimit: seconds at the most.
  ///   - isCancelled: asked again and again.
  /// - Throws: `ModelError.placement` where a placement is of other sizes.
  public func limited(
    to limit: Int, from current: Placement, towards wanted: [Placement] = [],
    weights: JointWeights = JointWeights(), seed: UInt64 = 1, timeLimit: Double? = nil,
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws(ModelError) -> LimitedAnswer {
    try check(current)
    for placement in wanted { try check(placement) }
    let saved = saved(weights)
    let control = SearchControl(timeLimit: timeLimit, cancelledWhen: isCancelled)
    let search = LimitedMoves(
      problem: reduced.gpuProblem, saved: saved, home: current.assignment, limit: limit,
      seed: seed, control: control)
    var starts = wanted.map(\.assignment)
    if let repaired = repaired(unchecked: current) { starts.append(repaired.assignment) }
    let labels = search.best(from: starts)
    var bound: Int?
    if objective != .staged || !hasTwoLevels {
      let least = objective.value(of: try counts.crossings(of: current))
      // Of one level with a weight of its own, the search counted crossings.
      let scale = hasTwoLevels ? 1 : objective.perCrossing(topology)
      let (gain, overflow) = search.mostGain.multipliedReportingOverflow(by: counts.unit * scale)
      bound = overflow ? 0 : max(0, least - gain)
    }
    return LimitedAnswer(
      placement: labels.map {
        Placement(
          unchecked: topology, layers: counts.layers, experts: counts.experts, assignment: $0)
      }, bound: bound)
  }
}

extension Objective {
  /// What a GPU crossing costs on machines of one level.
  fileprivate func perCrossing(_ topology: Topology) -> Int {
    guard case .joint(let weights) = self else { return 1 }
    return topology.nodes == 1 ? weights.intraNode : weights.interNode
  }
}

extension SolverOutcome {
  /// The same answer under other names: a placement worth as much or more.
  /// - Throws: `ModelError.placement` where it is for a model of other sizes.
  public func replacing(
    placement: Placement, on instance: Instance
  ) throws(ModelError) -> SolverOutcome {
    let crossings = try instance.counts.crossings(of: placement)
    return SolverOutcome(
      status: status, stopReason: stopReason, placement: placement, crossings: crossings,
      value: instance.objective.value(of: crossings), bound: bound, stages: stages, joint: joint,
      internalFault: internalFault, proofs: proofs, statistics: statistics)
  }

  /// The answer within a limit of moves: its bound is the better one of what any placement costs
  /// and what one within the limit does. What was proved of the stages is of another placement, and
  /// is left out.
  /// - Throws: `ModelError.placement` where it is for a model of other sizes.
  public func replacing(
    limited: Instance.LimitedAnswer, on instance: Instance
  ) throws(ModelError) -> SolverOutcome {
    let crossings = try limited.placement.map { placement throws(ModelError) in
      try instance.counts.crossings(of: placement)
    }
    let value = crossings.map { instance.objective.value(of: $0) }
    let bound = [self.bound, limited.bound].compactMap { $0 }.max()
    let isOptimal = value != nil && value == bound && internalFault == nil
    let isFinished = stopReason == .proved || stopReason == .gap
    return SolverOutcome(
      status: isOptimal ? .optimal : value == nil ? .unknown : .feasible,
      stopReason: isOptimal ? .proved : isFinished ? .finished : stopReason,
      placement: limited.placement, crossings: crossings, value: value,
      bound: internalFault == nil ? bound : nil, stages: [], joint: nil,
      internalFault: internalFault, proofs: [], statistics: statistics)
  }
}
