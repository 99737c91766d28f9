import ColocateModel

/// The best plan within a number of moves of the current one: a search, and a bound.
///
/// A move is an expert that is not on its present GPU. Experts change places in pairs, so the
/// search walks by swaps; each changes the number of moves by −2 … +2, which the two experts'
/// present GPUs tell at once. What the limit forbids is never entered.
///
/// Two starts: the present plan, which is within any limit, and the plan wanted, led back. Of the
/// wanted plan the swaps that bring experts home are undone in the order of what they cost for each
/// move saved, until it is within the limit. There is always such a swap: an expert that is away
/// from home leaves a place there that some other expert, away as well, has taken. Then both are
/// annealed, descended and annealed again, from the best that is known and from the start.
///
/// **Bound.** Whatever plan is within `M` moves, pairs of experts of which neither moved are as far
/// apart as before. So value is won only at pairs with a moved expert, and at each no more than
/// `w · (s_max − s)` is open, with `s` what the pair saves now. With `open(e)` the sum over the
/// pairs of expert `e`,
///
///     value(plan) ≤ value(current) + Σ of the M largest open(e).
///
/// Pairs of two moved experts are counted twice, which only loosens it.
package struct LimitedMoves: Sendable {
  package let problem: GroupingProblem
  package let saved: SavedWeights
  /// `[L, E]`, the present GPUs.
  package let home: [Int]
  /// `M`.
  package let limit: Int
  package let seed: UInt64
  package let control: SearchControl

  /// Rounds without anything better after which the search ends.
  private static let patience = 8

  package init(
    problem: GroupingProblem, saved: SavedWeights, home: [Int], limit: Int, seed: UInt64,
    control: SearchControl
  ) {
    self.problem = problem
    self.saved = saved
    self.home = home
    self.limit = limit
    self.seed = seed
    self.control = control
  }

  /// The most that a plan within the limit can be worth more than the present one.
  package var mostGain: Int {
    let (layers, experts) = (problem.layers, problem.experts)
    let labels = Labels(home, experts: experts)
    let most = saved.group + saved.node
    var open = [Int](repeating: 0, count: layers * experts)
    func add(_ weight: Int, _ a: (l: Int, e: Int), _ b: (l: Int, e: Int)) {
      let part = weight * (most - saved.saved(labels[a.l, a.e], labels[b.l, b.e]))
      open[a.l * experts + a.e] += part
      open[b.l * experts + b.e] += part
    }
    for l in 0..<layers {
      for i in 0..<experts {
        if l < layers - 1 {
          for j in 0..<experts { add(problem.weight(l, i, j), (l, i), (l + 1, j)) }
        }
        guard !problem.coactivation.isEmpty else { continue }
        for j in 0..<i { add(problem.coactivation(l, i, j), (l, i), (l, j)) }
      }
    }
    return open.sorted(by: >).prefix(max(0, limit)).reduce(0, +)
  }

  /// The best plan found within the limit and the caps; nil where none was found.
  /// - Parameter starts: plans to lead back, `[L, E]` each, within the caps.
  package func best(from starts: [[Int]]) -> [Int]? {
    SearchModel<Int32>.fits(problem, saved)
      ? search(Int32.self, starts) : search(Int64.self, starts)
  }

  private func search<Gain>(_: Gain.Type, _ starts: [[Int]]) -> [Int]?
  where Gain: FixedWidthInteger & SignedInteger & SIMDScalar & Sendable {
    let model = SearchModel<Gain>(problem: problem, saved: saved)
    let walk = LimitedWalk<Gain>(model: model, home: home, limit: limit, control: control)
    var best: (labels: [Int], value: Int, moves: Int)?
    func consider() -> Bool {
      guard walk.moves <= limit else { return false }
      if let best, (walk.table.value, -walk.moves) <= (best.value, -best.moves) { return false }
      best = (walk.table.placement, walk.table.value, walk.moves)
      return true
    }
    for start in [home] + starts where problem.isFeasible(start) {
      walk.load(start)
      walk.leadBack()
      _ = consider()
      walk.descend()
      _ = consider()
    }
    guard let first = best, limit > 1 else { return best?.labels }
    let isHomeFeasible = problem.isFeasible(home)
    var (round, idle) = (0, 0)
    while idle < Self.patience, !control.shouldStop, !control.isWorkOver {
      var random = SeededGenerator.stream(seed: seed, index: round)
      walk.load(round % 2 == 1 && isHomeFeasible ? home : best?.labels ?? first.labels)
      let hot = model.meanEntry * Double(max(1, saved.group)) * [8, 20, 2, 4][round % 4]
      walk.anneal(
        &random, steps: (1 << 16) * (1 + min(round, 30) / 2), hot: hot,
        cold: Tuning.cold * model.meanEntry)
      walk.descend()
      idle = consider() ? 0 : idle + 1
      round += 1
    }
    return best?.labels
  }
}

/// A placement on its way, with the experts that are away from home.
private final class LimitedWalk<
  Gain: FixedWidthInteger & SignedInteger & SIMDScalar & Sendable
