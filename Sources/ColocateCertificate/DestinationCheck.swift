import ColocateModel

/// Checks a bound on destinations from prices alone.
///
/// A placement of `E` experts into `P` groups of `c` covers every expert once. With prices `u` and
/// `cover(S)` the tokens that have an expert in group `S`,
///
///     Σ_tokens λ = Σ_groups cover(S) = Σ u + Σ_groups rc(S),     rc(S) = cover(S) − Σ_{i∈S} u_i.
///
/// 1. `DestinationGroups` finds `r = min rc`: then `Σ λ ≥ Σ u + P · r`, for any prices.
/// 2. Where that is below the bound claimed, a placement that beats it has groups with
///    `Σ (rc − r) ≤ bound − 1 − Σ u − P · r` in all. It lists the groups that can be among them,
///    and `DestinationCover` shows that no `P` of them cover every expert within that sum.
///
/// Two groups of at most 16 experts need no prices: all placements are looked at
/// (`DestinationHalves`).
///
/// All sums are whole numbers: prices are multiples of `1 / scale` tokens. Nothing of the solver
/// is used. Layers of more than 64 experts, searches of more than `mostSteps` steps and lists of
/// more than `mostGroups` groups are too large to be checked, and it says so.
extension DestinationEvidence {
  /// Steps of one search (a step looks at one expert or group) before it is called too large.
  package static let mostSteps = 2_000_000_000
  /// Groups listed before a check is called too large.
  package static let mostGroups = 3_000_000

  /// - Parameter layer: the whole layer's sets.
  /// - Throws: `CertificateError` where the evidence is not for this layer, does not prove its
  ///   bound, or is too large to be checked.
  package func check(_ layer: TokenSets.Layer, effort: CertificateEffort) throws(CertificateError) {
    try checkShape(layer)
    let problem = DestinationPart(layer, experts: experts, groups: groups, cap: cap, unit: unit)
    // Whole units: a bound between two of them says as much as the larger.
    let claimed = (bound + unit - 1) / unit - problem.constant
    if claimed <= problem.trivialBound { return }
    if prices.isEmpty {
      let halves = try DestinationHalves(problem, effort: effort)
      guard try !halves.beats(claimed - problem.weights.reduce(0, +)) else {
        throw CertificateError("a placement has fewer destinations than the bound of \(bound)")
      }
      return
    }
    guard experts.count <= 64 else {
      throw CertificateError(
        "\(experts.count) experts: evidence for more than 64 is too large to check")
    }
    let sum = prices.reduce(0, +)
    var search = DestinationGroups(problem, prices: prices, effort: effort)
    let least = try search.least()
    guard least < .max else { return }
    let target = (claimed - 1) * Self.scale
    let priced = sum + groups * least
    if priced > target { return }
    let budget = target - priced
    let list = try search.list(upTo: least + budget)
    let cover = DestinationCover(list, experts: experts.count, size: problem.size, least: least)
    guard try !cover.exists(budget: budget, effort: effort) else {
      throw CertificateError(
        "a placement has fewer destinations than the bound of \(bound)")
    }
  }

  /// What no placement is below whatever its prices: a token goes to as many groups as its experts
  /// need room.
  package func trivialBound(_ layer: TokenSets.Layer) -> Int {
    let problem = DestinationPart(layer, experts: experts, groups: groups, cap: cap, unit: 1)
    return problem.constant + problem.trivialBound
  }

  private func checkShape(_ layer: TokenSets.Layer) throws(CertificateError) {
    guard !experts.isEmpty, groups >= 1, experts.count % groups == 0 else {
      throw CertificateError("\(experts.count) experts do not spread evenly over \(groups) groups")
    }
    guard zip(experts, experts.dropFirst()).allSatisfy({ $0 < $1 }), experts[0] >= 0,
      experts[experts.count - 1] < layer.loads.count
    else {
      throw CertificateError("the experts of the evidence are not ascending numbers of the layer's")
    }
    guard prices.isEmpty || prices.count == experts.count else {
      throw CertificateError("\(prices.count) prices for \(experts.count) experts")
    }
    // Sums of 64 of them are exact.
    guard prices.allSatisfy({ $0.magnitude < 1 << 50 }) else {
      throw CertificateError("a price beyond 2^50")
    }
    guard unit >= 1, layer.multiplicities.allSatisfy({ $0 % unit == 0 }) else {
      throw CertificateError("a unit of \(unit) that does not divide every multiplicity")
    }
    guard bound >= 0, bound <= TokenSets.mostTokens * 4096 else {
      throw CertificateError("a bound of \(bound): expected 0 to the tokens' number of experts")
    }
  }
}

/// The part of a layer that evidence speaks about, with experts renumbered from 0.
struct DestinationPart {
  let experts: Int
  let groups: Int
  var size: Int { experts / groups }
  let cap: Int
  /// Experts of each set of two or more, ascending.
  private(set) var sets: [[Int]] = []
  private(set) var weights: [Int] = []
  /// Sets that contain each expert.
  private(set) var setsOf: [[Int]]
  let loads: [Int]
  /// Tokens with one expert here: one destination, always.
  private(set) var constant = 0

  init(_ layer: TokenSets.Layer, experts list: [Int], groups: Int, cap: Int?, unit: Int) {
    experts = list.count
    self.groups = groups
    self.cap = cap ?? .max
    loads = list.map { layer.loads[$0] }
    setsOf = [[Int]](repeating: [], count: list.count)
    var local = [Int: Int]()
    for (index, e) in list.enumerated() { local[e] = index }
    for t in 0..<layer.count {
      let members = layer[t].compactMap { local[Int($0)] }
      let weight = layer.multiplicities[t] / unit
      if members.count == 1 { constant += weight }
      guard members.count > 1 else { continue }
      for e in members { setsOf[e].append(sets.count) }
      sets.append(members)
      weights.append(weight)
    }
  }

  /// A set needs as many groups as it takes to hold it; without the constant.
  var trivialBound: Int {
    zip(sets, weights).reduce(0) { $0 + $1.1 * (($1.0.count + size - 1) / size) }
  }
}
