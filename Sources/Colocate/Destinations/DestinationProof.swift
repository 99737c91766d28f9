import ColocateModel

/// Bounds one layer by prices and, where the sizes allow, proves its optimum.
///
/// Column generation: a linear program over known groups (`ColumnProgram`) gives prices, swaps
/// (`ColumnDescent`) find groups that beat them, from the groups in use and from those shaken,
/// until there are none; then the exact search (`DestinationPricing`) finds what the swaps missed,
/// or the least reduced cost, which makes any prices a bound:
///
///     Σ cover ≥ Σ u + P · min rc.
///
/// What a better placement can use are the groups with `rc(S) − min rc ≤ incumbent − 1 − bound`:
/// the same search lists them, and `DestinationClosing` finds the best placement among them.
/// Before, it looks among the groups that swaps ever ended at, and those a swap away from the best
/// of them: a better incumbent makes the list short.
///
/// For layers that `DestinationPricing` takes.
struct DestinationProof {
  typealias Column = DestinationPricing.Column

  /// How far to go.
  struct Limits: Sendable {
    /// Nodes of one exact pricing search.
    var pricingNodes = 20_000_000
    /// Groups listed for the end of a proof.
    var columns = 3_000_000
    /// A list that is searched at once, and one in which only a better placement is looked for.
    var shortList = 200_000
    var partList = 1_000_000
    /// Nodes of the tree at the end.
    var treeNodes = 5_000
    /// Rounds of column generation.
    var rounds = 400
    /// Groups shaken before the exact search is asked: at most, and of layers with many sets as
    /// many as look at so many sets once.
    var shakes = (most: 1_000, sets: 5_000_000)
    /// Groups among which a better placement is looked for before the list is made, those of them
    /// whose swaps are tried, and nodes of the tree over them.
    var restricted = (columns: 20_000, swapped: 300, treeNodes: 50)
  }

