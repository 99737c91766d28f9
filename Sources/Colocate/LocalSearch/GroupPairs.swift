import ColocateModel

/// Two groups at a time to their joint optimum over all layers, the others fixed.
///
/// In every layer the 2c experts of groups `p` and `q` can be dealt out anew in C(2c, c) ways (6
/// for c = 2, 70 for c = 4), and what two groups keep does not depend on how the rest is grouped.
/// So the best of all C(2c, c)^L ways is a longest path with C(2c, c) states per layer, exact in
/// well under a millisecond. With S the members of `p`, `d_S[j] = Σ_{i∈S} W[i,j] − Σ_{i∉S} W[i,j]`
/// and `b_S = Σ_j Σ_{i∉S} W[i,j]`, the pair keeps `b_S + Σ_{j∈T} d_S[j]` of a boundary, as in
/// `TwoGroupChain`; where the two labels are alike, S and its complement are one state.
///
/// On two levels a pair in one node is the same problem, since the node's part does not change. A
/// pair in two nodes saves `wGroup + wNode` on itself and feels the other groups of its nodes as a
/// price per expert: what the attractions say without the pair's own members. A load cap strikes
/// states; co-activation is a weight on them. This is a neighbourhood that swaps need long uphill
/// walks for: it exchanges whole stretches of two paths, shifted in any way from layer to layer.
///
/// A pair costs O(L · C(2c, c)²) with two table entries a step; pairs come in one order, and one
/// that was optimal is left out until something that it feels has changed.
final class GroupPairs {
  /// Experts of a group that are still quick: C(10, 5) = 252 states.
  static let mostMembers = 5

  private let layers: Int
  private let experts: Int
  private let groups: Int
  /// `2c`, and `c`.
  private let width: Int
  private let size: Int
  /// The c-subsets of 2c as masks: those with member 0, then their complements.
  private let states: [Int]
  /// `[states]`: best up to this layer, with and without what the layer itself adds.
  private let reach: UnsafeMutablePointer<Int>
  private let best: UnsafeMutablePointer<Int>
  /// `[L, states]`: the state before, times two, plus one where the labels cross.
  private let origin: UnsafeMutablePointer<Int32>
  /// `[2, 2^c, 2c]`: sums of the block's rows over subsets of either half of the members.
  private let rows: UnsafeMutablePointer<Int>
  /// `[2, 2^c]`: sums of differences over subsets of either half.
  private let sums: UnsafeMutablePointer<Int>
  /// `[2c, 2c]`.
  private let block: UnsafeMutablePointer<Int>
  /// `[L, 2c]`: the pair's experts in each layer, ascending.
  private var members: [Int]
  /// `[2c]`: see `price`.
  private var unary: [Int]
  /// `[L]`: which members are in the first group now, as a mask.
  private var chosen: [Int]
  /// `[E]`: scratch for a layer's groups.
  private var layer: [Int]
  /// `[P]`: the time of each group's last change, and the latest of them.
  private var changed: [Int]
  private var lastChange = 0
  /// `[P, P]`: the time each pair was last optimal.
  private var settled: [Int]
  private var time = 1

  /// - Returns: nil where a pair has too many states or there is no pair.
  init?(layers: Int, experts: Int, groups: Int) {
    guard groups >= 2, experts / groups <= Self.mostMembers else { return nil }
    (self.layers, self.experts, self.groups) = (layers, experts, groups)
    size = experts / groups
    width = 2 * size
    let (width, size) = (width, size)
    let half = (0..<(1 << width)).filter { $0 & 1 == 1 && $0.nonzeroBitCount == size }
    states = half + half.map { (1 << width) - 1 - $0 }
    reach = Self.zeros(states.count)
    best = Self.zeros(states.count)
    origin = Self.zeros(layers * states.count)
    rows = Self.zeros((2 * width) << size)
    sums = Self.zeros(2 << size)
    block = Self.zeros(width * width)
    members = [Int](repeating: 0, count: layers * width)
    unary = [Int](repeating: 0, count: width)
    chosen = [Int](repeating: 0, count: layers)
    layer = [Int](repeating: 0, count: experts)
    changed = [Int](repeating: 0, count: groups)
    settled = [Int](repeating: -1, count: groups * groups)
  }

  private static func zeros<Value: FixedWidthInteger>(
    _ count: Int
  ) -> UnsafeMutablePointer<Value> {
    let memory = UnsafeMutablePointer<Value>.allocate(capacity: count)
    memory.initialize(repeating: 0, count: count)
    return memory
  }

  deinit {
    reach.deallocate()
    best.deallocate()
    origin.deallocate()
    rows.deallocate()
    sums.deallocate()
    block.deallocate()
  }

