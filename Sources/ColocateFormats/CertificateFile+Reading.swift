import Colocate
import Foundation

extension CertificateFile {
  /// Reads a certificate. Nothing in it is believed before `check`.
  /// - Throws: `FormatError` with the place of what is wrong.
  public static func read(_ path: String) throws(FormatError) -> CertificateFile {
    let file = try MappedFile(path)
    let document: Document
    do {
      document = try JSONDecoder().decode(Document.self, from: file.bytes)
    } catch {
      throw FormatError(path, problem(error))
    }
    guard document.format == formatName else {
      throw FormatError(path, "format '\(document.format)', expected '\(formatName)'")
    }
    guard document.version == formatVersion else {
      throw FormatError(path, "version \(document.version), expected \(formatVersion)")
    }
    let (layers, experts) = (document.layers, document.experts)
    guard (2...100_000).contains(layers), (1...100_000).contains(experts),
      document.assignment.count == layers,
      document.assignment.allSatisfy({ $0.count == experts })
    else {
      throw FormatError(path, "'assignment' is not \(layers) layers × \(experts) experts")
    }
    guard (1...1_000_000).contains(document.nodes), (1...1_000_000).contains(document.gpusPerNode)
    else {
      throw FormatError(
        path, "\(document.nodes) nodes × \(document.gpusPerNode) GPUs: expected 1 or more of each")
    }
    do throws(ModelError) {
      let topology = try Topology(
        gpus: document.nodes * document.gpusPerNode, nodes: document.nodes)
      let objective: Objective
      switch document.objective.name {
      case "flat": objective = .flat
      case "staged": objective = .staged
      case "joint":
        guard let inter = document.objective.interNode, let intra = document.objective.intraNode
        else { throw ModelError.sizes("objective joint without inter_node and intra_node") }
        objective = .joint(interNode: inter, intraNode: intra)
      default:
        throw ModelError.sizes(
          "objective '\(document.objective.name)', expected flat, staged or joint")
      }
      let cap = try document.loadCap.map { cap throws(ModelError) in
        try LoadCap(
          numerator: cap.numerator, denominator: cap.denominator,
          relaxedToFeasible: cap.relaxedToFeasible)
      }
      let placement = try Placement(
        topology: topology, layers: layers, experts: experts,
        assignment: document.assignment.flatMap { $0 })
      var stages = [Certificate.Stage]()
      for stage in document.stages {
        // Inside a node there are fewer experts and groups.
        let inside = stage.name.hasPrefix("node ")
        let groups =
          inside ? topology.gpusPerNode : stage.name == "nodes" ? topology.nodes : topology.gpus
        let evidence: Certificate.Evidence
        do throws(CertificateError) {
          evidence = try stage.evidence.evidence(
            layers: layers, experts: inside ? experts / topology.nodes : experts, groups: groups)
        } catch {
          throw ModelError.sizes("stage '\(stage.name)': \(error.description)")
        }
        stages.append(
          Certificate.Stage(
            name: stage.name, kept: stage.kept, keptBound: stage.keptBound, evidence: evidence))
      }
      return CertificateFile(
        certificate: Certificate(
          placement: placement, objective: objective, loadCap: cap, stages: stages),
        digest: document.counts)
    } catch {
      throw FormatError(path, error.description)
    }
  }

  /// What a decoder could not read, in one line.
  private static func problem(_ error: any Error) -> String {
    func place(_ path: [any CodingKey]) -> String {
      let text = path.map { $0.intValue.map { "[\($0)]" } ?? ".\($0.stringValue)" }.joined()
      return text.hasPrefix(".") ? String(text.dropFirst()) : text
    }
    switch error {
    case DecodingError.keyNotFound(let key, let context):
      return "key '\(place(context.codingPath + [key]))' is missing"
    case DecodingError.typeMismatch(let type, let context),
      DecodingError.valueNotFound(let type, let context):
      return "'\(place(context.codingPath))' is of the wrong kind, expected \(type)"
    case DecodingError.dataCorrupted(let context):
      let place = place(context.codingPath)
      return place.isEmpty ? "not JSON, expected a certificate" : "'\(place)' is out of range"
    default: return "cannot be read, expected a certificate"
    }
  }

