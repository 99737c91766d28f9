import ColocateModel

/// What a home-mode answer claims, layer by layer, and the prices that prove it.
///
/// A layer's destinations between all GPUs, between the nodes, and inside one node are bounded each
/// by itself. What is not claimed is bounded by what every placement costs: a token goes to as many
/// groups as its experts need room.
public struct DestinationCertificate: Hashable, Sendable {
  /// A bound on one level of one layer.
  public struct Claim: Hashable, Sendable {
    public let layer: Int
    /// `gpus`, `nodes`, or `node(k)`: the GPUs of a node, for the experts that the placement puts
    /// there.
    public let level: Stage
    /// `Σ_tokens λ` of no placement on this level is smaller.
    public let bound: Int
    /// What the multiplicities were divided by for `prices`.
    public let unit: Int
    /// `u · 256 / unit` of the level's experts, ascending; empty for two groups of at most 16
    /// experts, which need none.
    public let prices: [Int]

    public init(layer: Int, level: Stage, bound: Int, unit: Int, prices: [Int]) {
      self.layer = layer
      self.level = level
      self.bound = bound
      self.unit = unit
      self.prices = prices
    }
  }

  /// What was found to be true of one level of one layer.
  public struct Finding: Hashable, Sendable {
    public let layer: Int
    public let level: Stage
    /// `Σ_tokens λ` of the placement.
    public let value: Int
    /// What no placement is below.
    public let bound: Int
  }

  public let placement: Placement
  public let objective: DestinationObjective
  public let loadCap: LoadCap?
  /// The most tokens of a GPU in each layer, `[L]`; nil without a cap.
  public let caps: [Int]?
  public let claims: [Claim]

  public init(
    placement: Placement, objective: DestinationObjective, loadCap: LoadCap?, caps: [Int]?,
    claims: [Claim]
  ) {
    self.placement = placement
    self.objective = objective
    self.loadCap = loadCap
    self.caps = caps
    self.claims = claims
  }

  /// The levels that the objective is made of, in the order of the findings.
  public static func levels(_ objective: DestinationObjective, _ topology: Topology) -> [Stage] {
    // With one node, or one GPU a node, the levels are one.
    guard topology.nodes > 1, topology.gpusPerNode > 1 else { return [.gpus] }
    switch objective {
    case .gpus: return [.gpus]
    case .nodes: return [.nodes]
    case .joint: return [.nodes, .gpus]
    case .staged: return [.nodes] + (0..<topology.nodes).map { .node($0) }
    }
  }

  /// Checks the placement, the caps and every claim against `sets`.
  /// - Returns: a finding for each layer and level of the objective, layer by layer.
  /// - Throws: `CertificateError` with the first thing that is not true or is too large to check.
  package func check(
    _ sets: TokenSets, effort: CertificateEffort
  ) throws(CertificateError) -> [Finding] {
    guard placement.layers == sets.layers, placement.experts == sets.experts else {
      throw CertificateError(
        "for \(placement.layers) layers × \(placement.experts) experts, "
          + "expected \(sets.layers) × \(sets.experts)")
    }
    try Certificate.checkCaps(
      placement, loadCap: loadCap, caps: caps, loads: sets.layerSets.flatMap(\.loads))
    let levels = Self.levels(objective, placement.topology)
    var byPlace = [Place: Claim]()
    for claim in claims {
      let place = Place(layer: claim.layer, level: claim.level)
      guard (0..<sets.layers).contains(claim.layer), levels.contains(claim.level) else {
        throw CertificateError(
          "\(place): no level of a layer that the objective is about")
      }
      guard byPlace.updateValue(claim, forKey: place) == nil else {
        throw CertificateError("\(place): claimed twice")
      }
    }
    let places = (0..<sets.layers).flatMap { l in levels.map { Place(layer: l, level: $0) } }
    let (self_, claimed) = (self, byPlace)
    let results = try effort.map(places.count) { index in
      Result { () throws(CertificateError) in
        let layer = sets.layerSets[places[index].layer]
        return try self_.check(
          places[index], claimed[places[index]], layer, effort: effort)
      }
    }
    var findings = [Finding]()
    for result in results { findings.append(try result.get()) }
    return findings
  }

  /// A level of a layer.
  private struct Place: Hashable, CustomStringConvertible, Sendable {
    let layer: Int
    let level: Stage
    var description: String { "layer \(layer), \(level)" }
  }

  private func check(
    _ place: Place, _ claim: Claim?, _ sets: TokenSets.Layer, effort: CertificateEffort
  ) throws(CertificateError) -> Finding {
    let part = part(place)
    let evidence = DestinationEvidence(
      experts: part.experts, groups: part.groups, cap: part.cap,
      prices: claim?.prices ?? [Int](repeating: 0, count: part.experts.count),
      unit: claim?.unit ?? 1, bound: claim?.bound ?? 0)
    let value = Self.value(sets, experts: part.experts, groupOf: part.groupOf)
    let least = evidence.trivialBound(sets)
    if let claim {
      guard claim.bound <= value else {
        throw CertificateError(
          "\(place): a bound of \(claim.bound), but the placement has \(value) destinations")
      }
      do throws(CertificateError) {
        try evidence.check(sets, effort: effort)
      } catch {
        throw CertificateError("\(place): \(error.description)")
      }
    }
    return Finding(
      layer: place.layer, level: place.level, value: value, bound: max(least, claim?.bound ?? 0))
  }

  /// The experts of a level, ascending, the group of each, the number of groups and their cap.
  private func part(_ place: Place) -> (experts: [Int], groupOf: [Int], groups: Int, cap: Int?) {
    let topology = placement.topology
    let cap = caps?[place.layer]
    let all = Array(0..<placement.experts)
    let gpuOf = all.map { placement[layer: place.layer, expert: $0] }
    switch place.level {
    case .nodes:
      let nodeCap = cap.map { cap in
        let (sum, over) = cap.multipliedReportingOverflow(by: topology.gpusPerNode)
        return over ? Int.max : sum
      }
      return (all, gpuOf.map(topology.node(of:)), topology.nodes, nodeCap)
    case .node(let node):
      let own = all.filter { topology.node(of: gpuOf[$0]) == node }
      return (own, own.map { gpuOf[$0] }, topology.gpusPerNode, cap)
    case .gpus, .joint, .gpusForJoint, .groups, .block: return (all, gpuOf, topology.gpus, cap)
    }
  }

  /// `Σ_tokens λ` of the part of the sets that `experts` are, spelled out.
  private static func value(_ sets: TokenSets.Layer, experts: [Int], groupOf: [Int]) -> Int {
    var group = [Int](repeating: -1, count: sets.loads.count)
    for (index, e) in experts.enumerated() { group[e] = groupOf[index] }
    return (0..<sets.count).reduce(0) { sum, t in
      let used = Set(sets[t].map { group[Int($0)] }.filter { $0 >= 0 })
      return sum + sets.multiplicities[t] * used.count
    }
  }
}
