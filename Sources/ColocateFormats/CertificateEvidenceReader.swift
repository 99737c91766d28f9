import ColocateModel
import ColocateCertificate

/// Evidence from JSON, by kind. A key that a kind does not have is refused.
enum CertificateEvidenceReader {
  static func read(_ node: JSONNode) throws(JSONProblem) -> Certificate.Evidence {
    switch try node.member("kind").string() {
    case "one-group":
      try node.checkKeys(["kind"])
      return .oneGroup
    case "assignment":
      try node.checkKeys(["kind", "rows", "columns"])
      return .assignment(
        rows: try node.member("rows").table().flatMap { $0 },
        columns: try node.member("columns").table().flatMap { $0 })
    case "chain":
      try node.checkKeys(["kind", "values"])
      return .chain(values: try node.member("values").table())
    case "path":
      try node.checkKeys(["kind", "prices", "cuts"])
      return .path(try prices(node))
    case "co-location": return .colocation(try colocation(node, ["kind"]))
    case "fixing":
      return .fixing(try fixing(node, ["kind"]))
    case "windows": return .windows(try windows(node))
    case "tree":
      try node.checkKeys(["kind", "nodes"])
      var nodes = [CertificateTree.Node]()
      for entry in try node.member("nodes").elements() { nodes.append(try treeNode(entry)) }
      return .tree(CertificateTree(nodes: nodes))
    case let kind: throw JSONProblem(message: "unknown kind of evidence '\(kind)'")
    }
  }

  private static func prices(_ node: JSONNode) throws(JSONProblem) -> CertificatePrices {
    var cuts = [CertificatePrices.Cut]()
    for row in try node.member("cuts").elements() {
      let numbers = try row.integers()
      var members: UInt64 = 0
      for expert in numbers.dropFirst(2) {
        guard (0..<64).contains(expert), members >> UInt64(expert) & 1 == 0 else {
          throw malformed(row)
        }
        members |= 1 << UInt64(expert)
      }
      guard members != 0 else { throw malformed(row) }
      cuts.append(.init(layer: numbers[0], members: members, price: numbers[1]))
    }
    return CertificatePrices(
      experts: try node.member("prices").table().flatMap { $0 }, cuts: cuts)
  }

  private static func malformed(_ node: JSONNode) -> JSONProblem {
    JSONProblem(message: "'\(node.path)' is malformed")
  }

  private static func treeNode(_ node: JSONNode) throws(JSONProblem) -> CertificateTree.Node {
    var deletions = [CertificatePrices]()
    for entry in try node.member("deletions").elements() {
      try entry.checkKeys(["prices", "cuts"])
      deletions.append(try prices(entry))
    }
    guard let leaf = try node.optional("leaf") else {
      try node.checkKeys(["deletions", "branch", "children"])
      let (branch, children) = (try node.member("branch"), try node.member("children"))
      let (pair, places) = (try branch.integers(), try children.integers())
      guard pair.count == 3 else { throw malformed(branch) }
      guard places.count == 2 else { throw malformed(children) }
      return .init(
        deletions: deletions,
        kind: .branch(
          layer: pair[0], first: pair[1], second: pair[2], together: places[0], apart: places[1]))
    }
    switch try leaf.string() {
    case "bounded":
      try node.checkKeys(["deletions", "leaf", "prices", "cuts"])
      return .init(deletions: deletions, kind: .bounded(prices: try prices(node)))
    case "exhausted":
      try node.checkKeys(["deletions", "leaf", "prices", "cuts", "dolls"])
      return .init(
        deletions: deletions,
        kind: .exhausted(prices: try prices(node), dolls: try node.member("dolls").integers()))
    case let kind:
      throw JSONProblem(message: "'\(leaf.path)' is '\(kind)', expected bounded or exhausted")
    }
  }

