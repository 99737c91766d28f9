import Colocate
import Foundation

/// A certificate as JSON.
///
///     { "format": "colocate-certificate", "version": 1, "tool": "colocate 0.1.0",
///       "layers": L, "experts": E, "nodes": N, "gpus_per_node": G,
///       "objective": { "name": "flat" }, "load_cap": { "numerator": …, "denominator": …, "relaxed_to_feasible": … } or null,
///       "counts_sha256": of L, E, W, loads and co-activation (if any) as little-endian 64-bit integers,
///       "assignment": [ GPU of each expert, a row for each layer ],
///       "stages": [ { "name": "gpus", "kept": …, "kept_bound": …, "evidence": { "kind": …, … } }, … ] }
///
/// `kept` and `kept_bound` are in the unit of the counts. Evidence by kind (what it proves: `Certificate.Evidence`) is for the reduced counts:
/// weights and co-activation divided by their greatest common divisor, loads and caps by that of the loads.
///
///     one-group
///     assignment    rows, columns: [L-1][E]
///     chain         values: [L][partitions]
///     path          prices: [L][E]; cuts: [ [layer, price, experts …], … ]
///     co-location   fraction_bits; left, between, right: for each boundary the rows i ≤ j of U's block of Z_l, all of Y_l's, the rows i ≤ j of Z_{l+1}'s;
///                   partition: [ [boundary, multiplier, |S|, S …, T …], … ]; crowd: [ [boundary, multiplier, nodes …], … ];
///                   company: [ [boundary, multiplier, i, k, half, |first|, first …, second …], … ]; load: [ [boundary, multiplier, node, half, at most], … ];
///                   load_pair: [ [boundary, multiplier, i, k, half, relation], … ]; load_product: [ [boundary, multiplier, first, second, at most], … ]
///     tree          nodes: a list, root first. Each has deletions: [ [price vector with its cuts as in path], … ] and either leaf ("bounded" or "exhausted"),
///                   prices, cuts and dolls, or branch: [layer, first, second] and children: [together, apart] (places in the list)
public struct CertificateFile: Sendable {
  public static let formatName = "colocate-certificate"
  public static let formatVersion = 1

  package let certificate: Certificate
  let digest: String

  /// - Parameter counts: what the certificate is about.
  package init(_ certificate: Certificate, counts: TransitionCounts) {
    self.certificate = certificate
    digest = Self.digest(of: counts)
  }

  /// The certificate of an answer whose run kept its evidence; nil where it has none.
  public init?(of outcome: Outcome, instance: Instance, threads: Int = 1) {
    guard
      let certificate = Certificate(
        of: outcome, instance: instance, control: SearchControl(threads: threads))
    else { return nil }
    self.init(certificate, counts: instance.counts)
  }

  init(certificate: Certificate, digest: String) {
    self.certificate = certificate
    self.digest = digest
  }

  /// What was found to be true of one stage.
  public struct Finding: Hashable, Sendable {
    public let stage: String
    /// The kind of evidence.
    public let evidence: String
    /// Crossings of the placement, and what no placement can be below.
    public let crossings: Int
    public let bound: Int
    public let total: Int
  }

  /// Checks everything against `counts`.
  /// - Throws: `FormatError` naming `path`, with the first thing that is not true.
  public func check(counts: TransitionCounts, path: String, threads: Int = 1) throws(FormatError)
    -> [Finding]
  {
    let found = Self.digest(of: counts)
    guard found == digest else {
      throw FormatError(path, "for counts with digest \(digest), these have \(found)")
    }
    do throws(CertificateError) {
      return try certificate.check(counts: counts, control: SearchControl(threads: threads)).map {
        Finding(
          stage: $0.stage, evidence: $0.evidence, crossings: $0.crossings, bound: $0.bound,
          total: $0.total)
      }
    } catch {
      throw FormatError(path, error.description)
    }
  }

  /// SHA-256 of L, E, W, loads, V as little-endian 64-bit integers.
  static func digest(of counts: TransitionCounts) -> String {
    let numbers =
      [counts.layers, counts.experts] + counts.weights + counts.loads + counts.coactivation
    let words = numbers.map { Int64($0).littleEndian }
    return Digest.sha256(words.withUnsafeBytes { Data($0) })
  }

  // MARK: Writing

  /// The document.
  public func json(tool: String? = nil) -> JSONText {
    let placement = certificate.placement
    let topology = placement.topology
    var members: [(key: String, value: JSONText)] = [
      ("format", .string(Self.formatName)), ("version", .integer(Self.formatVersion)),
      ("layers", .integer(placement.layers)), ("experts", .integer(placement.experts)),
      ("nodes", .integer(topology.nodes)), ("gpus_per_node", .integer(topology.gpusPerNode)),
      ("objective", PlanFile.json(certificate.objective)),
      (
        "load_cap",
        certificate.loadCap.map {
          .object([
            ("numerator", .integer($0.numerator)), ("denominator", .integer($0.denominator)),
            ("relaxed_to_feasible", .bool($0.relaxedToFeasible)),
          ])
        } ?? nil
      ),
      ("counts_sha256", .string(digest)),
      ("assignment", JSONText(placement.assignment, width: placement.experts)),
      (
        "stages",
        .array(
          certificate.stages.map { stage in
            .object([
              ("name", .string(stage.name)), ("kept", .integer(stage.kept)),
              ("kept_bound", .integer(stage.keptBound)),
              ("evidence", Self.json(stage.evidence, layers: placement.layers)),
            ])
          })
      ),
    ]
    if let tool { members.append(("tool", .string(tool))) }
    return .object(members)
  }

