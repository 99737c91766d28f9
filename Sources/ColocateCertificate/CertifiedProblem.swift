import ColocateModel

/// One level of groups, as the checker derives it from the counts: partition the experts of each
/// layer into P groups of c, every group within the cap, so that much weight stays inside groups.
///
///     kept(π) = Σ_l Σ_ij W_l[i,j]·[π_l(i) = π_{l+1}(j)] + Σ_l Σ_{i<k} V_l[i,k]·[π_l(i) = π_l(k)]
///
/// Counts are not negative and add up to at most 2^56 (`TransitionCounts`: 2^55 each for W and V),
/// so every sum of some of them is exact.
package struct CertifiedProblem: Sendable {
  /// L and E.
  package let layers: Int
  package let experts: Int
  /// P.
  package let groups: Int
  /// W, `[L-1, E, E]`.
  package let weights: [Int]
  /// V, `[L, E, E]`, symmetric with a zero diagonal, or empty.
  package let coactivation: [Int]
  /// Tokens of each expert, `[L, E]`.
  package let loads: [Int]
  /// The most tokens of a group in each layer, `[L]`; nil without a cap.
  package let caps: [Int]?
  /// Σ W + Σ_{i<k} V.
  package let total: Int
  /// The greatest common divisor of all counts (1 where all are 0): what a placement keeps is a
  /// multiple of it, so a better one keeps at least this much more.
  package let step: Int

  /// c = E / P.
  var groupSize: Int { experts / groups }

  package init(
    layers: Int, experts: Int, groups: Int, weights: [Int], coactivation: [Int], loads: [Int],
    caps: [Int]?
  ) throws(CertificateError) {
    guard layers >= 2, groups >= 1, experts >= groups, experts % groups == 0 else {
      throw CertificateError("\(experts) experts do not spread over \(groups) groups")
    }
    self.layers = layers
    self.experts = experts
    self.groups = groups
    self.weights = weights
    self.coactivation = coactivation
    self.loads = loads
    self.caps = caps
    total = weights.reduce(0, +) + coactivation.reduce(0, +) / 2
    step = max(1, (weights + coactivation).reduce(0, Self.divisor))
  }

  /// Euclid's; `divisor(0, b)` is b.
  package static func divisor(_ a: Int, _ b: Int) -> Int {
    var (a, b) = (a, b)
    while b != 0 { (a, b) = (b, a % b) }
    return a
  }

  /// The problem of a stage, and the placement's labels for it, `[L, E]` of that problem.
  package static func stage(
    _ stage: Stage, counts: TransitionCounts, placement: Placement, caps: [Int]?
  ) throws(CertificateError) -> (problem: CertifiedProblem, labels: [Int]) {
    let topology = placement.topology
    let (layers, experts, gpus) = (counts.layers, counts.experts, topology.gpusPerNode)
    // Loads are multiples of their divisor, so caps between two multiples are the lower one.
    let loadUnit = max(1, counts.loads.reduce(0, Self.divisor))
    let caps = caps.map { $0.map { $0 / loadUnit * loadUnit } }
    switch stage {
    case .gpus:
      let problem = try CertifiedProblem(
        layers: layers, experts: experts, groups: topology.gpus, weights: counts.weights,
        coactivation: counts.coactivation, loads: counts.loads, caps: caps)
      return (problem, placement.assignment)
    case .nodes:
      // A node may take what its GPUs may take together.
      let problem = try CertifiedProblem(
        layers: layers, experts: experts, groups: topology.nodes, weights: counts.weights,
        coactivation: counts.coactivation, loads: counts.loads,
        caps: caps.map { caps in
          caps.map {
            let (sum, over) = $0.multipliedReportingOverflow(by: gpus)
            return over ? Int.max : sum
          }
        })
      return (problem, placement.assignment.map { $0 / gpus })
    case .node(let node):
      guard node < topology.nodes else {
        throw CertificateError("node \(node): expected a number below \(topology.nodes)")
      }
      let members = (0..<layers).map { l in
        (0..<experts).filter { placement.assignment[l * experts + $0] / gpus == node }
      }
      return try inside(members, counts: counts, placement: placement, node: node, caps: caps)
    case .joint, .gpusForJoint, .groups, .block:
      throw CertificateError("stage '\(stage)' is no single-level problem")
    }
  }

  /// The problem of the experts that the placement puts on one node.
  private static func inside(
    _ members: [[Int]], counts: TransitionCounts, placement: Placement, node: Int, caps: [Int]?
  ) throws(CertificateError) -> (problem: CertifiedProblem, labels: [Int]) {
    let (experts, gpus) = (counts.experts, placement.topology.gpusPerNode)
    var (weights, together, loads, labels) = ([Int](), [Int](), [Int](), [Int]())
    for (l, own) in members.enumerated() {
      for i in own {
        loads.append(counts.loads[l * experts + i])
        labels.append(placement.assignment[l * experts + i] - node * gpus)
        let row = (l * experts + i) * experts
        if l + 1 < members.count { weights += members[l + 1].map { counts.weights[row + $0] } }
        if !counts.coactivation.isEmpty { together += own.map { counts.coactivation[row + $0] } }
      }
    }
    let problem = try CertifiedProblem(
      layers: counts.layers, experts: experts / placement.topology.nodes, groups: gpus,
      weights: weights, coactivation: together, loads: loads, caps: caps)
    return (problem, labels)
  }

  /// The problem with all counts divided by `unit` and all loads by `loadUnit`.
  package func divided(by unit: Int, loads loadUnit: Int) throws(CertificateError)
    -> CertifiedProblem
  {
    if unit == 1, loadUnit == 1 { return self }
    guard unit >= 1, step % unit == 0 else {
      throw CertificateError("counts in units of \(unit), which does not divide all of them")
    }
    guard loadUnit >= 1, loads.allSatisfy({ $0 % loadUnit == 0 }) else {
      throw CertificateError("loads in units of \(loadUnit), which does not divide all of them")
    }
    return try CertifiedProblem(
      layers: layers, experts: experts, groups: groups, weights: weights.map { $0 / unit },
      coactivation: coactivation.map { $0 / unit }, loads: loads.map { $0 / loadUnit },
      caps: caps.map { $0.map { $0 / loadUnit } })
  }

  /// What labels keep.
  package func kept(_ labels: [Int]) -> Int {
    var kept = 0
    for l in 0..<layers {
      for i in 0..<experts {
        let (place, group) = (l * experts + i, labels[l * experts + i])
        for j in 0..<experts {
          if l + 1 < layers, labels[(l + 1) * experts + j] == group {
            kept += weights[place * experts + j]
          }
          if j < i, !coactivation.isEmpty, labels[l * experts + j] == group {
            kept += coactivation[place * experts + j]
          }
        }
      }
    }
    return kept
  }

  /// Σ_{i<k in group} V_l[i,k].
  func together(_ l: Int, _ group: UInt64) -> Int {
    guard !coactivation.isEmpty else { return 0 }
    var sum = 0
    for i in 0..<experts where group >> UInt64(i) & 1 == 1 {
      for j in 0..<i where group >> UInt64(j) & 1 == 1 {
        sum += coactivation[(l * experts + i) * experts + j]
      }
    }
    return sum
  }

  /// E over c, infinite where a double cannot hold it.
  var subsetCount: Double {
    (0..<groupSize).reduce(1.0) { $0 * Double(experts - $1) / Double($1 + 1) }
  }
}
