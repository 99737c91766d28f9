import ColocateModel

/// All groups that matter under given prices, exactly: the pricing problem of one layer.
///
/// A group `S` of `c` experts costs `cover(S)`, the tokens with an expert in it, and is worth
/// `u(S) = Σ_{i ∈ S} u_i`. A placement is `P` groups that hold every expert once, so
///
///     Σ_groups cover = Σ u + Σ_groups rc,     rc(S) = cover(S) − u(S),
///
/// and whoever knows all `S` with `rc(S)` up to a limit knows all that better placements can use.
/// Depth-first over experts by falling load. With `B` the `r` experts still to be chosen among the
/// candidates, and `M1_i`, `M2_ij` the uncovered tokens with `i`, with `i` and `j`: for `r ≤ 2`
/// inclusion–exclusion is exact. Otherwise, with `s_t = |B ∩ t|`, what `B` covers is
///
///     Σ_{i ∈ B} Σ_{t ∋ i} w_t / s_t   and   1/s ≥ (2m + 1 − s) / (m (m + 1))
///
/// for integers s, m ≥ 1 (the chord through m and m + 1 of a convex function, at integers). So for
/// any `m_i`, and any antisymmetric `θ`, which cancels inside `B`,
///
///     cover − u ≥ Σ_{i ∈ B} v_i,
///     v_i = 2/(m_i + 1) · M1_i − u_i − (the r − 1 largest over j of M2_ij/(m_i (m_i + 1)) + θ_ij)
///
/// and the `r` smallest `v` bound the node. `θ` moves by Polyak's subgradient step towards the
/// limit; the root's stays for the next prices. A candidate `j` whose `v_j` in place of the r-th
/// smallest passes the limit is dropped.
///
/// **Exactness.** Prices are multiples of `1 / scale`, so reduced costs at leaves are whole numbers
/// of doubles' exact range. Bounds of nodes have rounding errors. No term of `v` is larger than
/// `magnitude = 2 Σ w + Σ |u|` (`θ` is kept within `Σ w`), a `v` has at most 66 of them, so it is
/// off by less than `66 · 66 · 2⁻⁵³ magnitude < 2⁻⁴⁰ magnitude`, and the sum of up to 64 of them by
/// less than `2⁻³⁴` of these and its own additions (`64 · 64 · 66 · 2⁻⁵³`) less than `2⁻³⁴` too.
/// `margin` allows `2⁻³²`.
package final class DestinationPricing {
  /// Prices are multiples of `1 / scale`.
  package static let scale = 256

  /// A group: its experts and the tokens it covers.
  package struct Column: Hashable, Sendable {
    package let mask: UInt64
    package let cost: Int
  }

  package struct Answer {
    /// Groups within the limit: all of them, or each that was better than all before.
    package var columns: [Column] = []
    /// No group has a smaller reduced cost, in `1 / scale`.
    package var least: Int = .max
    /// Whether nothing was cut short.
    package var isComplete = true
  }

  let layer: DestinationLayer
  let size: Int
  let count: Int
  /// Expert of each rank; ranks fall by load.
  private let expertOf: [Int]
  /// `[U, ·]` members as ranks, beside `layer.starts`.
  private let members: SharedBuffer<Int32>
  /// Loads by rank.
  let loads: SharedBuffer<Int>
  private let covered: SharedBuffer<Bool>
  /// One for each number of chosen experts.
  let frames: [PricingFrame]
  /// Prices by rank.
  let price: SharedBuffer<Double>

  /// Reduced costs above are of no interest.
  var limit = 0.0
  private(set) var margin = 0.0
  private var keepsAll = false
  private var columnLimit = 0
  private var answer = Answer()
  private var leastOpen = Double.infinity
  private(set) var nodesLeft = 0
  private let control: SearchControl
  private let bits: [UInt64]

  /// - Parameter layer: of at most 64 experts, without anchors and linear costs.
  package init(_ layer: DestinationLayer, control: SearchControl) {
    self.layer = layer
    self.control = control
    (size, count) = (layer.size, layer.experts)
    let order = (0..<layer.experts).sorted { (layer.loads[$0], $1) > (layer.loads[$1], $0) }
    expertOf = order
    bits = order.map { 1 << UInt64($0) }
    var rank = [Int32](repeating: 0, count: layer.experts)
    for (r, e) in order.enumerated() { rank[e] = Int32(r) }
    members = SharedBuffer(
      (0..<layer.members.count).map { rank[Int(layer.members[$0])] }, filler: 0)
    loads = SharedBuffer(order.map { layer.loads[$0] }, filler: 0)
    covered = SharedBuffer(repeating: false, count: layer.count)
    let width = layer.experts
    frames = (0...layer.size).map { _ in PricingFrame(width: width) }
    price = SharedBuffer(repeating: 0, count: width)
    let root = frames[0]
    for t in 0..<layer.count {
      let range = Int(layer.starts[t])..<Int(layer.starts[t + 1])
      let w = Double(layer.weights[t])
      for a in range {
        root.single[Int(members[a])] += w
        for b in range where b != a {
          root.pair[Int(members[a]) * width + Int(members[b])] += w
        }
      }
    }
  }

  /// - Parameters:
  ///   - prices: `u · scale`, `[E]`.
  ///   - limit: reduced costs above it, in `1 / scale`, are of no interest.
  ///   - keepsAll: every group within the limit, or only the smallest.
  ///   - nodeLimit: of the depth-first search.
  ///   - columnLimit: more groups end the search.
  package func run(
    prices: [Int], limit: Int, keepsAll: Bool, nodeLimit: Int = .max, columnLimit: Int = .max
  ) -> Answer {
    var magnitude = Double(2 * layer.total)
    for r in 0..<count {
      price[r] = Double(prices[expertOf[r]]) / Double(Self.scale)
      magnitude += price[r].magnitude
    }
    margin = magnitude * 0x1p-32
    self.limit = Double(limit) / Double(Self.scale)
    self.keepsAll = keepsAll
    self.columnLimit = columnLimit
    answer = Answer()
    leastOpen = .infinity
    nodesLeft = nodeLimit
    for t in 0..<layer.count { covered[t] = false }
    let root = frames[0]
    root.candidates = (0..<count).map { Int32($0) }
    for r in 0..<count { root.slope[r] = 1 }
    search(depth: 0, base: 0, load: 0, mask: 0)
    // Every group is found, above the limit, or in an open part.
    let open = min(leastOpen, self.limit)
    let least = Int(((open - margin) * Double(Self.scale)).rounded(.down))
    answer.least = min(answer.least, answer.isComplete ? limit : least)
    return answer
  }

  /// What a group covers less its prices, in `1 / scale`.
  static func reduced(_ column: Column, prices: [Int]) -> Int {
    var sum = column.cost * scale
    for e in ExpertSet(bits: column.mask) { sum -= prices[e] }
    return sum
  }

  private var isCutShort: Bool { nodesLeft <= 0 || answer.columns.count > columnLimit }

  /// - Parameters:
  ///   - depth: experts chosen.
  ///   - base: reduced cost of what is chosen.
  private func search(depth: Int, base: Double, load: Int, mask: UInt64) {
    let frame = frames[depth]
    let left = size - depth
    guard frame.candidates.count >= left else { return }
    nodesLeft -= 1
    if nodesLeft & 1023 == 0 {
      control.spend(16 * 1024)
      if control.isOver { nodesLeft = 0 }
    }
    if left <= 2 {
      left == 2
        ? finishPairs(frame, base: base, load: load, mask: mask)
        : finishSingles(frame, base: base, load: load, mask: mask)
      return
    }
    let bound = tighten(frame, left: left, base: base, load: load, depth: depth)
    if bound > limit || frame.candidates.count < left { return }
    // Every candidate is chosen once, with those still in the list to choose from.
    var list = frame.candidates
    while list.count >= left {
      if isCutShort {
        answer.isComplete = false
        leastOpen = min(leastOpen, bound)
        return
      }
      let e = Int(list.remove(at: next(frame, list)))
      descend(frame, list, e, base: base, load: load, mask: mask, depth)
      guard list.count >= left else { return }
      // Without e the others have fewer partners: some may be beyond the limit now.
      guard narrow(frame, &list, left: left, base: base) else { return }
    }
  }

  /// The candidate to choose next: the one with the largest `v`, whose part of the search is small,
  /// so that the promising ones are left with few others.
  private func next(_ frame: PricingFrame, _ list: [Int32]) -> Int {
    var best = 0
    for position in list.indices
    where frame.worth[Int(list[position])] > frame.worth[Int(list[best])] { best = position }
    return best
  }

  /// The search with expert `e` chosen and `rest` to choose from.
  private func descend(
    _ frame: PricingFrame, _ rest: [Int32], _ e: Int, base: Double, load: Int, mask: UInt64,
    _ depth: Int
  ) {
    let newLoad = load + loads[e]
    if let cap = layer.cap, newLoad > cap { return }
    let child = frames[depth + 1]
    let width = count
    child.candidates = rest
    for i in rest {
      let row = Int(i) * width
      child.single[Int(i)] = frame.single[Int(i)]
      child.slope[Int(i)] = frame.slope[Int(i)]
      for j in rest {
        child.pair[row + Int(j)] = frame.pair[row + Int(j)]
        child.shift[row + Int(j)] = frame.shift[row + Int(j)]
      }
    }
    let expert = expertOf[e]
    let from = Int(layer.listStarts[expert])
    let to = Int(layer.listStarts[expert + 1])
    child.hidden.removeAll(keepingCapacity: true)
    for index in from..<to {
      let t = Int(layer.lists[index])
      guard !covered[t] else { continue }
      covered[t] = true
      child.hidden.append(Int32(t))
      let w = Double(layer.weights[t])
      let range = Int(layer.starts[t])..<Int(layer.starts[t + 1])
      for a in range {
        let i = Int(members[a])
        child.single[i] -= w
        for b in range { child.pair[i * width + Int(members[b])] -= w }
      }
    }
    search(
      depth: depth + 1, base: base + frame.single[e] - price[e], load: newLoad,
      mask: mask | bits[e])
    for t in child.hidden { covered[Int(t)] = false }
  }

  private func finishPairs(_ frame: PricingFrame, base: Double, load: Int, mask: UInt64) {
    let list = frame.candidates
    let cap = layer.cap ?? .max
    for a in 1..<list.count {
      let i = Int(list[a])
      let row = frame.pair.base + i * count
      let first = base + frame.single[i] - price[i]
      for b in 0..<a {
        let j = Int(list[b])
        let reduced = first + frame.single[j] - price[j] - row[j]
        if reduced <= limit, load + loads[i] + loads[j] <= cap {
          found(mask | bits[i] | bits[j], reduced)
        }
      }
    }
  }

  private func finishSingles(_ frame: PricingFrame, base: Double, load: Int, mask: UInt64) {
    for i in frame.candidates.map({ Int($0) }) {
      let reduced = base + frame.single[i] - price[i]
      if reduced <= limit, load + loads[i] <= layer.cap ?? .max { found(mask | bits[i], reduced) }
    }
  }

  private func found(_ mask: UInt64, _ reduced: Double) {
    var prices = 0.0
    for r in 0..<count where mask & bits[r] != 0 { prices += price[r] }
    answer.columns.append(Column(mask: mask, cost: Int(reduced + prices)))
    let scaled = Int(reduced * Double(Self.scale))
    answer.least = min(answer.least, scaled)
    if !keepsAll { limit = reduced - 1 / Double(Self.scale) }
  }
}

/// What a depth of the search works on: moments of the uncovered tokens over the candidates.
final class PricingFrame {
  /// Ranks that may still be chosen, ascending.
  var candidates: [Int32] = []
  /// Sets that the last chosen expert covered first.
  var hidden: [Int32] = []
  /// `M1`, `[E]`.
  let single: SharedBuffer<Double>
  /// `M2`, `[E, E]`.
  let pair: SharedBuffer<Double>
  /// `θ`, `[E, E]`.
  let shift: SharedBuffer<Double>
  /// `m`, `[E]`.
  let slope: SharedBuffer<Int>
  /// `v`, `[E]`.
  let worth: SharedBuffer<Double>
  /// The partners that `v_i` counted, as bits, `[E]`.
  let partners: SharedBuffer<UInt64>

  init(width: Int) {
    single = SharedBuffer(repeating: 0, count: width)
    pair = SharedBuffer(repeating: 0, count: width * width)
    shift = SharedBuffer(repeating: 0, count: width * width)
    slope = SharedBuffer(repeating: 1, count: width)
    worth = SharedBuffer(repeating: 0, count: width)
    partners = SharedBuffer(repeating: 0, count: width)
  }
}
