import ColocateModel

/// Finds good placements of one layer: pairs first, then annealing on λ, then descent.
///
/// The pairs of a token's experts are the quadratic shadow of λ: `Σ_t w (|t| − λ(t))` is at most
/// the number of pairs that share a group, with equality where no set has three in one. Swaps
/// under pairs cost O(1) to try and O(E) to make, however many tokens there are, so a start that is
/// good for pairs is cheap, and annealing on λ itself goes on from there at a lower temperature.
/// A load cap is a penalty on the tokens beyond it; only placements without any are kept.
package struct DestinationSearch {
  /// How much to do for one layer.
  package struct Effort: Sendable {
    /// Starts, each from another point.
    package var starts = 4
    /// Proposals of annealing on pairs, per expert and start.
    package var pairTrialsPerExpert = 10_000
    /// Proposals of annealing on λ, per expert and start.
    package var trialsPerExpert = 1_500
    package init() {}
  }

  private let layer: DestinationLayer
  private let control: SearchControl
  private var random: SeededGenerator
  /// The best placement within the cap, with its value; nil before there is one.
  package private(set) var best: (groupOf: [Int], value: Int)?
  /// Every local optimum that was met, within the cap or not.
  package private(set) var optima: [[Int]] = []
  /// Tokens beyond the cap weigh this much each, in units of value.
  private var penalty = 0.0

  package init(_ layer: DestinationLayer, seed: UInt64, control: SearchControl) {
    self.layer = layer
    self.control = control
    random = SeededGenerator(seed: seed)
  }

  /// Offers a placement, one that is known or that another method found.
  package mutating func offer(_ groupOf: [Int]) {
    guard layer.isFeasible(groupOf) else { return }
    let value = layer.value(groupOf)
    if value < best?.value ?? .max { best = (groupOf, value) }
  }

  /// Runs all starts. Spends about one unit of work for each proposal.
  package mutating func run(_ effort: Effort) {
    guard layer.groups > 1, layer.size < layer.experts else {
      offer([Int](repeating: 0, count: layer.experts))
      return
    }
    let trials = trials(effort)
    penalty = 4 * Double(max(1, layer.total)) / Double(max(1, layer.loads.reduce(0, +)))
    let pairs = DestinationPairs(layer)
    for start in 0..<effort.starts {
      guard !control.isOver else { return }
      var groupOf: [Int]
      if start == 1, let best {
        groupOf = best.groupOf
      } else if start % 4 == 3 {
        groupOf = shuffled()
      } else {
        groupOf = pairs.anneal(
          from: shuffled(), trials: effort.pairTrialsPerExpert * layer.experts, penalty: penalty,
          random: &random, control: control)
      }
      improve(&groupOf, trials: trials, isHot: start % 4 == 3)
    }
  }

  /// Steps that a swap takes, about.
  private var swapSteps: Int {
    2 * layer.members.count / layer.experts * max(1, layer.largestSet)
  }

  /// Proposals on λ in one start: fewer where swaps are dear, since one in ten or so is made.
  private func trials(_ effort: Effort) -> Int {
    min(effort.trialsPerExpert * layer.experts, max(20_000, 8_000_000_000 / max(1, swapSteps)))
  }

  private mutating func shuffled() -> [Int] {
    var groupOf = (0..<layer.experts).map { $0 / layer.size }
    groupOf.shuffle(using: &random)
    return groupOf
  }

  /// Anneals and descends from `groupOf`.
  package mutating func improve(_ groupOf: inout [Int], trials: Int, isHot: Bool = false) {
    guard layer.groups > 1 else { return }
    let gains = SwapGains(layer, groupOf)
    anneal(gains, trials: trials, isHot: isHot)
    descend(gains)
    keep(gains)
    optima.append(gains.groupOf)
    groupOf = gains.groupOf
  }

  private mutating func keep(_ gains: SwapGains) {
    if gains.excess == 0, gains.value < best?.value ?? .max {
      best = (gains.groupOf, gains.value)
    }
  }

  private mutating func anneal(_ gains: SwapGains, trials: Int, isHot: Bool) {
    guard trials > 0 else { return }
    // A temperature in units of what an expert costs on average.
    let mean = Double(gains.value) / Double(layer.experts)
    var temperature = mean * (isHot ? 0.25 : 0.05)
    let coldest = mean * 0.0005
    let step = 256
    let rounds = max(1, trials / step)
    guard temperature > 0 else { return }
    let factor = Elementary.exp(Elementary.log(coldest / temperature) / Double(rounds))
    for _ in 0..<rounds {
      if control.isOver { return }
      var swaps = 0
      for _ in 0..<step {
        let e = random.next(below: layer.experts)
        let f = random.next(below: layer.experts)
        guard gains.groupOf[e] != gains.groupOf[f] else { continue }
        let change = gains.change(e, f)
        var cost = Double(change)
        if layer.cap != nil { cost += penalty * Double(gains.excessChange(e, f)) }
        if cost <= 0 || Elementary.exp(-cost / temperature) > random.nextUnit() {
          gains.swap(e, f)
          swaps += 1
          if gains.value < best?.value ?? .max { keep(gains) }
        }
      }
      control.spend(step + swaps * swapSteps / 32)
      temperature *= factor
    }
  }

  /// Makes the best swap until none helps: first tokens beyond the cap, then the value.
  package mutating func descend(_ gains: SwapGains) {
    while !control.isOver {
      control.spend(layer.experts * layer.experts / 8)
      var bestSwap: (excess: Int, change: Int, e: Int, f: Int) = (0, 0, 0, 0)
      for e in 1..<layer.experts {
        for f in 0..<e where gains.groupOf[e] != gains.groupOf[f] {
          let change = gains.change(e, f)
          let excess = gains.excessChange(e, f)
          if (excess, change) < (bestSwap.excess, bestSwap.change) {
            bestSwap = (excess, change, e, f)
          }
        }
      }
      guard bestSwap.e != bestSwap.f else { return }
      gains.swap(bestSwap.e, bestSwap.f)
    }
  }
}
