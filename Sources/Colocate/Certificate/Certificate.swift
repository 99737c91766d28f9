/// An answer with the evidence for its bound, so that somebody else can check it without trusting the search.
///
/// A stage is one `GroupingProblem` that follows from the instance and the placement: "gpus" (groups are GPUs), "nodes" (groups are nodes), "node k" (the
/// GPUs of node k among the experts that the placement puts there). For each the certificate claims what the placement keeps and what no
/// placement of that stage can exceed. The checker derives the problems anew, counts what the placement keeps, recomputes the bound from the
/// evidence, and refuses on any difference.
///
/// Claims are in the unit of the counts. Evidence is for the reduced counts (`Instance.reduced`): weights and co-activations divided by their
/// greatest common divisor, loads and caps by that of the loads. Every kept weight is a multiple of the first, so a bound on reduced
/// counts, rounded down and multiplied, is one.
package struct Certificate: Sendable {
  /// Why no placement of a stage keeps more than `keptBound`.
  package enum Evidence: Sendable {
    /// P = 1: every placement keeps everything.
    case oneGroup
    /// P = E, by duality of the assignment problem: rows `[L-1, E]` and columns `[L-1, E]` with r_i + s_j ≥ W_l[i,j] bound boundary l by Σr + Σs.
    case assignment(rows: [Int], columns: [Int])
    /// A value function of the chain of partitions, `[L][partitions]` in the order of `CertificatePartitions`:
    /// f_0(Π) ≥ inside(Π), f_{l+1}(Π') ≥ f_l(Π) + θ_l(Π, Π') + inside(Π'), so nothing exceeds max f_{L-1}.
    case chain(values: [[Int]])
    /// Prices of the path relaxation (B(u) = Σu + P·λ(u), PathRelaxation.swift), in units of 1/64.
    case path(CertificatePrices)
    /// Multipliers of the co-location relaxation.
    case colocation(ColocationMultipliers)
    /// A search tree over the path relaxation: no placement keeps more than this one.
    case tree(CertificateTree)

    /// The name in the file and in messages.
    package var name: String {
      switch self {
      case .oneGroup: "one-group"
      case .assignment: "assignment"
      case .chain: "chain"
      case .path: "path"
      case .colocation: "co-location"
      case .tree: "tree"
      }
    }
  }

  package struct Stage: Sendable {
    package var name: String
    /// What the placement keeps in this stage.
    package var kept: Int
    /// What no placement of this stage exceeds.
    package var keptBound: Int
    package var evidence: Evidence

    package init(name: String, kept: Int, keptBound: Int, evidence: Evidence) {
      self.name = name
      self.kept = kept
      self.keptBound = keptBound
      self.evidence = evidence
    }
  }

  package var placement: Placement
  package var objective: Objective
  package var loadCap: LoadCap?
  package var stages: [Stage]

  package init(placement: Placement, objective: Objective, loadCap: LoadCap?, stages: [Stage]) {
    self.placement = placement
    self.objective = objective
    self.loadCap = loadCap
    self.stages = stages
  }

  /// What the checker found to be true of a stage, in crossings.
  package struct Finding: Sendable {
    package let stage: String
    package let evidence: String
    package let crossings: Int
    package let bound: Int
    package let total: Int
    package var isOptimal: Bool { crossings == bound }
  }

  /// Checks everything against `counts`.
  /// - Throws: `CertificateError` with the first thing that is not true.
  package func check(
    counts: TransitionCounts, control: SearchControl
  ) throws(CertificateError) -> [Finding] {
    let instance: Instance
    let unit = counts.unit
    do {
      try counts.check(placement)
      instance = try Instance(
        counts: counts, topology: placement.topology, objective: objective, loadCap: loadCap,
        known: placement
      ).reduced
    } catch {
      throw CertificateError(error.description)
    }
    guard !stages.isEmpty else { throw CertificateError("no stage: expected at least one") }
    guard instance.gpuProblem.isFeasible(placement.assignment) else {
      throw CertificateError("the placement breaks the load cap or a GPU's number of experts")
    }
    var names = Set<String>()
    var findings = [Finding]()
    for stage in stages {
      guard names.insert(stage.name).inserted else {
        throw CertificateError("stage '\(stage.name)' occurs twice")
      }
      let (problem, labels) = try Self.problem(stage.name, of: instance, placement: placement)
      func wrong(_ what: String, _ claimed: Int, _ found: Int) -> CertificateError {
        CertificateError("stage '\(stage.name)': \(what) \(claimed) claimed, \(found) found")
      }
      let kept = problem.kept(labels) * unit
      guard kept == stage.kept else { throw wrong("kept weight", stage.kept, kept) }
      let bound: Int
      do {
        bound =
          try Self.bound(stage, problem: problem, kept: kept / unit, control: control) * unit
      } catch {
        throw CertificateError("stage '\(stage.name)': \(error.description)")
      }
      // Another machine's rounding may move a co-location bound across an integer.
      var slack = 0
      if case .colocation = stage.evidence { slack = unit }
      guard bound <= stage.keptBound, stage.keptBound <= bound + slack else {
        throw wrong("bound on the kept weight", stage.keptBound, bound)
      }
      guard stage.keptBound >= kept else {
        throw wrong("bound below what the placement keeps:", stage.keptBound, kept)
      }
      findings.append(
        Finding(
          stage: stage.name, evidence: stage.evidence.name,
          crossings: problem.total * unit - kept,
          bound: problem.total * unit - stage.keptBound, total: problem.total * unit))
    }
    return findings
  }

  /// The problem and the labels of a stage.
  package static func problem(
    _ name: String, of instance: Instance, placement: Placement
  ) throws(CertificateError) -> (problem: GroupingProblem, labels: [Int]) {
    let topology = instance.topology
    let nodeOf = placement.assignment.map(topology.node(of:))
    if name == "gpus" { return (instance.gpuProblem, placement.assignment) }
    if name == "nodes" { return (instance.nodeProblem, nodeOf) }
    guard name.hasPrefix("node "), let node = Int(name.dropFirst(5)),
      (0..<topology.nodes).contains(node)
    else {
      throw CertificateError(
        "stage '\(name)': expected 'gpus', 'nodes' or 'node k' with k below \(topology.nodes)")
    }
    let experts = placement.experts
    let members = (0..<placement.layers).map { l in
      (0..<experts).filter { nodeOf[l * experts + $0] == node }
    }
    let problem = instance.nodeProblem.restricted(
      to: members, groups: topology.gpusPerNode, caps: instance.capPerLayer)
    let labels = members.indices.flatMap { l in
      members[l].map { placement.assignment[l * experts + $0] - node * topology.gpusPerNode }
    }
    return (problem, labels)
  }

  /// What the stage's evidence proves of `problem`, whose certified placement keeps `kept`: no placement keeps more.
  /// - Throws: where the evidence does not hold.
  package static func bound(
    _ stage: Stage, problem: GroupingProblem, kept: Int, control: SearchControl
  ) throws(CertificateError) -> Int {
    guard problem.total <= Magnitude.exact else {
      throw CertificateError("counts above 2^52 are out of the checker's range")
    }
    switch stage.evidence {
    case .oneGroup:
      guard problem.groups == 1 else {
        throw CertificateError("evidence for one group, but there are \(problem.groups)")
      }
      return problem.total
    case .assignment(let rows, let columns):
      return try checkAssignment(problem, rows: rows, columns: columns)
    case .chain(let values):
      return try checkChain(problem, values: values, control: control)
    case .path(let prices):
      let paths = try CertificatePaths(problem, control: control)
      return min(problem.total, try paths.bound(prices) >> 6)
    case .colocation(let multipliers):
      guard let bound = multipliers.keptBound(for: problem, control: control) else {
        throw CertificateError("malformed multipliers")
      }
      return bound
    case .tree(let tree):
      let paths = try CertificatePaths(problem, control: control)
      try paths.check(tree, incumbent: kept)
      return kept
    }
  }
}

/// The first thing in a certificate that is not true.
package struct CertificateError: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
