import ColocateModel

/// The end of a layer's proof: among the groups that a better placement can use, find one or show
/// that there is none.
///
/// Branch and bound over the listed groups. At a node of the tree the linear program over the
/// list, with cuts for triples of experts, gives prices `u` and `σ ≥ 0`; rounded to whole numbers
/// they bound every placement by
///
///     Σ cover ≥ Σ u − Σ σ + P · min rc,   rc(S) = cover(S) − u(S) + Σ_{T: |S ∩ T| ≥ 2} σ_T,
///
/// because a placement has at most one group with two of a triple. Groups whose reduced cost passes
/// what the incumbent leaves are struck off; what stays is searched by exact cover if it is short,
/// and otherwise split by whether two experts share a group (Ryan and Foster 1981).
struct DestinationClosing {
  typealias Column = DestinationPricing.Column

  /// What is known at the end.
  struct Answer {
    /// A placement that covers less than `limit`, if one was found: the best.
    var best: (groups: [Column], cost: Int)?
    /// No placement covers less (nor than `best`), in units of the layer.
    var bound: Int
  }

  private static let cutsPerRound = 25
  private static let mostCuts = 200
  private static let coverColumns = 30_000
  private static let coverSteps = 300_000

  private struct TreeNode {
    var list: [Column]
    var start: [Column]
    var cuts: [UInt64]
    /// In `1 / scale`.
    var bound: Int
  }

  private let layer: DestinationLayer
  private let control: SearchControl
  private var best: (groups: [Column], cost: Int)?
  /// Placements that cover this much are of no interest.
  private var costLimit: Int

  /// - Parameters:
  ///   - costLimit: what the incumbent covers.
  init(_ layer: DestinationLayer, costLimit: Int, control: SearchControl) {
    self.layer = layer
    self.costLimit = costLimit
    self.control = control
  }

  /// - Parameters:
  ///   - list: every group that a placement better than `costLimit` can use.
  ///   - start: groups to begin the linear program with.
  ///   - bound: what is known, in `1 / scale`.
  mutating func run(
    _ list: [Column], start: [Column], bound: Int, treeNodeLimit: Int
  ) -> Answer {
    var open = [TreeNode(list: list, start: start, cuts: [], bound: bound)]
    var nodes = 0
    while let node = open.popLast() {
      if node.bound > target { continue }
      nodes += 1
      if control.isOver || nodes > treeNodeLimit {
        open.append(node)
        break
      }
      let children = process(node)
      if control.isOver, !children.isEmpty {
        open += children
        break
      }
      open += children
    }
    let scale = DestinationPricing.scale
    let least = open.filter { $0.bound <= target }.map(\.bound).min()
    // Whole tokens: the next one up.
    return Answer(best: best, bound: least.map { ($0 + scale - 1) / scale } ?? costLimit)
  }

  /// The largest scaled value that would still be better by one.
  private var target: Int { (costLimit - 1) * DestinationPricing.scale }

  /// What a round of the linear program proves.
  private struct Priced {
    /// `[list]`, at least 0.
    var reduced: [Int]
    /// In `1 / scale`.
    var bound: Int
  }

  /// Bounds a node, closes it, or splits it.
  private mutating func process(_ node: TreeNode) -> [TreeNode] {
    var list = node.list
    let program = ColumnProgram(layer, control: control)
    var present = Set<UInt64>()
    for column in node.start where present.insert(column.mask).inserted { program.add(column) }
    for cut in node.cuts { program.add(cut: cut) }
    var bound = node.bound
    var last = Int.min
    while true {
      let priced = sift(program, list, present: &present)
      bound = max(bound, priced.bound)
      takeSolution(program)
      guard bound <= target, !control.isOver else { break }
      let budget = target - priced.bound
      var kept = [ColumnCover.Priced]()
      for (index, column) in list.enumerated() where priced.reduced[index] <= budget {
        kept.append((column, priced.reduced[index]))
      }
      list = kept.map(\.column)
      if list.count <= Self.coverColumns, closes(kept, budget: budget) { return [] }
      // Cuts as long as they bring the bound on.
      let isStuck = last != .min && (bound - last) * 50 < target - bound
      last = bound
      if isStuck || program.cuts.count >= Self.mostCuts || !cut(program) { break }
    }
    guard bound <= target else { return [] }
    let start = program.solution.map(\.column)
    return split(list, program.solution, start: start, cuts: program.cuts, bound: bound)
  }

  /// Solves the program over the whole list, taking in the groups that it lacks.
  private func sift(
    _ program: ColumnProgram, _ list: [Column], present: inout Set<UInt64>
  ) -> Priced {
    var best = Priced(reduced: [], bound: .min)
    while true {
      program.solve()
      let priced = price(program, list)
      if priced.bound > best.bound || best.reduced.isEmpty { best = priced.result }
      guard priced.least < -1, !control.isOver else { return best }
      let chosen = list.indices.filter { priced.raw[$0] < 0 }
        .sorted { (priced.raw[$0], $0) < (priced.raw[$1], $1) }
      var added = 0
      for index in chosen where added < 200 {
        guard present.insert(list[index].mask).inserted else { continue }
        program.add(list[index])
        added += 1
      }
      if added == 0 { return best }
    }
  }

