/// A placement to be found: the counts, the machines, what to minimise and the load cap.
public struct Instance: Hashable, Sendable {
  /// What the trace says.
  public let counts: TransitionCounts
  /// Where the experts can go.
  public let topology: Topology
  /// What to minimise.
  public let objective: Objective
  /// The most load a GPU may get, or nil.
  public let loadCap: LoadCap?
  /// `loadCap` in tokens per layer, shape `[L]`, or nil.
  public let capPerLayer: [Int]?

  /// - Throws: `ModelError.sizes` where the experts do not spread evenly over the GPUs or the weights of a joint objective are out of
  ///   order; `ModelError.cap` where no placement can meet the cap in some layer, with the smallest cap that can be met.
  public init(
    counts: TransitionCounts, topology: Topology, objective: Objective = .flat,
    loadCap: LoadCap? = nil
  ) throws(ModelError) {
    _ = try topology.expertsPerGPU(experts: counts.experts)
    if case .joint(let inter, let intra) = objective {
      try JointWeights(interNode: inter, intraNode: intra).check()
    }
    self.counts = counts
    self.topology = topology
    self.objective = objective
    self.loadCap = loadCap
    capPerLayer = try loadCap.map { cap throws(ModelError) in
      try cap.perLayer(counts: counts, gpus: topology.gpus)
    }
  }

  /// The flat problem: groups are GPUs.
  package var gpuProblem: GroupingProblem { problem(groups: topology.gpus, caps: capPerLayer) }

  /// Stage 1 of the staged objective: groups are nodes. A node's cap is that of its GPUs together, which is necessary but not
  /// sufficient for stage 2 to meet the cap.
  package var nodeProblem: GroupingProblem {
    problem(groups: topology.nodes, caps: capPerLayer?.map { $0 * topology.gpusPerNode })
  }

  func problem(groups: Int, caps: [Int]?) -> GroupingProblem {
    GroupingProblem(
      layers: counts.layers, experts: counts.experts, groups: groups, weights: counts.weights,
      coactivation: counts.coactivation, loads: counts.loads, caps: caps)
  }
}
