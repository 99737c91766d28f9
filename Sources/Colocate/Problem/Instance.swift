import ColocateModel

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
  /// A GPU for each expert that meets the cap, shape `[L, E]`; nil without a cap.
  package let packing: [Int]?

  /// - Parameters:
  ///   - counts: what tokens did.
  ///   - topology: the machines.
  ///   - objective: what to minimise.
  ///   - loadCap: the most load a GPU may get in any layer; nil without a cap.
  ///   - known: a placement that is known, to start from for instance. Whether a cap close to the
  ///     least possible one can be met is a packing problem; where the search for a packing finds
  ///     none, this one counts.
  /// - Throws: `ModelError.sizes` where the experts do not spread evenly over the GPUs or the
  ///   weights of a joint objective are out of order or too large for the counts;
  ///   `ModelError.infeasible` where no placement meets the cap in some layer, `ModelError.cap`
  ///   where none was found that does, with what is known of the smallest cap that can be met.
  public init(
    counts: TransitionCounts, topology: Topology, objective: Objective = .flat,
    loadCap: LoadCap? = nil, known: Placement? = nil
  ) throws(ModelError) {
    _ = try topology.expertsPerGPU(experts: counts.experts)
    if case .joint(let weights) = objective { try weights.check(counts) }
    var labels: [Int]?
    if let known, known.topology.gpus == topology.gpus, (try? counts.check(known)) != nil {
      labels = known.assignment
    }
    let caps = try loadCap.map { cap throws(ModelError) in
      try cap.perLayer(counts: counts, gpus: topology.gpus, known: labels)
    }
    self.counts = counts
    self.topology = topology
    self.objective = objective
    self.loadCap = loadCap
    capPerLayer = caps?.caps
    packing = caps?.packing
  }

  /// The same problem in the largest unit: weights and co-activations divided by
  /// `TransitionCounts.unit`, loads and caps by the greatest common divisor of the loads. The same
  /// placements meet the cap, in the same order; values are `counts.unit` times as small.
  ///
  /// A cap that is not a multiple of the divisor is rounded down: loads are multiples, so none lies
  /// between.
  package var reduced: Instance { Instance(reducing: self) }

  /// A part of another instance, on some of its machines.
  /// - Parameter caps: the whole's, `[L]`: a GPU's share is one of all GPUs.
  init(part counts: TransitionCounts, topology: Topology, caps: [Int]?) throws(ModelError) {
    _ = try topology.expertsPerGPU(experts: counts.experts)
    (self.counts, self.topology, objective) = (counts, topology, .flat)
    (loadCap, capPerLayer, packing) = (nil, caps, nil)
  }

  private init(reducing instance: Instance) {
    let loadUnit = Magnitude.unit(instance.counts.loads)
    counts = TransitionCounts(reducing: instance.counts, loadUnit: loadUnit)
    (topology, objective, loadCap) = (instance.topology, instance.objective, instance.loadCap)
    capPerLayer = instance.capPerLayer?.map { $0 / loadUnit }
    packing = instance.packing
  }

  /// The flat problem: groups are GPUs.
  package var gpuProblem: GroupingProblem {
    problem(groups: topology.gpus, caps: capPerLayer, packing: packing)
  }

  /// Stage 1 of the staged objective: groups are nodes. A node's cap is that of its GPUs together,
  /// which is necessary but not sufficient for stage 2 to meet the cap.
  package var nodeProblem: GroupingProblem {
    let caps = capPerLayer.map { caps in
      // Beyond Int it is no cap.
      caps.indices.map { l in
        let (cap, overflow) = caps[l].multipliedReportingOverflow(by: topology.gpusPerNode)
        return overflow ? Int.max : cap
      }
    }
    return problem(
      groups: topology.nodes, caps: caps, packing: packing?.map(topology.node(of:)))
  }

  private func problem(groups: Int, caps: [Int]?, packing: [Int]?) -> GroupingProblem {
    GroupingProblem(
      layers: counts.layers, experts: counts.experts, groups: groups, weights: counts.weights,
      coactivation: counts.coactivation, loads: counts.loads, caps: caps, packing: packing)
  }
}
