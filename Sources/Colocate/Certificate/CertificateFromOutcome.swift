extension Certificate {
  /// The certificate of an answer whose run kept its evidence (`SolverOptions.keepsCertificate`); nil where no stage has any.
  ///
  /// Labels of an answer are brought into canonical order after the search, so a stage finds its evidence by its problem, not by its number.
  package init?(of outcome: Outcome, instance: Instance, control: SearchControl) {
    guard let placement = outcome.placement else { return nil }
    let unit = instance.counts.unit
    let instance = instance.reduced
    let topology = instance.topology
    var names = ["gpus"]
    if topology.nodes > 1, topology.gpusPerNode > 1, instance.objective != .flat {
      names += ["nodes"]
      if instance.objective == .staged { names += (0..<topology.nodes).map { "node \($0)" } }
    }
    var stages = [Stage]()
    for name in names {
      guard
        let (problem, labels) = try? Self.problem(name, of: instance, placement: placement),
        let proof = outcome.proofs.first(where: { $0.problem.isSame(as: problem) }),
        let evidence = Self.evidence(proof)
      else { continue }
      var stage = Stage(
        name: name, kept: problem.kept(labels), keptBound: problem.total, evidence: evidence)
      switch evidence {
      case .chain(let values):
        // What these two claim is known without repeating all of the search, which is the checker's work. (A condition that the chain does not know may keep
        // its optimum from being the placement, so the bound is not always `kept`.)
        stage.keptBound = values.last?.max() ?? problem.total
      case .tree(let tree):
        guard problem.groups <= CertificatePaths.mostGroups || !tree.isLayered else { continue }
        stage.keptBound = stage.kept
      default:
        guard
          let bound = try? Self.bound(
            stage, problem: problem, kept: stage.kept, control: control)
        else { continue }
        stage.keptBound = bound
      }
      stages.append(stage)
    }
    guard !stages.isEmpty else { return nil }
    for index in stages.indices {
      stages[index].kept *= unit
      stages[index].keptBound *= unit
    }
    self.init(
      placement: placement, objective: instance.objective, loadCap: instance.loadCap,
      stages: stages)
  }

  private static func evidence(_ proof: StageProof) -> Evidence? {
    switch proof.kind {
    case .chain(let answer):
      switch answer.method {
      case .oneGroup: return .oneGroup
      case .assignment: return assignmentDuals(proof.problem, labels: answer.labels)
      case .twoGroups, .partitions:
        guard !answer.values.isEmpty else { return nil }
        return chain(proof.problem, partitions: answer.partitions, values: answer.values)
      }
    case .path(let prices): return .path(CertificatePrices(prices))
    case .tree(let tree): return .tree(CertificateTree(tree))
    case .colocation(let multipliers): return .colocation(multipliers)
    }
  }
}

extension CertificatePrices {
  init(_ prices: PathPrices) {
    self.init(
      experts: prices.experts,
      cuts: prices.cuts.map { Cut(layer: $0.layer, members: $0.members, price: $0.price) })
  }
}

extension CertificateTree {
  package init(_ node: ProofNode) {
    switch node {
    case .bounded(let deletions, let prices):
      self = .bounded(
        deletions: deletions.map { CertificatePrices($0) }, prices: CertificatePrices(prices))
    case .exhausted(let deletions, let prices, let dolls):
      self = .exhausted(
        deletions: deletions.map { CertificatePrices($0) }, prices: CertificatePrices(prices),
        dolls: dolls)
    case .branch(let deletions, let layer, let first, let second, let together, let apart):
      self = .branch(
        deletions: deletions.map { CertificatePrices($0) }, layer: layer, first: first,
        second: second, together: CertificateTree(together), apart: CertificateTree(apart))
    }
  }
}

extension GroupingProblem {
  /// The same weights, loads, caps and groups.
  func isSame(as other: GroupingProblem) -> Bool {
    layers == other.layers && experts == other.experts && groups == other.groups
      && weights == other.weights && coactivation == other.coactivation && loads == other.loads
      && caps == other.caps
  }
}
