import ColocateModel
import Synchronization

/// Layered search with Russian dolls: exact dynamic programming over partitions, inside a budget of
/// loss.
///
/// **Losses.** Take the potentials f, λ of an evaluation. On a path S_0 … S_{L-1} the slacks of the
/// arcs, `f(T) − own(T) − w(S,T) − f(S) ≥ 0`, telescope to `f(S_{L-1}) − length`, and
/// `pen(S_{L-1}) = λ − f(S_{L-1})`, so `λ − length` is the sum of the slacks and the last penalty.
/// By the equation of `PathRelaxation` a placement, with π_l the partition of layer l, therefore
/// loses
///
///     B − kept = Σ_l cut(π_l) + Σ slacks of its arcs + Σ_{S∈π_{L-1}} pen(S),
///     cut(π) = Σ_O v_O·(⌊|O|/2⌋ − Σ_{S∈π} ⌊|S∩O|/2⌋)
///
/// all terms whole numbers of ticks and not negative. It beats the incumbent if it loses at most
/// `G = B − incumbent − 1` (in tokens).
///
/// **Search.** The states of layer l are unlabelled partitions; the loss g of a state is the least
/// that the layers up to it can have lost, `cut(π_l)` included. A layer is made from the one before
/// by matching the groups of each state to disjoint subsets along arcs. Under a limit D a state is
/// kept if what is still to come leaves it a chance, by three bounds on that:
///
/// * a path that has lost s in slacks on its way to S is at most `f(S) − s + b(S)` long, so it
///   loses `s + pen(S)` or more: a state is left out where `g + Σ_S pen(S)` is over D;
/// * any completion loses at least `doll_l` from layer l on, `cut(π_l)` included: the same with
///   what g was before `cut(π_l)`, plus `doll_l`;
/// * from each group one arc goes on, and from layer l + 1 on at least `doll_{l+1}` is lost: the
///   same with g, plus the least slacks of the groups' arcs, plus `doll_{l+1}`. (That a state is
///   bad is mostly seen in its next step. Where all partitions of a layer are within the limit by
///   their penalties, this bound leaves few of them to start with.)
///
/// **Dolls.** Those values come from the same search on suffixes, last layer first (Verfaillie,
/// Lemaître, Schiex: Russian doll search, AAAI 1996). For k = L−1 … 0 every partition of layer k
/// starts with g = cut(π_k). If the search under D reaches the last layer, the
/// least loss there is doll_k. If it does not, every completion loses more than D, so
/// `doll_k ≥ D + 1`, and D is raised step by step from doll_{k+1} ≤ doll_k until it is. Once
/// doll_k > G, no placement is better than the incumbent, because what a placement loses from k on
/// is at least doll_k, and the terms before are not negative. Otherwise doll_0 is found, and
/// `B − doll_0` is the optimum, with a placement from the back-pointers. Without the dolls a prefix
/// may spend the whole of G, and long chains stay open; with them G is spread over the chain as it
/// must be.
///
/// **Cuts** change the search in one place only: their loss belongs to a whole partition, not to a
/// path, so it is a constant of the layer minus a sum over the groups, added when a state is
/// complete.
///
/// **Limits.** Arcs, penalties and the losses of states have 32 bits, since the tables of states
/// are what fills the memory. A search starts only if the budget is below 2²⁹ ticks, 8.4 million
/// tokens, and all prices of cuts together below 2³¹; then no sum leaves its type: what is stored
/// is at most a budget, or a loss on cuts. Beyond that, and where a list grows over its limit, it
/// answers `overflow`, and the search tree takes over, whose nodes have smaller gaps.
package final class RussianDolls {
  /// How a search ended.
  package enum Result: Sendable {
    /// No placement keeps more than the incumbent.
    case proved
    /// The best placement, better than the incumbent: what it keeps and its labels.
    case optimum(kept: Int, labels: [Int])
    /// A list grew over its limit, or the budget is too large for its numbers.
    case overflow
    /// Time or work is over, or somebody cancelled.
    case stopped
  }

  /// What a search may cost.
  package struct Limits: Sendable {
    /// States of one layer.
    package var states = 4_000_000
    /// Arcs in all boundaries together.
    package var arcs = 60_000_000
    /// Bytes of all layers' states together, in the sweep that keeps them all for its
    /// back-pointers.
    package var bytes = 3 << 30
    package init() {}
  }

  /// Work of expanding one state, in the units of `SearchControl.spend`.
  static let workPerState = 20
  /// Ticks below which a budget must be, so that sums of a few stay within 32 bits.
  private static let mostBudget = 1 << 29
  /// What a sweep may cost, in steps of `StateExpansion`, and count as nothing.
  private static let cheap = 10_000

  package let evaluation: PathEvaluation
  let limits: Limits
  let control: SearchControl
  let incumbent: () -> Int
  let layers: Int
  let groups: Int
  let threads: Int
  /// Of each boundary.
  private(set) var arcs: [PathArcs] = []
  /// Of each layer.
  private(set) var costs: [VertexCosts] = []
  /// doll_l in ticks; `[L + 1]`, with 0 at the end.
  package private(set) var dolls: [Int]
  /// Layers whose doll is known: `reached ..< L`.
  package private(set) var reached: Int
  /// States expanded so far.
  var expanded = 0
  /// The least by which the limit of a sweep is raised at first, in ticks.
  private var leastStep = 1
  /// How fast the cost of a sweep grows with its limit: the logarithm's derivative by ticks. 0
  /// while it is not known.
  private var rate = 0.0

  private let known: KnownSolution?
  private let faults: PathFaults
  /// What the known solution loses from each layer on, the least that the dolls can be.
  private lazy var knownLosses = known?.losses(in: evaluation)

  /// What the subsets of a layer cost a partition, in ticks, `[n_l]`.
  struct VertexCosts: Sendable {
    /// pen(S); `Int32.max` beyond the budget.
    let penalties: SharedBuffer<Int32>
    /// `Σ_O ⌊|S∩O|/2⌋·v_O`.
    let cutWeights: SharedBuffer<Int32>
    /// `Σ_O ⌊|O|/2⌋·v_O`.
    let cutTotal: Int
  }

  /// - Parameters:
  ///   - known: watched by every doll; nil where some of its groups are not among the vertices.
  ///   - faults: what a test has put in.
  package init(
    _ evaluation: PathEvaluation, limits: Limits = Limits(), incumbent: @escaping () -> Int,
    control: SearchControl, known: KnownSolution? = nil, faults: PathFaults = PathFaults()
  ) {
    self.evaluation = evaluation
    self.limits = limits
    self.incumbent = incumbent
    self.control = control
    self.known = known
    self.faults = faults
    layers = evaluation.layers.count
    groups = evaluation.groups
    threads = evaluation.threads
    dolls = [Int](repeating: 0, count: layers + 1)
    reached = layers
  }

  /// What the budget is at present, in ticks.
  private var budget: Int { Int(evaluation.budget(incumbent: incumbent())) }

  /// The bound on the kept weight that the dolls found so far prove: `B − doll`, in tokens, rounded
  /// down.
  package var bound: Int {
    let loss = Double(dolls[min(reached, layers)])
    return Int(((evaluation.boundInTicks - loss) / Double(PathSubsets.ticks)).rounded(.down))
  }

  /// Runs the search. `progress` is called after every doll.
  package func run(progress: (RussianDolls) -> Void = { _ in }) -> Result {
    guard budget >= 0 else { return .proved }
    guard evaluation.experts <= 64, groups >= 2 else { return .overflow }
    guard budget < Self.mostBudget, prepare(budget: budget) else {
      return control.shouldStop ? .stopped : .overflow
    }
    // A weak or missing incumbent must not make the steps large: then at most 1 % of B is taken for
    // the gap.
    let gap = min(budget, Int(evaluation.boundInTicks * 0.01))
    leastStep = max(1, gap / (64 * layers))
    for k in stride(from: layers - 1, through: 0, by: -1) {
      if let result = findDoll(k) { return result }
      progress(self)
    }
    return .proved
  }

  /// Finds doll_k, raising the limit from doll_{k+1} step by step.
  ///
  /// What a sweep costs grows exponentially with its limit, so one far above the doll is much
  /// dearer than several below it. The first limit is the last doll, because a layer often adds
  /// nothing. From there the steps double while sweeps cost little, and then are such that each
  /// should cost e times the one before: of all constant factors that one comes to the least, where
  /// nothing is known of the doll.
  /// - Returns: nil where it is found and more are to come.
  private func findDoll(_ k: Int) -> Result? {
    var step = leastStep
    if k + 2 <= layers { step = max(step, (dolls[k + 1] - dolls[k + 2]) / 8) }
    var limit = dolls[k + 1]
    var costBefore = 0
    dolls[k] = dolls[k + 1]
    while true {
      let budget = self.budget
      if dolls[k] > budget { return .proved }
      limit = min(limit, budget)
      let sweep = self.sweep(from: k, limit: limit)
      switch sweep.end {
      case .stopped: return .stopped
      case .overflow: return .overflow
      case .failed:
        // Every completion from k loses more than the limit.
        dolls[k] = limit + 1
        watch(k)
        if limit >= budget { return .proved }
        step = nextStep(after: step, cost: sweep.cost, before: costBefore)
        costBefore = sweep.cost.steps
        limit += step
      case .reached(let loss, let last):
        dolls[k] = loss
        if faults.raisedDoll == k { dolls[k] += PathFaults.raise }
        reached = k
        watch(k)
        guard k == 0 else { return nil }
        let kept = (Int(evaluation.boundInTicks) - loss) / PathSubsets.ticks
        return .optimum(kept: kept, labels: labels(tables: sweep.tables, last: last))
      }
    }
  }

  /// How far to raise a limit next, whose last rise by `step` took the cost from `before` to
  /// `cost.steps`. With that cost b, with a for listing the starts and r for the rate, the next
  /// sweep costs e·(a + b) in all if the limit is raised by ln(e + (e - 1)·a/b) / r.
  private func nextStep(after step: Int, cost: Sweep.Cost, before: Int) -> Int {
    if before > Self.cheap / 16, cost.steps > before {
      rate = Elementary.log(Double(cost.steps) / Double(before)) / Double(step)
    }
    guard cost.steps > Self.cheap, rate > 0 else { return 2 * step }
    let e = Elementary.exp(1)
    let wanted = Elementary.log(e + (e - 1) * Double(cost.starts) / Double(cost.steps)) / rate
    return max(1, Int(min(wanted, 2 * Double(step))))
  }

  /// Holds the known solution against the doll of layer k.
  private func watch(_ k: Int) {
    guard let known, let losses = knownLosses, losses[k] < dolls[k] else { return }
    known.lost(to: "the doll of layer \(k)", incumbent: incumbent())
  }

  /// Lists the costs of vertices and the arcs that the budget allows. Answers false where there are
  /// too many, or the prices of cuts are too large.
  private func prepare(budget: Int) -> Bool {
    let evaluation = self.evaluation
    let cuts = evaluation.prices.cuts.filter { $0.price > 0 }
    guard cuts.reduce(0, { $0 + $1.most * $1.price }) < Int(Int32.max) else { return false }
    costs = evaluation.layers.enumerated().map { l, subsets in
      let own = cuts.filter { $0.layer == l }
      let numbers = 0..<subsets.count
      return VertexCosts(
        penalties: SharedBuffer(
          numbers.map {
            let penalty = evaluation.penalty(l, $0)
            return penalty > Double(budget) ? .max : Int32(penalty)
          }, filler: 0),
        cutWeights: SharedBuffer(
          numbers.map { s in
            Int32(own.reduce(0) { $0 + $1.count(subsets.masks[s]) * $1.price })
          }, filler: 0),
        cutTotal: own.reduce(0) { $0 + $1.most * $1.price })
    }
    let perBoundary = limits.arcs / max(1, layers - 1)
    let built = concurrentMap(layers - 1, threads: threads) { l in
      PathArcs(evaluation, boundary: l, cut: budget, limit: perBoundary)
    }
    arcs = built.compactMap { $0 }
    return arcs.count == layers - 1
  }
}
