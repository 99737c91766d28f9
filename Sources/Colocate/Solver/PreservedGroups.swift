import ColocateModel

/// Placements in which a router's groups stay groups, for checkpoints that are to be renumbered.
///
/// Some routers choose among `G` groups of `m = E / G` neighbouring experts before they choose an
/// expert (DeepSeek-V2 and V3). New numbers keep such a router's choice only where groups are
/// mapped onto groups; so with contiguous placement each GPU's numbers are whole groups, or whole
/// groups are spread over GPUs of their own.
///
/// **Whole groups on a GPU** (`P` divides `G`). A group is one expert of a smaller problem, with
///
///     W'_l[a, b] = Σ_{i ∈ a, j ∈ b} W_l[i, j],   V' and loads likewise.
///
/// Its crossings are those of the original, since what is inside a group never parts; so every
/// value and bound carries over, proof and all.
///
/// **A group on `r = P / G` GPUs of its own** (`G` divides `P`). First the groups find their blocks
/// of `r` GPUs: the smaller problem with `G` GPUs, whose crossings no placement can avoid, so that
/// its bound is a bound. Then every block is a problem of its own, the experts of its groups on `r`
/// GPUs. These are two steps, as ExFlow's are: each is proved, the whole need not be the best.
public struct PreservedGroups: Sendable {
  /// The problem as it was given.
  public let instance: Instance
  /// `G`.
  public let groups: Int
  /// The problem with a group for an expert.
  private let contracted: Instance

  /// Experts of a group.
  private var groupSize: Int { instance.counts.experts / groups }
  /// GPUs of a group; 0 where a GPU has whole groups.
  private var blockSize: Int {
    instance.topology.gpus > groups ? instance.topology.gpus / groups : 0
  }

  /// Whether a group has several GPUs.
  public var spreadsGroups: Bool { blockSize > 0 }

  /// - Throws: `ModelError.sizes` where the experts do not make `groups` groups, neither of groups
  ///   and GPUs is a multiple of the other, or a group would lie on several nodes;
  ///   `ModelError.infeasible` and `.cap` as `Instance` where whole groups do not meet the cap.
  public init(_ instance: Instance, groups: Int) throws(ModelError) {
    let (counts, topology) = (instance.counts, instance.topology)
    guard groups >= 2, counts.experts % groups == 0 else {
      throw .sizes(
        "\(groups) router groups of \(counts.experts) experts: expected 2 or more of one size")
    }
    guard groups % topology.gpus == 0 || topology.gpus % groups == 0 else {
      throw .sizes(
        "\(groups) router groups on \(topology.gpus) GPUs: expected one to be a multiple of the "
          + "other, so that GPUs have whole groups or groups whole GPUs")
    }
    guard groups % topology.nodes == 0 else {
      throw .sizes(
        "\(groups) router groups on \(topology.nodes) nodes: expected a multiple, so that no group "
          + "lies on several nodes")
    }
    self.instance = instance
    self.groups = groups
    let isSpread = topology.gpus > groups
    contracted = try Instance(
      counts: counts.contracted(groups: groups),
      topology: Topology(gpus: isSpread ? groups : topology.gpus, nodes: topology.nodes),
      objective: instance.objective, loadCap: isSpread ? nil : instance.loadCap)
  }

  /// Whether a placement keeps the groups as this value demands.
  public func keeps(_ placement: Placement) -> Bool { contraction(of: placement) != nil }

  /// The groups' places under a placement of experts; nil where it tears a group.
  private func contraction(of placement: Placement) -> Placement? {
    let perBlock = max(1, blockSize)
    var blocks = [Int]()
    for layer in 0..<placement.layers {
      for group in 0..<groups {
        let first = placement[layer: layer, expert: group * groupSize] / perBlock
        for expert in (group * groupSize)..<((group + 1) * groupSize)
        where placement[layer: layer, expert: expert] / perBlock != first { return nil }
        blocks.append(first)
      }
    }
    return try? Placement(
      topology: contracted.topology, layers: placement.layers, experts: groups, assignment: blocks)
  }

  /// Every expert where its group is.
  private func expanded(_ placement: Placement) -> [Int] {
    (0..<placement.layers).flatMap { layer in
      (0..<instance.counts.experts).map { placement[layer: layer, expert: $0 / groupSize] }
    }
  }

  private func whole(_ labels: [Int]) -> Placement {
    Placement(
      unchecked: instance.topology, layers: instance.counts.layers,
      experts: instance.counts.experts, assignment: labels)
  }

  /// Solves the problem as `Solver.solve`. A warm start that tears a group is left out.
  /// - Throws: as `Solver.solve`.
  public func solve(
    _ options: SolverOptions, onProgress: (SolverProgress) -> ProgressAction = { _ in .proceed }
  ) throws(ModelError) -> SolverOutcome {
    var inner = options
    inner.warmStart = options.warmStart.flatMap { contraction(of: $0) }
    inner.keepsCertificate = false
    guard spreadsGroups else {
      let outcome = try Solver(inner).solve(contracted) { progress in
        onProgress(progress.placing(progress.placement.map { whole(expanded($0)) }))
      }
      guard let placement = outcome.placement else { return outcome }
      return try outcome.replacing(placement: whole(expanded(placement)), on: instance)
    }
    inner.timeLimit = options.timeLimit.map { $0 * 0.3 }
    let first = try Solver(inner).solve(contracted) { progress in
      onProgress(progress.placing(nil))
    }
    guard let blocks = first.placement else { return first }
    return try insides(blocks, first, options, onProgress)
  }

