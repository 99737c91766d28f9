import ColocateCertificate
import ColocateModel

/// What a run on destinations kept, as evidence.
extension DestinationCertificate {
  /// Layers that have no prices are claimed by nothing: for them the bound that needs none holds.
  /// - Parameters:
  ///   - outcome: of a run that kept its prices.
  ///   - placement: the outcome's, GPUs and nodes named in any way.
  ///   - objective: what the run minimised.
  ///   - loadCap: the cap that it obeyed, or nil.
  public init(
    _ outcome: DestinationOutcome, placement: Placement, objective: DestinationObjective,
    loadCap: LoadCap?
  ) {
    let topology = placement.topology
    let all = Array(0..<placement.experts)
    var claims = [Claim]()
    for (l, layer) in outcome.layers.enumerated() {
      let gpuOf = all.map { placement[layer: l, expert: $0] }
      for level in Self.levels(objective, topology) {
        let (experts, groups) =
          switch level {
          case .nodes: (all, topology.nodes)
          case .node(let node):
            (all.filter { topology.node(of: gpuOf[$0]) == node }, topology.gpusPerNode)
          case .gpus, .joint, .gpusForJoint, .groups, .block: (all, topology.gpus)
          }
        guard
          let found = layer.prices.first(where: { $0.experts == experts && $0.groups == groups })
        else { continue }
        claims.append(
          Claim(
            layer: l, level: level, bound: found.bound, unit: found.unit, prices: found.prices))
      }
    }
    self.init(
      placement: placement, objective: objective, loadCap: loadCap, caps: outcome.caps,
      claims: claims)
  }
}

extension DestinationEvidence {
  /// The prices of a search, as evidence.
  package init(_ prices: DestinationPrices) {
    self.init(
      experts: prices.experts, groups: prices.groups, cap: prices.cap, prices: prices.prices,
      unit: prices.unit, bound: prices.bound)
  }
}
