import ColocateModel

/// The multipliers of the path relaxation: a price on every expert and, where they help, on
/// subset-row cuts (`PathCut`). Whole numbers of ticks, so that everything evaluated with them is
/// exact.
package struct PathPrices: Hashable, Sendable {
  /// `u`, `[L, E]`, in ticks.
  package var experts: [Int]
  package var cuts: [PathCut]

  package init(experts: [Int], cuts: [PathCut] = []) {
    self.experts = experts
    self.cuts = cuts
  }

  /// `Σ u + Σ ⌊|O|/2⌋·v`.
  var sum: Int { experts.reduce(0, +) + cuts.reduce(0) { $0 + $1.most * $1.price } }

  /// Number of multipliers.
  var count: Int { experts.count + cuts.count }

  /// The multipliers one after the other, experts first.
  var vector: [Double] { experts.map(Double.init) + cuts.map { Double($0.price) } }

  /// The same cuts with the multipliers of a vector, rounded to ticks; cut prices below 0 become 0.
  func rounded(_ vector: [Double]) -> PathPrices {
    var result = self
    for index in experts.indices {
      result.experts[index] = Magnitude.whole(vector[index], limit: Magnitude.price - 1)
    }
    for index in cuts.indices {
      result.cuts[index].price = max(
        0, Magnitude.whole(vector[experts.count + index], limit: Magnitude.price - 1))
    }
    return result
  }

  // MARK: Exact sums

  /// The most weight (in tokens) for which prices have room enough: 3/4 of it.
  ///
  /// With T the weight of a problem, every path's length and every partial sum of it is at most M =
  /// 64·T + Σ|u| + Σ ⌊|O|/2⌋·v, since a path holds an expert once and counts a cut at most ⌊|O|/2⌋
  /// times; slacks and penalties are differences of up to four lengths, and B is at most (P + 1)·M.
  /// All are whole numbers of ticks, exact in doubles where (P + 4)·M ≤ 2^53.
  package static func mostWeight(groups: Int) -> Int {
    (1 << 51) / (groups + 4) / PathSubsets.ticks
  }

  /// Σ|u| + Σ ⌊|O|/2⌋·v that keeps everything exact, for a problem of that weight in tokens.
  package static func room(weight: Int, groups: Int) -> Int {
    (1 << 53) / (groups + 4) - weight * PathSubsets.ticks
  }

  /// The same prices, each below `Magnitude.price`, scaled down where they do not fit into `room`.
  /// Any prices give a bound; such large ones only come from a search for prices that runs off.
  func fitting(room: Int) -> PathPrices {
    var result = self
    let limit = Magnitude.price - 1
    for index in experts.indices {
      result.experts[index] = min(max(experts[index], -limit), limit)
    }
    for index in cuts.indices { result.cuts[index].price = min(max(cuts[index].price, 0), limit) }
    let size =
      result.experts.reduce(Int128(0)) { $0 + Int128(abs($1)) }
      + result.cuts.reduce(Int128(0)) { $0 + Int128($1.most) * Int128($1.price) }
    guard size > Int128(room) else { return result }
    let share = Double(room) / Double(size) * 0.999
    for index in experts.indices {
      result.experts[index] = Int(Double(result.experts[index]) * share)
    }
    for index in cuts.indices {
      result.cuts[index].price = Int(Double(result.cuts[index].price) * share)
    }
    return result
  }
}
