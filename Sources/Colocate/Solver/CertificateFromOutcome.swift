import ColocateCertificate
import ColocateModel

/// What a run kept, as evidence: the one place where solver and certificate meet.
extension Certificate {
  /// The certificate of an answer whose run kept its evidence (`SolverOptions.keepsCertificate`);
  /// nil where no stage has any.
  ///
  /// Labels of an answer are brought into canonical order after the search, so a stage finds its
  /// evidence by its problem, not by its number.
  package init?(of outcome: SolverOutcome, instance: Instance, control: SearchControl) {
    guard let placement = outcome.placement else { return nil }
    let topology = instance.topology
    var levels: [Stage] = [.gpus]
    if topology.nodes > 1, topology.gpusPerNode > 1, instance.objective != .flat {
      levels += [.nodes]
      if instance.objective == .staged { levels += (0..<topology.nodes).map { .node($0) } }
    }
    let effort = CertificateEffort(threads: control.threads, seconds: control.remaining)
    var claims = [Claim]()
    for level in levels {
      guard
        let (problem, labels) = try? CertifiedProblem.stage(
          level, counts: instance.counts, placement: placement, caps: instance.capPerLayer),
        let (proof, unit, loadUnit) = Self.proof(of: problem, in: outcome.proofs),
        let evidence = Self.evidence(proof)
      else { continue }
      let kept = problem.kept(labels)
      var claim = Claim(
        stage: level, kept: kept, keptBound: problem.total, unit: unit, loadUnit: loadUnit,
        evidence: evidence)
      guard let bound = claim.leastClaim(of: problem, kept: kept, effort: effort) else { continue }
      claim.keptBound = bound
      claims.append(claim)
    }
    guard !claims.isEmpty else { return nil }
    self.init(
      placement: placement, objective: instance.objective, loadCap: instance.loadCap,
      caps: instance.capPerLayer, claims: claims)
  }

  /// The proof whose problem is `problem`, or `problem` with its counts and loads divided.
  private static func proof(
    of problem: CertifiedProblem, in proofs: [StageProof]
  ) -> (StageProof, unit: Int, loadUnit: Int)? {
    func ratio(_ whole: Int, _ part: Int) -> Int {
      part > 0 && whole % part == 0 ? whole / part : 1
    }
    let loads = problem.loads.reduce(0, +)
    for proof in proofs {
      let unit = ratio(problem.total, proof.problem.total)
      // Without caps loads play no part.
      let loadUnit = problem.caps == nil ? 1 : ratio(loads, proof.problem.loads.reduce(0, +))
      if let divided = try? problem.divided(by: unit, loads: loadUnit),
        divided.isSame(as: proof.problem)
      {
        return (proof, unit, loadUnit)
      }
    }
    return nil
  }

  private static func evidence(_ proof: StageProof) -> Evidence? {
    switch proof.evidence {
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
    case .colocation(let multipliers): return .colocation(CertificateColocation(multipliers))
    case .fixing(let steps, let search): return .fixing(CertificateFixing(steps, search: search))
    case .windows(let proof): return .windows(CertificateWindows(proof))
    }
  }

  /// A value function in the checker's order, from partitions and values in any order,
  /// `[L][partitions, P]` and `[L][partitions]`.
  package static func chain(
    _ problem: GroupingProblem, partitions: [[UInt64]], values: [[Int]]
  ) -> Evidence? {
    let groups = problem.groups
    guard let certified = try? CertifiedProblem(problem) else { return nil }
    var ordered = [[Int]]()
    for l in 0..<problem.layers {
      guard let states = try? CertificatePartitions.list(certified, layer: l),
        states.count == partitions[l].count
      else { return nil }
      func key(_ list: [UInt64], _ slot: Int) -> [UInt64] {
        list[(slot * groups)..<((slot + 1) * groups)].sorted {
          $0.trailingZeroBitCount < $1.trailingZeroBitCount
        }
      }
      var value = [[UInt64]: Int](minimumCapacity: values[l].count)
      for slot in values[l].indices { value[key(partitions[l], slot)] = values[l][slot] }
      var row = [Int]()
      for slot in values[l].indices {
        guard let known = value[key(states, slot)] else { return nil }
        row.append(known)
      }
      ordered.append(row)
    }
    return .chain(values: ordered)
  }

