import ColocateModel
import ColocateCertificate

extension CertificateFile {
  /// The largest file that is read: 128 MiB.
  static let mostBytes = 1 << 27

  /// Reads a certificate. Nothing in it is believed before `check`.
  /// - Throws: `FormatError` with the place of what is wrong.
  public static func read(_ path: String) throws(FormatError) -> CertificateFile {
    try JSONDocument.read(path, expected: "a certificate (.json)", mostBytes: mostBytes) {
      document throws(JSONProblem) in try parse(document)
    }
  }

  /// The certificate in a document.
  /// - Throws: with the path of a key that is missing, unknown, or of the wrong kind.
  package static func parse(_ document: JSONNode) throws(JSONProblem) -> CertificateFile {
    let format = try document.member("format").string()
    guard format == formatName else {
      throw JSONProblem(message: "format '\(format)', expected '\(formatName)'")
    }
    let version = try document.member("version").integer()
    guard version == formatVersion else {
      throw JSONProblem(message: "version \(version), expected \(formatVersion)")
    }
    try document.checkKeys([
      "format", "version", "layers", "experts", "nodes", "gpus_per_node", "objective", "load_cap",
      "caps", "counts_sha256", "assignment", "stages", "tool",
    ])
    _ = try document.optional("tool")?.string()
    let placement = try placement(document)
    let (cap, caps) = try loadCap(document)
    var claims = [Certificate.Claim]()
    for node in try document.member("stages").elements() {
      try node.checkKeys(["name", "kept", "kept_bound", "unit", "load_unit", "evidence"])
      let name = try node.member("name").string()
      guard let level = Stage(name: name) else {
        throw JSONProblem(
          message: "stage '\(name)', expected 'gpus', 'nodes' or 'node k'")
      }
      claims.append(
        Certificate.Claim(
          stage: level, kept: try node.member("kept").integer(),
          keptBound: try node.member("kept_bound").integer(),
          unit: try node.optional("unit")?.integer() ?? 1,
          loadUnit: try node.optional("load_unit")?.integer() ?? 1,
          evidence: try CertificateEvidenceReader.read(node.member("evidence"))))
    }
    return CertificateFile(
      certificate: Certificate(
        placement: placement, objective: try objective(document.member("objective")),
        loadCap: cap, caps: caps, claims: claims),
      digest: try document.member("counts_sha256").string())
  }

  private static func placement(_ document: JSONNode) throws(JSONProblem) -> Placement {
    let layers = try document.member("layers").integer()
    let experts = try document.member("experts").integer()
    let nodes = try document.member("nodes").integer()
    let perNode = try document.member("gpus_per_node").integer()
    let assignment = try document.member("assignment").table()
    guard assignment.count == layers, assignment.allSatisfy({ $0.count == experts }) else {
      throw JSONProblem(message: "'assignment' is not \(layers) layers × \(experts) experts")
    }
    guard (1...1_000_000).contains(nodes), (1...1_000_000).contains(perNode) else {
      throw JSONProblem(
        message: "\(nodes) nodes × \(perNode) GPUs: expected 1 to 1000000 of each")
    }
    return try model { () throws(ModelError) in
      try Placement(
        topology: Topology(gpus: nodes * perNode, nodes: nodes), layers: layers, experts: experts,
        assignment: assignment.flatMap { $0 })
    }
  }

  private static func objective(_ node: JSONNode) throws(JSONProblem) -> Objective {
    switch try node.member("name").string() {
    case "flat":
      try node.checkKeys(["name"])
      return .flat
    case "staged":
      try node.checkKeys(["name"])
      return .staged
    case "joint":
      try node.checkKeys(["name", "inter_node", "intra_node"])
      let inter = try node.member("inter_node").integer()
      let intra = try node.member("intra_node").integer()
      guard 0 <= intra, intra <= inter else {
        throw JSONProblem(
          message: "joint weights \(inter) and \(intra), expected inter_node ≥ intra_node ≥ 0")
      }
      return .joint(interNode: inter, intraNode: intra)
    case let name:
      throw JSONProblem(message: "objective '\(name)', expected flat, staged or joint")
    }
  }

  /// The cap, and the tokens that it allows in each layer; these may be left out where the cap is
  /// not relaxed, because they follow from it.
  private static func loadCap(
    _ document: JSONNode
  ) throws(JSONProblem) -> (cap: LoadCap?, caps: [Int]?) {
    let caps = try document.optional("caps")?.integers()
    guard let node = try document.optional("load_cap") else { return (nil, caps) }
    try node.checkKeys(["numerator", "denominator", "relaxed_to_feasible"])
    let numerator = try node.member("numerator").integer()
    let denominator = try node.member("denominator").integer()
    let relaxed = try node.member("relaxed_to_feasible").bool()
    let cap = try model { () throws(ModelError) in
      try LoadCap(
        numerator: numerator, denominator: denominator, relaxedToFeasible: relaxed)
    }
    guard caps != nil || !relaxed else {
      throw JSONProblem(message: "key 'caps' is missing, which a relaxed load cap needs")
    }
    return (cap, caps)
  }

  private static func model<Result>(
    _ make: () throws(ModelError) -> Result
  ) throws(JSONProblem) -> Result {
    do throws(ModelError) { return try make() } catch {
      throw JSONProblem(message: error.description)
    }
  }
}
