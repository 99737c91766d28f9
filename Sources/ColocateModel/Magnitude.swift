/// How large numbers may grow, and why nothing overflows or loses a unit below these limits.
///
/// Two kinds of arithmetic are exact here: `Int` below 2^63, and `Double` below 2^53 as long as
/// every value and every intermediate sum is a whole number. What grows with tokens is refused at
/// the door (`TransitionCounts.init`, `Instance.init`, `Solver.solve`) where one of the limits is
/// passed, with the limit and the remedy; behind the door nothing is checked again but what this
/// table names.
///
/// The solver works on **reduced** counts: weights and co-activations divided by their greatest
/// common divisor (`TransitionCounts.unit`), loads and caps by that of the loads
/// (`Instance.reduced`). So the unit of the counts (tokens, bytes, a day or a year of them) changes
/// neither a proof nor its time, and only the number of different counts decides whether they fit.
/// What leaves the solver is multiplied back. With T = Σ W + Σ V after the reduction, and s the
/// largest saving of `SavedWeights`:
///
///     quantity                              bound            arithmetic
///     ΣW, ΣV, Σ loads as given              2^55 (`given`)   Int: sums of up to 2^7 of them
///     loads taken from W (both ends)        2^56             Int
///     T                                     2^52 (`exact`)   Int, and Double with a factor of 2
///     w_inter · (ΣW + ΣV) as given          2^61             Int: joint values and bounds
///     s · T                                 2^58 (`saved`)   Int: gains (4 attractions and twice
///                                                            a co-activation), θ, pool values,
///                                                            GroupPairs (2·reach + total; its
///                                                            mark for "impossible" is -2^61)
///     s · T ≤ 2^28                                           Int32 gains (`SearchModel.fits`)
///     chain values f, θ, f + θ              T                Int
///     two-group chain, |f ± sums|           2T               Float below 2^24, Double below 2^53
///     assignment, transportation: prices    largest entry    Int: with entries ≥ 0 a free column
///                                                            has price 0, so all dual values stay
///                                                            within the largest entry
///     path bound, in ticks of 1/64          see              Double below 2^53: prices are scaled
///                                           `PathPrices`     down where they are too large
///     dolls, in ticks                       2^29             Int32; larger budgets are "overflow"
///     co-location, multipliers · 2^q        2^52             Int, sums in Int128, q so that
///                                                            T·2^q ≤ 2^52; cut rows checked
///     windows' weights · 2^b                2^53             T·2^b ≤ 2^48 or b = 0; shares are
///                                                            cut so that they add at most 2^51
///     loads · cut multipliers               checked          a bound that overflows is no bound
///     load products t_i · t_j               2^48             Int, only for layers below 2^24
///     ratio · tokens of a load cap          2^115            Int128
///
/// Values that only guide a search (temperatures, curvatures, smoothed duals, popularity) are
/// doubles and may round; none of them ends up in a bound or a kept weight without an exact
/// evaluation.
package enum Magnitude {
  /// The most that weights, co-activations or loads may add up to as they are given.
  package static let given = 1 << 55
  /// The most that weights and co-activations together may add up to after division by their unit.
  package static let exact = 1 << 52
  /// The most that reduced counts times what a placement saves on each may be.
  package static let saved = 1 << 58
  /// The most that counts as given times the weight of a crossing may be.
  package static let joint = 1 << 61
  /// A price or a multiplier that passes from doubles to integers stays below this.
  package static let price = 1 << 44

  /// The greatest common divisor of non-negative numbers; 1 where all are 0.
  package static func unit(_ lists: [Int]...) -> Int {
    var unit = 0
    for list in lists {
      for number in list where number != 0 {
        if unit == 1 { return 1 }
        var (a, b) = (number, unit)
        while b != 0 { (a, b) = (b, a % b) }
        unit = a
      }
    }
    return max(unit, 1)
  }

  /// `x` to the nearest whole number, within ±`limit`; 0 for what is not a number.
  package static func whole(_ x: Double, limit: Int) -> Int {
    guard !x.isNaN else { return 0 }
    let bound = Double(limit)
    return Int(min(max(x.rounded(), -bound), bound))
  }
}
