import ColocateModel

extension Instance {
  /// A placement near `placement` that meets the load cap, by swaps inside layers that cost little
  /// (`LoadRepair`): the placement itself where it meets the cap, nil where swaps do not help.
  /// - Throws: `ModelError.placement` where the placement is for a model or a machine of other
  ///   sizes.
  public func repaired(_ placement: Placement) throws(ModelError) -> Placement? {
    try counts.check(placement)
    guard placement.topology == topology else {
      throw .placement(
        "the placement is for \(placement.topology.nodes) × \(placement.topology.gpusPerNode) "
          + "GPUs, the instance has \(topology.nodes) × \(topology.gpusPerNode)")
    }
    return repaired(unchecked: placement)
  }

  /// For a placement that is known to be of the instance's sizes.
  func repaired(
    unchecked placement: Placement, control: SearchControl = SearchControl()
  ) -> Placement? {
    var labels = placement.assignment
    guard LoadRepair.repair(&labels, problem: reduced.gpuProblem, control: control) else {
      return nil
    }
    return Placement(
      unchecked: topology, layers: placement.layers, experts: placement.experts,
      assignment: labels)
  }
}
