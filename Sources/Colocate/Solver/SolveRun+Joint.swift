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
  func joint(inter: Int, intra: Int) -> SolverOutcome {
    let saved = SavedWeights(
      groupsPerNode: topology.gpusPerNode, group: intra, node: inter - intra)
    let share = control.remaining.isFinite ? control.remaining * (options.proves ? 0.4 : 1) : 20
    let begun = control.elapsed
    feed.begin(stage: "joint", total: inter * instance.gpuProblem.total)
    _ = twoLevel(
      saved: saved, seconds: share, warmStart: options.warmStart?.assignment
    ) { [feed] entry, placement in
      feed.incumbent(kept: entry.kept, source: entry.source, placement: placement)
    }
    var parts = Parts(stages: [], stopReason: .finished)
    var bounds = (gpus: Int?.none, nodes: Int?.none)
    var limit: StopReason?
    if options.proves {
      var options = self.options
      options.keepsCertificate = false
      options.warmStart = nil
      func stage(_ name: String, _ problem: GroupingProblem, part: Double) -> StageSolver {
        StageSolver(
          name: name, problem: problem, options: options,
          control: SearchControl(part: part, of: control), feed: feed,
          known: known(name, problem, byNode: name == "nodes"))
      }
      func solve(_ solver: StageSolver, from labels: [Int]?) -> Int? {
        let answer = solver.solve(warmStart: labels)
        parts.stages.append(answer.outcome)
        parts.fault = parts.fault ?? answer.internalFault
        parts.isInfeasible = parts.isInfeasible || answer.isInfeasible
        if [StopReason.time, .work, .treeNodes].contains(answer.stopReason) {
          limit = limit ?? answer.stopReason
        }
        return answer.outcome.bound
      }
      if intra > 0 {
        let levels = inter > intra ? 2.0 : 1.0
        let gpus = stage("gpus", instance.gpuProblem, part: control.remaining / levels)
        gpus.complete = { best.offer($0) }
        bounds.gpus = solve(gpus, from: best.placement?.assignment)
      }
      if inter > intra, !parts.isInfeasible {
        let nodes = stage("nodes", instance.nodeProblem, part: control.remaining)
        nodes.complete = { _ in best.placement }
        bounds.nodes = solve(nodes, from: best.placement?.assignment.map(topology.node(of:)))
      }
    }
    parts.labels = parts.isInfeasible ? nil : best.placement?.assignment
    parts.bound =
      parts.isInfeasible
      ? nil : jointBound(gpus: bounds.gpus, nodes: bounds.nodes, inter: inter, intra: intra)
    let value = parts.labels.map {
      inter * instance.gpuProblem.total - saved.value(instance.gpuProblem, $0)
    }
    let isProved = value != nil && value == parts.bound && parts.fault == nil
    parts.stopReason =
      isProved || parts.isInfeasible
      ? .proved
      : control.isCancelled
        ? .cancelled
        : isGapMet(value: value, bound: parts.bound)
          ? .gap
          : control.isTimeOver ? .time : control.isWorkOver ? .work : limit ?? .finished
    let stage = StageOutcome(
      name: "joint",
      status: parts.isInfeasible
        ? .infeasible : isProved ? .optimal : value == nil ? .unknown : .feasible,
      stopReason: parts.stopReason, value: value, bound: parts.bound,
      boundMethod: parts.bound == nil ? nil : .gpusAndNodes, treeNodes: 0,
      seconds: control.elapsed - begun)
    parts.stages.insert(stage, at: 0)
    parts.isProved = isProved
    return outcome(parts)
  }

  private func isGapMet(value: Int?, bound: Int?) -> Bool {
    guard let gap = SolverOutcome.gap(value: value, bound: bound) else { return false }
    return options.gapLimit > 0 && gap <= options.gapLimit
  }

  /// The formula above; an unknown bound of a level counts as 0, two of them as unknown.
  func jointBound(gpus: Int?, nodes: Int?, inter: Int, intra: Int) -> Int? {
    let ofGPUs = intra == 0 ? nil : gpus
    let ofNodes = inter == intra ? nil : nodes
    guard ofGPUs != nil || ofNodes != nil else { return nil }
    return intra * (ofGPUs ?? 0) + (inter - intra) * (ofNodes ?? 0)
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
