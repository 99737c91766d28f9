import Colocate
import ColocateCertificate

extension FuzzRun {
  /// Everything that must hold of an answer.
  mutating func check(_ outcome: SolverOutcome, _ instance: Instance, _ truth: Truth) {
    if let fault = outcome.internalFault { fail("internal: \(fault)") }
    if outcome.status == .infeasible { return fail("infeasible: a placement exists") }
    count(outcome)
    guard let placement = outcome.placement else { return fail("placement: none") }
    guard isValid(placement, instance, truth) else { return }
    let labels = placement.assignment
    let (gpu, node) = truth.crossings(labels)
    guard let crossings = outcome.crossings, crossings.gpu == gpu, crossings.node == node else {
      return fail("crossings: \(gpu) and \(node) counted, others reported")
    }
    guard let value = outcome.value, value == truth.value(labels), let best = truth.best else {
      return fail("value: \(outcome.value ?? -1) reported, \(truth.value(labels)) counted")
    }
    let bound = outcome.bound
    if let bound, bound > value { fail("bound: \(bound) above the value \(value)") }
    let isStaged = fuzz.objective == .staged
    let isTwoLevel = fuzz.nodes > 1 && fuzz.gpusPerNode > 1
    if isStaged, isTwoLevel {
      checkStages(outcome, labels, truth, node: node, inside: gpu - node)
    } else {
      if let bound, bound > best { fail("bound: \(bound) above the optimum \(best)") }
      if value < best { fail("reference: \(value) below its optimum \(best)") }
      if outcome.status == .optimal, value != best {
        fail("optimal: \(value), but \(best) exists")
      }
    }
    checkEnd(outcome)
  }

  private mutating func count(_ outcome: SolverOutcome) {
    for stage in outcome.stages where stage.stage != .joint {
      if stage.status == .optimal {
        report.proofs.append(stage.boundMethod?.rawValue ?? "none")
      } else {
        report.open += 1
      }
    }
  }

  private mutating func isValid(
    _ placement: Placement, _ instance: Instance, _ truth: Truth
  ) -> Bool {
    do throws(ModelError) {
      _ = try Placement(
        topology: instance.topology, layers: fuzz.layers, experts: fuzz.experts,
        assignment: placement.assignment)
    } catch {
      fail("placement: \(error)")
      return false
    }
    guard let caps = truth.caps else { return true }
    for l in 0..<fuzz.layers {
      var load = [Int](repeating: 0, count: fuzz.gpus)
      for e in 0..<fuzz.experts {
        load[placement[layer: l, expert: e]] += truth.loads[l * fuzz.experts + e]
      }
      if let most = load.max(), most > caps[l] {
        fail("cap: \(most) tokens in layer \(l), at most \(caps[l]) are allowed")
        return false
      }
    }
    return true
  }

  /// The reason of the end against the status, the gap and the limits.
  private mutating func checkEnd(_ outcome: SolverOutcome) {
    let isProved = outcome.status == .optimal
    if isProved != (outcome.stopReason == .proved) {
      fail("end: \(outcome.status) because of \(outcome.stopReason)")
    }
    let isTwoStep = fuzz.objective == .staged && fuzz.nodes > 1 && fuzz.gpusPerNode > 1
    if isProved, !isTwoStep, outcome.bound != outcome.value {
      fail("end: optimal with an open gap")
    }
    if outcome.stopReason == .gap, !isTwoStep, outcome.gap ?? 1 > fuzz.options.gapLimit {
      fail("end: gap \(outcome.gap ?? 1) where \(fuzz.options.gapLimit) was asked for")
    }
    if outcome.stopReason == .work, fuzz.options.workLimit == nil { fail("end: no work limit") }
    if outcome.stopReason == .time, fuzz.options.timeLimit == nil { fail("end: no time limit") }
    if outcome.stopReason == .treeNodes, fuzz.options.treeNodeLimit == nil {
      fail("end: no limit on tree nodes")
    }
    if outcome.stopReason == .cancelled, !fuzz.cancels { fail("end: nobody cancelled") }
  }

  /// A staged answer: its first step against the optimum for nodes, the others against the optimum
  /// of each node's inside, and what it is worth jointly.
  private mutating func checkStages(
    _ outcome: SolverOutcome, _ labels: [Int], _ truth: Truth, node: Int, inside: Int
  ) {
    guard let first = outcome.stages.first, let best = truth.best else {
      return fail("stages: none")
    }
    if first.value != node {
      fail("stages: \(first.value ?? -1) node crossings, \(node) counted")
    }
    if let bound = first.bound, bound > best {
      fail("bound: nodes \(bound) above the optimum \(best)")
    }
    if node < best { fail("reference: \(node) node crossings below its optimum \(best)") }
    if first.status == .optimal, node != best { fail("optimal: nodes \(node), \(best) exists") }
    guard let innerBest = insideOptimum(labels, truth) else {
      return fail("reference: the inside of a node has no placement")
    }
    let inner = outcome.stages.dropFirst()
    let innerBound = inner.reduce(0) { $0 + ($1.bound ?? 0) }
    if innerBound > innerBest {
      fail("bound: inside \(innerBound) above the optimum \(innerBest)")
    }
    if inside < innerBest { fail("reference: inside \(inside) below its optimum \(innerBest)") }
    if inner.allSatisfy({ $0.status == .optimal }), inside != innerBest {
      fail("optimal: inside \(inside), but \(innerBest) exists")
    }
    guard let joint = outcome.joint else { return }
    let (inter, intra) = (joint.weights.interNode, joint.weights.intraNode)
    if joint.value != inter * node + intra * inside { fail("joint: \(joint.value)") }
    let level = ReferenceOptimum.Level(
      nodes: fuzz.nodes, gpusPerNode: fuzz.gpusPerNode, perNode: inter - intra, perGPU: intra)
    if let optimum = Truth.optimum(fuzz, loads: truth.loads, caps: truth.caps, level),
      let bound = joint.bound, bound > inter * truth.total - optimum.saved
    {
      fail("bound: joint \(bound) above \(inter * truth.total - optimum.saved)")
    }
  }

