import ColocateModel

/// The smallest load cap that every layer of some counts can meet, as far as it is known.
package struct LeastCap: Sendable {
  /// No cap below it can be met.
  package let lower: LoadRatio
  /// A cap that can be met.
  package let upper: LoadRatio

  /// Whether the two are one.
  package var isExact: Bool { lower == upper }

  /// - Parameter stepLimit: of all layers' packings together.
  package init(counts: TransitionCounts, gpus: Int, stepLimit: Int = 4_000_000) {
    var lower = LoadRatio.one
    var upper = LoadRatio.one
    var steps = stepLimit
    for l in 0..<counts.layers {
      let loads = counts.loads(layer: l)
      let tokens = loads.reduce(0, +)
      guard tokens > 0 else { continue }
      // What another layer needs anyway is small enough here.
      let goal = lower.tokens(of: tokens, gpus: gpus)
      let packing = BalancedPacking(
        loads: loads, groups: gpus, goal: goal, stepLimit: max(20_000, steps / (counts.layers - l)))
      steps = max(0, steps - packing.steps)
      lower = max(lower, LoadRatio(load: packing.lowerBound, tokens: tokens, gpus: gpus))
      upper = max(upper, LoadRatio(load: packing.maximum, tokens: tokens, gpus: gpus))
    }
    (self.lower, self.upper) = (lower, upper)
  }
}
