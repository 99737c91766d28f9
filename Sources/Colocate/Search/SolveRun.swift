import Dispatch
import Synchronization

/// One run of the solver: splits an instance into single-level problems and puts their answers together.
///
/// flat — one problem, groups are GPUs.
///
/// staged — ExFlow's two steps: groups are nodes first; then inside each node its GPUs. With a load cap the first step is searched
/// on both levels at once (node weight above all), because a node whose load is fine need not split into GPUs whose loads are.
///
/// joint — both levels in one objective. With `J = w_inter · node + w_intra · (gpu − node)` and `w_inter ≥ w_intra`
///
///     J = w_intra · gpu + (w_inter − w_intra) · node  ≥  w_intra · bound(GPUs) + (w_inter − w_intra) · bound(nodes)
///
/// which is the bound reported, from two single-level problems.
struct SolveRun: Sendable {
  let instance: Instance
  let options: SolverOptions
  let control: SearchControl
  let feed: ProgressFeed

  private var topology: Topology { instance.topology }
  private var counts: TransitionCounts { instance.counts }

  func run() -> Outcome {
    switch instance.objective {
    case .flat: return flat()
    case .staged: return topology.nodes == 1 || topology.gpusPerNode == 1 ? flat() : staged()
    case .joint(let inter, let intra):
      // On one node, or with one GPU a node, the two levels are one.
      if topology.nodes == 1 { return flat(scale: intra) }
      if topology.gpusPerNode == 1 { return flat(scale: inter) }
      return joint(inter: inter, intra: intra)
    }
  }

  // MARK: - One level

  private func flat(scale: Int = 1) -> Outcome {
    let solver = StageSolver(
      name: "gpus", problem: instance.gpuProblem, options: options, control: control, feed: feed)
    let answer = solver.solve(warmStart: options.warmStart?.assignment)
    return outcome(
      labels: answer.labels, bound: scale * (answer.problem.total - answer.keptBound),
      stages: [answer.outcome], stopReason: answer.stopReason, isInfeasible: answer.isInfeasible,
      proofs: [answer.proof].compactMap { $0 })
  }

  // MARK: - Staged

  private func staged() -> Outcome {
    let perNode = topology.gpusPerNode
    var options = self.options
    var inner: [Int]?
    if instance.capPerLayer != nil {
      // Node weight above all, as far as values stay exact.
      let most = Magnitude.saved / max(1, instance.nodeProblem.total) - 1
      let start = twoLevel(
        saved: SavedWeights(groupsPerNode: perNode, group: 1, node: min(2 * perNode, most)),
        seconds: control.remaining.isFinite ? control.remaining * 0.15 : 10,
        warmStart: options.warmStart?.assignment)
      inner = start
      options.warmStart = start.map {
        Placement(unchecked: topology, counts.layers, counts.experts, $0)
      }
    }
    // A part of the time is for the bound of the joint objective.
    let reserve = options.proves && control.remaining.isFinite ? control.remaining * 0.2 : 0
    let share = control.remaining.isFinite ? control.remaining * 0.45 : .infinity
    let nodeSolver = StageSolver(
      name: "nodes", problem: instance.nodeProblem, options: options,
      control: SearchControl(part: share, of: control), feed: feed)
    if instance.capPerLayer != nil { nodeSolver.accepts = { labels in self.splits(labels) } }
    let start = options.warmStart?.assignment.map { topology.node(of: $0) }
    let nodes = nodeSolver.solve(warmStart: start)
    var stages = [nodes.outcome]
    var proofs = [nodes.proof].compactMap { $0 }
    guard let nodeLabels = nodes.labels else {
      return outcome(
        labels: nil, bound: nodes.problem.total - nodes.keptBound, stages: stages,
        stopReason: nodes.stopReason, isInfeasible: nodes.isInfeasible, proofs: [])
    }
    var assignment = [Int](repeating: 0, count: nodeLabels.count)
    var reasons = [nodes.stopReason]
    for node in 0..<topology.nodes {
      let members = members(of: node, in: nodeLabels)
      let problem = instance.nodeProblem.restricted(
        to: members, groups: perNode, caps: instance.capPerLayer)
      let part = max(0, control.remaining - reserve) / Double(topology.nodes - node)
      var warmStart: [Int]?
      if let labels = inner ?? options.warmStart?.assignment {
        let local = members.indices.flatMap { layer in
          members[layer].map { labels[layer * counts.experts + $0] - node * perNode }
        }
        if problem.isFeasible(local) { warmStart = local }
      }
      let solver = StageSolver(
        name: "node \(node)", problem: problem, options: options,
        control: SearchControl(part: part, of: control), feed: feed)
      let answer = solver.solve(warmStart: warmStart)
      stages.append(answer.outcome)
      reasons.append(answer.stopReason)
      proofs += [answer.proof].compactMap { $0 }
      guard let local = answer.labels else {
        return outcome(
          labels: nil, bound: nodes.problem.total - nodes.keptBound, stages: stages,
          stopReason: answer.stopReason, isInfeasible: false, proofs: [])
      }
      var index = 0
      for (layer, experts) in members.enumerated() {
        for expert in experts {
          assignment[layer * counts.experts + expert] = node * perNode + local[index]
          index += 1
        }
      }
    }
    // With the first step proved: what any placement costs that splits the nodes as it says. Otherwise only what holds for any
    // placement: GPU crossings are at least node crossings.
    let bound =
      nodes.outcome.status == .optimal
      ? nodes.outcome.value + stages.dropFirst().reduce(0) { $0 + $1.bound }
      : nodes.outcome.bound
    return outcome(
      labels: assignment, bound: bound, stages: stages,
      stopReason: reasons.first { $0 != .proved && $0 != .gap }
        ?? (reasons.contains(.gap) ? .gap : .proved),
      isInfeasible: false, proofs: proofs,
      joint: options.proves ? comparison(assignment, nodes: nodes) : nil)
  }

