import Colocate
import ColocateCertificate

/// A certificate about destinations as JSON.
///
///     { "format": "colocate-destination-certificate", "version": 1, "tool": "colocate 0.2.0",
///       "layers": L, "experts": E, "nodes": N, "gpus_per_node": G,
///       "objective": { "mode": "home", "name": "flat" }, or nodes, staged, or joint with
///                    inter_node and intra_node
///       "load_cap": { "numerator": …, "denominator": …, "relaxed_to_feasible": … } or null,
///       "caps": the most tokens of a GPU in each layer, or null,
///       "sets_sha256": of L, E, and for each layer the number of sets, their sizes, their members
///                      (sets in lexicographic order, members ascending) and the tokens of each, as
///                      64-bit integers, low byte first,
///       "assignment": [ GPU of each expert, a row for each layer ],
///       "claims": [ { "layer": l, "level": "gpus", "nodes" or "node k", "bound": …, "unit": 1,
///                     "prices": [ … ] or null }, … ] }
///
/// All numbers are integers. A claim says that no placement has fewer destinations on this level of
/// this layer; its prices, in 256ths of `unit` tokens, prove it (`DestinationCheck.swift` has the
/// derivation). Two groups of at most 16 experts need no prices: a checker looks at all placements.
/// Levels without a claim are bounded by what every placement costs. What a checker
/// takes on: layers of 64 experts where there is a claim, `DestinationEvidence.mostSteps` steps of
/// a search, `DestinationEvidence.mostGroups` groups listed, and the time it is given.
public struct DestinationCertificateFile: Sendable {
  public static let formatName = "colocate-destination-certificate"
  public static let formatVersion = 1

  package let certificate: DestinationCertificate
  package let digest: String

  /// - Parameter sets: what the certificate is about.
  package init(_ certificate: DestinationCertificate, sets: TokenSets) {
    self.certificate = certificate
    digest = Self.digest(of: sets)
  }

  /// The certificate of an answer.
  /// - Parameters:
  ///   - outcome: of a run that kept its prices.
  ///   - placement: the outcome's, GPUs and nodes named in any way.
  ///   - objective: what the run minimised.
  ///   - loadCap: the cap that it obeyed, or nil.
  ///   - sets: what it was run on.
  public init(
    of outcome: DestinationOutcome, placement: Placement, objective: DestinationObjective,
    loadCap: LoadCap?, sets: TokenSets
  ) {
    self.init(
      DestinationCertificate(
        outcome, placement: placement, objective: objective, loadCap: loadCap),
      sets: sets)
  }

  private init(certificate: DestinationCertificate, digest: String) {
    self.certificate = certificate
    self.digest = digest
  }

  /// SHA-256 of the sets; see above.
  package static func digest(of sets: TokenSets) -> String {
    Digest.sha256(
      [[sets.layers, sets.experts]]
        + sets.layerSets.flatMap { layer in
          [
            [layer.count], zip(layer.starts, layer.starts.dropFirst()).map { $1 - $0 },
            layer.members.map { Int($0) }, layer.multiplicities,
          ]
        })
  }

  /// Checks everything against `sets`.
  /// - Parameters:
  ///   - sets: what the certificate should be about.
  ///   - path: the certificate's name, for messages.
  ///   - threads: that may check at the same time.
  ///   - seconds: how long the check may take.
  /// - Throws: `FormatError` naming `path`, with the first thing that is not true or is beyond the
  ///   checker's limits.
  public func check(
    sets: TokenSets, path: String, threads: Int = 1, seconds: Double = .infinity
  ) throws(FormatError) -> DestinationReport {
    let found = Self.digest(of: sets)
    guard found == digest else {
      throw FormatError(path, "made for other token sets: SHA-256 \(digest), the trace's \(found)")
    }
    let effort = CertificateEffort(threads: threads, seconds: seconds)
    do throws(CertificateError) {
      let findings = try certificate.check(sets, effort: effort)
      return DestinationReport(certificate, sets: sets, digest: digest, findings: findings)
    } catch {
      throw FormatError(path, error.description)
    }
  }

  // MARK: JSON

  /// The document.
  public func json(tool: String? = nil) -> JSONText {
    SharedFields.certificate(
      Self.formatName, version: Self.formatVersion, of: certificate.placement,
      objective: SharedFields.json(DestinationGoal.home(certificate.objective)),
      loadCap: certificate.loadCap, caps: certificate.caps, digest: ("sets_sha256", digest),
      claims: (
        "claims",
        .array(
          certificate.claims.map { claim in
            .object([
              ("layer", .integer(claim.layer)), ("level", .string(claim.level.description)),
              ("bound", .integer(claim.bound)), ("unit", .integer(claim.unit)),
              ("prices", claim.prices.isEmpty ? .null : JSONText(claim.prices)),
            ])
          })
      ), tool: tool)
  }

  /// Writes the certificate, whole or not at all.
  /// - Throws: `FormatError` where the file cannot be written.
  public func write(to path: String, tool: String? = nil) throws {
    try CertificateFile.write(
      json(tool: tool), to: path, mostBytes: CertificateFile.mostBytes)
  }

  /// The certificate in a document. Nothing in it is believed before `check`.
  /// - Throws: with the path of a key that is missing, unknown, or of the wrong kind.
  package static func parse(
    _ document: JSONNode
  ) throws(JSONProblem) -> DestinationCertificateFile {
    try SharedFields.checkHeader(document, formatName, version: formatVersion)
    try document.checkKeys([
      "format", "version", "layers", "experts", "nodes", "gpus_per_node", "objective", "load_cap",
      "caps", "sets_sha256", "assignment", "claims", "tool",
    ])
    _ = try document.optional("tool")?.string()
    let goal = try SharedFields.goal(document.member("objective"))
    guard case .home(let objective, crossingWeight: 0) = goal else {
      throw JSONProblem(message: "'objective' is not one of destinations alone")
    }
    var claims = [DestinationCertificate.Claim]()
    for node in try document.member("claims").elements() {
      try node.checkKeys(["layer", "level", "bound", "unit", "prices"])
      let name = try node.member("level").string()
      guard let level = Stage(name: name) else {
        throw JSONProblem(message: "level '\(name)', expected 'gpus', 'nodes' or 'node k'")
      }
      claims.append(
        DestinationCertificate.Claim(
          layer: try node.member("layer").integer(), level: level,
          bound: try node.member("bound").integer(),
          unit: try node.member("unit").integer(),
          prices: try node.optional("prices")?.integers() ?? []))
    }
    return DestinationCertificateFile(
      certificate: DestinationCertificate(
        placement: try SharedFields.placement(document, machines: document), objective: objective,
        loadCap: try SharedFields.loadCap(document),
        caps: try document.optional("caps")?.integers(), claims: claims),
      digest: try document.member("sets_sha256").string())
  }
}

/// A certificate of either kind.
public enum AnyCertificateFile: Sendable {
  case crossings(CertificateFile)
  case destinations(DestinationCertificateFile)

  /// Reads a certificate.
  /// - Throws: `FormatError` with the place of what is wrong.
  public static func read(_ path: String) throws(FormatError) -> AnyCertificateFile {
    try JSONDocument.read(
      path, expected: "a certificate (.json)", mostBytes: CertificateFile.mostBytes
    ) { document throws(JSONProblem) in
      let format = try? document.member("format").string()
      return format == DestinationCertificateFile.formatName
        ? .destinations(try DestinationCertificateFile.parse(document))
        : .crossings(try CertificateFile.parse(document))
    }
  }
}
