import ColocateModel

/// Places experts so that tokens go to few GPUs (or nodes), layer by layer, with a bound for each.
///
/// Layers decouple: what a token's set costs in one layer depends on that layer's placement alone.
/// So layers are solved side by side, first all searches, so that there is a good placement early,
/// then the bounds and proofs.
///
///     var options = DestinationOptions()
///     options.timeLimit = 120
///     let outcome = try DestinationSolver(options).solve(
///       sets, topology: Topology(gpus: 8), objective: .gpus, loadCap: LoadCap(1.3))
///     print(outcome.destinations.gpusPerToken, outcome.status)
///
/// Where `counts` are given, the names of the groups are matched between layers at the end (GPUs
/// stay with the others of their node), which changes no destinations and saves crossings.
public struct DestinationSolver: Sendable {
  /// What to spend, and when to stop.
  public let options: DestinationOptions

  public init(_ options: DestinationOptions = DestinationOptions()) { self.options = options }

  /// Finds a placement of `sets` on `topology`. Always answers with one, however short the limits.
  ///
  /// - Parameters:
  ///   - sets: which experts tokens use together.
  ///   - topology: the machines.
  ///   - objective: what to minimise.
  ///   - loadCap: the most load a GPU may get in any layer; nil without a cap.
  ///   - counts: transitions of the same trace, for the last step; nil for none.
  ///   - progress: called for each layer when something new is known of it, from any thread, one
  ///     call at a time; `.stop` ends the run with what there is.
  /// - Throws: `ModelError.sizes` where the experts do not spread evenly over the GPUs;
  ///   `ModelError.infeasible` where no placement meets the cap, `ModelError.cap` where none was
  ///   found that does; `ModelError.option` for weights that are out of order;
  ///   `ModelError.placement` for a warm start of another size.
  public func solve(
    _ sets: TokenSets, topology: Topology, objective: DestinationObjective = .gpus,
    loadCap: LoadCap? = nil, counts: TransitionCounts? = nil,
    progress: @escaping @Sendable (DestinationProgress) -> ProgressAction = { _ in .proceed }
  ) throws(ModelError) -> DestinationOutcome {
    let run = try DestinationRun(
      sets, topology: topology, objective: objective, loadCap: loadCap, options: options,
      progress: progress)
    var placement = run.run()
    if let counts, counts.layers == sets.layers, counts.experts == sets.experts {
      let problem = GroupingProblem(
        layers: counts.layers, experts: counts.experts, groups: topology.gpus,
        weights: counts.weights, loads: counts.loads)
      var matching = LabelMatching()
      var labels = placement.assignment
      let saved = SavedWeights(
        groupsPerNode: topology.gpusPerNode, group: 1, node: topology.nodes > 1 ? 1 : 0)
      matching.relabel(&labels, problem: problem, saved: saved)
      placement = Placement(
        unchecked: topology, layers: sets.layers, experts: sets.experts, assignment: labels)
    }
    return try run.outcome(placement)
  }
}