  /// The staged answer against the joint objective. The bound on GPU crossings takes what time was set aside.
  private func comparison(_ labels: [Int], nodes: StageSolver.Answer) -> JointComparison? {
    guard !control.isCancelled else { return nil }
    var options = self.options
    options.keepsCertificate = false
    let gpus = StageSolver(
      name: "gpus (joint bound)", problem: instance.gpuProblem, options: options, control: control,
      feed: feed)
    let answer = gpus.solve(warmStart: labels)
    let (inter, intra) = (options.jointWeights.interNode, options.jointWeights.intraNode)
    let gpuCrossings = answer.problem.total - answer.problem.kept(labels)
    let nodeCrossings =
      nodes.problem.total - nodes.problem.kept(labels.map(topology.node(of:)))
    return JointComparison(
      interNode: inter, intraNode: intra,
      value: inter * nodeCrossings + intra * (gpuCrossings - nodeCrossings),
      bound: intra * (answer.problem.total - answer.keptBound)
        + (inter - intra) * (nodes.problem.total - nodes.keptBound))
  }

  /// Whether every node's experts, layer by layer, are known to spread over its GPUs within the cap.
  private func splits(_ nodeLabels: [Int]) -> Bool {
    guard let caps = instance.capPerLayer else { return true }
    for node in 0..<topology.nodes {
      for (layer, experts) in members(of: node, in: nodeLabels).enumerated() {
        let loads = experts.map { counts.load(layer: layer, expert: $0) }
        let packing = BalancedPacking(
          loads: loads, groups: topology.gpusPerNode, goal: caps[layer], stepLimit: 20_000)
        if packing.maximum > caps[layer] { return false }
      }
    }
    return true
  }

  private func members(of node: Int, in labels: [Int]) -> [[Int]] {
    (0..<counts.layers).map { layer in
      (0..<counts.experts).filter { labels[layer * counts.experts + $0] == node }
    }
  }

  // MARK: - Joint

