/// Where the copies of one layer's experts are, and with which chance a token's expert is served
/// where.
///
/// For every source (one stands for all where the rule does not look at it) and every expert there
/// is a short list of groups with the chance that the expert's token goes there; GPUs and nodes are
/// two kinds of groups. A token with experts `S` then misses group `g` with the chance
///
///     Π_{e ∈ S} (1 − chance[e, g])                       where experts draw by themselves,
///     |{h : no e of S has copy h mod r_e on g}| / m      where one hash h serves all of them,
///
/// with `m` the least common multiple of the `r_e`. The mean number of distinct groups is the sum
/// of what is left to 1.
package struct LayerCopies: Sendable {
  /// A group and the chance that an expert's token goes there.
  struct Share: Sendable {
    let group: Int
    let chance: Double
  }

  package let topology: Topology
  package let rule: DispatchRule
  /// The GPU of each copy in the order of slots, `[E][r]`.
  package private(set) var gpus: [[Int]]
  /// Sources that are told apart, `P` or 1.
  private let sources: Int
  /// Shares over GPUs, `[source, E]`.
  private var gpuShares: [[Share]] = []
  /// The same over nodes.
  private var nodeShares: [[Share]] = []

  /// The most tokens after which the copies of the experts of one token repeat.
  static let mostPeriod = 1 << 16

  package var experts: Int { gpus.count }

  /// - Parameter gpus: `[E][r]`, none empty.
  package init(_ gpus: [[Int]], topology: Topology, rule: DispatchRule) {
    self.gpus = gpus
    self.topology = topology
    self.rule = rule
    sources = rule.looksAtSource ? topology.gpus : 1
    gpuShares = [[Share]](repeating: [], count: sources * gpus.count)
    nodeShares = gpuShares
    for expert in gpus.indices { share(expert) }
  }

  /// Puts the copies of `expert` on `copies`.
  package mutating func place(_ expert: Int, on copies: [Int]) {
    gpus[expert] = copies
    share(expert)
  }

  private mutating func share(_ expert: Int) {
    let copies = gpus[expert]
    for source in 0..<sources {
      let found = rule.candidates(copies, source: source, topology: topology)
      let places = found.map { copies[$0] }
      gpuShares[source * experts + expert] = Self.shares(places)
      nodeShares[source * experts + expert] = Self.shares(places.map(topology.node(of:)))
    }
  }

  /// The distinct ones of `places`, each with its part of them.
  private static func shares(_ places: [Int]) -> [Share] {
    if places.count == 1 { return [Share(group: places[0], chance: 1)] }
    return Set(places).sorted().map { group in
      let held = places.count { $0 == group }
      return Share(group: group, chance: Double(held) / Double(places.count))
    }
  }

  // MARK: - Loads

  /// The part of an expert's tokens that each GPU serves, `[P]`, all sources alike.
  package func part(of expert: Int) -> [Double] {
    var part = [Double](repeating: 0, count: topology.gpus)
    for source in 0..<sources {
      for share in gpuShares[source * experts + expert] { part[share.group] += share.chance }
    }
    return part.map { $0 / Double(sources) }
  }

  /// Tokens that each GPU serves, `[P]`.
  /// - Parameter loads: tokens of each expert, `[E]`.
  package func gpuLoads(_ loads: some Collection<Int>) -> [Double] {
    var sums = [Double](repeating: 0, count: topology.gpus)
    for (expert, load) in loads.enumerated() where load > 0 {
      for (gpu, part) in part(of: expert).enumerated() { sums[gpu] += Double(load) * part }
    }
    return sums
  }

  // MARK: - Destinations

  /// Means of one token.
  package struct Spread: Hashable, Sendable {
    /// Distinct GPUs that serve it.
    package var gpus = 0.0
    /// Distinct nodes.
    package var nodes = 0.0
    /// Distinct GPUs other than its own.
    package var rows = 0.0
  }

  /// Memory that counting takes, for one thread.
  package struct Scratch {
    fileprivate var miss: [Double]
    fileprivate var touched: [Int] = []
    fileprivate var stamps: [Int]
    fileprivate var stamp = 0

    package init(_ topology: Topology) {
      miss = [Double](repeating: 1, count: topology.gpus)
      stamps = [Int](repeating: 0, count: topology.gpus)
    }
  }

  /// - Throws: `ModelError.sizes` where the copies of a token's experts repeat too late for all
  ///   values of one hash to be looked at.
  package func check(_ layer: TokenSets.Layer) throws(ModelError) {
    guard rule.isShared else { return }
    for index in 0..<layer.count where period(of: layer[index]) == nil {
      throw .sizes(
        "experts \(layer[index].map { Int($0) }) have "
          + "\(layer[index].map { gpus[Int($0)].count }) copies, which one hash meets together "
          + "after more than \(Self.mostPeriod) tokens: expected numbers with more in common, or "
          + "another rule")
    }
  }

  /// The least common multiple of the numbers of copies of a set's experts; nil where it is above
  /// `mostPeriod`.
  private func period(of set: ArraySlice<UInt16>) -> Int? {
    var period = 1
    for e in set where gpus[Int(e)].count > 1 {
      let copies = gpus[Int(e)].count
      var (a, b) = (period, copies)
      while b != 0 { (a, b) = (b, a % b) }
      period *= copies / a
      guard period <= Self.mostPeriod else { return nil }
    }
    return period
  }

  /// Means of a token with the experts `set`. O(P · k · r), or O(m · k) by one hash.
  /// - Precondition: `check` lets the set's layer pass.
  /// - Parameters:
  ///   - gpus: whether GPUs and rows are wanted; 0 otherwise.
  ///   - nodes: whether nodes are; 0 otherwise.
  package func spread(
    of set: ArraySlice<UInt16>, gpus wantsGPUs: Bool = true, nodes wantsNodes: Bool = true,
    _ scratch: inout Scratch
  ) -> Spread {
    var spread = Spread()
    if rule.isShared {
      let period = period(of: set) ?? 1
      for hash in 0..<period {
        if wantsGPUs { spread.gpus += Double(distinct(set, hash, perGroup: 1, &scratch)) }
        if wantsNodes {
          spread.nodes += Double(distinct(set, hash, perGroup: topology.gpusPerNode, &scratch))
        }
      }
      spread.gpus /= Double(period)
      spread.nodes /= Double(period)
    } else {
      for source in 0..<sources {
        if wantsGPUs {
          let (sum, own) = hits(set, gpuShares, source, &scratch)
          spread.gpus += sum
          spread.rows += sum - own
        }
        if wantsNodes { spread.nodes += hits(set, nodeShares, source, &scratch).sum }
      }
      spread.gpus /= Double(sources)
      spread.rows /= Double(sources)
      spread.nodes /= Double(sources)
    }
    // Of sources that are all alike to the rule, one in P is a given GPU.
    if !rule.looksAtSource {
      spread.rows = spread.gpus * Double(topology.gpus - 1) / Double(topology.gpus)
    }
    return spread
  }

  /// Groups of `perGroup` GPUs that a set's copies of one hash are in.
  private func distinct(
    _ set: ArraySlice<UInt16>, _ hash: Int, perGroup: Int, _ scratch: inout Scratch
  ) -> Int {
    scratch.stamp += 1
    var count = 0
    for e in set {
      let copies = gpus[Int(e)]
      let group = copies[copies.count == 1 ? 0 : hash % copies.count] / perGroup
      if scratch.stamps[group] != scratch.stamp {
        scratch.stamps[group] = scratch.stamp
        count += 1
      }
    }
    return count
  }

  /// The chances, summed over groups, that a token of `source` goes there; and that of the group
  /// whose number is the source's.
  private func hits(
    _ set: ArraySlice<UInt16>, _ shares: [[Share]], _ source: Int, _ scratch: inout Scratch
  ) -> (sum: Double, own: Double) {
    scratch.stamp += 1
    scratch.touched.removeAll(keepingCapacity: true)
    for e in set {
      for share in shares[source * experts + Int(e)] {
        if scratch.stamps[share.group] != scratch.stamp {
          scratch.stamps[share.group] = scratch.stamp
          scratch.miss[share.group] = 1
          scratch.touched.append(share.group)
        }
        scratch.miss[share.group] *= 1 - share.chance
      }
    }
    var sum = 0.0
    for group in scratch.touched { sum += 1 - scratch.miss[group] }
    let isThere = scratch.stamps[source] == scratch.stamp
    return (sum, isThere ? 1 - scratch.miss[source] : 0)
  }
}
