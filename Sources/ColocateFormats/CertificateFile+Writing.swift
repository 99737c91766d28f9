import ColocateModel
import ColocateCertificate

extension CertificateFile {
  /// The document.
  public func json(tool: String? = nil) -> JSONText {
    let placement = certificate.placement
    return SharedFields.certificate(
      Self.formatName, version: Self.formatVersion, of: placement,
      objective: SharedFields.json(certificate.objective), loadCap: certificate.loadCap,
      caps: certificate.caps, digest: ("counts_sha256", digest),
      claims: (
        "stages",
        .array(
          certificate.claims.map { stage in
            .object([
              ("name", .string(stage.stage.description)), ("kept", .integer(stage.kept)),
              ("kept_bound", .integer(stage.keptBound)), ("unit", .integer(stage.unit)),
              ("load_unit", .integer(stage.loadUnit)),
              ("evidence", Self.json(stage.evidence, layers: placement.layers)),
            ])
          })
      ), tool: tool)
  }

  /// Writes the certificate, whole or not at all.
  /// - Throws: `FormatError` where the file cannot be written, or would be larger than a checker
  ///   reads.
  public func write(to path: String, tool: String? = nil) throws {
    try Self.write(json(tool: tool), to: path, mostBytes: Self.mostBytes)
  }

  /// Writes a certificate of either kind; on one line where it is too large with indentation.
  /// - Parameter mostBytes: of the file.
  package static func write(_ json: JSONText, to path: String, mostBytes: Int) throws {
    let readable = json.text
    let text = readable.utf8.count > mostBytes ? json.compactText : readable
    guard text.utf8.count <= mostBytes else {
      throw FormatError(
        path,
        "the certificate has \(text.utf8.count) bytes, more than the \(mostBytes) that are read; "
          + "it is not written (a shorter --time-limit, or --set windows=off, makes it smaller)")
    }
    try AtomicFile.write(text, to: path)
  }

  private typealias Members = SharedFields.Members

  private static func json(_ evidence: Certificate.Evidence, layers: Int) -> JSONText {
    var members: Members = [("kind", .string(evidence.name))]
    switch evidence {
    case .oneGroup: break
    case .assignment(let rows, let columns):
      let width = max(1, rows.count / (layers - 1))
      members.append(("rows", JSONText(rows, width: width)))
      members.append(("columns", JSONText(columns, width: width)))
    case .chain(let values): members.append(("values", table(values)))
    case .path(let prices): members += json(prices, layers: layers)
    case .colocation(let multipliers): members += json(multipliers)
    case .fixing(let fixing): members += json(fixing)
    case .windows(let windows):
      members += [
        ("fraction_bits", .integer(windows.fractionBits)), ("shares", table(windows.shares)),
        (
          "trees",
          .array(
            windows.trees.map {
              .object([("best", .integer($0.best)), ("nodes", .array($0.nodes.map { json($0) }))])
            })
        ),
      ]
    case .tree(let tree):
      members.append(("nodes", .array(tree.nodes.map { json($0, layers: layers) })))
    }
    return .object(members)
  }

  private static func table(_ rows: [[Int]]) -> JSONText { .array(rows.map { JSONText($0) }) }

  private static func json(_ prices: CertificatePrices, layers: Int) -> Members {
    let cuts = prices.cuts.map { cut in
      [cut.layer, cut.price] + (0..<64).filter { cut.members >> UInt64($0) & 1 == 1 }
    }
    return [
      ("prices", JSONText(prices.experts, width: max(1, prices.experts.count / layers))),
      ("cuts", table(cuts)),
    ]
  }

  private static func json(_ node: CertificateTree.Node, layers: Int) -> JSONText {
    let deletions = JSONText.array(node.deletions.map { .object(json($0, layers: layers)) })
    var members: Members = [("deletions", deletions)]
    switch node.kind {
    case .bounded(let prices): members += [("leaf", "bounded")] + json(prices, layers: layers)
    case .exhausted(let prices, let dolls):
      members += [("leaf", "exhausted")] + json(prices, layers: layers)
      members.append(("dolls", JSONText(dolls)))
    case .branch(let layer, let first, let second, let together, let apart):
      members.append(("branch", JSONText([layer, first, second])))
      members.append(("children", JSONText([together, apart])))
    }
    return .object(members)
  }

  private static func json(_ fixing: CertificateFixing) -> Members {
    var members: Members = [("steps", .array(fixing.steps.map { .object(json($0)) }))]
    if let search = fixing.search { members.append(("search", .integer(search))) }
    return members
  }

  private static func json(_ node: CertificateWindows.Node) -> JSONText {
    switch node.kind {
    case .branch(let first, let second, let together, let apart):
      .object([("branch", JSONText([first, second])), ("children", JSONText([together, apart]))])
    case .leaf(let fixing): .object(json(fixing))
    }
  }

  private static func json(_ multipliers: CertificateColocation) -> Members {
    var cuts: [[[Int]]] = Array(repeating: [], count: 9)
    for cut in multipliers.cuts {
      let head = [cut.boundary, cut.multiplier]
      switch cut.shape {
      case .partition(let one, let two): cuts[0].append(head + [one.count] + one + two)
      case .crowd(let vertices): cuts[1].append(head + vertices)
      case .company(let i, let k, let half, let first, let second):
        cuts[2].append(head + [i, k, half, first.count] + first + second)
      case .load(let vertex, let half, let atMost):
        cuts[3].append(head + [vertex, half, atMost ? 1 : 0])
      case .loadPair(let i, let k, let half, let relation):
        cuts[4].append(head + [i, k, half, relation.rawValue])
      case .loadProduct(let first, let second, let atMost):
        cuts[5].append(head + [first, second, atMost ? 1 : 0])
      case .hypermetric(let vertices, let weights):
        cuts[6].append(head + zip(vertices, weights).flatMap { [$0, $1] })
      case .cover(let vertex, let half, let members):
        cuts[7].append(head + [vertex, half] + members)
      case .coverPairs(let half, let members): cuts[8].append(head + [half] + members)
      }
    }
    return [
      ("fraction_bits", .integer(multipliers.fractionBits)), ("left", table(multipliers.left)),
      ("between", table(multipliers.between)), ("right", table(multipliers.right)),
      ("partition", table(cuts[0])), ("crowd", table(cuts[1])), ("company", table(cuts[2])),
      ("load", table(cuts[3])), ("load_pair", table(cuts[4])), ("load_product", table(cuts[5])),
      ("hypermetric", table(cuts[6])), ("cover", table(cuts[7])), ("cover_pairs", table(cuts[8])),
    ]
  }
}