  /// Duals from an optimal placement: s_j is the longest path to j under W[i,j] - W[i,σ(i)] from
  /// column σ(i), and r_i = W[i,σ(i)] - s_σ(i). Relaxation ends because an optimal matching has no
  /// cycle of positive length; if there is one the placement is not optimal and the answer is nil.
  package static func assignmentDuals(_ problem: GroupingProblem, labels: [Int]) -> Evidence? {
    let experts = problem.experts
    var (rows, columns) = ([Int](), [Int]())
    for l in 0..<(problem.layers - 1) {
      let weight = Array(
        problem.weights[(l * experts * experts)..<((l + 1) * experts * experts)])
      var columnOf = [Int](repeating: -1, count: experts)
      for j in 0..<experts { columnOf[labels[(l + 1) * experts + j]] = j }
      let match = (0..<experts).map { columnOf[labels[l * experts + $0]] }
      var price = [Int](repeating: 0, count: experts)
      var rounds = 0
      var changed = true
      while changed {
        changed = false
        rounds += 1
        guard rounds <= experts + 1 else { return nil }
        for i in 0..<experts {
          let base = price[match[i]] - weight[i * experts + match[i]]
          for j in 0..<experts where base + weight[i * experts + j] > price[j] {
            price[j] = base + weight[i * experts + j]
            changed = true
          }
        }
      }
      for i in 0..<experts { rows.append(weight[i * experts + match[i]] - price[match[i]]) }
      columns += price
    }
    return .assignment(rows: rows, columns: columns)
  }
}

extension Certificate.Claim {
  /// The least that this stage can claim, so that every checker finds it true; nil where the
  /// evidence is beyond the checker's limits.
  package func leastClaim(
    of problem: CertifiedProblem, kept: Int, effort: CertificateEffort
  ) -> Int? {
    switch evidence {
    case .chain(let values):
      // What these two claim is known without repeating all of the search, which is the checker's
      // work. (A condition that the chain does not know may keep its optimum from being the
      // placement, so the bound is not always `kept`.)
      return values.last?.max().map { min(problem.total, $0 * unit) } ?? problem.total
    case .tree(let tree):
      guard tree.isWithinLimits(groups: problem.groups) else { return nil }
      return kept
    case .colocation(let multipliers):
      guard let small = try? problem.divided(by: unit, loads: loadUnit),
        let bound = try? multipliers.bound(of: small, effort: effort)
      else { return nil }
      let inCounts = Int(clamping: bound.roomyFloor).multipliedReportingOverflow(by: unit)
      return inCounts.overflow ? problem.total : min(problem.total, inCounts.partialValue)
    case .fixing(let fixing):
      guard let small = try? problem.divided(by: unit, loads: loadUnit),
        let bound = try? fixing.bound(
          of: small, incumbent: kept / unit, isRoomy: true, effort: effort)
      else { return nil }
      let inCounts = bound.multipliedReportingOverflow(by: unit)
      return inCounts.overflow ? problem.total : min(problem.total, inCounts.partialValue)
    case .windows(let windows):
      guard let small = try? problem.divided(by: unit, loads: loadUnit),
        let bound = try? windows.bound(of: small, isRoomy: true, effort: effort)
      else { return nil }
      let inCounts = max(bound, kept / unit).multipliedReportingOverflow(by: unit)
      return inCounts.overflow ? problem.total : min(problem.total, inCounts.partialValue)
    case .oneGroup, .assignment, .path:
      return try? Certificate.proved(self, problem: problem, kept: kept, effort: effort)
    }
  }
}

extension CertifiedProblem {
  /// The solver's problem as the checker sees it.
  package init(_ problem: GroupingProblem) throws(CertificateError) {
    try self.init(
      layers: problem.layers, experts: problem.experts, groups: problem.groups,
      weights: problem.weights, coactivation: problem.coactivation, loads: problem.loads,
      caps: problem.caps)
  }

  /// The same weights and groups, and where there are caps the same loads and caps, which are alike
  /// where they round down to the same multiple of the loads' divisor.
  fileprivate func isSame(as other: GroupingProblem) -> Bool {
    guard layers == other.layers, experts == other.experts, groups == other.groups,
      weights == other.weights, coactivation == other.coactivation
    else { return false }
    guard let caps, let others = other.caps else { return self.caps == nil && other.caps == nil }
    let unit = max(1, loads.reduce(0, Self.divisor))
    return loads == other.loads && caps.map { $0 / unit } == others.map { $0 / unit }
  }
}

extension CertificatePrices {
  package init(_ prices: PathPrices) {
    self.init(
      experts: prices.experts,
      cuts: prices.cuts.map { Cut(layer: $0.layer, members: $0.members, price: $0.price) })
  }
}

