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
/// optimised well: fewer arcs and fewer evaluations a stage cost more than they saved.)
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
  /// `control` stops. Where an evaluation is stopped the bound is that of the ones before.
  /// - Parameters:
  ///   - start: the first prices, `[L, E]` in ticks.
  ///   - partitions: of each layer, `[E]` group of every expert; the incumbent's first.
  /// - Returns: an evaluation at the best prices where few enough subsets are left.
  @discardableResult
  package func optimiseByGeneration(
    from start: [Int], partitions: [[[Int]]], incumbent: @escaping () -> Int,
    generation: Generation = Generation(),
    control: SearchControl, progress: (PathRelaxation) -> Void = { _ in }
  ) -> PathEvaluation? {
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
      let master = master(of: active)
      if master.isEmpty { break }
      guard let first = master.evaluate(best) else { return nil }
      if round == 1 { effort.firstShare /= 8 }
      if round == 2 { effort.evaluationsPerStage = generation.evaluationsPerStage }
      let prices = master.optimise(
        from: first, incumbent: incumbent, effort: effort, control: control)
      if control.shouldStop || control.isWorkOver { break }
      let begun = control.elapsed
      control.spend(vertices.arcCount / 32)
      guard let evaluation = evaluate(prices) else { return nil }
      progress(self)
      if bound <= incumbent() { return nil }
      let improved = evaluation.boundInTicks < bestTicks
      failures = improved ? 0 : failures + 1
      let chosen = (0..<problem.layers).map { l in
        exchanged(active[l], layer: l, by: evaluation, improved: improved, generation)
      }
      if improved {
        bestTicks = evaluation.boundInTicks
        best = evaluation.prices
        delete(using: evaluation, incumbent: incumbent())
        if isEmpty { break }
      }
      active = (0..<problem.layers).map { l in
        (0..<layers[l].count).filter { chosen[l].contains(layers[l].set($0)) }
      }
      if vertices.meanCount <= generation.enough || failures >= 4 { break }
      if control.remaining < 2 * (control.elapsed - begun) { break }
    }
    return !isEmpty && vertices.meanCount <= generation.enough ? evaluate(best) : nil
  }

  /// The relaxation over the subsets with these numbers alone.
  private func master(of active: [[Int]]) -> PathRelaxation {
    PathRelaxation(
      model: model,
      layers: (0..<problem.layers).map { l in
        layers[l].selected(problem: problem, layer: l, active[l])
      }, threads: threads, known: known)
  }

  /// The master's subsets of a layer for the next round: what the last prices make attractive comes
  /// in, whether they are better or not; where they are, the worst leave.
  private func exchanged(
    _ active: [Int], layer l: Int, by evaluation: PathEvaluation, improved: Bool,
    _ generation: Generation
  ) -> Set<ExpertSet> {
    let subsets = evaluation.layers[l]
    let penalties = (0..<subsets.count).map { evaluation.penalty(l, $0) }
    let ranked = penalties.indices.sorted { (penalties[$0], $0) < (penalties[$1], $1) }
    var chosen = Set(active.map(subsets.set))
    var fresh = improved ? generation.fresh : 2 * generation.fresh
    for s in ranked where fresh > 0 && chosen.insert(subsets.set(s)).inserted { fresh -= 1 }
    if improved, chosen.count > generation.most {
      chosen = Set(ranked.map(subsets.set).filter(chosen.contains).prefix(generation.most))
    }
    return chosen
  }

  /// The groups of the given partitions, and for the first partitions those that differ by one
  /// expert, as numbers of subsets.
  private func groups(of partitions: [[Int]], layer l: Int, _ generation: Generation) -> [Int] {
    var known = Set<ExpertSet>()
    var ranked = [ExpertSet]()
    func add(_ set: ExpertSet) { if known.insert(set).inserted { ranked.append(set) } }
    let all = partitions.map { Labels($0, experts: experts).sets(layer: 0, groups: groups) }
    all.joined().forEach(add)
    for group in all.prefix(3).joined() {
      for leaving in group {
        for entering in ExpertSet.all(experts).subtracting(group) {
          var other = group
          other.remove(leaving)
          other.insert(entering)
          add(other)
        }
      }
    }
    let chosen = Set(ranked.prefix(generation.most))
    return (0..<layers[l].count).filter { chosen.contains(layers[l].set($0)) }
  }
}