  private let layer: DestinationLayer
  private let control: SearchControl
  private let limits: Limits
  private let program: ColumnProgram
  private let descent: ColumnDescent
  private let pricing: DestinationPricing
  private var known = Set<UInt64>()
  /// Where swaps ended, and whether they have been there.
  private var pool: [Column] = []
  private var seen = Set<UInt64>()
  private var random = SeededGenerator(seed: 1)
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
    program = ColumnProgram(layer, control: control)
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
      if shake(raw) { continue }
      // Dry: ask the exact search.
      restrict(raw)
      if let isDone = listAtOnce(raw) {
        if isDone || control.isOver { return }
        continue
      }
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
      if control.isOver { return false }
      isNew = descend(from: start, prices: prices, judgedBy: judge) || isNew
    }
    return isNew
  }

  /// Swaps from groups in use of which up to half of the experts were exchanged at random.
  /// - Returns: whether a group was found that beats the prices.
  private mutating func shake(_ prices: [Int]) -> Bool {
    let inUse = program.solution.map(\.column.mask)
    let all = ExpertSet.all(layer.experts)
    var isNew = false
    let shakes = min(limits.shakes.most, limits.shakes.sets / max(1, layer.count))
    for _ in 0..<shakes where !inUse.isEmpty {
      if control.isOver { return false }
      var mask = inUse[random.next(below: inUse.count)]
      for _ in 0..<(1 + random.next(below: max(1, layer.size / 2))) {
        let inside = Array(ExpertSet(bits: mask))
        let outside = Array(all.subtracting(ExpertSet(bits: mask)))
        mask ^= 1 << UInt64(inside[random.next(below: inside.count)])
        mask ^= 1 << UInt64(outside[random.next(below: outside.count)])
      }
      let load = ExpertSet(bits: mask).reduce(0) { $0 + layer.loads[$1] }
      guard load <= layer.cap ?? .max else { continue }
      isNew = descend(from: mask, prices: prices, judgedBy: prices) || isNew
    }
    return isNew
  }

  /// - Returns: whether the group at the end of the swaps is new and beats the prices `judge`.
  private mutating func descend(
    from mask: UInt64, prices: [Int], judgedBy judge: [Int]
  ) -> Bool {
    let column = descent.descend(from: mask, prices: prices)
    control.spend(layer.count / 2 + 1)
    if seen.insert(column.mask).inserted { pool.append(column) }
    guard DestinationPricing.reduced(column, prices: judge) < -2 else { return false }
    guard known.insert(column.mask).inserted else { return false }
    program.add(column)
    return true
  }

  /// Looks for a better placement among the groups that swaps ended at and their neighbours.
  private mutating func restrict(_ prices: [Int]) {
    let budget = target - prices.reduce(0, +)
    guard budget >= 0, !control.isOver else { return }
    func sorted(_ columns: [Column]) -> [(reduced: Int, column: Column)] {
      columns.map { (DestinationPricing.reduced($0, prices: prices), $0) }
        .filter { $0.0 <= budget }.sorted { ($0.0, $0.1.mask) < ($1.0, $1.1.mask) }
    }
    var (found, isThere) = ([Column](), Set<UInt64>())
    let starts = program.solution.map(\.column) + pool
    for start in sorted(starts).prefix(limits.restricted.swapped).map(\.column) {
      if isThere.insert(start.mask).inserted { found.append(start) }
      control.spend(layer.count / 2 + 1)
      for column in descent.neighbours(of: start.mask, prices: prices, limit: budget)
      where isThere.insert(column.mask).inserted { found.append(column) }
    }
    improve(among: sorted(found).prefix(limits.restricted.columns).map(\.column))
  }

  /// Looks for a better placement among some groups; what they bound says nothing of others.
  private mutating func improve(among list: [Column]) {
    var closing = DestinationClosing(
      layer, costLimit: value - layer.constant, control: control)
    let end = closing.run(
      list, start: program.solution.map(\.column), bound: .min,
      treeNodeLimit: limits.restricted.treeNodes)
    adopt(end.best)
  }

  private mutating func adopt(_ best: (groups: [Column], cost: Int)?) {
    guard let best else { return }
    for (g, column) in best.groups.enumerated() {
      for e in ExpertSet(bits: column.mask) { groupOf[e] = g }
    }
    value = best.cost + layer.constant
  }

  /// Where little is missing, the list that would end the proof is made at once: it shows as well
  /// whether there are groups below the prices.
  /// - Returns: whether the layer is done, false where groups were found that beat the prices; nil
  ///   where the list is too long.
  private mutating func listAtOnce(_ prices: [Int]) -> Bool? {
    let sum = prices.reduce(0, +)
    let gap = target - sum
    guard gap * 100 <= (value - layer.constant) * DestinationPricing.scale else { return nil }
    // What rounding leaves of the prices' own groups, in all groups of a placement.
    let slack = 3
    let answer = pricing.run(
      prices: prices, limit: max(-1, gap) + slack * layer.groups, keepsAll: true,
      nodeLimit: limits.pricingNodes, columnLimit: limits.columns)
    guard answer.isComplete else { return nil }
    let priced = sum + layer.groups * answer.least
    if priced > pricedBound { (pricedBound, self.prices, isPriced) = (priced, prices, true) }
    raiseBound(toScaled: pricedBound)
    if isProved { return true }
    guard answer.least >= -slack else {
      // Groups that the program has may be below its prices by what it leaves unsolved.
      let before = known.count
      let better = answer.columns.filter { DestinationPricing.reduced($0, prices: prices) < -2 }
      for column in better.prefix(500) {
        take(descent.descend(from: column.mask, prices: prices).mask)
        take(column.mask)
      }
      return known.count > before ? false : nil
    }
    close(answer.columns)
    return true
  }

  /// Lists what a better placement can use and searches it.
  ///
  /// Where that is long, the groups of the smallest reduced costs are searched first: a better
  /// placement of them makes the list short.
  private mutating func close() {
    guard isPriced, !isProved, !control.isOver else { return }
    if let list = list(part: 1, most: limits.shortList) { return close(list) }
    for part in [8, 4, 2] {
      let before = value
      guard let list = list(part: part, most: limits.partList) else { break }
      improve(among: list)
      raiseBound(toScaled: pricedBound)
      if isProved || control.isOver { return }
      if value < before { break }
    }
    if let list = list(part: 1, most: limits.columns) { close(list) }
  }

  /// Every group whose reduced cost is up to a `part`-th of what the incumbent leaves.
  /// - Returns: nil where there are more than `most`, or the time is over.
  private func list(part: Int, most: Int) -> [Column]? {
    let least = (pricedBound - prices.reduce(0, +)) / layer.groups
    let answer = pricing.run(
      prices: prices, limit: least + max(0, target - pricedBound) / part, keepsAll: true,
      nodeLimit: limits.pricingNodes, columnLimit: most)
    return answer.isComplete ? answer.columns : nil
  }

  /// Finds the best placement of all that are better than the incumbent.
  /// - Parameter list: every group that one of them can use.
  private mutating func close(_ list: [Column]) {
    var closing = DestinationClosing(
      layer, costLimit: value - layer.constant, control: control)
    let end = closing.run(
      list, start: program.solution.map(\.column), bound: pricedBound,
      treeNodeLimit: limits.treeNodes)
    adopt(end.best)
    bound = max(bound, min(value, end.bound + layer.constant))
  }
}
