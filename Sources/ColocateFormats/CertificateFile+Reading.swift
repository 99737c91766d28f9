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
    try SharedFields.checkHeader(document, formatName, version: formatVersion)
    try document.checkKeys([
      "format", "version", "layers", "experts", "nodes", "gpus_per_node", "objective", "load_cap",
      "caps", "counts_sha256", "assignment", "stages", "tool",
    ])
    _ = try document.optional("tool")?.string()
    let placement = try SharedFields.placement(document, machines: document)
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
        placement: placement, objective: try SharedFields.objective(document.member("objective")),
        loadCap: cap, caps: caps, claims: claims),
      digest: try document.member("counts_sha256").string())
  }

  /// The cap, and the tokens that it allows in each layer; these may be left out where the cap is
  /// not relaxed, because they follow from it.
  private static func loadCap(
    _ document: JSONNode
  ) throws(JSONProblem) -> (cap: LoadCap?, caps: [Int]?) {
    let caps = try document.optional("caps")?.integers()
    let cap = try SharedFields.loadCap(document)
    guard caps != nil || cap?.relaxedToFeasible != true else {
      throw JSONProblem(message: "key 'caps' is missing, which a relaxed load cap needs")
    }
    return (cap, caps)
  }
}
