import Colocate
import Testing

@Suite struct LinkedDestinationTests {
  /// A random top-2 trace with padding, `[T, L, 2]`, best expert first.
  private static func trace(_ random: inout SeededGenerator, layers: Int, experts: Int) -> [Int] {
    (0..<60).flatMap { _ in
      (0..<layers).flatMap { _ in
        let first = random.next(below: experts)
        let second = (first + 1 + random.next(below: experts - 1)) % experts
        return random.nextUnit() < 0.1 ? [-1, -1] : [first, second]
      }
    }
  }

  private static func placement(
    _ random: inout SeededGenerator, _ topology: Topology, layers: Int, experts: Int
  ) throws -> Placement {
    let labels = (0..<layers).flatMap { _ in
      (0..<experts).map { $0 % topology.gpus }.shuffled(using: &random)
    }
    return try Placement(
      topology: topology, layers: layers, experts: experts, assignment: labels)
  }

  /// Rows counted token by token from the trace, as the definition says.
  private static func rows(_ ids: [Int], _ placement: Placement) -> Int {
    let (layers, perToken) = (placement.layers, placement.layers * 2)
    var rows = 0
    for t in 0..<(ids.count / perToken) {
      for l in 0..<layers {
        let first = ids[t * perToken + 2 * l]
        guard first >= 0 else { continue }
        var groups = Set([
          placement[layer: l, expert: first],
          placement[layer: l, expert: ids[t * perToken + 2 * l + 1]],
        ])
        rows += groups.count - 1
        let previous = l == 0 ? -1 : ids[t * perToken + 2 * (l - 1)]
        if previous >= 0 { groups.insert(placement[layer: l - 1, expert: previous]) }
        rows += groups.count - 1
      }
    }
    return rows
  }

  @Test(arguments: 0..<60) func sweepsFollowTheDefinition(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let (layers, experts) = (2 + random.next(below: 4), 8)
    let topology = try Topology(gpus: [2, 4][seed % 2])
    let ids = Self.trace(&random, layers: layers, experts: experts)
    var accumulator = try TokenSetAccumulator(
      layers: layers, choices: 2, experts: experts, keepsFollowers: true)
    var transitions = try TransitionAccumulator(layers: layers, choices: 2, experts: experts)
    try ids.withUnsafeBufferPointer {
      try accumulator.add($0)
      try transitions.add($0)
    }
    let sets = try accumulator.sets()
    let counts = try transitions.counts()
    let start = try Self.placement(&random, topology, layers: layers, experts: experts)
    let rows = try #require(try sets.coherentRows(of: start))
    #expect(rows.total == Self.rows(ids, start), "seed \(seed)")
    let found = try sets.destinations(of: start)
    #expect(CoherentRows.bound(destinations: found.gpu, tokens: found.tokens) <= rows.total)
    for target in [LinkedDestinations.Target.rows, .crossings(weight: 2), .crossings(weight: 0)] {
      let linked = try LinkedDestinations(
        sets, counts: counts, topology: topology, target: target)
      let better = try linked.improve(start)
      let (before, after) = (try linked.value(of: start), try linked.value(of: better))
      #expect(after <= before, "seed \(seed), \(target)")
      #expect(target != .rows || after == Self.rows(ids, better), "seed \(seed)")
      // A layer's own terms change by as much as the whole.
      var labels = Labels(start.assignment, experts: experts)
      for l in 0..<layers {
        let layer = linked.layer(l, labels)
        let old = layer.value(labels.layer(l)) * layer.unit
        let oldValue = try linked.value(of: place(labels, topology))
        labels.flat.swapAt(l * experts, l * experts + 5)
        let new = layer.value(labels.layer(l)) * layer.unit
        let newValue = try linked.value(of: place(labels, topology))
        #expect(new - old == newValue - oldValue, "seed \(seed), layer \(l), \(target)")
      }
    }
  }

  private func place(_ labels: Labels, _ topology: Topology) throws -> Placement {
    try Placement(
      topology: topology, layers: labels.layers, experts: labels.experts, assignment: labels.flat)
  }
}
