import ColocateModel

/// Prices for more subsets than arcs can be swept often: a restricted master.
///
/// With E = 32 and c = 4 a layer has 35,960 subsets and a boundary 1.3 G arcs. Nothing of that is
/// stored; but an exact evaluation over all of them takes ten seconds or more, and optimising takes
/// hundreds. So the prices are optimised over a few thousand subsets a layer (at first the groups
/// of the pool's partitions and their one-swap neighbours), and evaluated over all subsets only
/// between such rounds: for the bound, which holds for all subsets at any prices, to delete what
/// the penalties rule out, and to bring in the subsets with the smallest penalties. Once deletion
/// has left few enough, the ordinary optimisation takes over.
///
/// Prices of a restricted master run away where it knows no subset that would object. The next
/// round then starts again from the best prices so far, with the subsets that did. (Evaluating
/// half-way between the two, Wentges 1997, gained less than it cost; so did keeping the master
/// inside the radius in which what it lacks cannot matter. What matters most is that the master is
/// optimised well: with 120,000 arcs a boundary instead of 300,000 and 80 evaluations a stage
/// instead of 150 the bound of gpt-oss-20b on 8 GPUs was three times as far away after two and a
/// half minutes.)
extension PathRelaxation {
  /// What generation may cost.
  package struct Generation: Sendable {
    /// Subsets of a layer up to which the ordinary optimisation is used.
    package var enough = 2_500
    /// Subsets of a layer in the restricted master, and how many a round may bring in.
    package var most = 4_000
    package var fresh = 1_500
    package var rounds = 30
    /// Of the master's optimisation, as in `Effort`.
    package var firstEvaluations = 200
    package var evaluationsPerStage = 100
    package var arcLimit = 400_000
    package init() {}
  }

  /// Lowers the bound until the layers have `enough` subsets on average, nothing is gained, or
  /// `control` stops. Evaluated at the best prices afterwards where few enough subsets are left.
  /// Where an evaluation is stopped (`isStopped`) the bound is that of the ones before.
  /// - Parameters:
  ///   - start: the first prices, `[L, E]` in ticks.
  ///   - partitions: of each layer, `[E]` group of every expert; the incumbent's first.
  package func optimiseByGeneration(
    from start: [Int], partitions: [[[Int]]], incumbent: () -> Int,
    generation: Generation = Generation(),
    control: SearchControl, progress: (PathRelaxation) -> Void = { _ in }
  ) {
    var active = (0..<problem.layers).map {
      groups(of: partitions[$0], layer: $0, generation)
    }
    var best = PathPrices(experts: start)
    var bestTicks = Double.greatestFiniteMagnitude
    var effort = Effort()
    effort.deletes = false
    effort.cutRounds = 0
    effort.deepShare = 1
    effort.evaluationsPerStage = generation.firstEvaluations
    effort.arcLimit = generation.arcLimit
    var failures = 0
    for round in 0..<generation.rounds {
      let master = PathRelaxation(
        root: shared,
        layers: (0..<problem.layers).map { l in
          layers[l].selected(problem: problem, layer: l, active[l])
        }, threads: threads)
      if master.isEmpty { break }
      guard master.evaluate(best) else { return }
      if round == 1 { effort.firstShare /= 8 }
      if round == 2 { effort.evaluationsPerStage = generation.evaluationsPerStage }
      master.optimise(incumbent: incumbent, effort: effort, control: control)
      if control.shouldStop || control.isWorkOver { break }
      let begun = control.elapsed
      control.spend(arcCount / 32)
      guard evaluate(master.prices) else { return }
      progress(self)
      if bound <= incumbent() { return }
      let improved = boundInTicks < bestTicks
      failures = improved ? 0 : failures + 1
      // What these prices make attractive comes in, whether they are better or not; the worst
      // leave.
      var chosen = [Set<UInt64>]()
      for l in 0..<problem.layers {
        let ranked = (0..<layers[l].count).sorted {
          let (a, b) = (penalty(l, $0), penalty(l, $1))
          return a == b ? $0 < $1 : a < b
        }
        var masks = Set(active[l].map { layers[l].masks[$0] })
        var fresh = improved ? generation.fresh : 2 * generation.fresh
        for s in ranked where fresh > 0 && masks.insert(layers[l].masks[s]).inserted { fresh -= 1 }
        if improved, masks.count > generation.most {
          masks = Set(
            ranked.map { layers[l].masks[$0] }.filter(masks.contains).prefix(generation.most))
        }
        chosen.append(masks)
      }
      if improved {
        bestTicks = boundInTicks
        best = prices
        delete(incumbent: incumbent())
        if isEmpty { break }
      }
      active = (0..<problem.layers).map { l in
        (0..<layers[l].count).filter { chosen[l].contains(layers[l].masks[$0]) }
      }
      if meanCount <= generation.enough || failures >= 4 { break }
      if control.remaining < 2 * (control.elapsed - begun) { break }
    }
    if !isEmpty, meanCount <= generation.enough { evaluate(best) }
  }

  /// The groups of the given partitions, and for the first partitions those that differ by one
  /// expert, as indices of subsets.
  private func groups(of partitions: [[Int]], layer l: Int, _ generation: Generation) -> [Int] {
    var masks = Set<UInt64>()
    var ranked = [UInt64]()
    func add(_ mask: UInt64) { if masks.insert(mask).inserted { ranked.append(mask) } }
    func bits(_ partition: [Int]) -> [UInt64] {
      var masks = [UInt64](repeating: 0, count: groups)
      for (e, g) in partition.enumerated() { masks[g] |= 1 << UInt64(e) }
      return masks
    }
    for partition in partitions { bits(partition).forEach(add) }
    for partition in partitions.prefix(3) {
      for group in bits(partition) {
        for a in 0..<experts where group >> UInt64(a) & 1 == 1 {
          for b in 0..<experts where group >> UInt64(b) & 1 == 0 {
            add(group & ~(1 << UInt64(a)) | 1 << UInt64(b))
          }
        }
      }
    }
    let chosen = Set(ranked.prefix(generation.most))
    return (0..<layers[l].count).filter { chosen.contains(layers[l].masks[$0]) }
  }
}