> {
  let table: GainTable<Gain>
  private let home: [Int]
  private let limit: Int
  private let control: SearchControl
  private let layers: Int
  private let experts: Int
  /// Experts away from home, as places in `[L, E]`, in no order; and where each stands in it, -1
  /// where it is at home.
  private var away: [Int] = []
  private var indexInAway: [Int]

  var moves: Int { away.count }

  init(model: SearchModel<Gain>, home: [Int], limit: Int, control: SearchControl) {
    (layers, experts) = (model.layers, model.experts)
    table = GainTable(model: model, labels: home)
    (self.home, self.limit, self.control) = (home, limit, control)
    indexInAway = [Int](repeating: -1, count: home.count)
  }

  func load(_ labels: [Int]) {
    table.load(labels)
    away.removeAll()
    for place in labels.indices {
      indexInAway[place] = labels[place] == home[place] ? -1 : away.count
      if labels[place] != home[place] { away.append(place) }
    }
  }

  /// What the swap adds to the number of moves.
  private func change(_ l: Int, _ a: Int, _ b: Int) -> Int {
    let (homeA, homeB) = (home[l * experts + a], home[l * experts + b])
    let (g, h) = (table.label(l, a), table.label(l, b))
    func one(_ isAway: Bool) -> Int { isAway ? 1 : 0 }
    return one(h != homeA) - one(g != homeA) + one(g != homeB) - one(h != homeB)
  }

  private func swap(_ l: Int, _ a: Int, _ b: Int, gain: Gain) {
    table.swap(l, a, b, gain: gain)
    for place in [l * experts + a, l * experts + b] {
      let isAway = table.label(l, place - l * experts) != home[place]
      let index = indexInAway[place]
      guard isAway != (index >= 0) else { continue }
      if isAway {
        indexInAway[place] = away.count
        away.append(place)
      } else if let last = away.popLast(), last != place {
        away[index] = last
        indexInAway[last] = index
        indexInAway[place] = -1
      } else {
        indexInAway[place] = -1
      }
    }
  }

  /// A swap that brings an expert home, and what it costs.
  private struct Return {
    let (layer, a, b): (Int, Int, Int)
    let gain: Int
    let saves: Int

    /// Whether it costs less for each move that it saves.
    func isBetter(than other: Return?) -> Bool {
      guard let other else { return true }
      return gain * other.saves > other.gain * saves
    }
  }

  /// Brings experts home, the cheapest first, until the limit is kept, or the caps forbid it.
  func leadBack() {
    guard moves > limit else { return }
    var cheapest = (0..<layers).map { cheapestReturn($0) }
    while moves > limit, !control.isCancelled {
      var best: Return?
      for candidate in cheapest {
        if let candidate, candidate.isBetter(than: best) { best = candidate }
      }
      guard let best else { return }
      swap(best.layer, best.a, best.b, gain: Gain(best.gain))
      for l in max(0, best.layer - 1)..<min(layers, best.layer + 2) {
        cheapest[l] = cheapestReturn(l)
      }
    }
  }

  private func cheapestReturn(_ l: Int) -> Return? {
    var best: Return?
    for a in 0..<experts {
      let homeA = home[l * experts + a]
      guard table.label(l, a) != homeA else { continue }
      for b in 0..<experts
      where table.label(l, b) == homeA && home[l * experts + b] != homeA {
        let candidate = Return(
          layer: l, a: a, b: b, gain: Int(table.swapGain(l, a, b)), saves: -change(l, a, b))
        if table.swapFits(l, a, b), candidate.isBetter(than: best) { best = candidate }
      }
    }
    return best
  }

  /// Swaps that win value, or moves at no cost, until there is none.
  func descend() {
    var isBetter = moves <= limit
    while isBetter, !control.shouldStop {
      isBetter = false
      for l in 0..<layers {
        for a in 0..<experts where descend(l, a) { isBetter = true }
      }
    }
  }

  private func descend(_ l: Int, _ a: Int) -> Bool {
    var isBetter = false
    for b in 0..<a where table.label(l, a) != table.label(l, b) {
      let gain = table.swapGain(l, a, b)
      guard gain >= 0 else { continue }
      let change = change(l, a, b)
      guard gain > 0 || change < 0, moves + change <= limit, table.swapFits(l, a, b) else {
        continue
      }
      swap(l, a, b, gain: gain)
      isBetter = true
    }
    return isBetter
  }

  /// Metropolis' rule as in `Annealing`, on swaps that keep the limit; a quarter of the proposals
  /// bring an expert home, so that moves come free for others.
  ///
  /// Close to the limit most ways from one good plan to another lead through worse ones, and where
  /// the cooling ends is not where the walk was best: it goes back there.
  func anneal(
    _ random: inout SeededGenerator, steps: Int, hot: Double, cold: Double
  ) {
    guard moves <= limit, table.model.groups > 1 else { return }
    let blocks = max(2, steps / Annealing.block)
    let factor = Elementary.exp(
      Elementary.log(min(cold / hot, 1)) / Double(blocks - 1))
    var temperature = hot
    var best = (value: table.value, labels: table.placement)
    for _ in 0..<blocks {
      if control.shouldStop { break }
      control.spend(Annealing.block)
      for _ in 0..<Annealing.block {
        propose(&random, scale: Float(temperature))
        if table.value > best.value { best = (table.value, table.placement) }
      }
      temperature *= factor
    }
    if best.value > table.value { load(best.labels) }
  }

  private func propose(_ random: inout SeededGenerator, scale: Float) {
    var (l, a, b) = (random.next(below: layers), random.next(below: experts), 0)
    b = random.next(below: experts)
    if !away.isEmpty, random.next(below: 4) == 0 {
      let place = away[random.next(below: away.count)]
      (l, a) = (place / experts, place % experts)
      // The next one from a random place on that sits in its home.
      for _ in 0..<experts where table.label(l, b) != home[place] {
        b = b + 1 == experts ? 0 : b + 1
      }
    }
    guard table.label(l, a) != table.label(l, b) else { return }
    guard moves + change(l, a, b) <= limit, table.swapFits(l, a, b) else { return }
    let gain = table.swapGain(l, a, b)
    if gain < 0 {
      let rank = Int(random.next() &>> 53)
      guard Float(gain) > -scale * Annealing.quantiles[rank] else { return }
    }
    swap(l, a, b, gain: gain)
  }
}
