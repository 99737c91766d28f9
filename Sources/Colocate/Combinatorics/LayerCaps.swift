import ColocateModel

/// A load cap in tokens, layer by layer, with a packing that meets it.
package struct LayerCaps: Sendable {
  /// The most tokens a GPU may get, shape `[L]`.
  package var caps: [Int] = []
  /// A GPU for each expert, within the caps, shape `[L, E]`.
  package var packing: [Int] = []
}

extension LoadCap {
  /// Steps of the packing searches of all layers together, and of any one of them at the least.
  private static let (allSteps, layerSteps) = (8_000_000, 200_000)

  /// The cap in tokens for each layer, and a packing.
  ///
  /// - Parameter known: a placement, `[L, E]`, that may meet the cap where a search for one would
  ///   fail. Not looked at with `relaxedToFeasible`, whose caps must come out the same for whoever
  ///   checks an answer.
  /// - Throws: `ModelError.infeasible` where a layer cannot meet the cap, `ModelError.cap` where
  ///   nothing was found that does (unless `relaxedToFeasible`), with what is known of the least
  ///   cap.
  package func perLayer(
    counts: TransitionCounts, gpus: Int, known: [Int]? = nil
  ) throws(ModelError) -> LayerCaps {
    let known = relaxedToFeasible ? nil : known.map { Labels($0, experts: counts.experts) }
    var answer = LayerCaps()
    var failure: Failure?
    var upper = LoadRatio.one
    var steps = Self.allSteps
    for l in 0..<counts.layers {
      let loads = counts.loads(layer: l)
      let tokens = loads.reduce(0, +)
      let cap = self.tokens(of: tokens, groups: gpus)
      if let groupOf = known?.layer(l),
        Packing(groupOf: groupOf, loads: loads, groups: gpus).largest <= cap
      {
        answer.caps.append(cap)
        answer.packing += groupOf
        continue
      }
      let packing = BalancedPacking(
        loads: loads, groups: gpus, goal: cap,
        stepLimit: max(Self.layerSteps, steps / (counts.layers - l)))
      steps = max(0, steps - packing.steps)
      answer.caps.append(max(cap, packing.maximum))
      answer.packing += packing.groupOf
      guard packing.maximum > cap else { continue }
      let needed = LoadRatio(load: packing.maximum, tokens: tokens, gpus: gpus)
      upper = max(upper, needed)
      let isImpossible = packing.lowerBound > cap
      let found = Failure(
        layer: l, isImpossible: isImpossible,
        lower: LoadRatio(load: packing.lowerBound, tokens: tokens, gpus: gpus), upper: needed)
      failure = failure.map { found.isWorse(than: $0) ? found : $0 } ?? found
    }
    if let failure, !relaxedToFeasible {
      let text = message(failure, counts: counts, gpus: gpus, works: upper)
      throw failure.isImpossible ? .infeasible(text) : .cap(text)
    }
    return answer
  }

  /// The layer that keeps a cap from being met.
  private struct Failure {
    let layer: Int
    let isImpossible: Bool
    let lower: LoadRatio
    let upper: LoadRatio

    /// What is impossible comes before what was not found.
    func isWorse(than other: Failure) -> Bool {
      isImpossible == other.isImpossible ? upper > other.upper : isImpossible
    }
  }

  /// One line that says what is known and what would work.
  private func message(
    _ failure: Failure, counts: TransitionCounts, gpus: Int, works: LoadRatio
  ) -> String {
    let l = failure.layer
    var busiest = 0
    for e in 0..<counts.experts
    where counts.load(layer: l, expert: e) > counts.load(layer: l, expert: busiest) { busiest = e }
    let share = LoadRatio(
      load: counts.load(layer: l, expert: busiest), tokens: counts.load(layer: l), gpus: gpus)
    let least = failure.lower.decimal(digits: 4, up: false)
    let most = failure.upper.decimal(digits: 4, up: true)
    let needs =
      failure.lower == failure.upper
      ? "needs at least \(least)" : "has its least cap between \(least) and \(most)"
    let verb = failure.isImpossible ? "meets" : "was found that meets"
    let alone = share.decimal(digits: 4, up: false)
    let remedy =
      failure.isImpossible
      ? "" : ", and so does \(text) with a placement that meets it to start from"
    return "no placement on \(gpus) GPUs \(verb) a load cap of \(text): layer \(l) \(needs) "
      + "(its busiest expert, \(busiest), alone is \(alone) times a GPU's share); "
      + "a cap of \(works.decimal(digits: 4, up: true)) works in every layer\(remedy)"
  }
}
