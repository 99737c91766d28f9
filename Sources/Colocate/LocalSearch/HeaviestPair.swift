import ColocateModel

/// Kruskal's order on transitions: pairs of neighbouring experts from the heaviest down, put on one
/// GPU where that is still possible.
///
/// Experts joined by chosen pairs form clusters that will share a GPU; a cluster has at most `c`
/// experts of each layer. When no pair is left the clusters are packed into `P` GPUs: largest
/// first, to the GPU that gains most weight among those with room in each of the cluster's layers.
/// A cluster that fits nowhere whole is dropped and its experts are placed one by one, layer by
/// layer, where they gain most.
///
/// Experts are numbered through all layers, expert `e` of layer `l` as `l · E + e`. With n positive
/// weights, O(n · (log n + L)) for the pairs and O(P · E) for the placing of each expert. Equal
/// weights come in their order in the counts; nothing is random.
struct HeaviestPair {
  private let problem: GroupingProblem
  private let control: SearchControl
  /// Of each expert the representative of its cluster, `[L · E]`.
  private var cluster: [Int]
  /// Of each representative the cluster's experts, and how many of them each layer has, `[L]`.
  private var members: [[Int]]
  private var perLayer: [[Int]]
  /// The groups, -1 where not placed yet.
  private var placed: Labels
  /// Free seats, `[P, L]`.
  private var room: [Int]

  /// - Returns: nil where stopped.
  static func labels(_ problem: GroupingProblem, control: SearchControl) -> [Int]? {
    var method = HeaviestPair(problem, control: control)
    return method.join() && method.pack() ? method.placed.flat : nil
  }

  private init(_ problem: GroupingProblem, control: SearchControl) {
    self.problem = problem
    self.control = control
    let (layers, experts) = (problem.layers, problem.experts)
    let count = layers * experts
    cluster = Array(0..<count)
    members = (0..<count).map { [$0] }
    perLayer = (0..<count).map { expert in
      var layer = [Int](repeating: 0, count: layers)
      layer[expert / experts] = 1
      return layer
    }
    placed = Labels(layers: layers, experts: experts, group: -1)
    room = [Int](repeating: problem.groupSize, count: problem.groups * layers)
  }

  /// The clusters. Answers false where stopped: the sort and the walk over the pairs look at the
  /// clock every few thousand of them.
  private mutating func join() -> Bool {
    let (layers, experts, size) = (problem.layers, problem.experts, problem.groupSize)
    guard let pairs = pairs() else { return false }
    for (index, pair) in pairs.enumerated() {
      if index & 4095 == 4095, control.shouldStop { return false }
      let l = pair / (experts * experts)
      var a = cluster[l * experts + pair / experts % experts]
      var b = cluster[(l + 1) * experts + pair % experts]
      guard a != b, (0..<layers).allSatisfy({ perLayer[a][$0] + perLayer[b][$0] <= size }) else {
        continue
      }
      if members[a].count < members[b].count { swap(&a, &b) }
      for expert in members[b] { cluster[expert] = a }
      members[a] += members[b]
      members[b] = []
      for l in 0..<layers { perLayer[a][l] += perLayer[b][l] }
    }
    return true
  }

  /// Indices of the positive weights, the heaviest first, equal ones in their order; nil where
  /// stopped. Runs are sorted and merged two by two, with a look at the clock after each.
  private func pairs() -> [Int]? {
    let weights = problem.weights
    let run = 1 << 15
    let positive = weights.indices.filter { weights[$0] > 0 }
    var sorted = [Int]()
    sorted.reserveCapacity(positive.count)
    for start in stride(from: 0, to: positive.count, by: run) {
      if control.shouldStop { return nil }
      sorted += positive[start..<min(start + run, positive.count)]
        .sorted { (weights[$0], $1) > (weights[$1], $0) }
    }
    var length = run
    while length < sorted.count {
      guard let merged = merged(sorted, runs: length) else { return nil }
      sorted = merged
      length *= 2
    }
    return sorted
  }

  /// Sorted runs of `length` merged two by two; nil where stopped.
  private func merged(_ sorted: [Int], runs length: Int) -> [Int]? {
    let weights = problem.weights
    var merged = [Int]()
    merged.reserveCapacity(sorted.count)
    for start in stride(from: 0, to: sorted.count, by: 2 * length) {
      let middle = min(start + length, sorted.count)
      let end = min(middle + length, sorted.count)
      var (a, b) = (start, middle)
      while a < middle || b < end {
        if merged.count & 0xFFFF == 0, control.shouldStop { return nil }
        // Runs are in the order of the indices: of equal weights the first run's comes first.
        if b == end || (a < middle && weights[sorted[a]] >= weights[sorted[b]]) {
          merged.append(sorted[a])
          a += 1
        } else {
          merged.append(sorted[b])
          b += 1
        }
      }
    }
    return merged
  }

  /// The clusters into groups. Answers false where stopped; asked before every cluster.
  private mutating func pack() -> Bool {
    var loose = [Int]()
    let order = members.indices.filter { !members[$0].isEmpty }
      .sorted { (members[$0].count, $1) > (members[$1].count, $0) }
    for representative in order {
      if control.shouldStop { return false }
      if !put(members[representative]) { loose += members[representative] }
    }
    for expert in loose.sorted() {
      if control.shouldStop { return false }
      _ = put([expert])
    }
    return true
  }

  /// Experts into the group with room for all that gains most. Answers false where none has room.
  private mutating func put(_ cluster: [Int]) -> Bool {
    let (layers, experts) = (problem.layers, problem.experts)
    var needed = [Int](repeating: 0, count: layers)
    for expert in cluster { needed[expert / experts] += 1 }
    var best = (gain: -1, group: -1)
    for g in 0..<problem.groups
    where (0..<layers).allSatisfy({ room[g * layers + $0] >= needed[$0] }) {
      let sum = cluster.reduce(0) { $0 + gain($1 / experts, $1 % experts, in: g) }
      if sum > best.gain { best = (sum, g) }
    }
    guard best.group >= 0 else { return false }
    for expert in cluster {
      placed[expert / experts, expert % experts] = best.group
      room[best.group * layers + expert / experts] -= 1
    }
    return true
  }

  /// Weight between expert `e` of layer `l` and what is placed in a group already.
  private func gain(_ l: Int, _ e: Int, in group: Int) -> Int {
    var sum = 0
    for i in 0..<problem.experts {
      if l > 0, placed[l - 1, i] == group { sum += problem.weight(l - 1, i, e) }
      if l < problem.layers - 1, placed[l + 1, i] == group { sum += problem.weight(l, e, i) }
    }
    return sum
  }
}