  /// Reduced costs of the list under the program's prices, in whole numbers.
  private func price(
    _ program: ColumnProgram, _ list: [Column]
  ) -> (result: Priced, raw: [Int], least: Int, bound: Int) {
    let scale = Double(DestinationPricing.scale)
    // Hundreds of them, times the groups, fit an integer.
    let clip = 0x1p44
    func rounded(_ price: Double) -> Int {
      price.isFinite ? Int(max(-clip, min(clip, price * scale)).rounded()) : 0
    }
    let prices = program.prices.prefix(layer.experts).map(rounded)
    var cuts = [(triple: UInt64, price: Int)]()
    for (k, triple) in program.cuts.enumerated() {
      let price = rounded(-program.prices[layer.experts + k])
      if price > 0 { cuts.append((triple, price)) }
    }
    var least = Int.max
    var raw = [Int]()
    raw.reserveCapacity(list.count)
    for column in list {
      var sum = DestinationPricing.reduced(column, prices: prices)
      for cut in cuts where ColumnProgram.isCut(cut.triple, column.mask) { sum += cut.price }
      raw.append(sum)
      if sum < least { least = sum }
    }
    guard least < .max else { return (Priced(reduced: [], bound: .max), [], 0, .max) }
    let sum = prices.reduce(0, +) - cuts.reduce(0) { $0 + $1.price }
    let bound = sum + layer.groups * least
    return (Priced(reduced: raw.map { $0 - least }, bound: bound), raw, least, bound)
  }

  /// A solution in whole numbers is a placement.
  private mutating func takeSolution(_ program: ColumnProgram) {
    let chosen = program.solution.filter { $0.value > 0.99 }.map(\.column)
    guard chosen.count == layer.groups else { return }
    offer(chosen, cost: chosen.reduce(0) { $0 + $1.cost })
  }

  private mutating func offer(_ chosen: [Column], cost: Int) {
    guard cost < costLimit, chosen.reduce(0, { $0 | $1.mask }).nonzeroBitCount == layer.experts
    else {
      return
    }
    best = (chosen, cost)
    costLimit = cost
  }

  /// - Returns: whether everything within the budget was looked at.
  private mutating func closes(_ list: [ColumnCover.Priced], budget: Int) -> Bool {
    var cover = ColumnCover(
      experts: layer.experts, size: layer.size, costLimit: costLimit, steps: Self.coverSteps,
      control: control)
    let isWhole = cover.run(list, budget: budget)
    if let found = cover.best { offer(found.groups, cost: found.cost) }
    return isWhole
  }

  /// Adds the most violated cuts.
  /// - Returns: whether there were any.
  private func cut(_ program: ColumnProgram) -> Bool {
    let solution = program.solution
    let known = Set(program.cuts)
    var found = [(triple: UInt64, sum: Double)]()
    for a in 2..<max(2, layer.experts) {
      for b in 1..<a {
        for c in 0..<b {
          let triple = (1 << UInt64(a)) | (1 << UInt64(b)) | (1 << UInt64(c)) as UInt64
          var sum = 0.0
          for (column, value) in solution where ColumnProgram.isCut(triple, column.mask) {
            sum += value
          }
          if sum > 1.02, !known.contains(triple) { found.append((triple, sum)) }
        }
      }
    }
    found.sort { ($1.sum, $0.triple) < ($0.sum, $1.triple) }
    for entry in found.prefix(Self.cutsPerRound) { program.add(cut: entry.triple) }
    return !found.isEmpty
  }

  /// Two nodes: a pair of experts together, and apart. The pair whose share of being together is
  /// nearest to a half.
  private func split(
    _ list: [Column], _ solution: [(column: Column, value: Double)], start: [Column],
    cuts: [UInt64], bound: Int
  ) -> [TreeNode] {
    var (pair, distance) = (UInt64(0), 2.0)
    for a in 1..<max(1, layer.experts) {
      for b in 0..<a {
        let mask = (1 << UInt64(a)) | (1 << UInt64(b)) as UInt64
        var share = 0.0
        for (column, value) in solution where column.mask & mask == mask { share += value }
        let far = abs(share - 0.5)
        // Both children must lose groups.
        if far < distance - 1e-9, list.contains(where: { $0.mask & mask == mask }),
          list.contains(where: { ($0.mask & mask).nonzeroBitCount == 1 })
        {
          (pair, distance) = (mask, far)
        }
      }
    }
    func child(_ isIn: (Column) -> Bool) -> TreeNode {
      TreeNode(list: list.filter(isIn), start: start.filter(isIn), cuts: cuts, bound: bound)
    }
    // Without such a pair there is one placement at most, and exact cover closes the node.
    guard pair != 0 else {
      return [TreeNode(list: list, start: start, cuts: cuts, bound: bound)]
    }
    let apart = child { $0.mask & pair != pair }
    let together = child { $0.mask & pair == pair || $0.mask & pair == 0 }
    return [apart, together]
  }
}
