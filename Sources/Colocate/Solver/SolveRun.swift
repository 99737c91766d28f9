import ColocateModel

/// One run of the solver: splits an instance into single-level problems and puts their answers
/// together.
///
/// flat — one problem, groups are GPUs. staged and joint have files of their own.
struct SolveRun: Sendable {
  let instance: Instance
  let options: SolverOptions
  let control: SearchControl
  let feed: ProgressFeed
  /// What every progress line with news carries.
  let best: BestPlacement
  /// What contradicts the known solution.
  let faults: FaultLog

  init(instance: Instance, options: SolverOptions, control: SearchControl, feed: ProgressFeed) {
    self.instance = instance
    self.options = options
    self.control = control
    self.feed = feed
    best = BestPlacement(instance: instance)
    faults = FaultLog { [control] _ in control.cancel() }
  }

  var topology: Topology { instance.topology }
  var counts: TransitionCounts { instance.counts }

  func run() -> SolverOutcome {
    switch instance.objective {
    case .flat: return flat()
    case .staged: return topology.nodes == 1 || topology.gpusPerNode == 1 ? flat() : staged()
    case .joint(let weights):
      // On one node, or with one GPU a node, the two levels are one.
      if topology.nodes == 1 { return flat(scale: weights.intraNode) }
      if topology.gpusPerNode == 1 { return flat(scale: weights.interNode) }
      return joint(weights)
    }
  }

  // MARK: - One level

  private func flat(scale: Int = 1) -> SolverOutcome {
    let solver = StageSolver(
      stage: .gpus, problem: instance.gpuProblem, options: options, control: control, feed: feed,
      known: known(.gpus, instance.gpuProblem))
    solver.complete = { [self] in placement($0) }
    let answer = solver.solve(warmStart: options.warmStart?.assignment)
    return outcome(
      Parts(
        labels: answer.labels, bound: answer.outcome.bound.map { scale * $0 },
        stages: [answer.outcome], stopReason: answer.stopReason, fault: answer.internalFault,
        proofs: [answer.proof].compactMap { $0 }))
  }

  // MARK: - The answer

  /// What an objective's own work comes to.
  struct Parts {
    var labels: [Int]?
    /// No placement's value is less; nil where nothing is known.
    var bound: Int?
    var stages: [StageOutcome]
    var stopReason: StopReason
    var isInfeasible = false
    /// Whether the placement is proved; nil where every stage being so says it.
    var isProved: Bool?
    var fault: String?
    var proofs: [StageProof] = []
    var joint: JointComparison?
  }

  func placement(_ labels: [Int]) -> Placement {
    Placement(
      unchecked: topology, layers: counts.layers, experts: counts.experts, assignment: labels)
  }

  func outcome(_ parts: Parts) -> SolverOutcome {
    let placement = parts.labels.map { self.placement($0).canonical() }
    // A placement of these counts by construction: nothing to throw.
    let crossings = placement.flatMap { try? counts.crossings(of: $0) }
    let value = crossings.map { instance.objective.value(of: $0) }
    var (bound, fault) = (parts.bound, faults.text ?? parts.fault)
    if fault == nil, let value, let known = bound, known > value {
      fault = "the bound \(known) is above the value \(value) of a placement"
    }
    let proves = parts.isProved ?? parts.stages.allSatisfy { $0.status == .optimal }
    fault = fault ?? contradiction(value: value, bound: bound, isOptimal: proves)
    if fault != nil { bound = nil }
    var statistics = SolverOutcome.Statistics()
    statistics.treeNodes = parts.stages.reduce(0) { $0 + $1.treeNodes }
    statistics.work = control.workSpent
    statistics.seconds = control.elapsed
    let isInfeasible =
      placement == nil && (parts.isInfeasible || parts.stages.first?.status == .infeasible)
    let isOptimal =
      fault == nil && value != nil && proves
    return SolverOutcome(
      status: isInfeasible
        ? .infeasible : isOptimal ? .optimal : value == nil ? .unknown : .feasible,
      stopReason: control.isCancelled && !isOptimal && !isInfeasible
        ? .cancelled : parts.stopReason,
      placement: placement, crossings: crossings, value: value, bound: bound,
      stages: parts.stages, joint: parts.joint, internalFault: fault,
      proofs: fault == nil ? parts.proofs : [], statistics: statistics)
  }
}
