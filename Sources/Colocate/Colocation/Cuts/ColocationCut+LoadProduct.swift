/// Load product cuts: how unequal loads within the cap can be.
///
/// Let x_g and y_g be the loads of group g in two layers, or in one layer (x = y). With the
/// experts' loads s_i and t_j,
///
///     Σ_g x_g·y_g  =  Σ_ij s_i·t_j·m_ij,
///
/// since the product of x_g = Σ_{i∈g} s_i and y_g = Σ_{j∈g} t_j has the term s_i·t_j where both are
/// in g. So bounds on Σ x_g·y_g are cuts.
///
/// The vectors x that the cap allows have entries in [low, high] that add up to T (`Context`). Let
/// x⁺ be the most unequal of them (`extremeLoads`): q entries high, one low + r with
/// 0 ≤ r < high - low, the others low.
///
/// **The hull.** These x are the convex combinations of the permutations of x⁺. Proof: the k
/// largest entries of x add up to at most k·high, and to at most T - (P-k)·low, because the others
/// are at least low. The k largest of x⁺ add up to exactly the smaller of the two: to k·high for k
/// ≤ q, to T - (P-k)·low for k > q. So x⁺ majorises x, and the vectors that x⁺ majorises are the
/// convex hull of its permutations (Rado, J. London Math. Soc. 27, 1952).
///
/// **Two layers.** For fixed y, Σ x_g·y_g is linear in x, so its greatest and its least value over
/// the hull are taken at a permutation of x⁺; the same then holds for y. Of two vectors'
/// permutations those sorted alike have the greatest product and those sorted unlike the least
/// (Hardy, Littlewood, Pólya, Inequalities, theorem 368):
///
///     Σ_g x⁺_g·y⁺_{P+1-g}  ≤  Σ_g x_g·y_g  ≤  Σ_g x⁺_g·y⁺_g       (x⁺ and y⁺ largest first).
///
/// **One layer.** Σ x_g² is convex, so its greatest value is taken at a permutation of x⁺: Σ
/// (x⁺_g)². Its least is T²/P (Cauchy and Schwarz); as the sum is an integer, it is at least
/// ⌈T²/P⌉. ∎
extension ColocationCut {
  /// A layer's load stays below this, so that products of loads and their sums fit.
  private static let mostLoad = 1 << 24

  func loadProductRow(first: Int, second: Int, atMost: Bool, in context: Context) -> Row? {
    guard (0...1).contains(first), (first...1).contains(second),
      let one = context.extremeLoads(boundary + first),
      let two = context.extremeLoads(boundary + second),
      context.loads[boundary + first] < Self.mostLoad,
      context.loads[boundary + second] < Self.mostLoad
    else { return nil }
    let problem = context.problem
    let sign = atMost ? 1 : -1
    var row = Row(limit: 0)
    if first == second, !atMost {
      let total = context.loads[boundary + first]
      row.limit = (total * total + problem.groups - 1) / problem.groups
    } else {
      for (x, y) in zip(one, atMost ? two : two.reversed()) { row.limit += x * y }
    }
    row.limit *= sign
    for i in 0..<problem.experts {
      for j in 0..<problem.experts {
        let product =
          sign * problem.load(boundary + first, i) * problem.load(boundary + second, j)
        let (a, b) = (context.layout.vertex(first, i), context.layout.vertex(second, j))
        if a == b {
          row.limit -= product
        } else if first != second {
          row.add(context.layout.pair(boundary, a, b), product)
        } else if i < j {
          row.add(context.layout.pair(boundary, a, b), 2 * product)
        }
      }
    }
    return row
  }
}
