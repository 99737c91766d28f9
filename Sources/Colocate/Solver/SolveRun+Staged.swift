import ColocateModel

/// staged — ExFlow's two steps: groups are nodes first; then inside each node its GPUs.
///
/// With a load cap a placement of whole nodes is only worth having if each node's experts spread
/// over its GPUs within the cap. So the first step starts from a placement of GPUs that meets it
/// (`FirstPlacement`, then a search on both levels at once with the node's weight above all), and
/// takes no incumbent that is not known to split.
extension SolveRun {
  func staged() -> SolverOutcome {
    let (start, source) = stagedStart()
    // A part of the time is for the bound of the joint objective.
    let reserve = options.proves && control.remaining.isFinite ? control.remaining * 0.2 : 0
    let share = control.remaining.isFinite ? control.remaining * 0.45 : .infinity
    let nodeSolver = StageSolver(
      stage: .nodes, problem: instance.nodeProblem, options: options,
      control: SearchControl(part: share, of: control), feed: feed,
      known: known(.nodes, instance.nodeProblem, byNode: true))
    if instance.capPerLayer != nil {
      nodeSolver.accepts = { labels in completed(labels, from: start) != nil }
    }
    nodeSolver.complete = { labels in
      completed(labels, from: start).flatMap { best.offer($0) } ?? best.placement
    }
    let nodes = nodeSolver.solve(
      warmStart: start?.map(topology.node(of:)), source: source)
    guard let nodeLabels = nodes.labels, let inner = completed(nodeLabels, from: start) else {
      return outcome(
        Parts(
          labels: best.placement?.assignment, stages: [nodes.outcome],
          stopReason: nodes.stopReason, fault: nodes.internalFault))
    }
    var parts = Parts(
      labels: inner, stages: [nodes.outcome], stopReason: nodes.stopReason,
      fault: nodes.internalFault, proofs: [nodes.proof].compactMap { $0 })
    insides(of: nodeLabels, start: inner, reserve: reserve, into: &parts)
    if options.proves, let labels = parts.labels {
      parts.joint = comparison(labels, nodes: nodes, fault: &parts.fault)
    }
    return outcome(parts)
  }

  /// The second step: every node's GPUs, from `start`, which meets the cap and has these nodes.
  private func insides(
    of nodeLabels: [Int], start: [Int], reserve: Double, into parts: inout Parts
  ) {
    let perNode = topology.gpusPerNode
    let experts = counts.experts
    var assignment = start
    var reasons = [parts.stopReason]
    for node in 0..<topology.nodes {
      let members = members(of: node, in: nodeLabels)
      let problem = instance.nodeProblem.restricted(
        to: members, groups: perNode, caps: instance.capPerLayer)
      let part = max(0, control.remaining - reserve) / Double(topology.nodes - node)
      let local = members.indices.flatMap { layer in
        members[layer].map { start[layer * experts + $0] - node * perNode }
      }
      let solver = StageSolver(
        stage: .node(node), problem: problem, options: options,
        control: SearchControl(part: part, of: control), feed: feed,
        known: known(.node(node), problem, members: members))
      let before = assignment
      @Sendable func whole(_ labels: [Int]) -> [Int] {
        var whole = before
        var index = 0
        for (layer, experts) in members.enumerated() {
          for expert in experts {
            whole[layer * counts.experts + expert] = node * perNode + labels[index]
            index += 1
          }
        }
        return whole
      }
      solver.complete = { best.offer(whole($0)) }
      let answer = solver.solve(warmStart: local, source: .baseline)
      parts.stages.append(answer.outcome)
      parts.fault = parts.fault ?? answer.internalFault
      reasons.append(answer.stopReason)
      parts.proofs += [answer.proof].compactMap { $0 }
      if let labels = answer.labels { assignment = whole(labels) }
    }
    parts.labels = assignment
    parts.stopReason =
      reasons.first { $0 != .proved && $0 != .gap } ?? (reasons.contains(.gap) ? .gap : .proved)
  }

