import ColocateModel

/// Better shares of the inner layers' pairs: a bundle method on the sum of the windows' maxima.
///
/// **What is minimised.** With windows solved exactly the bound is a function of the shares alone,
///
///     f(S) = Σ_w v_w(S),    v_w(S) = the most that any placement x of window w keeps there,
///
/// the dual function of the constraint that window l-1 and window l agree on layer l. It is convex,
/// and every placement x of window w gives an affine function below v_w: x counts S_w on its first
/// layer's pairs and V - S_(w+1) on its second layer's. The multipliers of the co-location
/// relaxation minimise the sum of the *relaxed* windows; at their shares the windows' best
/// placements may disagree with each other by far more than they have to.
///
/// **Model.** For each window a list of placements ("columns") is kept. The largest of a window's
/// columns is below v_w; the sum of these maxima is a model of f that is exact at the points where
/// columns were made. The next shares minimise the model plus (μ/2)·‖S - S̄‖², where S̄ are the
/// best shares so far (Kiwiel, Methods of Descent for Nondifferentiable Optimization, 1985). With a
/// weight θ_wk ≥ 0 for each column, Σ_k θ_wk = 1, the minimiser is
///
///     S_l = S̄_l - D_l/μ,    D_l = Σ_k θ_lk·Z_lk(first) - Σ_k θ_(l-1)k·Z_(l-1)k(second),
///
/// by how much the mean placements of the two windows disagree on layer l. The best θ are found
/// window by window: weight t moves from the column with the least value at S to the one with the
/// largest; the model's optimum along that line is
///
///     t = μ·(v₊ - v₋) / (‖Z₊(first) - Z₋(first)‖² + ‖Z₊(second) - Z₋(second)‖²),
///
/// at most all that the column has.
///
/// **Steps.** At the new S every window is asked for its best placement. Where f fell by a tenth of
/// what the model said μ falls, where it did not fall at all the new columns mend the model there
/// and μ grows. The best S so far is S̄.
///
/// **Nothing needs to be exact.** Any shares make a valid split, so columns may come from
/// heuristics: they only decide how good the shares are. The proof is the trees' (`WindowSearch`).
package struct SplitBundle {
  /// A placement of a window.
  struct Column {
    let labels: [Int]
    /// What it keeps whatever the shares are, in the split's units.
    let fixed: Double
    /// Places i·E + j, i < j, of the pairs that share a group in its two layers, ascending; empty
    /// where the layer is in no other window.
    let first: [Int32]
    let second: [Int32]
    /// θ.
    var weight = 0.0
    /// Steps since it last had a weight.
    var idle = 0
  }

  let problem: GroupingProblem
  package let fractionBits: Int
  /// S and S̄, `[L-2][E·E]`, the places i < j.
  private var shares: [[Double]]
  private var center: [[Double]]
  private var columns: [[Column]]
  /// 1/μ, and what it began with.
  private var reach = 0.0
  private var firstReach = 0.0
  /// f(S̄), as far as columns know it.
  package private(set) var value = Double.infinity
  /// What the model expected of the last step.
  private var expected = 0.0

  /// Columns of a window that are kept.
  private static let mostColumns = 120
  /// 1/μ over what it began with: without a limit it would grow for as long as f falls.
  private static let mostReach = 1000.0

  package init(split: WindowSplit) {
    problem = split.problem
    fractionBits = split.fractionBits
    shares = split.shares.map { $0.map(Double.init) }
    center = shares
    columns = split.windows.map { _ in [] }
  }

  // MARK: Columns

  /// Takes a placement of window w, `[2, E]`.
  package mutating func add(_ labels: [Int], window w: Int) {
    let column = column(labels, window: w)
    let isKnown = columns[w].contains {
      $0.fixed == column.fixed && $0.first == column.first && $0.second == column.second
    }
    if isKnown { return }
    columns[w].append(column)
    if columns[w].count == 1 { columns[w][0].weight = 1 }
  }

  private func column(_ labels: [Int], window w: Int) -> Column {
    let experts = problem.experts
    var fixed = 0
    var pairs: [[Int32]] = [[], []]
    for half in 0..<2 {
      let (l, base) = (w + half, half * experts)
      let isShared = l > 0 && l < problem.layers - 1
      for i in 0..<experts {
        for j in (i + 1)..<max(experts, i + 1) where labels[base + i] == labels[base + j] {
          if isShared { pairs[half].append(Int32(i * experts + j)) }
          // The first layer of a window has its share, the second V less it.
          if half == 1 || !isShared { fixed += problem.coactivation(l, i, j) }
        }
      }
    }
    for i in 0..<experts {
      for j in 0..<experts where labels[i] == labels[experts + j] {
        fixed += problem.weight(w, i, j)
      }
    }
    return Column(
      labels: labels, fixed: Double(fixed << fractionBits), first: pairs[0], second: pairs[1])
  }

  private func value(_ column: Column, window w: Int, at shares: [[Double]]) -> Double {
    var sum = column.fixed
    if w > 0 {
      for place in column.first { sum += shares[w - 1][Int(place)] }
    }
    if w < problem.layers - 2 {
      for place in column.second { sum -= shares[w][Int(place)] }
    }
    return sum
  }

  private func modelValue(at shares: [[Double]]) -> Double {
    columns.indices.reduce(0) { sum, w in
      sum + (columns[w].map { value($0, window: w, at: shares) }.max() ?? 0)
    }
  }

  /// The best column of window w at the current shares.
  package func best(window w: Int) -> [Int]? {
    columns[w].map { (value($0, window: w, at: shares), $0.labels) }.max { $0.0 < $1.0 }?.1
  }

  /// Makes the best shares so far the current ones.
  package mutating func returnToBest() {
    if value.isFinite { shares = center }
  }

  /// Values the best shares anew, after better placements of windows were added.
  package mutating func judge() {
    if value.isFinite { value = modelValue(at: center) }
  }

  // MARK: Steps

  /// The split that the current shares make.
  package var split: WindowSplit {
    let experts = problem.experts
    return WindowSplit(
      problem: problem, fractionBits: fractionBits,
      shares: shares.map { block in
        var rounded = [Int](repeating: 0, count: experts * experts)
        for i in 0..<experts {
          for j in (i + 1)..<max(experts, i + 1) {
            let share = Magnitude.whole(block[i * experts + j], limit: ColocationMultipliers.limit)
            rounded[i * experts + j] = share
            rounded[j * experts + i] = share
          }
        }
        return rounded
      })
  }

  /// Judges the current shares, for which all windows have been asked, and moves to the next.
  /// - Parameter target: what f cannot be below, in the split's units.
  /// - Returns: what the model expects f to fall by.
  package mutating func step(target: Double) -> Double {
    // What is known of f(S̄) grows with the columns.
    judge()
    let found = modelValue(at: shares)
    if found < value {
      if value.isFinite, found <= value - 0.1 * expected {
        reach = min(1.5 * reach, Self.mostReach * firstReach)
      }
      value = found
      center = shares
    } else {
      reach *= 0.8
    }
    dropColumns()
    if reach == 0 { setReach(target: target) }
    minimiseModel()
    expected = value - modelValue(at: shares)
    return expected
  }

  /// A third of the way that a subgradient step from the windows' best columns would go to the
  /// target (Polyak).
  private mutating func setReach(target: Double) {
    for w in columns.indices {
      let values = columns[w].map { value($0, window: w, at: shares) }
      let best = values.indices.max { values[$0] < values[$1] }
      for k in values.indices { columns[w][k].weight = k == best ? 1 : 0 }
    }
    var squares = 0.0
    for l in 1..<max(1, problem.layers - 1) {
      squares += disagreement(l).reduce(0) { $0 + $1 * $1 }
    }
    reach = squares > 0 ? 0.3 * max(0, value - target) / squares : 0
    firstReach = reach
  }

  /// D_l, `[E·E]`.
  private func disagreement(_ l: Int) -> [Double] {
    var sum = [Double](repeating: 0, count: problem.experts * problem.experts)
    for column in columns[l] where column.weight > 0 {
      for place in column.first { sum[Int(place)] += column.weight }
    }
    for column in columns[l - 1] where column.weight > 0 {
      for place in column.second { sum[Int(place)] -= column.weight }
    }
    return sum
  }

  private mutating func dropColumns() {
    for w in columns.indices where columns[w].count > Self.mostColumns {
      let idle = columns[w].map(\.idle).sorted()
      let most = idle[Self.mostColumns]
      columns[w].removeAll { $0.weight == 0 && $0.idle >= max(1, most) }
    }
  }

  /// θ, and S that they make.
  private mutating func minimiseModel() {
    for l in shares.indices {
      let sum = disagreement(l + 1)
      for place in sum.indices { shares[l][place] = center[l][place] - reach * sum[place] }
    }
    guard reach > 0 else { return }
    for _ in 0..<Self.mostSweeps {
      var most = 0.0
      for w in columns.indices { most = max(most, improve(window: w)) }
      if most < 0.25 { break }
    }
    for w in columns.indices {
      for k in columns[w].indices {
        columns[w][k].idle = columns[w][k].weight > 0 ? 0 : columns[w][k].idle + 1
      }
    }
  }

  private static let mostSweeps = 400

  /// Moves weight between two columns of window w.
  /// - Returns: what they differed by.
  private mutating func improve(window w: Int) -> Double {
    guard columns[w].count > 1 else { return 0 }
    var (top, low) = ((-1, -Double.infinity), (-1, Double.infinity))
    for (k, column) in columns[w].enumerated() {
      let value = value(column, window: w, at: shares)
      if value > top.1 { top = (k, value) }
      if column.weight > 0, value < low.1 { low = (k, value) }
    }
    guard top.0 != low.0, top.1 > low.1 else { return 0 }
    let (plus, minus) = (columns[w][top.0], columns[w][low.0])
    let squares =
      Self.distance(plus.first, minus.first) + Self.distance(plus.second, minus.second)
    guard squares > 0 else { return 0 }
    let step = min(minus.weight, (top.1 - low.1) / (reach * Double(squares)))
    columns[w][top.0].weight += step
    // All of it leaves no rounding behind.
    columns[w][low.0].weight = step == minus.weight ? 0 : minus.weight - step
    let change = reach * step
    if w > 0 {
      for place in plus.first { shares[w - 1][Int(place)] -= change }
      for place in minus.first { shares[w - 1][Int(place)] += change }
    }
    if w < problem.layers - 2 {
      for place in plus.second { shares[w][Int(place)] += change }
      for place in minus.second { shares[w][Int(place)] -= change }
    }
    return top.1 - low.1
  }

  /// Places in one of two ascending lists only.
  private static func distance(_ a: [Int32], _ b: [Int32]) -> Int {
    var (i, j, common) = (0, 0, 0)
    while i < a.count, j < b.count {
      if a[i] == b[j] {
        common += 1
        i += 1
        j += 1
      } else if a[i] < b[j] {
        i += 1
      } else {
        j += 1
      }
    }
    return a.count + b.count - 2 * common
  }
}
