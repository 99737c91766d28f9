import ColocateModel

/// Solves one level of one layer: search, then bound and proof by the method that its size allows.
package struct LevelSolver {
  /// What is known, in tokens.
  package struct Answer {
    package var groupOf: [Int]
    package var value: Int
    package var bound: Int
    package var prices: DestinationPrices?
    package var isProved: Bool { bound >= value }
  }

  let starts: Int
  let proves: Bool

  /// - Parameters:
  ///   - starts: of the local search; 0 only improves what is known.
  ///   - proves: whether to look for a bound.
  package init(starts: Int, proves: Bool) {
    self.starts = starts
    self.proves = proves
  }

  /// - Parameters:
  ///   - experts: the layer's own numbers of the level's experts, for the prices.
  ///   - known: placements within the cap; at least one.
  package func solve(
    _ layer: DestinationLayer, experts: [Int], known: [[Int]], seed: UInt64,
    control: SearchControl
  ) -> Answer {
    // Half of what there is for the search, unless nothing else comes.
    let part = SearchControl(
      part: proves ? control.remaining / 2 : .infinity,
      work: proves && control.workLimit != .max ? control.workLeft / 2 : .max, of: control)
    var search = DestinationSearch(layer, seed: seed, control: part)
    for groupOf in known { search.offer(groupOf) }
    var effort = DestinationSearch.Effort()
    effort.starts = layer.isTrivial ? 0 : starts
    if let start = known.first, !layer.isTrivial, !part.isOver {
      var labels = start
      search.improve(&labels, trials: 0)
    }
    search.run(effort)
    let best = search.best ?? (known[0], layer.value(known[0]))
    let floor = layer.trivialBound
    var answer = Answer(
      groupOf: best.groupOf, value: best.value * layer.unit, bound: floor * layer.unit)
    guard proves, !answer.isProved, !control.isOver else { return answer }
    if HalvesSearch.takes(layer) {
      halve(layer, experts, &answer, control)
      return answer
    }
    var relaxation = DestinationRelaxation(layer, groupOf: best.groupOf, control: control)
    guard DestinationPricing.takes(layer) else {
      answer.bound = relaxation.run(goal: best.value) * layer.unit
      return answer
    }
    // Something is kept for the bound that needs little.
    let most = SearchControl(
      part: max(control.remaining * 0.85, control.remaining - 0.3),
      work: control.workLimit == .max ? .max : control.workLeft / 20 * 17, of: control)
    var proof = DestinationProof(
      layer, groupOf: best.groupOf, optima: search.optima, control: most)
    proof.run()
    answer.groupOf = proof.groupOf
    answer.value = proof.value * layer.unit
    answer.bound = proof.bound * layer.unit
    if !proof.isProved, !control.isOver {
      // Groups too large to be searched: the bound that looks at pairs alone may be better.
      answer.bound = max(answer.bound, relaxation.run(goal: proof.value) * layer.unit)
    }
    if proof.isPriced {
      answer.prices = DestinationPrices(
        experts: experts, groups: layer.groups, cap: layer.cap, prices: proof.prices,
        unit: layer.unit, bound: proof.bound * layer.unit)
    }
    return answer
  }

  /// Two groups, looked at half by half; the bound stands without prices.
  private func halve(
    _ layer: DestinationLayer, _ experts: [Int], _ answer: inout Answer, _ control: SearchControl
  ) {
    var halves = HalvesSearch(layer, control: control)
    let found = halves.run(below: answer.value / layer.unit)
    if let groupOf = found.groupOf {
      answer.groupOf = groupOf
      answer.value = layer.value(groupOf) * layer.unit
    }
    answer.bound = max(answer.bound, found.bound * layer.unit)
    answer.prices = DestinationPrices(
      experts: experts, groups: layer.groups, cap: layer.cap, prices: [], unit: layer.unit,
      bound: answer.bound)
  }
}

extension DestinationLayer {
  /// Whether every placement costs the same: one group, groups of one expert, or no set of two.
  var isTrivial: Bool { linear.isEmpty && (groups == 1 || size == 1 || count == 0) }

  /// A bound that needs no prices, in units: a token goes somewhere, and to as many groups as its
  /// set needs room. Exact where the layer is trivial.
  var trivialBound: Int {
    var sum = constant
    for t in 0..<count {
      let members = Int(starts[t + 1] - starts[t])
      sum += weights[t] * ((members + size - 1) / size)
    }
    return sum
  }
}