  /// The fewest crossings inside the nodes, for the nodes of `labels`.
  private func insideOptimum(_ labels: [Int], _ truth: Truth) -> Int? {
    var sum = 0
    for node in 0..<fuzz.nodes {
      var inner = fuzz
      inner.experts = fuzz.experts / fuzz.nodes
      (inner.weights, inner.coactivation) = ([], [])
      let members = (0..<fuzz.layers).map { l in
        (0..<fuzz.experts).filter { labels[l * fuzz.experts + $0] / fuzz.gpusPerNode == node }
      }
      var loads = [Int]()
      for l in 0..<fuzz.layers {
        loads += members[l].map { truth.loads[l * fuzz.experts + $0] }
        for i in members[l] {
          if l < fuzz.layers - 1 {
            inner.weights += members[l + 1].map {
              fuzz.weights[(l * fuzz.experts + i) * fuzz.experts + $0]
            }
          }
          if !fuzz.coactivation.isEmpty {
            inner.coactivation += members[l].map {
              fuzz.coactivation[(l * fuzz.experts + i) * fuzz.experts + $0]
            }
          }
        }
      }
      let level = ReferenceOptimum.Level(
        nodes: 1, gpusPerNode: fuzz.gpusPerNode, perNode: 0, perGPU: 1)
      guard
        let optimum = Truth.optimum(inner, loads: loads, caps: truth.caps, level)
      else { return nil }
      sum += inner.weights.reduce(0, +) + inner.coactivation.reduce(0, +) / 2 - optimum.saved
    }
    return sum
  }

  // MARK: Certificates

  /// The certificate of the run is accepted, and refused with a bound that a placement is known to
  /// break, or with figures that are not the placement's.
  mutating func checkCertificate(
    _ outcome: SolverOutcome, _ instance: Instance, _ counts: TransitionCounts, _ truth: Truth
  ) {
    let control = SearchControl()
    guard let certificate = Certificate(of: outcome, instance: instance, control: control) else {
      let method = outcome.stages.first?.boundMethod
      if outcome.status == .optimal, fuzz.objective == .flat, method != .trivial {
        fail("certificate: none for a proof by \(method?.rawValue ?? "nobody")")
      }
      return
    }
    do {
      _ = try certificate.check(counts: counts, effort: CertificateEffort())
      report.certificates += 1
    } catch {
      return fail("certificate: refused, \(error)")
    }
    for index in certificate.claims.indices {
      var forged = certificate
      // An open bound may be one worse than what its evidence proves: then one better is true.
      if forged.claims[index].keptBound == forged.claims[index].kept {
        forged.claims[index].keptBound -= 1
        expectRefusal(forged, counts, "a bound below the value")
      }
      forged.claims[index].kept += 1
      expectRefusal(forged, counts, "one more kept")
    }
    forgeFalseBound(certificate, outcome, instance, counts, truth)
  }

  /// The evidence offered for a placement below the optimum, with a bound one below the optimum:
  /// false by one, and nothing but the evidence says so.
  private mutating func forgeFalseBound(
    _ certificate: Certificate, _ outcome: SolverOutcome, _ instance: Instance,
    _ counts: TransitionCounts, _ truth: Truth
  ) {
    guard fuzz.objective == .flat, certificate.claims.count == 1, let value = outcome.value,
      let best = truth.best
    else { return }
    let problem = instance.gpuProblem
    let optimum = certificate.claims[0].kept + value - best
    for a in 0..<fuzz.experts {
      for b in 0...a {
        var labels = certificate.placement.assignment
        labels.swapAt(a, b)
        let worse = problem.kept(labels)
        guard worse < optimum, problem.isFeasible(labels) else { continue }
        var forged = certificate
        forged.placement = Placement(
          unchecked: instance.topology, layers: fuzz.layers, experts: fuzz.experts,
          assignment: labels)
        forged.claims[0].kept = worse
        forged.claims[0].keptBound = optimum - 1
        return expectRefusal(forged, counts, "one better than the optimum")
      }
    }
  }

  private mutating func expectRefusal(
    _ forged: Certificate, _ counts: TransitionCounts, _ what: String
  ) {
    report.forgeries += 1
    if (try? forged.check(counts: counts, effort: CertificateEffort())) != nil {
      fail("forgery: accepted, \(what)")
    }
  }
}
