import ColocateModel

/// joint — both levels in one objective. With `J = w_inter · node + w_intra · (gpu − node)` and
/// `w_inter ≥ w_intra`
///
///     J = w_intra · gpu + (w_inter − w_intra) · node
///       ≥ w_intra · bound(GPUs) + (w_inter − w_intra) · bound(nodes)
///
/// which is the bound reported, from two single-level problems. The placements that those find are
/// tried by the joint objective too.
extension SolveRun {
  func joint(_ weights: JointWeights) -> SolverOutcome {
    let begun = control.elapsed
    let saved = SavedWeights.joint(topology: topology, weights: weights)
    let share = control.remaining.isFinite ? control.remaining * (options.proves ? 0.4 : 1) : 20
    feed.begin(stage: .joint, total: weights.interNode * instance.gpuProblem.total)
    _ = twoLevel(
      saved: saved, seconds: share, warmStart: options.warmStart?.assignment
    ) { [feed] entry, placement in
      feed.incumbent(kept: entry.kept, source: entry.source, placement: placement)
    }
    var parts = Parts(stages: [], stopReason: .finished)
    let levels = options.proves ? levels(weights, into: &parts) : Levels()
    if !parts.isInfeasible {
      parts.labels = best.placement?.assignment
      parts.bound = jointBound(weights, gpus: levels.gpus, nodes: levels.nodes)
    }
    let value = parts.labels.flatMap { labels in
      try? counts.crossings(of: placement(labels))
    }.map { weights.value(of: $0) }
    let isProved = value != nil && value == parts.bound && parts.fault == nil
    parts.stopReason = stopReason(
      isProved: isProved || parts.isInfeasible, value: value, bound: parts.bound,
      limit: levels.limit)
    let stage = StageOutcome(
      stage: .joint,
      status: parts.isInfeasible
        ? .infeasible : isProved ? .optimal : value == nil ? .unknown : .feasible,
      stopReason: parts.stopReason, value: value, bound: parts.bound,
      boundMethod: parts.bound == nil ? nil : .gpusAndNodes, treeNodes: 0,
      seconds: control.elapsed - begun)
    parts.stages.insert(stage, at: 0)
    parts.isProved = isProved
    return outcome(parts)
  }

  /// Bounds on GPU crossings and on node crossings, and the limit that ended the first of the two
  /// that one ended.
  private struct Levels {
    var gpus: Int?
    var nodes: Int?
    var limit: StopReason?
  }

  /// The two single-level problems, those of them that the weights take into account.
  private func levels(_ weights: JointWeights, into parts: inout Parts) -> Levels {
    var options = self.options
    options.keepsCertificate = false
    options.warmStart = nil
    var levels = Levels()
    func solve(_ solver: StageSolver, from labels: [Int]?) -> Int? {
      let answer = solver.solve(warmStart: labels)
      parts.stages.append(answer.outcome)
      parts.fault = parts.fault ?? answer.internalFault
      parts.isInfeasible = parts.isInfeasible || answer.isInfeasible
      if [StopReason.time, .work, .treeNodes].contains(answer.stopReason) {
        levels.limit = levels.limit ?? answer.stopReason
      }
      return answer.outcome.bound
    }
    let hasNodes = weights.interNode > weights.intraNode
    if weights.intraNode > 0 {
      let part = control.remaining / (hasNodes ? 2 : 1)
      let gpus = StageSolver(
        stage: .gpus, problem: instance.gpuProblem, options: options,
        control: SearchControl(part: part, of: control), feed: feed,
        known: known(.gpus, instance.gpuProblem))
      gpus.complete = { best.offer($0) }
      levels.gpus = solve(gpus, from: best.placement?.assignment)
    }
    if hasNodes, !parts.isInfeasible {
      let nodes = StageSolver(
        stage: .nodes, problem: instance.nodeProblem, options: options,
        control: SearchControl(part: control.remaining, of: control), feed: feed,
        known: known(.nodes, instance.nodeProblem, byNode: true))
      nodes.complete = { _ in best.placement }
      levels.nodes = solve(nodes, from: best.placement?.assignment.map(topology.node(of:)))
    }
    return levels
  }

  private func stopReason(
    isProved: Bool, value: Int?, bound: Int?, limit: StopReason?
  ) -> StopReason {
    if isProved { return .proved }
    if control.isCancelled { return .cancelled }
    if isGapMet(value: value, bound: bound) { return .gap }
    return control.isTimeOver ? .time : control.isWorkOver ? .work : limit ?? .finished
  }

  private func isGapMet(value: Int?, bound: Int?) -> Bool {
    guard let gap = SolverOutcome.gap(value: value, bound: bound) else { return false }
    return options.gapLimit > 0 && gap <= options.gapLimit
  }

  /// The formula above; an unknown bound of a level counts as 0, two of them as unknown.
  func jointBound(_ weights: JointWeights, gpus: Int?, nodes: Int?) -> Int? {
    let ofGPUs = weights.intraNode == 0 ? nil : gpus
    let ofNodes = weights.interNode == weights.intraNode ? nil : nodes
    guard ofGPUs != nil || ofNodes != nil else { return nil }
    return weights.value(gpu: ofGPUs ?? 0, node: ofNodes ?? 0)
  }

  /// Local search on both levels at once, from the placements that cost nothing. `onIncumbent` gets
  /// each better one, with the best placement so far.
  func twoLevel(
    saved: SavedWeights, seconds: Double, warmStart: [Int]?,
    onIncumbent: @escaping @Sendable (Incumbent.Entry, Placement?) -> Void
  ) -> Incumbent.Entry? {
    let problem = instance.gpuProblem
    let part = SearchControl(part: seconds, of: control)
    let incumbent = Incumbent(notify: { [best] in onIncumbent($0, best.offer($0.labels)) })
    if let warmStart, problem.isFeasible(warmStart) {
      incumbent.offer(warmStart, kept: saved.value(problem, warmStart), source: .warmStart)
    }
    FirstPlacement.each(problem, control: part) {
      incumbent.offer($0, kept: saved.value(problem, $0), source: .baseline)
    }
    guard options.methods.localSearch, !part.shouldStop, incumbent.entry != nil else {
      return incumbent.entry
    }
    let pool = PartitionPool(problem: problem, saved: saved)
    let search = LocalSearch(
      problem: problem, saved: saved, seed: options.seed, control: part, incumbent: incumbent,
      pool: pool, recombines: options.methods.pool)
    search.run(
      rounds: options.methods.localRounds ?? .max,
      target: (saved.group + saved.node) * problem.total)
    return incumbent.entry
  }
}