extension CertificateTree {
  package init(_ tree: ProofTree) {
    // A list of what is still to be written, so that no depth of tree is too deep.
    var nodes = [Node]()
    var open = [(number: 0, parent: -1, isTogether: true)]
    while let (number, parent, isTogether) = open.popLast() {
      let place = nodes.count
      if parent >= 0,
        case .branch(let l, let i, let k, let together, let apart) = nodes[parent].kind
      {
        nodes[parent].kind = .branch(
          layer: l, first: i, second: k, together: isTogether ? place : together,
          apart: isTogether ? apart : place)
      }
      switch tree.nodes[number] {
      case .bounded(let deletions, let prices):
        nodes.append(
          Node(
            deletions: deletions.map { CertificatePrices($0) },
            kind: .bounded(prices: CertificatePrices(prices))))
      case .exhausted(let deletions, let prices, let dolls):
        nodes.append(
          Node(
            deletions: deletions.map { CertificatePrices($0) },
            kind: .exhausted(prices: CertificatePrices(prices), dolls: dolls)))
      case .branch(let deletions, let pair, let together, let apart):
        nodes.append(
          Node(
            deletions: deletions.map { CertificatePrices($0) },
            kind: .branch(
              layer: pair.layer, first: pair.first, second: pair.second, together: -1, apart: -1)))
        open.append((apart, place, false))
        open.append((together, place, true))
      }
    }
    self.init(nodes: nodes)
  }
}

extension CertificateFixing {
  package init(_ steps: [ColocationMultipliers], search: Int?) {
    self.init(steps: steps.map { CertificateColocation($0) }, search: search)
  }
}

extension CertificateWindows {
  package init(_ proof: WindowProof) {
    let experts = proof.split.problem.experts
    self.init(
      fractionBits: proof.split.fractionBits,
      shares: proof.split.shares.map { block in
        (0..<experts).flatMap { i in
          ((i + 1)..<max(experts, i + 1)).map { block[i * experts + $0] }
        }
      },
      trees: proof.trees.map { tree in
        Tree(
          best: tree.best,
          nodes: tree.nodes.map { node in
            switch node.kind {
            case .branch(let first, let second, let together, let apart):
              Node(
                kind: .branch(first: first, second: second, together: together, apart: apart))
            case .leaf(let steps, let search):
              Node(kind: .leaf(CertificateFixing(steps, search: search)))
            }
          })
      })
  }
}

extension CertificateColocation {
  package init(_ multipliers: ColocationMultipliers) {
    let experts = multipliers.experts
    var blocks = [[[Int]]](repeating: [], count: 3)
    for l in 0..<(multipliers.layers - 1) {
      for kind in 0..<3 {
        let base = (3 * l + kind) * experts * experts
        blocks[kind].append(
          (0..<experts).flatMap { i in
            ((kind == 1 ? 0 : i)..<experts).map { multipliers.dual[base + i * experts + $0] }
          })
      }
    }
    self.init(
      fractionBits: multipliers.fractionBits, left: blocks[0], between: blocks[1],
      right: blocks[2], cuts: multipliers.cuts.map { CertificateColocationCut($0) })
  }
}

extension CertificateColocationCut {
  package init(_ cut: ColocationCut) {
    let shape: Shape
    switch cut.shape {
    case .partition(let first, let second): shape = .partition(first, second)
    case .crowd(let vertices): shape = .crowd(vertices)
    case .hypermetric(let vertices, let weights): shape = .hypermetric(vertices, weights)
    case .cover(let vertex, let half, let members):
      shape = .cover(vertex: vertex, half: half, members: members)
    case .coverPairs(let half, let members): shape = .coverPairs(half: half, members: members)
    case .company(let i, let k, let half, let first, let second):
      shape = .company(i, k, half: half, first: first, second: second)
    case .load(let vertex, let half, let atMost):
      shape = .load(vertex: vertex, half: half, atMost: atMost)
    case .loadPair(let i, let k, let half, let relation):
      shape = .loadPair(i, k, half: half, relation: PairRelation(relation))
    case .loadProduct(let first, let second, let atMost):
      shape = .loadProduct(first: first, second: second, atMost: atMost)
    }
    self.init(boundary: cut.boundary, shape: shape, multiplier: cut.multiplier)
  }
}

extension CertificateColocationCut.PairRelation {
  fileprivate init(_ relation: ColocationCut.PairRelation) {
    switch relation {
    case .difference: self = .difference
    case .most: self = .most
    case .least: self = .least
    }
  }
}
