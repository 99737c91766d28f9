import ColocateModel

/// The checker.
extension Certificate {
  /// What was found to be true of a stage, in crossings.
  package struct Finding: Sendable {
    package let stage: Stage
    /// The kind of evidence.
    package let evidence: String
    package let crossings: Int
    package let bound: Int
    package let total: Int
    package var isOptimal: Bool { crossings == bound }
  }

  /// Checks everything against `counts`.
  /// - Throws: `CertificateError` with the first thing that is not true, or is too large to check.
  package func check(
    counts: TransitionCounts, effort: CertificateEffort
  ) throws(CertificateError) -> [Finding] {
    guard placement.layers == counts.layers, placement.experts == counts.experts else {
      throw CertificateError(
        "for \(placement.layers) layers × \(placement.experts) experts, "
          + "expected \(counts.layers) × \(counts.experts)")
    }
    if caps == nil, let loadCap, !loadCap.relaxedToFeasible {
      // The tokens follow from the ratio.
      var whole = self
      whole.caps = (0..<counts.layers).map { l in
        Self.tokens(loadCap, of: counts.load(layer: l), gpus: placement.topology.gpus)
      }
      return try whole.check(counts: counts, effort: effort)
    }
    try checkCaps(counts)
    guard !claims.isEmpty else { throw CertificateError("no stage: expected at least one") }
    var stages = Set<Stage>()
    var findings = [Finding]()
    for claim in claims {
      guard stages.insert(claim.stage).inserted else {
        throw CertificateError("stage '\(claim.stage)' occurs twice")
      }
      do throws(CertificateError) {
        findings.append(try check(claim, counts: counts, effort: effort))
      } catch {
        throw CertificateError("stage '\(claim.stage)': \(error.description)")
      }
    }
    return findings
  }

  private func check(
    _ claim: Claim, counts: TransitionCounts, effort: CertificateEffort
  ) throws(CertificateError) -> Finding {
    let (problem, labels) = try CertifiedProblem.stage(
      claim.stage, counts: counts, placement: placement, caps: caps)
    let kept = problem.kept(labels)
    guard kept == claim.kept else {
      throw CertificateError("kept weight \(claim.kept) claimed, \(kept) found")
    }
    guard claim.keptBound <= problem.total else {
      throw CertificateError("a bound of \(claim.keptBound) on a total of \(problem.total)")
    }
    let bound = try Self.proved(claim, problem: problem, kept: kept, effort: effort)
    // A weaker claim is a true one.
    guard claim.keptBound >= bound else {
      throw CertificateError(
        "bound on the kept weight \(claim.keptBound) claimed, \(bound) found")
    }
    return Finding(
      stage: claim.stage, evidence: claim.evidence.name, crossings: problem.total - kept,
      bound: problem.total - claim.keptBound, total: problem.total)
  }

  /// What the stage's evidence proves of `problem`, whose certified placement keeps `kept`: no
  /// placement keeps more.
  /// - Throws: where the evidence does not hold.
  package static func proved(
    _ claim: Claim, problem: CertifiedProblem, kept: Int, effort: CertificateEffort
  ) throws(CertificateError) -> Int {
    let unit = claim.unit
    let small = try problem.divided(by: unit, loads: claim.loadUnit)
    let proved: Int
    switch claim.evidence {
    case .oneGroup:
      guard small.groups == 1 else {
        throw CertificateError("evidence for one group, but there are \(small.groups)")
      }
      proved = small.total
    case .assignment(let rows, let columns):
      proved = try assignmentBound(small, rows: rows, columns: columns)
    case .chain(let values): proved = try chainBound(small, values: values, effort: effort)
    case .path(let prices):
      let paths = try CertificatePaths(small, effort: effort)
      // B is in units of 1/64, and what a placement keeps is an integer.
      proved = Int(clamping: try paths.bound(prices) >> 6)
    case .colocation(let multipliers):
      proved = Int(clamping: try multipliers.bound(of: small, effort: effort).floor)
    case .fixing(let fixing):
      proved = try fixing.bound(of: small, incumbent: kept / unit, effort: effort)
    case .windows(let windows): proved = try windows.bound(of: small, effort: effort)
    case .tree(let tree):
      try CertificatePaths(small, effort: effort).check(tree, incumbent: kept / unit)
      proved = kept / unit
    }
    // Back to the counts; nothing between two multiples of `step` can be kept.
    let (inCounts, over) = proved.multipliedReportingOverflow(by: unit)
    if over || inCounts >= problem.total { return problem.total }
    let bound = inCounts >= 0 ? inCounts / problem.step * problem.step : inCounts
    // The placement itself keeps `kept`, so evidence for less would contradict itself.
    guard bound >= kept else {
      throw CertificateError("evidence for at most \(bound), but the placement keeps \(kept)")
    }
    return bound
  }

  private func checkCaps(_ counts: TransitionCounts) throws(CertificateError) {
    try Self.checkCaps(placement, loadCap: loadCap, caps: caps, loads: counts.loads)
  }

  /// That `caps` are what the load cap says, and that the placement meets them. With a relaxed cap
  /// a layer may have more than the ratio allows, and the claims are about placements within the
  /// caps as the certificate states them.
  /// - Parameter loads: tokens of each expert, `[L, E]`.
  static func checkCaps(
    _ placement: Placement, loadCap: LoadCap?, caps: [Int]?, loads: [Int]
  ) throws(CertificateError) {
    guard let cap = loadCap else {
      guard caps == nil else { throw CertificateError("caps without a load cap") }
      return
    }
    let (layers, experts) = (placement.layers, placement.experts)
    guard let caps, caps.count == layers else {
      throw CertificateError("a load cap without the tokens that it allows in each layer")
    }
    let gpus = placement.topology.gpus
    for l in 0..<layers {
      var load = [Int](repeating: 0, count: gpus)
      for e in 0..<experts {
        load[placement.assignment[l * experts + e]] += loads[l * experts + e]
      }
      let (most, tokens) = (load.max() ?? 0, load.reduce(0, +))
      let allowed = Self.tokens(cap, of: tokens, gpus: gpus)
      // More than all tokens is no cap, and may be written as any number.
      let stated = min(caps[l], tokens)
      guard stated == allowed || (cap.relaxedToFeasible && stated > allowed) else {
        throw CertificateError("a cap of \(caps[l]) tokens in layer \(l), expected \(allowed)")
      }
      guard most <= caps[l] else {
        throw CertificateError(
          "the placement gives a GPU \(most) tokens of layer \(l), expected at most \(caps[l])")
      }
    }
  }

  /// ⌊ratio · tokens / P⌋, and no more than `tokens`.
  package static func tokens(_ cap: LoadCap, of tokens: Int, gpus: Int) -> Int {
    // Below 2^56 · 2^63, and the divisor below 2^63 · 2^63.
    let share = Int128(tokens) * Int128(cap.numerator) / (Int128(cap.denominator) * Int128(gpus))
    return Int(min(share, Int128(tokens)))
  }
}
