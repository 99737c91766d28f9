import ColocateModel

/// The path relaxation at one price vector: potentials, the longest path, the bound. Exact.
///
/// With own(S) = V(S) − Σ_{e∈S} u_e − Σ_O ⌊|S∩O|/2⌋·v_O the weight of a vertex and w(S,T) that of
/// an arc, two passes over the layers give
///
///     f_0(S) = own(S),        f_{l+1}(T) = own(T) + max_S ( f_l(S) + w(S,T) )
///     b_{L-1}(S) = 0,         b_l(S) = max_T ( w(S,T) + own(T) + b_{l+1}(T) )
///
/// so f(S) + b(S) is the length of the longest path through S, and λ = max f over the last layer.
/// Everything is a whole number of ticks below 2⁵³ (`PathPrices.fitting`), so doubles are exact.
///
/// An evaluation is a value that has its vertices with it. What is made from it (arcs, the smoothed
/// dual, dolls, a branch, the lists that a deletion leaves) therefore always belongs together, and
/// no order of evaluating and deleting can mix the potentials of one list with the numbers of
/// another.
package struct PathEvaluation: Sendable {
  package let model: PathModel
  package let vertices: PathVertices
  package let prices: PathPrices
  /// own(S), `[L][n_l]`, in ticks.
  let own: [SharedBuffer<Double>]
  /// f(S), `[L][n_l]`, in ticks.
  package let forward: [SharedBuffer<Double>]
  /// b(S), `[L][n_l]`, in ticks.
  package let backward: [SharedBuffer<Double>]
  /// `λ(u)` in ticks.
  package let longest: Double
  /// `B(u)` in ticks.
  package let boundInTicks: Double
  let threads: Int

  package var problem: GroupingProblem { model.problem }
  package var layers: [PathSubsets] { vertices.layers }
  package var experts: Int { model.experts }
  package var groups: Int { model.groups }

  /// `B(u)` in tokens, rounded down: kept weights are whole.
  package var bound: Int {
    Int((boundInTicks / Double(PathSubsets.ticks)).rounded(.down))
  }

  // MARK: - Evaluating

  /// O(Σ n_l · n_{l+1}), twice.
  /// - Parameters:
  ///   - vertices: at least one in each layer.
  ///   - prices: within `PathPrices.room`.
  /// - Returns: nil where the model's control stopped a pass on its way.
  init?(model: PathModel, vertices: PathVertices, prices: PathPrices, threads: Int) {
    self.model = model
    self.vertices = vertices
    self.prices = prices
    self.threads = threads
    let layers = vertices.layers
    let last = layers.count - 1
    let own = layers.indices.map {
      Self.ownWeights(layers[$0], layer: $0, experts: model.experts, prices)
    }
    let forward = layers.map { SharedBuffer(repeating: 0.0, count: $0.count) }
    let backward = layers.map { SharedBuffer(repeating: 0.0, count: $0.count) }
    let pass = Pass(model: model, layers: layers, threads: threads)
    forward[0].base.update(from: own[0].base, count: own[0].count)
    for l in 0..<last {
      pass.relax(from: l, to: l + 1, potential: forward[l], into: forward[l + 1])
      if model.control?.shouldStop ?? false { return nil }
      for t in 0..<layers[l + 1].count { forward[l + 1][t] += own[l + 1][t] }
    }
    for l in stride(from: last - 1, through: 0, by: -1) {
      let potential = SharedBuffer(repeating: 0.0, count: layers[l + 1].count)
      for t in 0..<potential.count { potential[t] = own[l + 1][t] + backward[l + 1][t] }
      pass.relax(from: l + 1, to: l, potential: potential, into: backward[l])
      if model.control?.shouldStop ?? false { return nil }
    }
    var longest = -Double.greatestFiniteMagnitude
    for s in 0..<layers[last].count { longest = max(longest, forward[last][s]) }
    (self.own, self.forward, self.backward) = (own, forward, backward)
    self.longest = longest
    boundInTicks = Double(prices.sum) + Double(model.groups) * longest
  }

  /// own(S) of every subset of a layer, in ticks.
  private static func ownWeights(
    _ subsets: PathSubsets, layer l: Int, experts: Int, _ prices: PathPrices
  ) -> SharedBuffer<Double> {
    let weight = SharedBuffer(repeating: 0.0, count: subsets.count)
    let cuts = prices.cuts.filter { $0.layer == l && $0.price != 0 }
    for s in 0..<subsets.count {
      var sum = 0
      for e in subsets.row(s) { sum += prices.experts[l * experts + Int(e)] }
      for cut in cuts { sum += cut.count(subsets.masks[s]) * cut.price }
      weight[s] = subsets.inner[s] - Double(sum)
    }
    return weight
  }

  /// The sweep over all arcs of a boundary, in either direction.
  private struct Pass: Sendable {
    let model: PathModel
    let layers: [PathSubsets]
    let threads: Int

    /// `result[T] = max_S potential[S] + w(S,T)` over the subsets S of layer `from`, for all T of
    /// the neighbouring layer `to`.
    func relax(
      from: Int, to: Int, potential: SharedBuffer<Double>, into result: SharedBuffer<Double>
    ) {
      let boundary = min(from, to)
      let sources = layers[from]
      let targets = layers[to]
      let rows = (targets.count + 3) / 4
      let parts = sources.count * targets.count < 1 << 16 ? 1 : min(threads * 4, rows)
      let experts = model.experts
      let control = model.control
      // `matrix[j, i]` is the weight between j of layer `to` and i of layer `from`.
      let matrix = from < to ? model.transposed : model.weights
      concurrentFor(parts, threads: threads) { _, part in
        let sums = Buffer(repeating: SIMD4<Double>.zero, count: experts)
        let left = Buffer(repeating: SIMD4<Double>.zero, count: sources.leftCount)
        let right = Buffer(repeating: SIMD4<Double>.zero, count: sources.rightCount)
        for row in (rows * part / parts)..<(rows * (part + 1) / parts) {
          if row & 15 == 0, control?.shouldStop ?? false { return }
          PathEvaluation.sumRows(
            targets, from: row * 4, matrix: matrix.base + boundary * experts * experts,
            experts: experts, into: sums.base)
          sources.tabulate(sums.base, left: left.base, right: right.base)
          let best = sources.maximum(potential.base, left: left.base, right: right.base)
          for lane in 0..<min(4, targets.count - row * 4) {
            result.base[row * 4 + lane] = best[lane]
          }
        }
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

  // MARK: - Deleting

  /// `pen(S) = λ − f(S) − b(S) ≥ 0` in ticks: how much shorter than the longest path the longest
  /// one through S is.
  @inline(__always)
  package func penalty(_ l: Int, _ s: Int) -> Double {
    longest - forward[l][s] - backward[l][s]
  }

  /// Loss in ticks beyond which a placement does not beat `incumbent`: it would keep less than
  /// `incumbent + 1`.
  package func budget(incumbent: Int) -> Double {
    boundInTicks - Double((incumbent + 1) * PathSubsets.ticks)
  }

  /// The vertices without those that no placement better than `incumbent` contains.
  ///
  /// Let a placement keep k ticks. Its P paths lose `B − k ≥ Σ_paths (λ − length)` (see
  /// `PathRelaxation`; what it leaves of priced cuts it loses on top). No term is negative, and the
  /// path that goes through S is no longer than the longest one that does, so `pen(S) ≤ B − k`. A
  /// better placement has k ≥ 64·(incumbent + 1), its losses are at most `budget`, and a subset
  /// with `pen(S) > budget` is in none.
  /// - Returns: nil where nothing goes.
  func deleting(incumbent: Int, faults: PathFaults = PathFaults()) -> PathVertices? {
    let budget = self.budget(incumbent: incumbent)
    var deleted = 0
    let left = layers.indices.map { l in
      let subsets = layers[l]
      var kept = (0..<subsets.count).filter { penalty(l, $0) <= budget }
      if let fault = faults.deleted, fault.layer == l {
        kept.removeAll { subsets.set($0) == fault.members }
      }
      if kept.count == subsets.count { return subsets }
      deleted += subsets.count - kept.count
      return subsets.selected(problem: problem, layer: l, kept)
    }
    guard deleted > 0 else { return nil }
    return PathVertices(layers: left, deletions: vertices.deletions + [prices])
  }
}
