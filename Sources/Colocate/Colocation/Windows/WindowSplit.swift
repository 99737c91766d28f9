import ColocateModel

/// The objective as a sum over windows, each of which is a problem of its own.
///
/// **Windows.** Window w is the two layers w and w+1. Every Y_w belongs to one window; the pairs of
/// an inner layer, Z_l, to the windows l-1 and l. For any numbers S_l[i,j] give window l the weight
/// S_l of these pairs and window l-1 the rest, V_l - S_l. Then what a placement keeps is the sum of
/// what it keeps in its windows, and
///
///     kept  ≤  Σ_w  (the most that any placement of window w's two layers keeps there).
///
/// The windows need not agree on the layers that they share, which is what the bound gives away;
/// how much depends on S. Any upper bound on a window's maximum will do, and windows are
/// independent: where a search tree over the whole would have to multiply the alternatives of all
/// layers, here the trees of the windows add up, and any number of threads can work on them. (A
/// Lagrangian decomposition; Guignard and Kim, Math. Programming 39, 1987.)
///
/// **S from multipliers.** At multipliers U, λ of the co-location relaxation its bound is such a
/// sum already, over relaxed windows. With C the reduced coefficients, half of which goes to each
/// of the two windows that have a pair, window l's relaxation has the objective
///
///     S_l = 2·U_l + A_lᵀλ + C/2        on the pairs of Z_l,
///
/// where U_l and A_l are boundary l's block and cuts. With this S the windows' relaxations prove no
/// more than their sum, and their exact maxima no more than that.
///
/// **Integers.** S is rounded to multiples of 2^-bits, which moves the split and nothing else. The
/// weights of a window are then integers in these units. Negative ones are avoided: the pairs of a
/// layer that share a group are always P·c(c-1)/2, so a constant may be added to all of them, and
/// what it adds is known.
package struct WindowSplit: Sendable {
  package let problem: GroupingProblem
  /// Windows' weights are in units of 2^-bits.
  package let fractionBits: Int
  /// S_l of the inner layers l = 1 … L-2, `[L-2][E·E]`, symmetric with a zero diagonal.
  package let shares: [[Int]]
  package private(set) var windows: [Window] = []

  /// A window as a problem of two layers.
  package struct Window: Sendable {
    package let problem: GroupingProblem
    /// What has been added to the weights of each pair of the first and the second layer.
    package let added: (first: Int, second: Int)
    /// What that adds to every placement.
    package let constant: Int
  }

  /// - Parameter shares: see `shares`; the caller vouches for their form. Larger ones than
  ///   `mostShare` are cut to it: any shares make a valid split.
  package init(problem: GroupingProblem, fractionBits: Int, shares: [[Int]]) {
    self.problem = problem
    self.fractionBits = fractionBits
    let most = Self.mostShare(experts: problem.experts)
    self.shares = shares.map { $0.map { min(max($0, -most), most) } }
    windows = (0..<(problem.layers - 1)).map { window($0) }
  }

  /// Where the windows agree, several placements of a window keep the same. Rounding must not make
  /// one of them better than the others by what could matter.
  private static let mostFractionBits = 14

  /// A window's pairs, fewer than E², are each raised by at most twice this: by 2^51 in all, so
  /// that with the counts they stay below 2^53 (`Magnitude`).
  private static func mostShare(experts: Int) -> Int { (1 << 50) / max(1, experts * experts) }

  /// S from multipliers; nil where these are malformed.
  package init?(problem: GroupingProblem, multipliers: ColocationMultipliers) {
    guard let split = multipliers.split(of: problem) else { return nil }
    var bits = Self.mostFractionBits
    while bits > 0, problem.total > (1 << 48) >> bits { bits -= 1 }
    self.init(
      problem: problem, fractionBits: bits,
      shares: split.map { block in
        block.map { Self.rounded($0, from: multipliers.fractionBits + 1, to: bits) }
      })
  }

  /// `value` in units of 2^-from to the nearest in units of 2^-to.
  private static func rounded(_ value: Int, from: Int, to: Int) -> Int {
    from <= to ? value << (to - from) : (value + 1 << (from - to - 1)) >> (from - to)
  }

  private func window(_ w: Int) -> Window {
    let experts = problem.experts
    let square = experts * experts
    let weights = problem.weights[(w * square)..<((w + 1) * square)].map { $0 << fractionBits }
    let (first, one) = Self.raised(inside(w, isSecond: false), experts: experts)
    let (second, two) = Self.raised(inside(w + 1, isSecond: true), experts: experts)
    let pairs = problem.groups * problem.groupSize * (problem.groupSize - 1) / 2
    return Window(
      problem: GroupingProblem(
        layers: 2, experts: experts, groups: problem.groups, weights: weights,
        coactivation: first + second,
        loads: problem.loads(layer: w) + problem.loads(layer: w + 1),
        caps: problem.caps.map { [$0[w], $0[w + 1]] }),
      added: (one, two), constant: (one + two) * pairs)
  }

  /// The weights of layer l's pairs in window l or, as its second layer, l-1.
  private func inside(_ l: Int, isSecond: Bool) -> [Int] {
    let square = problem.experts * problem.experts
    let own =
      problem.coactivation.isEmpty
      ? [Int](repeating: 0, count: square)
      : problem.coactivation[(l * square)..<((l + 1) * square)].map { $0 << fractionBits }
    // An end layer is in one window only.
    guard l > 0, l < problem.layers - 1 else { return own }
    let share = shares[l - 1]
    return isSecond ? zip(own, share).map { $0 - $1 } : share
  }

  /// Weights of pairs i ≠ j with the least of them raised to 0.
  private static func raised(_ weights: [Int], experts: Int) -> (weights: [Int], added: Int) {
    var least = Int.max
    for i in 0..<experts {
      for j in 0..<experts where i != j { least = min(least, weights[i * experts + j]) }
    }
    guard least != .max else { return (weights, 0) }
    var raised = weights
    for i in 0..<experts {
      for j in 0..<experts where i != j { raised[i * experts + j] -= least }
    }
    return (raised, -least)
  }

  /// What the windows' bounds come to: in kept weight, rounded down. Bounds and constants are in
  /// the windows' units.
  package func keptBound(_ bounds: [Int]) -> Int {
    Int(min(sum(bounds) >> Int128(fractionBits), Int128(problem.total)))
  }

  /// What values of the windows come to without the windows' constants, in the windows' units.
  package func sum(_ values: [Int]) -> Int128 {
    zip(values, windows).reduce(0) { $0 + Int128($1.0) - Int128($1.1.constant) }
  }

  /// A placement of the whole as one of window `w`.
  package func labels(_ labels: [Int], window w: Int) -> [Int] {
    Array(labels[(w * problem.experts)..<((w + 2) * problem.experts)])
  }
}

