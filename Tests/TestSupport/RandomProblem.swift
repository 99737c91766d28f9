import Colocate

/// Small seeded problems of every kind the solver must get right: ties, zero rows, unequal layers,
/// caps, co-activation.
public struct RandomProblem: Sendable, CustomStringConvertible {
  public let seed: UInt64
  package let problem: GroupingProblem
  public var description: String {
    "seed \(seed): L=\(problem.layers) E=\(problem.experts) P=\(problem.groups)"
      + (problem.caps == nil ? "" : " capped")
      + (problem.coactivation.isEmpty ? "" : " co-activation")
  }

  /// `E! / c!^P`.
  static func assignments(_ experts: Int, groups: Int) -> Int {
    let size = experts / groups
    var count = 1.0
    for n in 0..<experts { count *= Double(n + 1) / Double(n % size + 1) }
    return Int(count.rounded())
  }

  /// - Parameters:
  ///   - experts: the numbers of experts to choose from.
  ///   - maxLayers: layers are drawn from `2 ... maxLayers`.
  public init(
    seed: UInt64, experts: [Int] = [2, 4, 6, 8], maxLayers: Int = 5, caps: Bool = true,
    coactivation: Bool = true
  ) {
    var random = SeededGenerator(seed: seed)
    let size = experts[random.next(below: experts.count)]
    // No more labelled assignments of a layer than `bruteForce` can list.
    let divisors = (1...size).filter {
      size % $0 == 0 && Self.assignments(size, groups: $0) <= 2520
    }
    let groups = divisors[random.next(below: divisors.count)]
    let layers = 2 + random.next(below: maxLayers - 1)
    let largest = [1, 3, 20, 1000][random.next(below: 4)]
    let density = [0.15, 0.5, 1.0][random.next(below: 3)]
    let zeroRows = random.nextUnit() < 0.3
    var weights = [Int]()
    for _ in 0..<(layers - 1) {
      for _ in 0..<size {
        let empty = zeroRows && random.nextUnit() < 0.3
        for _ in 0..<size {
          let value = random.nextUnit() < density ? 1 + random.next(below: largest) : 0
          weights.append(empty ? 0 : value)
        }
      }
    }
    var together = [Int]()
    if coactivation && random.nextUnit() < 0.3 {
      together = [Int](repeating: 0, count: layers * size * size)
      for l in 0..<layers {
        for i in 0..<size {
          for j in 0..<i where random.nextUnit() < density {
            let value = random.next(below: largest + 1)
            together[(l * size + i) * size + j] = value
            together[(l * size + j) * size + i] = value
          }
        }
      }
    }
    let counts = valid {
      try TransitionCounts(
        layers: layers, experts: size, weights: weights, coactivation: together)
    }
    var limits: [Int]?
    if caps && random.nextUnit() < 0.5 {
      let ratio = 1 + random.nextUnit() * 0.6
      let cap = valid { try LoadCap(ratio, relaxedToFeasible: true) }
      limits = valid { try cap.perLayer(counts: counts, gpus: groups).caps }
    }
    self.seed = seed
    problem = GroupingProblem(
      layers: layers, experts: size, groups: groups, weights: weights, coactivation: together,
      loads: counts.loads, caps: limits)
  }
}

extension GroupingProblem {
  /// The optimum by the plainest means: every labelled assignment of every layer, joined layer by
  /// layer. Shares nothing with the solver but the definition of the problem.
  /// - Returns: the most weight that can be kept and labels that keep it, or nil where the cap
  ///   allows nothing.
  package func bruteForce() -> (kept: Int, labels: [Int])? {
    var states = [[[Int]]]()
    for l in 0..<layers {
      var found = [[Int]]()
      var labels = [Int](repeating: 0, count: experts)
      var size = [Int](repeating: 0, count: groups)
      var load = size
      func assign(_ e: Int) {
        guard e < experts else {
          found.append(labels)
          return
        }
        for g in 0..<groups where size[g] < groupSize {
          let more = loads[l * experts + e]
          if let caps, load[g] + more > caps[l] { continue }
          labels[e] = g
          size[g] += 1
          load[g] += more
          assign(e + 1)
          size[g] -= 1
          load[g] -= more
        }
      }
      assign(0)
      if found.isEmpty { return nil }
      states.append(found)
    }
    func inside(_ l: Int, _ labels: [Int]) -> Int {
      guard !coactivation.isEmpty else { return 0 }
      var sum = 0
      for i in 0..<experts {
        for j in 0..<i where labels[i] == labels[j] {
          sum += coactivation[(l * experts + i) * experts + j]
        }
      }
      return sum
    }
    var best = states[0].map { inside(0, $0) }
    var from = [[Int]]()
    for l in 1..<layers {
      var next = [Int](repeating: -1, count: states[l].count)
      var back = next
      for (a, labels) in states[l - 1].enumerated() {
        // gain[g, j]: what expert j of layer l would keep on group g.
        var gain = [Int](repeating: 0, count: groups * experts)
        for i in 0..<experts {
          for j in 0..<experts {
            gain[labels[i] * experts + j] += weights[((l - 1) * experts + i) * experts + j]
          }
        }
        for (b, to) in states[l].enumerated() {
          var value = best[a]
          for j in 0..<experts { value += gain[to[j] * experts + j] }
          if value > next[b] { (next[b], back[b]) = (value, a) }
        }
      }
      for (b, to) in states[l].enumerated() { next[b] += inside(l, to) }
      best = next
      from.append(back)
    }
    var state = best.indices.max { best[$0] < best[$1] } ?? 0
    let kept = best[state]
    var labels = [[Int]]()
    for l in stride(from: layers - 1, through: 0, by: -1) {
      labels.append(states[l][state])
      if l > 0 { state = from[l - 1][state] }
    }
    return (kept, labels.reversed().flatMap { $0 })
  }
}
