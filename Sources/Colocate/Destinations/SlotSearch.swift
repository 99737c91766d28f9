import ColocateModel

/// Improves the slots of one layer by swaps: annealing, then swaps that help until none does.
///
/// How many copies an expert has stays as it is; which GPUs hold them changes. Two starts: the
/// packing by load, which is as even as EPLB's, and, where the experts alone spread evenly over the
/// GPUs, groups of experts that tokens use together (`DestinationSearch`) with the further copies
/// packed on top. Then the best is warmed up again, hot and less hot, until that has helped for the
/// last time or what a start may take is spent: small layers are searched over and over, large ones
/// once. A load cap is a penalty on mean tokens beyond it; a plan within it goes before
/// any beyond. Nothing is proved: no bound of plans with copies is known here.
struct SlotSearch {
  /// A plan of a layer's slots and what it is worth.
  struct Found: Sendable {
    var slots: [Int]
    var excess: Double
    var value: Double

    func isBetter(than other: Found) -> Bool {
      (excess, value) < (other.excess, other.value)
    }
  }

  let layer: TokenSets.Layer
  let topology: Topology
  let rule: DispatchRule
  let objective: DestinationObjective
  let cap: Double?
  /// Copies of each expert, `[E]`.
  let counts: [Int]
  let control: SearchControl
  private(set) var best: Found
  private var random: SeededGenerator

  /// Trials of annealing in one start, per slot, at most and at least; and steps of one start.
  private static let trialsPerSlot = (most: 500, least: 20)
  private static let stepsPerStart = 60_000_000
  /// Annealings from the best plan that did not improve it, after which there are no more.
  private static let repetitionsInVain = 6

  private var room: Int { counts.reduce(0, +) / topology.gpus }

  /// Starts from the packing by load.
  init(
    _ layer: TokenSets.Layer, topology: Topology, rule: DispatchRule,
    objective: DestinationObjective, cap: Double?, counts: [Int], seed: UInt64,
    control: SearchControl
  ) {
    self.layer = layer
    self.topology = topology
    self.rule = rule
    self.objective = objective
    self.cap = cap
    self.counts = counts
    self.control = control
    random = SeededGenerator(seed: seed)
    let slots = SlotPacking.slots(
      counts: counts, loads: layer.loads,
      held: [[Int]](repeating: [], count: topology.gpus),
      room: counts.reduce(0, +) / topology.gpus)
    best = Found(slots: slots, excess: .infinity, value: .infinity)
  }

  /// Runs all starts.
  mutating func run() {
    let packed = best.slots
    offer(gains(packed))
    guard topology.gpus > 1, !control.isOver else { return }
    improve(packed, warmth: 0.05)
    if !control.isOver, let grouped = grouped() { improve(grouped, warmth: 0.01) }
    again()
  }

  /// Anneals from the best plan again.
  private mutating func again() {
    let gains = gains(best.slots)
    var left = Self.stepsPerStart / max(1, trials(gains) * gains.trialSteps)
    var inVain = 0
    while left > 0, inVain < Self.repetitionsInVain, !control.isOver {
      let before = best
      improve(best.slots, warmth: [0.2, 0.05, 0.01][inVain % 3])
      inVain = best.isBetter(than: before) ? 0 : inVain + 1
      left -= 1
    }
  }

  /// Swaps that one annealing tries.
  private func trials(_ gains: SlotGains) -> Int {
    let count = gains.slots.count
    return min(
      Self.trialsPerSlot.most * count,
      max(Self.trialsPerSlot.least * count, Self.stepsPerStart / gains.trialSteps))
  }

  private func gains(_ slots: [Int]) -> SlotGains {
    SlotGains(
      layer, slots: slots, topology: topology, rule: rule, objective: objective, cap: cap)
  }

  private mutating func offer(_ gains: SlotGains) {
    let found = Found(slots: gains.slots, excess: gains.excess, value: gains.value)
    if found.isBetter(than: best) { best = found }
  }

  /// Experts in groups that keep tokens on few GPUs, and their further copies packed by load.
  private mutating func grouped() -> [Int]? {
    let (experts, gpus) = (counts.count, topology.gpus)
    guard experts % gpus == 0, experts > gpus else { return nil }
    var search = DestinationSearch(
      DestinationLayer(layer, groups: gpus), seed: random.next(), control: control)
    var effort = DestinationSearch.Effort()
    effort.starts = 2
    search.run(effort)
    guard let groupOf = search.best?.groupOf else { return nil }
    let held = (0..<gpus).map { gpu in groupOf.indices.filter { groupOf[$0] == gpu } }
    return SlotPacking.slots(counts: counts, loads: layer.loads, held: held, room: room)
  }

  /// - Parameter warmth: the first temperature, as a part of what a slot costs.
  private mutating func improve(_ slots: [Int], warmth: Double) {
    let gains = gains(slots)
    offer(gains)
    anneal(gains, warmth: warmth)
    descend(gains)
    offer(gains)
  }

  private mutating func anneal(_ gains: SlotGains, warmth: Double) {
    let (count, steps, trials) = (gains.slots.count, gains.trialSteps, trials(gains))
    let mean = gains.value / Double(count)
    var temperature = mean * warmth
    guard temperature > 0 else { return }
    let penalty = 4 * gains.value / Double(max(1, layer.loads.reduce(0, +)))
    let factor = Elementary.exp(Elementary.log(0.0005 / warmth) / Double(trials))
    for _ in 0..<trials {
      temperature *= factor
      let (a, b) = (random.next(below: count), random.next(below: count))
      guard gains.canSwap(a, b) else { continue }
      if control.isOver { return }
      control.spend(1 + steps / 32)
      let change = gains.propose(a, b)
      let cost = change.value + penalty * change.excess
      if cost <= 0 || Elementary.exp(-cost / temperature) > random.nextUnit() {
        gains.accept()
        offer(gains)
      }
    }
  }

  /// Makes swaps that help, slot by slot in a random order, until a whole round has none.
  private mutating func descend(_ gains: SlotGains) {
    let steps = gains.trialSteps
    // What rounding alone could claim to gain.
    let least = 1e-9 * max(1, gains.value)
    var helped = true
    while helped {
      helped = false
      var order = Array(gains.slots.indices)
      order.shuffle(using: &random)
      for (index, a) in order.enumerated() {
        for b in order[..<index] where gains.canSwap(a, b) {
          if control.isOver { return }
          control.spend(1 + steps / 32)
          let change = gains.propose(a, b)
          let isLess = change.excess < -least || change.excess <= least && change.value < -least
          if isLess {
            gains.accept()
            helped = true
          }
        }
      }
    }
  }
}