  /// The keys that are read, by their names in the file.
  private struct Document: Decodable {
    struct Goal: Decodable {
      let name: String
      let interNode: Int?
      let intraNode: Int?
      enum CodingKeys: String, CodingKey {
        case name
        case interNode = "inter_node"
        case intraNode = "intra_node"
      }
    }
    struct Cap: Decodable {
      let numerator: Int
      let denominator: Int
      let relaxedToFeasible: Bool
      enum CodingKeys: String, CodingKey {
        case numerator, denominator
        case relaxedToFeasible = "relaxed_to_feasible"
      }
    }
    struct Part: Decodable {
      let name: String
      let kept: Int
      let keptBound: Int
      let evidence: Proof
      enum CodingKeys: String, CodingKey {
        case name, kept, evidence
        case keptBound = "kept_bound"
      }
    }
    let format: String
    let version: Int
    let layers: Int
    let experts: Int
    let nodes: Int
    let gpusPerNode: Int
    let objective: Goal
    let loadCap: Cap?
    let counts: String
    let assignment: [[Int]]
    let stages: [Part]
    enum CodingKeys: String, CodingKey {
      case format, version, layers, experts, nodes, objective, assignment, stages
      case gpusPerNode = "gpus_per_node"
      case loadCap = "load_cap"
      case counts = "counts_sha256"
    }
  }

  private struct Prices: Decodable {
    let prices: [[Int]]
    let cuts: [[Int]]

    func value() throws(CertificateError) -> CertificatePrices {
      try CertificatePrices(experts: prices.flatMap { $0 }, cuts: CertificateFile.cuts(cuts))
    }
  }

  private static func cuts(_ rows: [[Int]]) throws(CertificateError) -> [CertificatePrices.Cut] {
    var cuts = [CertificatePrices.Cut]()
    for row in rows {
      guard row.count >= 2, row.dropFirst(2).allSatisfy({ (0..<64).contains($0) }) else {
        throw CertificateError("a malformed subset-row cut")
      }
      cuts.append(
        .init(
          layer: row[0], members: row.dropFirst(2).reduce(0) { $0 | 1 << UInt64($1) },
          price: row[1]))
    }
    return cuts
  }

  private struct Node: Decodable {
    let deletions: [Prices]
    let leaf: String?
    let prices: [[Int]]?
    let cuts: [[Int]]?
    let dolls: [Int]?
    let branch: [Int]?
    let children: [Int]?
  }

  /// Evidence of any kind; what a kind does not use is absent.
  private struct Proof: Decodable {
    let kind: String
    let rows: [[Int]]?
    let columns: [[Int]]?
    let values: [[Int]]?
    let prices: [[Int]]?
    let cuts: [[Int]]?
    let nodes: [Node]?
    let fractionBits: Int?
    let left: [[Int]]?
    let between: [[Int]]?
    let right: [[Int]]?
    let partition: [[Int]]?
    let crowd: [[Int]]?
    let company: [[Int]]?
    let load: [[Int]]?
    let loadPair: [[Int]]?
    let loadProduct: [[Int]]?
    enum CodingKeys: String, CodingKey {
      case kind, rows, columns, values, prices, cuts, nodes, left, between, right, partition
      case crowd, company, load
      case fractionBits = "fraction_bits"
      case loadPair = "load_pair"
      case loadProduct = "load_product"
    }

    func evidence(layers: Int, experts: Int, groups: Int) throws(CertificateError)
      -> Certificate.Evidence
    {
      func needed<Value>(_ value: Value?, _ key: String) throws(CertificateError) -> Value {
        guard let value else {
          throw CertificateError("evidence of kind '\(kind)' without '\(key)'")
        }
        return value
      }
      switch kind {
      case "one-group": return .oneGroup
      case "assignment":
        return .assignment(
          rows: try needed(rows, "rows").flatMap { $0 },
          columns: try needed(columns, "columns").flatMap { $0 })
      case "chain": return .chain(values: try needed(values, "values"))
      case "path":
        return .path(
          try Prices(prices: needed(prices, "prices"), cuts: needed(cuts, "cuts")).value())
      case "tree":
        let nodes = try needed(nodes, "nodes")
        return .tree(try tree(nodes, 0))
      case "co-location":
        return .colocation(
          ColocationMultipliers(
            layers: layers, experts: experts, groups: groups,
            fractionBits: try needed(fractionBits, "fraction_bits"),
            dual: try blocks(
              [needed(left, "left"), needed(between, "between"), needed(right, "right")],
              layers: layers, experts: experts), cuts: try cutsOfRows()))
      default:
        throw CertificateError("unknown kind of evidence '\(kind)'")
      }
    }