  /// Writes the certificate, whole or not at all.
  /// - Throws: `FormatError` where the file cannot be written.
  public func write(to path: String, tool: String? = nil) throws {
    try AtomicFile.write(json(tool: tool).text, to: path)
  }

  private static func rows(_ cuts: [CertificatePrices.Cut]) -> JSONText {
    .array(
      cuts.map { cut in
        JSONText([cut.layer, cut.price] + (0..<64).filter { cut.members >> UInt64($0) & 1 == 1 })
      })
  }

  private static func json(_ prices: CertificatePrices, layers: Int) -> [(
    key: String, value: JSONText
  )] {
    [
      ("prices", JSONText(prices.experts, width: max(1, prices.experts.count / layers))),
      ("cuts", rows(prices.cuts)),
    ]
  }

  private static func json(_ evidence: Certificate.Evidence, layers: Int) -> JSONText {
    var members: [(key: String, value: JSONText)] = [("kind", .string(evidence.name))]
    switch evidence {
    case .oneGroup: break
    case .assignment(let rows, let columns):
      let width = max(1, rows.count / (layers - 1))
      members.append(("rows", JSONText(rows, width: width)))
      members.append(("columns", JSONText(columns, width: width)))
    case .chain(let values): members.append(("values", .array(values.map { JSONText($0) })))
    case .path(let prices): members += json(prices, layers: layers)
    case .colocation(let multipliers): members += json(multipliers)
    case .tree(let tree):
      var nodes = [JSONText]()
      _ = flatten(tree, layers: layers, into: &nodes)
      members.append(("nodes", .array(nodes)))
    }
    return .object(members)
  }

  /// Appends the tree's nodes, the root first; answers the root's place.
  private static func flatten(
    _ tree: CertificateTree, layers: Int, into nodes: inout [JSONText]
  ) -> Int {
    let place = nodes.count
    nodes.append(nil)
    func list(_ deletions: [CertificatePrices]) -> JSONText {
      .array(deletions.map { .object(json($0, layers: layers)) })
    }
    switch tree {
    case .bounded(let deletions, let prices):
      nodes[place] = .object(
        [("deletions", list(deletions)), ("leaf", "bounded")] + json(prices, layers: layers))
    case .exhausted(let deletions, let prices, let dolls):
      nodes[place] = .object(
        [("deletions", list(deletions)), ("leaf", "exhausted")] + json(prices, layers: layers)
          + [("dolls", JSONText(dolls))])
    case .branch(let deletions, let layer, let first, let second, let together, let apart):
      let one = flatten(together, layers: layers, into: &nodes)
      let other = flatten(apart, layers: layers, into: &nodes)
      nodes[place] = .object([
        ("deletions", list(deletions)), ("branch", JSONText([layer, first, second])),
        ("children", JSONText([one, other])),
      ])
    }
    return place
  }

  private static func json(_ multipliers: ColocationMultipliers) -> [(
    key: String, value: JSONText
  )] {
    let experts = multipliers.experts
    let square = experts * experts
    var blocks: [[JSONText]] = [[], [], []]
    for l in 0..<(multipliers.layers - 1) {
      for kind in 0..<3 {
        let base = (3 * l + kind) * square
        var list = [Int]()
        for i in 0..<experts {
          for j in (kind == 1 ? 0 : i)..<experts {
            list.append(multipliers.dual[base + i * experts + j])
          }
        }
        blocks[kind].append(JSONText(list))
      }
    }
    var cuts: [[JSONText]] = Array(repeating: [], count: 6)
    for cut in multipliers.cuts {
      let head = [cut.boundary, cut.multiplier]
      switch cut.shape {
      case .partition(let one, let two):
        cuts[0].append(JSONText(head + [one.count] + one + two))
      case .crowd(let nodes): cuts[1].append(JSONText(head + nodes))
      case .company(let i, let k, let half, let first, let second):
        cuts[2].append(JSONText(head + [i, k, half, first.count] + first + second))
      case .load(let node, let half, let atMost):
        cuts[3].append(JSONText(head + [node, half, atMost ? 1 : 0]))
      case .loadPair(let i, let k, let half, let relation):
        cuts[4].append(JSONText(head + [i, k, half, relation.rawValue]))
      case .loadProduct(let first, let second, let atMost):
        cuts[5].append(JSONText(head + [first, second, atMost ? 1 : 0]))
      }
    }
    return [
      ("fraction_bits", .integer(multipliers.fractionBits)), ("left", .array(blocks[0])),
      ("between", .array(blocks[1])), ("right", .array(blocks[2])),
      ("partition", .array(cuts[0])), ("crowd", .array(cuts[1])), ("company", .array(cuts[2])),
      ("load", .array(cuts[3])), ("load_pair", .array(cuts[4])),
      ("load_product", .array(cuts[5])),
    ]
  }
}
