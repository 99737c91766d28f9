import ColocateModel

/// The known solution of the options, as a solution of each single-level problem of a run.
extension SolveRun {
  /// For a problem whose groups are GPUs, or (`byNode`) nodes.
  func known(_ stage: Stage, _ problem: GroupingProblem, byNode: Bool = false) -> KnownSolution? {
    guard let known = options.debug.knownSolution else { return nil }
    return KnownSolution(
      problem: problem,
      labels: byNode ? known.assignment.map(topology.node(of:)) : known.assignment,
      stage: stage, faults: faults)
  }

  /// For the inside of a node with these experts (`members[l]`), where it has a node with the same.
  func known(
    _ stage: Stage, _ problem: GroupingProblem, members: [[Int]]
  ) -> KnownSolution? {
    guard let known = options.debug.knownSolution else { return nil }
    let local = members.indices.flatMap { layer in
      members[layer].map { known[layer: layer, expert: $0] }
    }
    guard let node = local.first.map(topology.node(of:)),
      local.allSatisfy({ topology.node(of: $0) == node })
    else { return nil }
    return KnownSolution(
      problem: problem, labels: local.map { $0 - node * topology.gpusPerNode }, stage: stage,
      faults: faults)
  }

  /// What an answer says against the known solution, which nothing that was proved may contradict.
  func contradiction(value: Int?, bound: Int?, isOptimal: Bool) -> String? {
    guard let known = options.debug.knownSolution, instance.objective != .staged,
      let crossings = try? counts.crossings(of: known)
    else { return nil }
    let best = instance.objective.value(of: crossings)
    if let bound, bound > best {
      return "the bound \(bound) is above the value \(best) of the known solution"
    }
    if isOptimal, let value, value > best {
      return "\(value) is called optimal where a known solution has \(best)"
    }
    return nil
  }
}
