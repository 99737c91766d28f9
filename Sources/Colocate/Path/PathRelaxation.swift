import ColocateModel

/// The path relaxation: a rigorous upper bound on the kept weight, tight where groups are small.
///
/// **Idea.** What a GPU holds is a path S_0 → S_1 → … → S_{L-1} of c-subsets, one of each layer,
/// with arc weights `w_l(S,T) = Σ_{i∈S, j∈T} W_l[i,j]` and vertex weights V(S) for co-activation. A
/// placement is P such paths that together hold every expert of every layer exactly once. Drop that
/// condition, and pay a price `u_{l,e}` for every expert held instead:
///
///     kept ≤ B(u) = Σ u + P·λ(u)
///     λ(u) = the longest path under  w_l(S,T) + V(S) − Σ_{e∈S} u_{l,e}
///
/// **Proof.** The P paths of a placement hold every expert once, so their lengths under those
/// weights add up to `kept − Σ u`. Each is at most λ. Hence `kept − Σ u ≤ P·λ`. Nothing was asked
/// of u: every price vector gives a bound. With subset-row cuts (`PathCut`) at prices v ≥ 0 the
/// lengths add up to `kept − Σ u − Σ_O v·Σ_S ⌊|S∩O|/2⌋`, and since the inner sum is at most ⌊|O|/2⌋
/// the same holds with `Σ_O ⌊|O|/2⌋·v` added to B.
///
/// Labels of groups never appear, so there is no symmetry to break; a load cap only removes
/// subsets. Prices are whole multiples of a tick (1/64 token) and weights are integers, so B is
/// evaluated exactly (`PathEvaluation`): no tolerance is needed anywhere.
///
/// **What a placement loses.** The same proof as an equation:
/// `B − kept = Σ_paths (λ − length) + Σ_O v·(⌊|O|/2⌋ − Σ_S ⌊|S∩O|/2⌋)`, no term negative. A subset
/// that alone costs more than `B − incumbent − 1` is in no better placement and is deleted
/// (`PathEvaluation.deleting`). After that B bounds the placements that are *better than the
/// incumbent*, which is what a search needs; the larger of the two is a bound on all of them.
///
/// This class keeps the account: the vertices that are left, the best bound, and the prices that
/// prove it. The prices come from a smoothed dual (`PathSmoothing`, `PathOptimiser`).
package final class PathRelaxation {
  package let model: PathModel
  package private(set) var vertices: PathVertices
  /// The best bound so far in tokens (rounded down) on placements better than the incumbent, and
  /// its prices; `Int.min` where some layer has no subset left.
  package private(set) var bound = Int.max
  package private(set) var boundPrices: PathPrices
  /// The μ, in tokens, of the stage that optimising was in last.
  package internal(set) var deepestMu: Double?
  /// A known solution with all its groups among the subsets, held against prices and deletions.
  package var known: KnownSolution?
  /// What a test has put in.
  package var faults = PathFaults()
  let threads: Int

  package var problem: GroupingProblem { model.problem }
  package var layers: [PathSubsets] { vertices.layers }
  /// Whether some layer has no subset left: nothing better than the incumbent exists.
  package var isEmpty: Bool { vertices.isEmpty }
  package var experts: Int { model.experts }
  package var groups: Int { model.groups }

  /// All subsets of all layers.
  /// - Returns: nil where a layer has more than `subsetLimit` subsets, or where the counts are too
  ///   large for exact evaluation.
  package convenience init?(
    problem: GroupingProblem, subsetLimit: Int = 65_535, threads: Int = 1,
    control: SearchControl? = nil
  ) {
    guard let model = PathModel(problem: problem, control: control) else { return nil }
    var layers = [PathSubsets]()
    for l in 0..<problem.layers {
      guard
        let subsets = PathSubsets.list(
          problem: problem, layer: l, limit: subsetLimit, control: control)
      else { return nil }
      layers.append(subsets)
    }
    self.init(model: model, layers: layers, threads: threads)
  }

  /// The given subsets and no others: a tree node, or a restricted master.
  /// - Parameters:
  ///   - prices: those of the bound until there is a better one.
  ///   - known: watched if all its groups are among the subsets.
  init(
    model: PathModel, layers: [PathSubsets], threads: Int, prices: PathPrices? = nil,
    known: KnownSolution? = nil, faults: PathFaults = PathFaults()
  ) {
    self.model = model
    self.threads = threads
    self.faults = faults
    vertices = PathVertices(layers: layers)
    let free = [Int](repeating: 0, count: model.problem.layers * model.experts)
    boundPrices = prices ?? PathPrices(experts: free)
    if vertices.isEmpty { bound = .min }
    if let known, contains(known.labels) { self.known = known }
  }

  /// Evaluates B exactly, without cuts; `experts` are prices in ticks, `[L, E]`.
  @discardableResult
  package func evaluate(experts: [Int]) -> PathEvaluation? {
    evaluate(PathPrices(experts: experts))
  }

  /// Evaluates B exactly over the vertices that are left, at the prices or at what
  /// `PathPrices.fitting` makes of them. O(Σ n_l · n_{l+1}).
  /// - Returns: nil where the control stopped it, or where no vertices are left; the bound is then
  ///   what it was before.
  @discardableResult
  package func evaluate(_ prices: PathPrices) -> PathEvaluation? {
    precondition(prices.experts.count == problem.layers * experts, "one price for every expert")
    precondition(prices.cuts.isEmpty || experts <= 64, "cuts are counted with sets of 64")
    guard !isEmpty else { return nil }
    let room = PathPrices.room(weight: problem.total, groups: groups)
    guard
      let evaluation = PathEvaluation(
        model: model, vertices: vertices, prices: prices.fitting(room: room), threads: threads)
    else { return nil }
    if let known, evaluation.bound < known.kept {
      known.lost(to: "the path bound \(evaluation.bound) at some prices")
    }
    if evaluation.bound < bound {
      bound = evaluation.bound
      boundPrices = evaluation.prices
    }
    return evaluation
  }

  /// Goes on with the vertices of `evaluation` that a placement better than `incumbent` may
  /// contain.
  /// - Returns: whether any went. The evaluation still describes the vertices with them: what is to
  ///   be made of those that are left needs another one.
  @discardableResult
  package func delete(using evaluation: PathEvaluation, incumbent: Int) -> Bool {
    guard let left = evaluation.deleting(incumbent: incumbent, faults: faults) else { return false }
    vertices = left
    if isEmpty { bound = .min }
    if let known, !contains(known.labels) {
      known.lost(to: "a deletion of the path relaxation", incumbent: incumbent)
      self.known = nil
    }
    return true
  }

  /// Whether all groups of a placement, `[L, E]`, are among the subsets.
  package func contains(_ labels: [Int]) -> Bool {
    vertices.places(of: Labels(labels, experts: experts), groups: groups) != nil
  }
}
