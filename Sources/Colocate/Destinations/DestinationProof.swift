import ColocateModel

/// Bounds one layer by prices and, where the sizes allow, proves its optimum.
///
/// Column generation: a linear program over known groups (`ColumnProgram`) gives prices, swaps
/// (`ColumnDescent`) find groups that beat them, until there are none; then the exact search
/// (`DestinationPricing`) finds what the swaps missed, or the least reduced cost, which makes any
/// prices a bound:
///
///     Σ cover ≥ Σ u + P · min rc.
///
/// What a better placement can use are the groups with `rc(S) − min rc ≤ incumbent − 1 − bound`:
/// the same search lists them, and `DestinationClosing` finds the best placement among them.
///
/// For layers of at most 64 experts, without anchors and linear costs.
struct DestinationProof {
  typealias Column = DestinationPricing.Column

  /// How far to go.
  struct Limits: Sendable {
    /// Nodes of one exact pricing search.
    var pricingNodes = 40_000_000
    /// Groups listed for the end of a proof.
    var columns = 3_000_000
    /// Nodes of the tree at the end.
    var treeNodes = 5_000
    /// Rounds of column generation.
    var rounds = 400
  }

  private let layer: DestinationLayer
  private let control: SearchControl
  private let limits: Limits
  private let program: ColumnProgram
  private let descent: ColumnDescent
  private let pricing: DestinationPricing
  private var known = Set<UInt64>()
  /// The best placement.
  private(set) var groupOf: [Int]
  /// Its value, in units of the layer.
  private(set) var value: Int
  /// No placement has a smaller value, in units of the layer.
  private(set) var bound: Int
  /// Prices, `u · scale`, that prove `pricedBound`.
  private(set) var prices: [Int]
  /// What `prices` alone prove, in `1 / scale`, without the layer's constant.
  private(set) var pricedBound: Int
  /// Whether the exact search evaluated `prices`.
  private(set) var isPriced = false

  /// - Parameters:
  ///   - groupOf: a placement within the cap.
  ///   - optima: others, whose groups may be of use.
  init(
    _ layer: DestinationLayer, groupOf: [Int], optima: [[Int]], limits: Limits = Limits(),
    control: SearchControl
  ) {
    self.layer = layer
    self.control = control
    self.limits = limits
    self.groupOf = groupOf
    value = layer.value(groupOf)
    program = ColumnProgram(
      experts: layer.experts, highCost: Double(2 * layer.total + 2), control: control)
    descent = ColumnDescent(layer)
    pricing = DestinationPricing(layer, control: control)
    bound = layer.trivialBound
    pricedBound = (layer.trivialBound - layer.constant) * DestinationPricing.scale
    prices = []
    for labels in [groupOf] + optima {
      for mask in Labels(labels, experts: layer.experts).sets(layer: 0, groups: layer.groups) {
        let load = mask.reduce(0) { $0 + layer.loads[$1] }
        if load <= layer.cap ?? .max { take(mask.bits) }
      }
    }
    prices = startPrices(groupOf)
  }

  var isProved: Bool { bound >= value }

  private mutating func take(_ mask: UInt64) {
    guard known.insert(mask).inserted else { return }
    program.add(Column(mask: mask, cost: ColumnDescent.cover(mask, layer)))
  }

  /// Each token's cost shared among its experts: the incumbent's groups have reduced cost 0.
  private func startPrices(_ groupOf: [Int]) -> [Int] {
    var share = [Double](repeating: 0, count: layer.experts)
    for t in 0..<layer.count {
      let set = ExpertSet(bits: layer.masks[t])
      for e in set {
        let sharing = set.reduce(0) { $0 + (groupOf[$1] == groupOf[e] ? 1 : 0) }
        share[e] += Double(layer.weights[t]) / Double(sharing)
      }
    }
    return share.map { Int(($0 * Double(DestinationPricing.scale)).rounded()) }
  }

  /// Runs to a proof or to a limit.
  mutating func run() {
    guard !isProved else { return }
    var center = prices
    for _ in 0..<limits.rounds {
      program.solve()
      if control.isOver { return }
      let raw = roundedPrices()
      center = zip(center, raw).map { ($0 + $1) / 2 }
      if generate(at: center, judgedBy: raw) || generate(at: raw, judgedBy: raw) { continue }
      // Dry: ask the exact search.
      let answer = pricing.run(
        prices: raw, limit: -1, keepsAll: false, nodeLimit: limits.pricingNodes)
      let found = raw.reduce(0, +) + layer.groups * answer.least
      if found > pricedBound { (pricedBound, prices, isPriced) = (found, raw, true) }
      raiseBound(toScaled: pricedBound)
      if isProved || control.isOver { return }
      let before = known.count
      for column in answer.columns {
        take(descent.descend(from: column.mask, prices: raw).mask)
        take(column.mask)
      }
      let budget = target - pricedBound
      let isDry = -answer.least * layer.groups <= max(DestinationPricing.scale / 4, budget / 20)
      if known.count == before || isDry || !answer.isComplete { break }
    }
    close()
  }

  /// Scaled value of a placement that would be better by one, without the constant.
  private var target: Int { (value - layer.constant - 1) * DestinationPricing.scale }

  private mutating func raiseBound(toScaled scaled: Int) {
    let scale = DestinationPricing.scale
    bound = min(value, max(bound, (scaled + scale - 1) / scale + layer.constant))
  }

  private func roundedPrices() -> [Int] {
    let scale = Double(DestinationPricing.scale)
    let clip = Double(2 * layer.total + 2) * scale
    return program.prices.prefix(layer.experts).map {
      $0.isFinite ? Int(max(-clip, min(clip, $0 * scale)).rounded()) : 0
    }
  }

  /// Swaps from the groups of the linear program's basis.
  /// - Returns: whether a group was found that beats the prices `judge`.
  private mutating func generate(at prices: [Int], judgedBy judge: [Int]) -> Bool {
    var isNew = false
    for start in program.solution.map(\.column.mask) {
      let column = descent.descend(from: start, prices: prices)
      control.spend(layer.count / 2 + 1)
      guard DestinationPricing.reduced(column, prices: judge) < -2 else { continue }
      guard known.insert(column.mask).inserted else { continue }
      program.add(column)
      isNew = true
      if control.isOver { return false }
    }
    return isNew
  }

  /// Lists what a better placement can use and searches it.
  private mutating func close() {
    guard isPriced, !isProved, !control.isOver else { return }
    let least = (pricedBound - prices.reduce(0, +)) / layer.groups
    let budget = target - pricedBound
    guard budget >= 0 else { return raiseBound(toScaled: target + 1) }
    let answer = pricing.run(
      prices: prices, limit: least + budget, keepsAll: true, nodeLimit: limits.pricingNodes,
      columnLimit: limits.columns)
    guard answer.isComplete else { return }
    var closing = DestinationClosing(
      layer, costLimit: value - layer.constant, control: control)
    let end = closing.run(
      answer.columns, start: program.solution.map(\.column), bound: pricedBound,
      treeNodeLimit: limits.treeNodes)
    if let best = end.best {
      for (g, column) in best.groups.enumerated() {
        for e in ExpertSet(bits: column.mask) { groupOf[e] = g }
      }
      value = best.cost + layer.constant
    }
    bound = max(bound, min(value, end.bound + layer.constant))
  }
}
