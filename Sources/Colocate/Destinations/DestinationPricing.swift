import ColocateModel

/// All groups that matter under given prices, exactly: the pricing problem of one layer.
///
/// A group `S` of `c` experts costs `cover(S)`, the tokens with an expert in it, and is worth
/// `u(S) = Σ_{i ∈ S} u_i`. A placement is `P` groups that hold every expert once, so
///
///     Σ_groups cover = Σ u + Σ_groups rc,     rc(S) = cover(S) − u(S),
///
/// and whoever knows all `S` with `rc(S)` up to a limit knows all that better placements can use.
/// Depth-first. At a node some experts are chosen, and what they cover is known; `B` are the `r`
/// still to be chosen among the candidates, and the sets are those not yet covered. Two experts
/// cover `M1_i + M1_j − M2_ij` more, the sets with each less those with both. For more,
/// `PricingNode` has a bound: it drops candidates, and ends the node where it passes the limit.
/// Then the candidate that looks worst is chosen, and afterwards struck off: the promising ones are
/// left with few others.
///
/// **Children that need not be made.** With `e` chosen, its sets no longer count. In the bound of
/// the node, `v_j = A_j − (the r − 1 largest x_jk)`, that takes from `A_j` the part
///
///     R_je = Σ_{t ∋ j, e} 2 w / (m_jt + 1),
///
/// and `j` has one partner less: `e` where it was one, the least of them otherwise. What `e` takes
/// from the other `x_jk` only helps, so the `r − 1` smallest of `v_j − R_je + (x_je or the least
/// x_jk)` bound the child.
///
/// **Exactness.** Everything is in whole numbers, kept in doubles below 2⁵³ and so never rounded:
/// prices are multiples of `1 / scale`, and all is multiplied by `scale` and by `chord`, which the
/// denominators of the bound divide. `takes` says for which layers there is room.
package final class DestinationPricing {
  /// Prices are multiples of `1 / scale`.
  package static let scale = 256

  /// A group: its experts and the tokens it covers.
  package struct Column: Hashable, Sendable {
    package let mask: UInt64
    package let cost: Int

    package init(mask: UInt64, cost: Int) {
      self.mask = mask
      self.cost = cost
    }
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
  /// Expert of each rank; ranks fall by load.
  private let expertOf: [Int]
  private let loads: SharedBuffer<Int>
  /// One for each number of chosen experts.
  private let nodes: [PricingNode]
  /// Prices by rank, in the unit of the bound.
  private let price: SharedBuffer<Double>
  /// The root's `θ` and `z`, which stay for the next prices, `[E, E]`.
  private let shift: SharedBuffer<Double>
  private let partnership: SharedBuffer<Float>
  /// Scratch of a leaf: `M2`, `[E, E]`.
  private let pairs: SharedBuffer<Double>

  /// Reduced costs above are of no interest, in the unit of the bound.
  private var limit = 0.0
  private var keepsAll = false
  private var columnLimit = 0
  private var answer = Answer()
  private var leastOpen = Double.infinity
  private(set) var nodesLeft = 0
  private let control: SearchControl

  /// Units of the bound in one of prices.
  private static let chord = PricingNode.chord

  /// Whether all sums of a layer's search are below 2⁵³, whatever the prices that a linear program
  /// over its groups gives: up to 64 experts, and of sets of 8 up to 35 million tokens.
  ///
  /// Of `N` tokens in sets of `k`, `Σ A ≤ k N`, what is lost no more, `Σ (x − θ) ≤ k² N / 2`, and
  /// prices are below `2 N + 2` for each of 64 experts; `θ` adds less than 2⁵⁰ in all.
  package static func takes(_ layer: DestinationLayer) -> Bool {
    let (k, total) = (layer.largestSet, layer.total + 1)
    guard layer.experts <= 64, layer.linear.isEmpty, !layer.masks.isEmpty else { return false }
    let (sum, isOver) = total.multipliedReportingOverflow(by: (k * k + k + 2 * 64) * scale)
    return !isOver && sum <= (1 << 52) / Int(chord)
  }

  /// - Parameter layer: one that it `takes`.
  package init(_ layer: DestinationLayer, control: SearchControl) {
    self.layer = layer
    self.control = control
    size = layer.size
    let experts = layer.experts
    let order = (0..<experts).sorted { (layer.loads[$0], $1) > (layer.loads[$1], $0) }
    expertOf = order
    loads = SharedBuffer(order.map { layer.loads[$0] }, filler: 0)
    nodes = (0...layer.size).map { _ in PricingNode(width: experts, layer) }
    price = SharedBuffer(repeating: 0, count: experts)
    shift = SharedBuffer(repeating: 0, count: experts * experts)
    partnership = SharedBuffer(repeating: 0, count: experts * experts)
    pairs = SharedBuffer(repeating: 0, count: experts * experts)
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
    for (r, e) in expertOf.enumerated() { price[r] = Double(prices[e]) * Self.chord }
    self.limit = Double(limit) * Self.chord
    self.keepsAll = keepsAll
    self.columnLimit = columnLimit
    answer = Answer()
    leastOpen = .infinity
    nodesLeft = nodeLimit
    nodes[0].fill(layer, expertOf: expertOf, shift: shift, partnership: partnership)
    search(depth: 0, base: 0, load: 0, mask: 0)
    // Every group is found, above the limit, or in an open part.
    let open = (min(leastOpen, self.limit) / Self.chord).rounded(.down)
    answer.least = min(answer.least, answer.isComplete ? limit : Int(open))
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
  ///   - mask: the experts chosen.
  private func search(depth: Int, base: Double, load: Int, mask: UInt64) {
    let node = nodes[depth]
    let left = size - depth
    guard node.count >= left else { return }
    nodesLeft -= 1
    if left <= 2 {
      return left == 2
        ? finishPairs(node, base: base, load: load, mask: mask)
        : finishSingles(node, base: base, load: load, mask: mask)
    }
    node.start(left: left, price: price)
    if let cap = layer.cap { node.drop(by: loads, load: load, cap: cap) }
    var effort = PricingNode.Effort(depth: depth, base: base, limit: limit)
    let bound = node.tighten(&effort)
    control.spend(effort.spent)
    if control.isOver { nodesLeft = 0 }
    if depth == 0 { node.keep(shift: shift, partnership: partnership) }
    if bound > limit { return }
    // Every candidate is chosen once, with those still there to choose from.
    while let e = node.next(base: base, limit: limit) {
      if isCutShort {
        answer.isComplete = false
        leastOpen = min(leastOpen, bound)
        return
      }
      node.strike(e)
      let rank = Int(node.experts[e])
      let chosen = base + node.cover(e) - price[rank]
      let newLoad = load + loads[rank]
      if newLoad > layer.cap ?? .max || node.bound(choosing: e, base: chosen) > limit { continue }
      nodes[depth + 1].fill(from: node, without: e)
      search(
        depth: depth + 1, base: chosen, load: newLoad, mask: mask | 1 << UInt64(expertOf[rank]))
    }
  }

  private func finishPairs(_ node: PricingNode, base: Double, load: Int, mask: UInt64) {
    let n = node.count
    let cap = layer.cap ?? .max
    node.measurePairs(into: pairs)
    for a in 1..<n {
      let i = Int(node.experts[a])
      let first = base + node.single[a] - price[i]
      for b in 0..<a {
        let j = Int(node.experts[b])
        let reduced = first + node.single[b] - price[j] - pairs[a * n + b]
        if reduced <= limit, load + loads[i] + loads[j] <= cap {
          found(mask | 1 << UInt64(expertOf[i]) | 1 << UInt64(expertOf[j]), reduced)
        }
      }
    }
  }

  private func finishSingles(_ node: PricingNode, base: Double, load: Int, mask: UInt64) {
    node.measurePairs(into: pairs)
    for a in 0..<node.count {
      let i = Int(node.experts[a])
      let reduced = base + node.single[a] - price[i]
      if reduced <= limit, load + loads[i] <= layer.cap ?? .max {
        found(mask | 1 << UInt64(expertOf[i]), reduced)
      }
    }
  }

  private func found(_ mask: UInt64, _ reduced: Double) {
    var prices = 0.0
    for r in 0..<expertOf.count where mask >> UInt64(expertOf[r]) & 1 == 1 { prices += price[r] }
    let cost = (reduced + prices) / (Self.chord * Double(Self.scale))
    answer.columns.append(Column(mask: mask, cost: Int(cost)))
    answer.least = min(answer.least, Int(reduced / Self.chord))
    if !keepsAll { limit = reduced - Self.chord }
  }
}
