import ColocateModel

/// The path relaxation: a rigorous upper bound on the kept weight, tight where groups are small.
///
/// What a GPU holds is a path S_0 → S_1 → … → S_{L-1} of c-subsets with arc weights
/// `w_l(S,T) = Σ_{i∈S, j∈T} W_l[i,j]`; a placement is P paths that cover every (layer, expert)
/// exactly once. Pricing the covering constraints with any `u_{l,e}` gives
///
///     kept ≤ B(u) = Σ u + P·λ(u),     λ(u) = the longest path under  w_l(S,T) + V(S) − Σ_{e∈S} u_{l,e}
///
/// because the P paths of a placement are P paths. Labels never appear, a load cap only removes
/// subsets, co-activation is a weight on them. Prices are whole multiples of a tick (1/64 token),
/// weights are integers, so B(u) is evaluated exactly, in doubles that hold whole numbers below 2⁵³
/// (`PathPrices.fitting`): no tolerance is needed anywhere.
///
/// **Deletion.** A placement loses `B − kept = Σ_paths (λ − length)`. With
/// `pen(S) = λ − (longest path through S) ≥ 0`, a subset with `pen(S) > B − incumbent − 1` is in no
/// better placement and is deleted; after that B bounds the placements that are *better than the
/// incumbent*, which is what a search needs, and `keptBound` is the larger of the two.
///
/// Prices come from a smoothed dual (PathSmoothing.swift, PathOptimisation.swift).
package final class PathRelaxation {
  package let problem: GroupingProblem
  /// The vertices that are left, per layer.
  package private(set) var layers: [PathSubsets]
  /// Whether some layer has no subset left: nothing better than the incumbent exists.
  package private(set) var isEmpty = false

  /// What `forward`, `backward` and `longest` belong to.
  package private(set) var prices: PathPrices
  /// `f_l(S)`: longest path from layer 0 to S, weights of both ends included. `[L][n_l]`, in ticks.
  package private(set) var forward: [Block<Double>]
  /// `b_l(S)`: longest path from S on, without S itself. `[L][n_l]`, in ticks.
  package private(set) var backward: [Block<Double>]
  /// `λ(u)` in ticks.
  package private(set) var longest = 0.0
  /// `B(u)` in ticks.
  package private(set) var boundInTicks = 0.0
  /// The best bound so far in tokens (rounded down) on placements better than the incumbent, and
  /// its prices.
  package private(set) var bound = Int.max
  package private(set) var boundPrices: PathPrices
  /// Price vectors at which subsets were deleted, in order: with them a checker can delete the same
  /// subsets.
  package private(set) var deletions: [PathPrices] = []
  /// The μ, in tokens, of the stage that optimising was in last.
  package internal(set) var deepestMu: Double?
  /// Looked at inside every pass over arcs; nil for never.
  package let control: SearchControl?
  /// Whether the last evaluation was stopped on its way: then the potentials are of no use, and no
  /// bound comes of it.
  package private(set) var isStopped = false
  /// Exact evaluations so far.
  package private(set) var evaluations = 0
  /// A known solution with all its groups among the subsets, held against prices and deletions.
  package var known: KnownSolution?

  /// Row sums of four subsets need `W` by rows for the backward pass and by columns for the forward
  /// pass; both in ticks, `[L-1, E, E]`.
  let weights: Block<Double>
  let transposed: Block<Double>
  let threads: Int

  package var experts: Int { problem.experts }
  /// Subsets of a layer, on average.
  var meanCount: Int { layers.reduce(0) { $0 + $1.count } / layers.count }
  package var groups: Int { problem.groups }

  /// All subsets of all layers.
  /// - Returns: nil where a layer has more than `subsetLimit` subsets, or where the counts are too
  ///   large for exact evaluation.
  package convenience init?(
    problem: GroupingProblem, subsetLimit: Int = 65_535, threads: Int = 1,
    control: SearchControl? = nil
  ) {
    var layers = [PathSubsets]()
    for l in 0..<problem.layers {
      guard
        let subsets = PathSubsets.list(
          problem: problem, layer: l, limit: subsetLimit, control: control)
      else { return nil }
      layers.append(subsets)
    }
    self.init(problem: problem, layers: layers, threads: threads, control: control)
  }

  /// What the nodes of a search tree share with their root. Nothing of it changes any more, so that
  /// workers may read it at the same time.
  package struct Shared: Sendable {
    let problem: GroupingProblem
    let layers: [PathSubsets]
    let prices: PathPrices
    let deepestMu: Double?
    let control: SearchControl?
    let weights: Block<Double>
    let transposed: Block<Double>
    let known: KnownSolution?
  }

  /// As it is now.
  package var shared: Shared {
    Shared(
      problem: problem, layers: layers, prices: prices, deepestMu: deepestMu, control: control,
      weights: weights,
      transposed: transposed, known: known)
  }

  /// A node of a search tree: the problem of `root` with the given subsets, and no others.
  init(root: Shared, layers: [PathSubsets], threads: Int) {
    problem = root.problem
    self.layers = layers
    self.threads = threads
    control = root.control
    weights = root.weights
    transposed = root.transposed
    forward = layers.map { Block($0.count, 0) }
    backward = forward.map { Block($0.count, 0) }
    prices = root.prices
    boundPrices = prices
    isEmpty = layers.contains { $0.count == 0 }
    if isEmpty { bound = .min }
    // Of the two children of a branch one has it.
    if let known = root.known, contains(known.labels) { self.known = known }
  }

  /// The given subsets, and no others.
  package init?(
    problem: GroupingProblem, layers: [PathSubsets], threads: Int, control: SearchControl? = nil
  ) {
    guard problem.total <= PathPrices.mostWeight(groups: problem.groups) else { return nil }
    self.problem = problem
    self.layers = layers
    self.threads = threads
    self.control = control
    let experts = problem.experts
    weights = Block(problem.weights.map { Double($0 * PathSubsets.ticks) }, filler: 0)
    transposed = Block(weights.count, 0)
    for l in 0..<(problem.layers - 1) {
      for i in 0..<experts {
        for j in 0..<experts {
          transposed[(l * experts + j) * experts + i] = weights[(l * experts + i) * experts + j]
        }
      }
    }
    forward = layers.map { Block($0.count, 0) }
    backward = forward.map { Block($0.count, 0) }
    prices = PathPrices(experts: [Int](repeating: 0, count: problem.layers * experts))
    boundPrices = prices
    isEmpty = layers.contains { $0.count == 0 }
    if isEmpty { bound = .min }
  }

  /// Evaluates B exactly, without cuts; `experts` are prices in ticks, `[L, E]`.
  @discardableResult
  package func evaluate(experts: [Int]) -> Bool { evaluate(PathPrices(experts: experts)) }

  /// Evaluates B at `newPrices` exactly. O(Σ n_l · n_{l+1}).
  /// - Returns: false where `control` stopped it: the bound is what it was before.
  @discardableResult
  package func evaluate(_ newPrices: PathPrices) -> Bool {
    precondition(newPrices.experts.count == problem.layers * experts)
    precondition(newPrices.cuts.isEmpty || experts <= 64)
    guard !isEmpty else { return true }
    prices = newPrices.fitting(room: PathPrices.room(weight: problem.total, groups: groups))
    isStopped = true
    evaluations += 1
    let own = (0..<problem.layers).map { vertexWeights($0) }
    for l in 0..<problem.layers {
      if l == 0 {
        for s in 0..<layers[0].count { forward[0][s] = own[0][s] }
      } else {
        relax(from: l - 1, to: l, potential: forward[l - 1], into: forward[l], matrix: transposed)
        if control?.shouldStop ?? false { return false }
        for t in 0..<layers[l].count { forward[l][t] += own[l][t] }
      }
    }
    let last = problem.layers - 1
    for s in 0..<layers[last].count { backward[last][s] = 0 }
    for l in stride(from: last - 1, through: 0, by: -1) {
      let potential = Block(layers[l + 1].count, 0.0)
      for t in 0..<potential.count { potential[t] = own[l + 1][t] + backward[l + 1][t] }
      relax(from: l + 1, to: l, potential: potential, into: backward[l], matrix: weights)
      if control?.shouldStop ?? false { return false }
    }
    longest = -.greatestFiniteMagnitude
    for s in 0..<layers[last].count { longest = max(longest, forward[last][s]) }
    boundInTicks = Double(prices.sum) + Double(groups) * longest
    let floor = Int((boundInTicks / Double(PathSubsets.ticks)).rounded(.down))
    if let known, floor < known.kept { known.lost(to: "the path bound \(floor) at some prices") }
    if floor < bound {
      bound = floor
      boundPrices = prices
    }
    isStopped = false
    return true
  }

  /// `V(S) − Σ_{e∈S} u_e − Σ_O ⌊|S∩O|/2⌋·v_O` of every subset of a layer, in ticks.
  func vertexWeights(_ l: Int) -> Block<Double> {
    let subsets = layers[l]
    let weight = Block(subsets.count, 0.0)
    let cuts = prices.cuts.filter { $0.layer == l && $0.price != 0 }
    for s in 0..<subsets.count {
      var sum = 0
      for k in 0..<subsets.size {
        sum += prices.experts[l * experts + Int(subsets.members[s * subsets.size + k])]
      }
      for cut in cuts { sum += cut.count(subsets.masks[s]) * cut.price }
      weight[s] = subsets.inner[s] - Double(sum)
    }
    return weight
  }

  /// `result[T] = max_S potential[S] + w(S,T)` over the subsets S of layer `from`, for all T of the
  /// neighbouring layer `to`. `matrix[j, i]` is the weight between j of layer `to` and i of layer
  /// `from`.
  private func relax(
    from: Int, to: Int, potential: Block<Double>, into result: Block<Double>, matrix: Block<Double>
  ) {
    let boundary = min(from, to)
    let sources = layers[from]
    let targets = layers[to]
    let rows = (targets.count + 3) / 4
    let parts = sources.count * targets.count < 1 << 16 ? 1 : min(threads * 4, rows)
    let experts = self.experts
    let control = self.control
    concurrentFor(parts, threads: threads) { _, part in
      let sums = Block(experts, SIMD4<Double>.zero)
      let left = Block(sources.leftCount, SIMD4<Double>.zero)
      let right = Block(sources.rightCount, SIMD4<Double>.zero)
      for row in (rows * part / parts)..<(rows * (part + 1) / parts) {
        if row & 15 == 0, control?.shouldStop ?? false { return }
        Self.sumRows(
          targets, from: row * 4, matrix: matrix.base + boundary * experts * experts,
          experts: experts, into: sums.base)
        sources.tabulate(sums.base, left: left.base, right: right.base)
        let best = sources.maximum(potential.base, left: left.base, right: right.base)
        for lane in 0..<min(4, targets.count - row * 4) { result[row * 4 + lane] = best[lane] }
      }
    }
  }

  /// `sums[i] = Σ_{j∈T} matrix[j, i]` for the four subsets from `first` on (the last one repeated
  /// at the end).
  @inline(__always)
  static func sumRows(
    _ subsets: PathSubsets, from first: Int, matrix: UnsafePointer<Double>, experts: Int,
    into sums: UnsafeMutablePointer<SIMD4<Double>>
  ) {
    for i in 0..<experts { sums[i] = .zero }
    for lane in 0..<4 {
      let t = min(first + lane, subsets.count - 1)
      for k in 0..<subsets.size {
        let row = matrix + Int(subsets.members[t * subsets.size + k]) * experts
        for i in 0..<experts { sums[i][lane] += row[i] }
      }
    }
  }

  /// `pen(S)` in ticks: what a placement with S in layer `l` loses at the least.
  @inline(__always)
  package func penalty(_ l: Int, _ s: Int) -> Double {
    longest - forward[l][s] - backward[l][s]
  }

  /// Loss in ticks beyond which a placement does not beat `incumbent`: it would keep less than
  /// `incumbent + 1`.
  package func budget(incumbent: Int) -> Double {
    boundInTicks - Double((incumbent + 1) * PathSubsets.ticks)
  }

  /// Deletes the subsets that no placement better than `incumbent` contains, by the penalties of
  /// the current prices. Afterwards the potentials are those of the old prices; evaluate again
  /// before they are used.
  /// - Returns: how many were deleted.
  @discardableResult
  package func delete(incumbent: Int) -> Int {
    guard !isEmpty, !isStopped else { return 0 }
    let budget = self.budget(incumbent: incumbent)
    let deleted = keep { l, s in self.penalty(l, s) <= budget }
    if deleted > 0, let known, !contains(known.labels) {
      known.lost(to: "a deletion of the path relaxation", incumbent: incumbent)
      self.known = nil
    }
    return deleted
  }

  /// Keeps the subsets that `keeps` answers true for; notes the prices as a step of deletion.
  private func keep(_ keeps: (Int, Int) -> Bool) -> Int {
    var deleted = 0
    for l in 0..<problem.layers {
      let subsets = layers[l]
      let kept = (0..<subsets.count).filter { keeps(l, $0) }
      if kept.count == subsets.count { continue }
      deleted += subsets.count - kept.count
      let newForward = Block(kept.count, 0.0)
      let newBackward = Block(kept.count, 0.0)
      for (index, s) in kept.enumerated() {
        newForward[index] = forward[l][s]
        newBackward[index] = backward[l][s]
      }
      forward[l] = newForward
      backward[l] = newBackward
      layers[l] = subsets.selected(problem: problem, layer: l, kept)
      if kept.isEmpty { isEmpty = true }
    }
    if deleted > 0 {
      deletions.append(prices)
      if isEmpty { bound = .min }
    }
    return deleted
  }

  /// Whether all groups of a placement are among the subsets.
  package func contains(_ labels: [Int]) -> Bool {
    for l in 0..<problem.layers {
      let subsets = layers[l]
      var known = Set<[UInt8]>()
      for s in 0..<subsets.count {
        known.insert((0..<subsets.size).map { subsets.members[s * subsets.size + $0] })
      }
      for group in 0..<groups {
        let members = (0..<experts).filter { labels[l * experts + $0] == group }.map { UInt8($0) }
        if !known.contains(members) { return false }
      }
    }
    return true
  }
}
