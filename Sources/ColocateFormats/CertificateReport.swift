import ColocateModel
import ColocateCertificate

/// What a check found to be true: everything that the proof is about, so that nobody takes it for
/// the proof of something else.
public struct CertificateReport: Hashable, Sendable {
  /// What was found to be true of one stage, in crossings.
  public struct Stage: Hashable, Sendable {
    /// "gpus", "nodes" or "node k".
    public let name: String
    /// The kind of evidence.
    public let evidence: String
    /// Crossings of the placement, and what no placement can be below.
    public let crossings: Int
    public let bound: Int
    public let total: Int
    public var isOptimal: Bool { crossings == bound }
  }

  /// L and E.
  public let layers: Int
  public let experts: Int
  public let topology: Topology
  public let objective: Objective
  public let loadCap: LoadCap?
  /// The most tokens of a GPU in each layer, `[L]`; nil without a cap.
  public let caps: [Int]?
  /// In how many layers a relaxed cap is above its ratio.
  public let relaxedLayers: Int
  public let hasCoactivation: Bool
  /// SHA-256 of the counts.
  public let countsDigest: String
  /// The objective of the placement.
  public let value: Int
  /// What no placement's objective is below; nil for staged, whose stages are bounded one by one.
  public let bound: Int?
  public let stages: [Stage]

  init(
    _ certificate: Certificate, counts: TransitionCounts, digest: String,
    findings: [Certificate.Finding]
  ) {
    layers = counts.layers
    experts = counts.experts
    topology = certificate.placement.topology
    objective = certificate.objective
    let (gpus, cap) = (topology.gpus, certificate.loadCap)
    loadCap = cap
    let ratio = cap.map { cap in
      (0..<counts.layers).map {
        Certificate.tokens(cap, of: counts.load(layer: $0), gpus: gpus)
      }
    }
    caps = cap == nil ? nil : certificate.caps ?? ratio
    relaxedLayers = zip(caps ?? [], ratio ?? []).count { $0 > $1 }
    hasCoactivation = !counts.coactivation.isEmpty
    countsDigest = digest
    stages = findings.map {
      Stage(
        name: $0.stage.description, evidence: $0.evidence, crossings: $0.crossings, bound: $0.bound,
        total: $0.total)
    }
    func crossings(_ stage: ColocateModel.Stage) -> Int {
      guard
        let (problem, labels) = try? CertifiedProblem.stage(
          stage, counts: counts, placement: certificate.placement, caps: nil)
      else { return 0 }
      return problem.total - problem.kept(labels)
    }
    func bound(_ stage: ColocateModel.Stage) -> Int {
      findings.first { $0.stage == stage }?.bound ?? 0
    }
    let (flat, flatBound) = (crossings(.gpus), bound(.gpus))
    switch objective {
    case .flat: (value, self.bound) = (flat, flatBound)
    case .staged: (value, self.bound) = (flat, nil)
    case .joint(let weights):
      // intra·(crossings of GPUs) + (inter - intra)·(crossings of nodes), each bounded by itself.
      // With one GPU a node the two are the same.
      let isSame = topology.gpusPerNode == 1
      let nodes = isSame ? flat : crossings(.nodes)
      let nodesBound = isSame ? max(flatBound, bound(.nodes)) : bound(.nodes)
      let (gpusBound, more) = (
        isSame ? nodesBound : flatBound, weights.interNode - weights.intraNode
      )
      value = Self.clamped(weights.intraNode, flat, more, nodes)
      self.bound = Self.clamped(weights.intraNode, gpusBound, more, nodesBound)
    }
  }

  /// a·x + b·y, or the largest integer where that is too large.
  private static func clamped(_ a: Int, _ x: Int, _ b: Int, _ y: Int) -> Int {
    Int(clamping: Int128(a) * Int128(x) + Int128(b) * Int128(y))
  }

  /// For people, in lines of at most 80 columns.
  /// - Parameter counting: how the counts were made, e.g. "all pairs of a token's experts".
  public func text(counting: String) -> String {
    var lines = [
      ("model", "\(layers) layers × \(experts) experts"),
      (
        "counts",
        counting + (hasCoactivation ? ", with co-activation" : ", without co-activation")
      ),
      ("sha-256", countsDigest),
      ("machines", ReportText.machines(topology)),
      ("load cap", ReportText.cap(loadCap, caps, relaxedLayers: relaxedLayers)),
      ("objective", objectiveText),
    ]
    for stage in stages {
      lines.append((stage.name, "crossings \(stage.crossings) of \(stage.total)"))
      lines.append(("", ReportText.verdict(stage.crossings, stage.bound) + " (\(stage.evidence))"))
    }
    if let bound {
      lines.append(("value", "\(value), " + ReportText.verdict(value, bound)))
    } else {
      lines.append(("value", "\(value) crossings; each stage is proved by itself"))
    }
    return ReportText.text(lines)
  }

  private var objectiveText: String {
    switch objective {
    case .flat: "flat"
    case .staged: "staged: between nodes, then inside each"
    case .joint(let weights):
      "joint: \(weights.interNode) between nodes, \(weights.intraNode) inside"
    }
  }

  /// For programs.
  public func json(counting: String) -> JSONText {
    let sizes = ReportText.sizes(
      layers: layers, experts: experts, topology: topology, loadCap: loadCap, caps: caps)
    return .object(
      sizes + [
        ("objective", SharedFields.json(objective)), ("counting", .string(counting)),
        ("coactivation", .bool(hasCoactivation)), ("counts_sha256", .string(countsDigest)),
        ("value", .integer(value)), ("bound", bound.map { .integer($0) } ?? nil),
        ("optimal", .bool(stages.allSatisfy(\.isOptimal))),
        (
          "stages",
          .array(
            stages.map {
              .object([
                ("stage", .string($0.name)), ("evidence", .string($0.evidence)),
                ("crossings", .integer($0.crossings)), ("bound", .integer($0.bound)),
                ("total", .integer($0.total)), ("optimal", .bool($0.isOptimal)),
              ])
            })
        ),
      ])
  }
}