  /// About how many swap proposals one pass over all pairs costs.
  static func passCost(layers: Int, experts: Int, groups: Int) -> Int {
    let size = experts / groups
    guard size <= mostMembers else { return .max }
    let half = [0, 1, 3, 10, 35, 126][size]
    return groups * (groups - 1) / 2 * layers * half * (half + 40) / 16
  }

  /// Every pair until none gains; the table's labels change on the way.
  /// - Returns: whether the value rose.
  func improve<Gain>(_ table: GainTable<Gain>, control: SearchControl) -> Bool {
    for g in 0..<groups { changed[g] = time }
    lastChange = time
    var improved = false
    var again = true
    while again {
      again = false
      for p in 0..<groups {
        for q in (p + 1)..<max(groups, p + 1) {
          if control.shouldStop { return improved }
          // On two levels a pair also feels the other groups of its nodes.
          let last = table.model.isFlat ? max(changed[p], changed[q]) : lastChange
          guard settled[p * groups + q] < last else { continue }
          time += 1
          if solve(table, p, q) {
            (changed[p], changed[q], lastChange) = (time, time, time)
            (again, improved) = (true, true)
          }
          settled[p * groups + q] = time
        }
      }
    }
    return improved
  }

  /// Two groups that are dealt out anew.
  private struct Pair {
    let p: Int
    let q: Int
    /// Whether exchanging the two labels in a layer changes nothing but the pair's own overlap: on
    /// one level, or inside one node. Then only the states with member 0 are kept, and each step
    /// may cross.
    let isAlike: Bool
    /// What the pair saves where a weight stays in one of the two groups.
    let factor: Int

    init(_ p: Int, _ q: Int, _ saved: SavedWeights) {
      (self.p, self.q) = (p, q)
      isAlike = saved.node == 0 || p / saved.groupsPerNode == q / saved.groupsPerNode
      factor = saved.group + (isAlike ? 0 : saved.node)
    }
  }

  /// The best of all ways to deal the pair's experts out; carried out if it is better.
  private func solve<Gain>(_ table: GainTable<Gain>, _ p: Int, _ q: Int) -> Bool {
    let pair = Pair(p, q, table.model.saved)
    let count = pair.isAlike ? states.count / 2 : states.count
    findMembers(table, pair)
    var before = 0
    for l in 0..<layers {
      if l == 0 {
        for t in 0..<count { best[t] = 0 }
      } else {
        before += cross(table.model, l, pair, count: count)
      }
      if !pair.isAlike { price(table, l, p, q) }
      before += inside(table.model, l, chosen[l], pair)
      for t in 0..<count {
        if best[t] <= Self.impossible
          || (table.model.isCapped && !fits(table.model, l, states[t]))
        {
          reach[t] = Self.impossible
        } else {
          reach[t] = best[t] + inside(table.model, l, states[t], pair)
        }
      }
    }
    var state = 0
    for t in 0..<count where reach[t] > reach[state] { state = t }
    guard reach[state] > before else { return false }
    let value = table.value
    deal(table, pair, from: state)
    precondition(table.value > value, "a pair's optimum is below what it was")
    return true
  }

  /// The value of a state that the load cap strikes.
  private static var impossible: Int { .min / 4 }

  /// `members`, and which of them are in `p` as `chosen`.
  private func findMembers<Gain>(_ table: GainTable<Gain>, _ pair: Pair) {
    for l in 0..<layers {
      var k = 0
      chosen[l] = 0
      for e in 0..<experts {
        let label = table.label(l, e)
        guard label == pair.p || label == pair.q else { continue }
        members[l * width + k] = e
        if label == pair.p { chosen[l] |= 1 << k }
        k += 1
      }
    }
  }

  /// The step over the boundary before layer `l`.
  /// - Returns: what the pair keeps of it now.
  private func cross<Gain>(
    _ model: SearchModel<Gain>, _ l: Int, _ pair: Pair, count: Int
  ) -> Int {
    let boundary = model.forward + (l - 1) * experts * model.pitch
    var before = 0
    for i in 0..<width {
      let row = boundary + members[(l - 1) * width + i] * model.pitch
      for j in 0..<width {
        let weight = pair.factor * Int(row[members[l * width + j]])
        block[i * width + j] = weight
        if (chosen[l - 1] >> i & 1) == (chosen[l] >> j & 1) { before += weight }
      }
    }
    step(l, count: count, crosses: pair.isAlike)
    return before
  }

