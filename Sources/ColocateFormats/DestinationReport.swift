import Colocate
import ColocateCertificate

/// What a check of a certificate about destinations found to be true.
public struct DestinationReport: Hashable, Sendable {
  /// What was found of one level, all layers together.
  public struct Level: Hashable, Sendable {
    /// "gpus", "nodes" or "node k".
    public let name: String
    /// `Σ λ` of the placement, and what no placement is below.
    public let value: Int
    public let bound: Int
    /// Layers where the two meet.
    public let provedLayers: Int
  }

  /// L and E.
  public let layers: Int
  public let experts: Int
  public let topology: Topology
  public let objective: DestinationObjective
  public let loadCap: LoadCap?
  /// The most tokens of a GPU in each layer, `[L]`; nil without a cap.
  public let caps: [Int]?
  /// In how many layers a relaxed cap is above its ratio.
  public let relaxedLayers: Int
  /// SHA-256 of the sets.
  public let setsDigest: String
  /// Tokens, counted once in each layer.
  public let tokens: Int
  /// The objective of the placement, and what no placement is below; nil for staged, whose steps
  /// are bounded one by one.
  public let value: Int
  public let bound: Int?
  public let levels: [Level]

  init(
    _ certificate: DestinationCertificate, sets: TokenSets, digest: String,
    findings: [DestinationCertificate.Finding]
  ) {
    (layers, experts) = (sets.layers, sets.experts)
    topology = certificate.placement.topology
    objective = certificate.objective
    let cap = certificate.loadCap
    (loadCap, caps, setsDigest) = (cap, certificate.caps, digest)
    let gpus = topology.gpus
    relaxedLayers =
      cap == nil
      ? 0
      : zip(certificate.caps ?? [], sets.layerSets).count { stated, layer in
        let tokens = layer.loads.reduce(0, +)
        return cap.map { stated > Certificate.tokens($0, of: tokens, gpus: gpus) } ?? false
      }
    tokens = sets.layerSets.reduce(0) { $0 + $1.tokens }
    levels = DestinationCertificate.levels(objective, topology).map { level in
      let own = findings.filter { $0.level == level }
      return Level(
        name: level.description, value: own.reduce(0) { $0 + $1.value },
        bound: own.reduce(0) { $0 + $1.bound }, provedLayers: own.count { $0.bound == $0.value })
    }
    (value, bound) = Self.total(objective, levels, topology: topology, tokens: tokens)
  }

  /// The objective's value and bound from those of its levels.
  private static func total(
    _ objective: DestinationObjective, _ levels: [Level], topology: Topology, tokens: Int
  ) -> (value: Int, bound: Int?) {
    typealias Figures = (value: Int, bound: Int)
    func figures(_ name: String) -> Figures? {
      levels.first { $0.name == name }.map { ($0.value, $0.bound) }
    }
    let inside = levels.dropFirst()
    let gpus = figures("gpus") ?? (inside.reduce(0) { $0 + $1.value }, 0)
    // One node has every token once; with one GPU a node the two levels are one.
    let nodes = figures("nodes") ?? (topology.nodes == 1 ? (tokens, tokens) : gpus)
    switch objective {
    case .gpus: return gpus
    case .nodes: return nodes
    case .joint(let inter, let intra):
      return (
        inter * nodes.value + intra * (gpus.value - nodes.value),
        (inter - intra) * nodes.bound + intra * gpus.bound
      )
    case .staged: return levels.count == 1 ? gpus : (gpus.value, nil)
    }
  }

  /// Whether every level of every layer is proved.
  public var isOptimal: Bool { levels.allSatisfy { $0.bound == $0.value } }

  /// For people, in lines of at most 80 columns.
  public func text() -> String {
    var lines = [
      ("model", "\(layers) layers × \(experts) experts"),
      ("sets", "of \(tokens) tokens, once in each layer"),
      ("sha-256", setsDigest),
      ("machines", ReportText.machines(topology)),
      ("load cap", ReportText.cap(loadCap, caps, relaxedLayers: relaxedLayers)),
      ("objective", "home mode: " + objectiveText),
    ]
    for level in levels {
      lines.append((level.name, "destinations \(level.value), layers proved \(level.provedLayers)"))
      lines.append(("", ReportText.verdict(level.value, level.bound)))
    }
    if let bound {
      lines.append(("value", "\(value), " + ReportText.verdict(value, bound)))
    } else {
      lines.append(("value", "\(value) destinations; each step is proved by itself"))
    }
    return ReportText.text(lines)
  }

  private var objectiveText: String {
    switch objective {
    case .gpus: "GPUs of a token"
    case .nodes: "nodes of a token"
    case .staged: "nodes of a token, then GPUs inside each"
    case .joint(let inter, let intra): "\(inter) a node, \(intra) a further GPU"
    }
  }

  /// For programs.
  public func json() -> JSONText {
    let sizes = ReportText.sizes(
      layers: layers, experts: experts, topology: topology, loadCap: loadCap, caps: caps)
    return .object(
      sizes + [
        ("objective", SharedFields.json(DestinationGoal.home(objective))),
        ("tokens", .integer(tokens)), ("sets_sha256", .string(setsDigest)),
        ("value", .integer(value)), ("bound", bound.map { .integer($0) } ?? nil),
        ("optimal", .bool(isOptimal)),
        (
          "levels",
          .array(
            levels.map {
              .object([
                ("name", .string($0.name)), ("value", .integer($0.value)),
                ("bound", .integer($0.bound)), ("proved_layers", .integer($0.provedLayers)),
              ])
            })
        ),
      ])
  }
}