extension ColocationMultipliers {
  /// 2·(2·U_l + A_lᵀλ) + C on the pairs of each inner layer's Z_l in units of 2^-(q+1),
  /// `[L-2][E·E]`, symmetric with a zero diagonal.
  fileprivate func split(of problem: GroupingProblem) -> [[Int]]? {
    let context = ColocationCut.Context(problem: problem)
    let layout = context.layout
    // What U and the cuts of boundary l take from the pairs of Z_l, and in all of them.
    var own = [Int](repeating: 0, count: layout.count)
    var all = own
    for l in 0..<layout.boundaries {
      for (block, layer) in [(ColocationLayout.Block.left, l), (.right, l + 1)] {
        for i in 0..<experts {
          for j in (i + 1)..<max(experts, i + 1) {
            let value = 2 * entry(l, block, i, j)
            let place = layout.inside(layer, i, j)
            all[place] += value
            if layer == l { own[place] += value }
          }
        }
      }
    }
    for cut in cuts {
      guard let row = cut.row(in: context) else { return nil }
      let first = layout.inside(cut.boundary, 0, 0)
      let range = first..<(first + layout.blockSize)
      for (place, coefficient) in row.terms {
        let (product, over) = coefficient.multipliedReportingOverflow(by: cut.multiplier)
        guard !over, product.magnitude < 1 << 58, all[place].magnitude < 1 << 58 else { return nil }
        all[place] += product
        if range.contains(place) { own[place] += product }
      }
    }
    return (1..<max(1, problem.layers - 1)).map { l in
      var block = [Int](repeating: 0, count: experts * experts)
      for i in 0..<experts {
        for j in (i + 1)..<max(experts, i + 1) {
          let place = layout.inside(l, i, j)
          let weight = problem.coactivation(l, i, j) << fractionBits
          let value = 2 * own[place] + weight - all[place]
          block[i * experts + j] = value
          block[j * experts + i] = value
        }
      }
      return block
    }
  }
}