  /// Carries out the chain of states that ends in `last`.
  private func deal<Gain>(_ table: GainTable<Gain>, _ pair: Pair, from last: Int) {
    var state = last
    var crossed = 0
    for l in stride(from: layers - 1, through: 0, by: -1) {
      let mask = crossed == 0 ? states[state] : (1 << width) - 1 - states[state]
      if mask != chosen[l] {
        for e in 0..<experts { layer[e] = table.label(l, e) }
        for k in 0..<width {
          layer[members[l * width + k]] = mask >> k & 1 == 1 ? pair.p : pair.q
        }
        table.assign(layer: l, groupOf: layer)
      }
      if l > 0 {
        let from = Int(origin[l * states.count + state])
        state = from / 2
        crossed ^= from & 1
      }
    }
  }

  /// `best[T] = max_S reach[S] + b_S + Σ_{j∈T} d_S[j]` (or crossed) over the weights in `block`.
  @inline(__always)
  private func step(_ l: Int, count: Int, crosses: Bool) {
    let (low, parts) = ((1 << size) - 1, 1 << size)
    var total = 0
    for index in 0..<(width * width) { total += block[index] }
    for part in 0..<2 {
      let base = rows + part * parts * width
      for mask in 1..<parts {
        let row = block + (part * size + mask.trailingZeroBitCount) * width
        let (target, rest) = (base + mask * width, base + (mask & (mask - 1)) * width)
        for j in 0..<width { target[j] = rest[j] + row[j] }
      }
    }
    let columns = rows + (parts - 1) * width  // all rows of the first half
    let others = rows + (2 * parts - 1) * width
    for t in 0..<count { best[t] = Self.impossible }
    let from = origin + l * states.count
    states.withUnsafeBufferPointer { states in
      for s in 0..<count where reach[s] > Self.impossible {
        let (first, second) = (
          rows + (states[s] & low) * width, rows + (parts + (states[s] >> size)) * width
        )
        var kept = reach[s]
        for part in 0..<2 {
          let base = sums + part * parts
          for k in 0..<size {
            let j = part * size + k
            let inside = first[j] + second[j]
            let outside = columns[j] + others[j] - inside
            kept += outside
            let bit = 1 << k
            for rest in 0..<bit { base[bit + rest] = base[rest] + inside - outside }
          }
        }
        let both = 2 * reach[s] + total
        let high = sums + parts
        for t in 0..<count {
          let straight = kept + sums[states[t] & low] + high[states[t] >> size]
          if straight > best[t] {
            best[t] = straight
            from[t] = Int32(truncatingIfNeeded: 2 * s)
          }
          if crosses, both - straight > best[t] {
            best[t] = both - straight
            from[t] = Int32(truncatingIfNeeded: 2 * s + 1)
          }
        }
      }
    }
  }

  /// Whether both groups are within the cap of layer `l`.
  private func fits<Gain>(_ model: SearchModel<Gain>, _ l: Int, _ mask: Int) -> Bool {
    var (first, second) = (0, 0)
    for k in 0..<width {
      let load = model.loads[l * experts + members[l * width + k]]
      if mask >> k & 1 == 1 { first += load } else { second += load }
    }
    return max(first, second) <= model.caps[l]
  }

  /// Co-activation inside the pair, and the nodes' prices.
  @inline(__always)
  private func inside<Gain>(
    _ model: SearchModel<Gain>, _ l: Int, _ mask: Int, _ pair: Pair
  ) -> Int {
    var value = 0
    if !pair.isAlike {
      for k in 0..<width where mask >> k & 1 == 1 { value += unary[k] }
    }
    if let together = model.together {
      for i in 0..<width {
        let row = together + (l * experts + members[l * width + i]) * model.pitch
        for j in 0..<i where (mask >> i & 1) == (mask >> j & 1) {
          value += pair.factor * Int(row[members[l * width + j]])
        }
      }
    }
    return value
  }

  /// `unary[k]`: what member `k` of layer `l` saves more in `p` than in `q` by the groups outside
  /// the pair.
  private func price<Gain>(_ table: GainTable<Gain>, _ l: Int, _ p: Int, _ q: Int) {
    let model = table.model
    let pitch = model.pitch
    for k in 0..<width {
      let e = members[l * width + k]
      var sum = table.attraction(l, p, e) - table.attraction(l, q, e)
      func leaveOut(_ other: Int, _ weight: Gain) {
        let h = Int(table.labels[other])
        sum -= Int(weight) * (model.saved.saved(p, h) - model.saved.saved(q, h))
      }
      for m in 0..<width {
        if l > 0 {
          let f = members[(l - 1) * width + m]
          leaveOut((l - 1) * experts + f, model.forward[((l - 1) * experts + f) * pitch + e])
        }
        if l < layers - 1 {
          let f = members[(l + 1) * width + m]
          leaveOut((l + 1) * experts + f, model.forward[(l * experts + e) * pitch + f])
        }
        if let together = model.together {
          let f = members[l * width + m]
          leaveOut(l * experts + f, together[(l * experts + e) * pitch + f])
        }
      }
      unary[k] = sum
    }
  }
}
