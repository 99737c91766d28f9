import Colocate

/// The optimum of a small instance by dynamic programming over all hierarchical partitions of every
/// layer. It shares no code with the solver.
///
/// A state of a layer is a partition of its experts into nodes, and of each node's experts into
/// GPUs, without names. A placement saves, over all transitions and pairs of one layer used
/// together,
///
///     saved = Σ W · (perNode · [same node] + perGPU · [same GPU]),
///
/// and two neighbouring states save the most that any matching of their nodes, and of the GPUs
/// inside matched nodes, gives. The flat objective is one node with P GPUs and (0, 1); the first
/// step of the staged one is one node with N GPUs; a joint one has (inter − intra, intra).
package struct ReferenceOptimum {
  /// What is counted, and on which machines.
  package struct Level {
    package var nodes: Int
    package var gpusPerNode: Int
    package var perNode: Int
    package var perGPU: Int

    package init(nodes: Int, gpusPerNode: Int, perNode: Int, perGPU: Int) {
      self.nodes = nodes
      self.gpusPerNode = gpusPerNode
      self.perNode = perNode
      self.perGPU = perGPU
    }
  }

  /// The most that can be saved.
  package let saved: Int
  /// `[L, E]`, GPUs numbered node by node: a placement that saves it.
  package let labels: [Int]

  /// - Parameters:
  ///   - caps: per layer, the most load of a GPU, or nil.
  /// - Returns: nil where some layer has no partition within its cap.
  package init?(
    layers: Int, experts: Int, weights: [Int], coactivation: [Int], loads: [Int], caps: [Int]?,
    level: Level
  ) {
    var states = [[[UInt64]]]()
    for l in 0..<layers {
      let found = Self.partitions(
        experts: experts, level: level, loads: Array(loads[(l * experts)..<((l + 1) * experts)]),
        cap: caps?[l])
      if found.isEmpty { return nil }
      states.append(found)
    }
    func inside(_ l: Int, _ state: [UInt64]) -> Int {
      guard !coactivation.isEmpty else { return 0 }
      let labels = Self.labels(state, experts: experts)
      var sum = 0
      for i in 0..<experts {
        for j in 0..<i {
          let weight = coactivation[(l * experts + i) * experts + j]
          if labels[i] == labels[j] { sum += weight * level.perGPU }
          if labels[i] / level.gpusPerNode == labels[j] / level.gpusPerNode {
            sum += weight * level.perNode
          }
        }
      }
      return sum
    }
    var best = states[0].map { inside(0, $0) }
    var origins = [[Int]]()
    for l in 1..<layers {
      let start = (l - 1) * experts * experts
      let matching = Matching(
        weights: Array(weights[start..<(start + experts * experts)]), experts: experts,
        level: level)
      var next = [Int](repeating: .min, count: states[l].count)
      var origin = [Int](repeating: 0, count: states[l].count)
      for (a, from) in states[l - 1].enumerated() {
        let sums = matching.sums(from)
        for (b, to) in states[l].enumerated() {
          let value = best[a] + matching.best(sums, to)
          if value > next[b] { (next[b], origin[b]) = (value, a) }
        }
      }
      for (b, state) in states[l].enumerated() { next[b] += inside(l, state) }
      best = next
      origins.append(origin)
    }
    var slot = best.indices.max { best[$0] < best[$1] } ?? 0
    saved = best[slot]
    var chain = [[UInt64]]()
    for l in stride(from: layers - 1, through: 0, by: -1) {
      chain.append(states[l][slot])
      if l > 0 { slot = origins[l - 1][slot] }
    }
    chain.reverse()
    var labels = Self.labels(chain[0], experts: experts)
    for l in 1..<layers {
      let start = (l - 1) * experts * experts
      let matching = Matching(
        weights: Array(weights[start..<(start + experts * experts)]), experts: experts,
        level: level)
      chain[l] = matching.arranged(chain[l], after: chain[l - 1])
      labels += Self.labels(chain[l], experts: experts)
    }
    self.labels = labels
  }

  /// The GPU of every expert.
  private static func labels(_ state: [UInt64], experts: Int) -> [Int] {
    (0..<experts).map { e in state.firstIndex { $0 >> UInt64(e) & 1 == 1 } ?? 0 }
  }

  /// All partitions within the cap: the smallest free expert opens the next node, and inside a node
  /// the next GPU.
  package static func partitions(
    experts: Int, level: Level, loads: [Int], cap: Int?
  ) -> [[UInt64]] {
    let nodeSize = experts / level.nodes
    let size = nodeSize / level.gpusPerNode
    var found = [[UInt64]]()
    var state = [UInt64]()
    /// Adds to `group` until it has `count` members of `free`, then goes on with `then`.
    func choose(_ group: UInt64, _ free: UInt64, _ count: Int, _ then: (UInt64) -> Void) {
      if group.nonzeroBitCount == count { return then(group) }
      var rest = free
      while rest != 0 {
        let lowest = rest & (~rest &+ 1)
        rest &= ~lowest
        choose(group | lowest, rest, count, then)
      }
    }
    func split(_ node: UInt64, _ then: () -> Void) {
      guard node != 0 else { return then() }
      let first = node & (~node &+ 1)
      choose(first, node & ~first, size) { gpu in
        if let cap {
          var load = 0
          for e in 0..<experts where gpu >> UInt64(e) & 1 == 1 { load += loads[e] }
          if load > cap { return }
        }
        state.append(gpu)
        split(node & ~gpu, then)
        state.removeLast()
      }
    }
    func open(_ free: UInt64) {
      guard free != 0 else {
        found.append(state)
        return
      }
      let first = free & (~free &+ 1)
      choose(first, free & ~first, nodeSize) { node in split(node) { open(free & ~node) } }
    }
    open((1 << UInt64(experts)) - 1)
    return found
  }

  /// What two states of neighbouring layers save.
  private final class Matching {
    let weights: [Int]
    let experts: Int
    let level: Level
    /// `[P, P]`, what each GPU of one state shares with each of the next.
    private var overlap: [Int]
    /// `[N, N]`, what each node saves beside each of the next.
    private var outer: [Int]
    /// `[2^G]` and `[2^N]`, the best of a set of columns.
    private var scratch: [Int]

    init(weights: [Int], experts: Int, level: Level) {
      self.weights = weights
      self.experts = experts
      self.level = level
      let gpus = level.nodes * level.gpusPerNode
      overlap = [Int](repeating: 0, count: gpus * gpus)
      outer = [Int](repeating: 0, count: level.nodes * level.nodes)
      scratch = [Int](repeating: 0, count: 1 << max(level.nodes, level.gpusPerNode))
    }

    /// `[P, E]`: what every expert of the next layer shares with each GPU of `state`.
    func sums(_ state: [UInt64]) -> [Int] {
      var sums = [Int](repeating: 0, count: state.count * experts)
      for (a, group) in state.enumerated() {
        for i in 0..<experts where group >> UInt64(i) & 1 == 1 {
          for j in 0..<experts { sums[a * experts + j] += weights[i * experts + j] }
        }
      }
      return sums
    }

    private func overlaps(_ sums: [Int], _ to: [UInt64]) {
      let gpus = to.count
      for index in overlap.indices { overlap[index] = 0 }
      for b in 0..<gpus {
        var rest = to[b]
        while rest != 0 {
          let j = rest.trailingZeroBitCount
          rest &= rest - 1
          for a in 0..<gpus { overlap[a * gpus + b] += sums[a * experts + j] }
        }
      }
    }

    /// The most that any matching saves; the same as `solve` without its order, and without memory.
    func best(_ sums: [Int], _ to: [UInt64]) -> Int {
      overlaps(sums, to)
      let (nodes, per, gpus) = (level.nodes, level.gpusPerNode, to.count)
      for n in 0..<nodes {
        for m in 0..<nodes {
          var all = 0
          for a in 0..<per {
            for b in 0..<per { all += overlap[(n * per + a) * gpus + m * per + b] }
          }
          let start = n * per * gpus + m * per
          let inner = level.perGPU == 0 ? 0 : most(overlap, start: start, stride: gpus, size: per)
          outer[n * nodes + m] = level.perGPU * inner + level.perNode * all
        }
      }
      return most(outer, start: 0, stride: nodes, size: nodes)
    }

    /// The value of the best assignment of the rows of a block to its columns.
    private func most(_ matrix: [Int], start: Int, stride: Int, size: Int) -> Int {
      if size == 1 { return matrix[start] }
      scratch[0] = 0
      for set in 1..<(1 << size) {
        let row = start + (set.nonzeroBitCount - 1) * stride
        var value = Int.min
        for column in 0..<size where set >> column & 1 == 1 {
          value = max(value, scratch[set & ~(1 << column)] + matrix[row + column])
        }
        scratch[set] = value
      }
      return scratch[(1 << size) - 1]
    }

    /// `to` in the order in which it saves the most beside `from`.
    func arranged(_ to: [UInt64], after from: [UInt64]) -> [UInt64] {
      overlaps(sums(from), to)
      return solve().map { to[$0] }
    }

    /// The order of the second state's GPUs in the best matching.
    private func solve() -> [Int] {
      let (nodes, per, gpus) = (level.nodes, level.gpusPerNode, level.nodes * level.gpusPerNode)
      var inner = [(value: Int, order: [Int])]()
      var outer = [Int]()
      for n in 0..<nodes {
        for m in 0..<nodes {
          var block = [Int]()
          for a in 0..<per {
            for b in 0..<per { block.append(overlap[(n * per + a) * gpus + m * per + b]) }
          }
          let match = Self.assignment(block, size: per)
          inner.append(match)
          outer.append(level.perGPU * match.value + level.perNode * block.reduce(0, +))
        }
      }
      let match = Self.assignment(outer, size: nodes)
      return (0..<nodes).flatMap { n in
        inner[n * nodes + match.order[n]].order.map { match.order[n] * per + $0 }
      }
    }

    /// The best assignment of rows to columns, by dynamic programming over sets of columns.
    private static func assignment(_ matrix: [Int], size: Int) -> (value: Int, order: [Int]) {
      if size == 1 { return (matrix[0], [0]) }
      if size == 2 {
        let (straight, crossed) = (matrix[0] + matrix[3], matrix[1] + matrix[2])
        return straight >= crossed ? (straight, [0, 1]) : (crossed, [1, 0])
      }
      var best = [Int](repeating: .min, count: 1 << size)
      var last = [Int](repeating: 0, count: 1 << size)
      best[0] = 0
      for set in 1..<(1 << size) {
        let row = set.nonzeroBitCount - 1
        for column in 0..<size where set >> column & 1 == 1 {
          let value = best[set & ~(1 << column)] + matrix[row * size + column]
          if value > best[set] { (best[set], last[set]) = (value, column) }
        }
      }
      var order = [Int](repeating: 0, count: size)
      var set = (1 << size) - 1
      for row in stride(from: size - 1, through: 0, by: -1) {
        order[row] = last[set]
        set &= ~(1 << last[set])
      }
      return (best[(1 << size) - 1], order)
    }
  }
}