  /// - Parameter more: keys beside those of multipliers.
  private static func colocation(
    _ node: JSONNode, _ more: [String]
  ) throws(JSONProblem) -> CertificateColocation {
    try node.checkKeys(
      more + [
        "fraction_bits", "left", "between", "right", "partition", "crowd", "company", "load",
        "load_pair", "load_product", "hypermetric", "cover", "cover_pairs",
      ])
    var cuts = [CertificateColocationCut]()
    func add(
      _ key: String, _ least: Int, _ shape: ([Int]) -> CertificateColocationCut.Shape?
    ) throws(JSONProblem) {
      for row in try node.optional(key)?.elements() ?? [] {
        let numbers = try row.integers()
        guard numbers.count >= least + 2, let shape = shape(Array(numbers.dropFirst(2))) else {
          throw malformed(row)
        }
        cuts.append(.init(boundary: numbers[0], shape: shape, multiplier: numbers[1]))
      }
    }
    try add("partition", 1) { row in
      guard row[0] >= 1, row[0] < row.count else { return nil }
      return .partition(Array(row[1...row[0]]), Array(row[(row[0] + 1)...]))
    }
    try add("crowd", 1) { .crowd($0) }
    try add("company", 4) { row in
      guard row[3] >= 0, row[3] <= row.count - 4 else { return nil }
      return .company(
        row[0], row[1], half: row[2], first: Array(row[4..<(4 + row[3])]),
        second: Array(row[(4 + row[3])...]))
    }
    try add("load", 3) { row in
      guard row.count == 3, let atMost = flag(row[2]) else { return nil }
      return .load(vertex: row[0], half: row[1], atMost: atMost)
    }
    try add("load_pair", 4) { row in
      guard row.count == 4, let relation = CertificateColocationCut.PairRelation(rawValue: row[3])
      else { return nil }
      return .loadPair(row[0], row[1], half: row[2], relation: relation)
    }
    try add("load_product", 3) { row in
      guard row.count == 3, let atMost = flag(row[2]) else { return nil }
      return .loadProduct(first: row[0], second: row[1], atMost: atMost)
    }
    try add("hypermetric", 2) { row in
      guard row.count.isMultiple(of: 2) else { return nil }
      return .hypermetric(
        stride(from: 0, to: row.count, by: 2).map { row[$0] },
        stride(from: 1, to: row.count, by: 2).map { row[$0] })
    }
    try add("cover", 4) {
      .cover(vertex: $0[0], half: $0[1], members: Array($0.dropFirst(2)))
    }
    try add("cover_pairs", 3) { .coverPairs(half: $0[0], members: Array($0.dropFirst())) }
    return CertificateColocation(
      fractionBits: try node.member("fraction_bits").integer(),
      left: try node.member("left").table(), between: try node.member("between").table(),
      right: try node.member("right").table(), cuts: cuts)
  }

  private static func fixing(
    _ node: JSONNode, _ more: [String]
  ) throws(JSONProblem) -> CertificateFixing {
    try node.checkKeys(more + ["steps", "search"])
    var steps = [CertificateColocation]()
    for step in try node.member("steps").elements() { steps.append(try colocation(step, [])) }
    return CertificateFixing(steps: steps, search: try node.optional("search")?.integer())
  }

  private static func windows(_ node: JSONNode) throws(JSONProblem) -> CertificateWindows {
    try node.checkKeys(["kind", "fraction_bits", "shares", "trees"])
    var trees = [CertificateWindows.Tree]()
    for entry in try node.member("trees").elements() {
      try entry.checkKeys(["best", "nodes"])
      var nodes = [CertificateWindows.Node]()
      for node in try entry.member("nodes").elements() { nodes.append(try windowNode(node)) }
      trees.append(.init(best: try entry.member("best").integer(), nodes: nodes))
    }
    return CertificateWindows(
      fractionBits: try node.member("fraction_bits").integer(),
      shares: try node.member("shares").table(), trees: trees)
  }

  private static func windowNode(
    _ node: JSONNode
  ) throws(JSONProblem) -> CertificateWindows.Node {
    guard let branch = try node.optional("branch") else {
      return .init(kind: .leaf(try fixing(node, [])))
    }
    try node.checkKeys(["branch", "children"])
    let children = try node.member("children")
    let (pair, places) = (try branch.integers(), try children.integers())
    guard pair.count == 2 else { throw malformed(branch) }
    guard places.count == 2 else { throw malformed(children) }
    return .init(
      kind: .branch(first: pair[0], second: pair[1], together: places[0], apart: places[1]))
  }

  private static func flag(_ number: Int) -> Bool? {
    number == 0 ? false : number == 1 ? true : nil
  }
}