  /// A placement of GPUs to start from, and who found it: the warm start; under a cap the best of
  /// what costs little and a search on both levels.
  private func stagedStart() -> (labels: [Int]?, source: IncumbentSource) {
    let warmStart = options.warmStart?.assignment
    if let warmStart { best.offer(warmStart) }
    guard instance.capPerLayer != nil else { return (warmStart, .warmStart) }
    let nodes = instance.nodeProblem
    feed.begin(stage: .nodes, total: nodes.total)
    let perNode = topology.gpusPerNode
    // Node weight above all, as far as values stay exact.
    let most = Magnitude.saved / max(1, nodes.total) - 1
    let found = twoLevel(
      saved: SavedWeights(groupsPerNode: perNode, group: 1, node: min(2 * perNode, most)),
      seconds: control.remaining.isFinite ? control.remaining * 0.15 : 10, warmStart: warmStart
    ) { [feed, topology] entry, placement in
      feed.incumbent(
        kept: nodes.kept(entry.labels.map(topology.node(of:))), source: entry.source,
        placement: placement)
    }
    return (found?.labels ?? warmStart, found?.source ?? .warmStart)
  }

  /// The staged answer against the joint objective. The bound on GPU crossings takes what time was
  /// set aside.
  private func comparison(
    _ labels: [Int], nodes: StageSolver.Answer, fault: inout String?
  ) -> JointComparison? {
    guard !control.isCancelled else { return nil }
    var options = self.options
    options.keepsCertificate = false
    let gpus = StageSolver(
      stage: .gpusForJoint, problem: instance.gpuProblem, options: options, control: control,
      feed: feed, known: known(.gpusForJoint, instance.gpuProblem))
    gpus.complete = { best.offer($0) }
    let answer = gpus.solve(warmStart: labels)
    fault = fault ?? answer.internalFault
    let gpuCrossings = answer.problem.total - answer.problem.kept(labels)
    let nodeCrossings =
      nodes.problem.total - nodes.problem.kept(labels.map(topology.node(of:)))
    let weights = options.jointWeights
    let value = weights.value(gpu: gpuCrossings, node: nodeCrossings)
    let bound = jointBound(
      weights, gpus: answer.outcome.bound, nodes: nodes.outcome.bound)
    return JointComparison(
      weights: weights, value: value, bound: fault == nil ? bound : nil)
  }

  /// A placement of GPUs with these nodes that meets the cap: `start` where it has them, without a
  /// cap the experts of a node in their order, otherwise each layer's packing; nil where that does
  /// not meet the cap.
  private func completed(_ nodeLabels: [Int], from start: [Int]?) -> [Int]? {
    if let start, zip(start, nodeLabels).allSatisfy({ topology.node(of: $0) == $1 }) {
      return start
    }
    let perNode = topology.gpusPerNode
    let size = counts.experts / topology.gpus
    var labels = nodeLabels
    for node in 0..<topology.nodes {
      for (layer, experts) in members(of: node, in: nodeLabels).enumerated() {
        var gpuOf = experts.indices.map { $0 / size }
        if let caps = instance.capPerLayer {
          let loads = experts.map { counts.load(layer: layer, expert: $0) }
          let packing = BalancedPacking(
            loads: loads, groups: perNode, goal: caps[layer], stepLimit: 20_000)
          guard packing.maximum <= caps[layer] else { return nil }
          gpuOf = packing.groupOf
        }
        for (index, expert) in experts.enumerated() {
          labels[layer * counts.experts + expert] = node * perNode + gpuOf[index]
        }
      }
    }
    return labels
  }

  private func members(of node: Int, in labels: [Int]) -> [[Int]] {
    (0..<counts.layers).map { layer in
      (0..<counts.experts).filter { labels[layer * counts.experts + $0] == node }
    }
  }
}