    private func blocks(_ parts: [[[Int]]], layers: Int, experts: Int)
      throws(CertificateError) -> [Int]
    {
      let square = experts * experts
      var dual = [Int](repeating: 0, count: 3 * (layers - 1) * square)
      for (kind, part) in parts.enumerated() {
        let expected = kind == 1 ? square : experts * (experts + 1) / 2
        guard part.count == layers - 1, part.allSatisfy({ $0.count == expected }) else {
          throw CertificateError("a block of U has the wrong size")
        }
        for l in 0..<(layers - 1) {
          let base = (3 * l + kind) * square
          var next = 0
          for i in 0..<experts {
            for j in (kind == 1 ? 0 : i)..<experts {
              dual[base + i * experts + j] = part[l][next]
              if kind != 1 { dual[base + j * experts + i] = part[l][next] }
              next += 1
            }
          }
        }
      }
      return dual
    }

    private func cutsOfRows() throws(CertificateError) -> [ColocationCut] {
      var cuts = [ColocationCut]()
      func add(_ rows: [[Int]]?, _ least: Int, _ shape: ([Int]) -> ColocationCut.Shape?)
        throws(CertificateError)
      {
        for row in rows ?? [] {
          guard row.count >= least + 2, let shape = shape(Array(row.dropFirst(2))) else {
            throw CertificateError("a malformed cut")
          }
          cuts.append(ColocationCut(boundary: row[0], shape: shape, multiplier: row[1]))
        }
      }
      try add(partition, 1) { row in
        guard row[0] >= 1, row[0] < row.count else { return nil }
        return .partition(Array(row[1...row[0]]), Array(row[(row[0] + 1)...]))
      }
      try add(crowd, 1) { .crowd($0) }
      try add(company, 4) { row in
        guard row[3] >= 0, 4 + row[3] <= row.count else { return nil }
        return .company(
          row[0], row[1], half: row[2], first: Array(row[4..<(4 + row[3])]),
          second: Array(row[(4 + row[3])...]))
      }
      try add(load, 3) { .load(node: $0[0], half: $0[1], atMost: $0[2] == 1) }
      try add(loadPair, 4) { row in
        guard let relation = ColocationCut.PairRelation(rawValue: row[3]) else { return nil }
        return .loadPair(row[0], row[1], half: row[2], relation: relation)
      }
      try add(loadProduct, 3) {
        .loadProduct(first: $0[0], second: $0[1], atMost: $0[2] == 1)
      }
      return cuts
    }

    private func tree(_ nodes: [Node], _ place: Int) throws(CertificateError) -> CertificateTree {
      guard nodes.indices.contains(place) else {
        throw CertificateError("a tree names node \(place) of \(nodes.count)")
      }
      let node = nodes[place]
      var deletions = [CertificatePrices]()
      for prices in node.deletions { deletions.append(try prices.value()) }
      if let branch = node.branch, let children = node.children {
        // Children come after their parent, so the recursion ends.
        guard branch.count == 3, children.count == 2, children.allSatisfy({ $0 > place }) else {
          throw CertificateError("a malformed branch at node \(place)")
        }
        return .branch(
          deletions: deletions, layer: branch[0], first: branch[1], second: branch[2],
          together: try tree(nodes, children[0]), apart: try tree(nodes, children[1]))
      }
      let prices = try Prices(prices: needed(node.prices), cuts: needed(node.cuts)).value()
      switch node.leaf {
      case "bounded": return .bounded(deletions: deletions, prices: prices)
      case "exhausted":
        return .exhausted(deletions: deletions, prices: prices, dolls: try needed(node.dolls))
      default: throw CertificateError("node \(place) is neither a leaf nor a branch")
      }
    }

    private func needed<Value>(_ value: Value?) throws(CertificateError) -> Value {
      guard let value else { throw CertificateError("a node of the tree is not complete") }
      return value
    }
  }
}