  /// The second step: the experts of every block's groups on its GPUs.
  private func insides(
    _ blocks: Placement, _ first: SolverOutcome, _ options: SolverOptions,
    _ onProgress: (SolverProgress) -> ProgressAction
  ) throws(ModelError) -> SolverOutcome {
    let (counts, problem) = (instance.counts, instance.gpuProblem)
    var assignment = [Int](repeating: 0, count: counts.layers * counts.experts)
    var stages = first.stages.map { $0.named($0.stage == .gpus ? .groups : $0.stage) }
    var (seconds, reasons, fault) = (
      first.statistics.seconds, [first.stopReason], first.internalFault
    )
    for block in 0..<groups {
      let members = (0..<counts.layers).map { layer in
        (0..<counts.experts).filter { blocks[layer: layer, expert: $0 / groupSize] == block }
      }
      var inner = options
      (inner.warmStart, inner.keepsCertificate) = (nil, false)
      inner.timeLimit = options.timeLimit.map { max(0, $0 - seconds) / Double(groups - block) }
      let part = try instance.part(
        problem.restricted(to: members, groups: blockSize, caps: instance.capPerLayer))
      let answer = try Solver(inner).solve(part) { progress in onProgress(progress.placing(nil)) }
      stages += answer.stages.map { $0.named(.block(block)) }
      seconds += answer.statistics.seconds
      reasons.append(answer.stopReason)
      fault = fault ?? answer.internalFault
      guard let placement = answer.placement else {
        return first.failing(answer.status, answer.stopReason, stages: stages)
      }
      for (layer, experts) in members.enumerated() {
        for (index, expert) in experts.enumerated() {
          assignment[layer * counts.experts + expert] =
            block * blockSize + placement[layer: layer, expert: index]
        }
      }
    }
    let reason: StopReason =
      reasons.first { $0 != .proved && $0 != .gap } ?? (reasons.contains(.gap) ? .gap : .finished)
    return try first.joining(
      whole(assignment), on: instance, stages: stages, reason: reason, fault: fault,
      seconds: seconds)
  }
}

extension Instance {
  /// A single-level problem of some of the experts on one block of GPUs.
  fileprivate func part(_ problem: GroupingProblem) throws(ModelError) -> Instance {
    let counts = try TransitionCounts(
      layers: problem.layers, experts: problem.experts, weights: problem.weights,
      loads: problem.loads, coactivation: problem.coactivation)
    return try Instance(part: counts, topology: Topology(gpus: problem.groups), caps: problem.caps)
  }
}

extension StageOutcome {
  fileprivate func named(_ stage: Stage) -> StageOutcome {
    StageOutcome(
      stage: stage, status: status, stopReason: stopReason, value: value, bound: bound,
      boundMethod: boundMethod, treeNodes: treeNodes, seconds: seconds)
  }
}

extension SolverProgress {
  fileprivate func placing(_ placement: Placement?) -> SolverProgress {
    SolverProgress(
      stage: stage, source: source, treeNodes: treeNodes, openTreeNodes: openTreeNodes,
      value: value, bound: bound, placement: placement, seconds: seconds)
  }
}

extension SolverOutcome {
  /// No placement: what a step after this one found.
  fileprivate func failing(
    _ status: SolverStatus, _ reason: StopReason, stages: [StageOutcome]
  ) -> SolverOutcome {
    SolverOutcome(
      status: status, stopReason: reason, placement: nil, crossings: nil, value: nil, bound: nil,
      stages: stages, joint: nil, internalFault: internalFault, proofs: [], statistics: statistics)
  }

  /// A placement that further steps made of this outcome's, whose bound stays one.
  fileprivate func joining(
    _ placement: Placement, on instance: Instance, stages: [StageOutcome], reason: StopReason,
    fault: String?, seconds: Double
  ) throws(ModelError) -> SolverOutcome {
    let crossings = try instance.counts.crossings(of: placement)
    let value = instance.objective.value(of: crossings)
    let isOptimal = fault == nil && bound == value
    var statistics = statistics
    statistics.seconds = seconds
    return SolverOutcome(
      status: isOptimal ? .optimal : .feasible, stopReason: isOptimal ? .proved : reason,
      placement: placement, crossings: crossings, value: value,
      bound: fault == nil ? bound : nil, stages: stages, joint: nil, internalFault: fault,
      proofs: [], statistics: statistics)
  }
}

extension TransitionCounts {
  /// The counts between groups of neighbouring experts.
  /// - Precondition: `E` is a multiple of `groups`.
  func contracted(groups: Int) throws(ModelError) -> TransitionCounts {
    let size = experts / groups
    func folded(_ table: [Int], squares: Int) -> [Int] {
      var sums = [Int](repeating: 0, count: squares * groups * groups)
      for (index, value) in table.enumerated() where value != 0 {
        let (square, i, j) = (
          index / (experts * experts), index / experts % experts, index % experts
        )
        sums[(square * groups + i / size) * groups + j / size] += value
      }
      return sums
    }
    var together = coactivation.isEmpty ? [] : folded(coactivation, squares: layers)
    // Pairs inside a group are never parted.
    if !together.isEmpty {
      for diagonal in 0..<(layers * groups) {
        together[diagonal * groups + diagonal % groups] = 0
      }
    }
    var sums = [Int](repeating: 0, count: layers * groups)
    for index in loads.indices {
      sums[index / experts * groups + index % experts / size] += loads[index]
    }
    return try TransitionCounts(
      layers: layers, experts: groups, weights: folded(weights, squares: layers - 1), loads: sums,
      coactivation: together)
  }
}