  private func joint(inter: Int, intra: Int) -> Outcome {
    let total = instance.gpuProblem.total
    let saved = SavedWeights(
      groupsPerNode: topology.gpusPerNode, group: intra, node: inter - intra)
    feed.begin(stage: "joint", total: inter * total)
    let share = control.remaining.isFinite ? control.remaining * (options.proves ? 0.4 : 1) : 20
    let begun = control.elapsed
    let labels = twoLevel(saved: saved, seconds: share, warmStart: options.warmStart?.assignment)
    var bounds = [StageOutcome]()
    var bound = 0
    if options.proves {
      var options = self.options
      options.keepsCertificate = false
      options.warmStart = nil
      let levels = [
        ("gpus", instance.gpuProblem, intra, labels),
        ("nodes", instance.nodeProblem, inter - intra, labels?.map(topology.node(of:))),
      ]
      for (index, (name, problem, weight, labels)) in levels.enumerated() where weight > 0 {
        let solver = StageSolver(
          name: name, problem: problem, options: options,
          control: SearchControl(part: control.remaining / Double(2 - index), of: control),
          feed: feed)
        let answer = solver.solve(warmStart: labels)
        bounds.append(answer.outcome)
        bound += weight * (problem.total - answer.keptBound)
        if answer.isInfeasible {
          return outcome(
            labels: nil, bound: bound, stages: bounds, stopReason: .proved, isInfeasible: true,
            proofs: [])
        }
      }
    }
    let value = labels.map { inter * total - saved.value(instance.gpuProblem, $0) }
    let proved = value == bound
    let reason: StopReason =
      control.isCancelled ? .cancelled : proved ? .proved : control.isTimeOver ? .time : .finished
    let stage = StageOutcome(
      name: "joint", status: proved ? .optimal : .feasible, stopReason: reason, value: value ?? 0,
      bound: bound, boundMethod: "gpus + nodes", nodes: 0, seconds: control.elapsed - begun)
    return outcome(
      labels: labels, bound: bound, stages: [stage] + bounds, stopReason: reason,
      isInfeasible: false, proofs: [])
  }

  /// Local search on both levels at once.
  private func twoLevel(saved: SavedWeights, seconds: Double, warmStart: [Int]?) -> [Int]? {
    let problem = instance.gpuProblem
    let part = SearchControl(part: seconds, of: control)
    let full = (saved.group + saved.node) * problem.total
    let isJoint = if case .joint = instance.objective { true } else { false }
    let incumbent = Incumbent(notify: { [feed] entry in
      if isJoint { feed.incumbent(kept: entry.kept, source: entry.source) }
    })
    if isJoint { feed.begin(stage: "joint", total: full) }
    if let warmStart, problem.isFeasible(warmStart) {
      incumbent.offer(warmStart, kept: saved.value(problem, warmStart), source: .warmStart)
    }
    let pool = PartitionPool(problem: problem, saved: saved)
    let search = LocalSearch(
      problem: problem, saved: saved, seed: options.seed, control: part, incumbent: incumbent,
      pool: pool)
    search.run(target: full)
    return incumbent.entry?.labels
  }

  // MARK: - The answer

  private func outcome(
    labels: [Int]?, bound: Int, stages: [StageOutcome], stopReason: StopReason,
    isInfeasible: Bool, proofs: [StageProof], joint: JointComparison? = nil
  ) -> Outcome {
    let placement = labels.map {
      Placement(unchecked: topology, counts.layers, counts.experts, $0).canonical()
    }
    let crossings = placement.map { try! counts.crossings(of: $0) }
    let value = crossings.map { instance.objective.value(of: $0) }
    var statistics = Outcome.Statistics()
    statistics.nodes = stages.reduce(0) { $0 + $1.nodes }
    statistics.work = control.workSpent
    statistics.seconds = control.elapsed
    let optimal = value != nil && stages.allSatisfy { $0.status == .optimal }
    return Outcome(
      status: isInfeasible ? .infeasible : optimal ? .optimal : .feasible,
      stopReason: control.isCancelled && !optimal ? .cancelled : stopReason,
      placement: placement, crossings: crossings, value: value, bound: max(0, bound),
      stages: stages, joint: joint, proofs: proofs, statistics: statistics)
  }
}
