import ColocateModel

/// Whether loads `[L, E]` that stand beside counts `[L-1, E, E]` can be of the same tokens.
///
/// A token with k experts in every layer leaves expert i for k experts of the next layer and comes
/// from k of the one before, so of complete tokens
///
///     Σ_j W_l[i, j] = Σ_j W_{l-1}[j, i] = k · load_l[i]        for one k, all l and i,
///
/// and their counts conserve flow. Tokens with padding have fewer transitions, never more than `E`
/// a visit. A cap on loads that the transitions contradict would bind nothing, or the wrong
/// experts.
struct LoadsCheck {
  private let counts: TransitionCounts
  /// Transitions into and out of each expert, `[L, E]`; nil where the layer has no such boundary.
  private let entering: [Int?]
  private let leaving: [Int?]

  /// - Parameter counts: with the loads that are to be checked.
  init(_ counts: TransitionCounts) {
    self.counts = counts
    let (layers, experts) = (counts.layers, counts.experts)
    var (inward, outward) = (
      [Int](repeating: 0, count: layers * experts), [Int](repeating: 0, count: layers * experts)
    )
    for l in 0..<counts.boundaries {
      for i in 0..<experts {
        for j in 0..<experts {
          let weight = counts[l, i, j]
          outward[l * experts + i] += weight
          inward[(l + 1) * experts + j] += weight
        }
      }
    }
    entering = inward.enumerated().map { $0 < experts ? nil : $1 }
    leaving = outward.enumerated().map { $0 < (layers - 1) * experts ? $1 : nil }
  }

  private func place(_ index: Int) -> String {
    "loads[\(index / counts.experts), \(index % counts.experts)] = \(counts.loads[index])"
  }

  private static let remedy = "; without a tensor 'loads' they follow from the counts"

  /// Refuses loads that contradict the counts.
  /// - Returns: a warning where they fit badly.
  /// - Throws: `ModelError.counts` with the place.
  func check() throws(ModelError) -> [Remark] {
    // Two layers have one boundary, which has nothing to conserve.
    var isComplete = counts.boundaries > 1
    for index in entering.indices {
      let (inward, outward) = (entering[index], leaving[index])
      if let inward, let outward, inward != outward { isComplete = false }
      let most = max(inward ?? 0, outward ?? 0)
      let (limit, overflow) = counts.loads[index].multipliedReportingOverflow(by: counts.experts)
      guard overflow || most <= limit else {
        throw .counts(
          "\(place(index)), but \(most) transitions touch this expert, expected at least "
            + "\((most + counts.experts - 1) / counts.experts)" + Self.remedy)
      }
    }
    if isComplete {
      try checkOneFactor()
      return []
    }
    return misfit()
  }

  private func touching(_ index: Int) -> Int { max(entering[index] ?? 0, leaving[index] ?? 0) }

  /// Counts of tokens with padding: with the smallest k that no expert's transitions exceed, does
  /// an expert lack more than a third of the transitions that its load stands for?
  private func misfit() -> [Remark] {
    let loads = counts.loads
    let used = loads.indices.filter { loads[$0] > 0 }
    let k = used.map { (touching($0) + loads[$0] - 1) / loads[$0] }.max() ?? 0
    guard
      let worst = used.first(where: { 2 * Double(k) * Double(loads[$0]) > 3 * Double(touching($0)) }
      )
    else { return [] }
    return [
      .warning(
        "\(place(worst)), but only \(touching(worst)) transitions leave or enter this expert, "
          + "where other loads stand for up to \(k) a token: are these the loads of the same "
          + "tokens?"
      )
    ]
  }

  /// Counts that conserve flow are of complete tokens: one k must fit all loads.
  private func checkOneFactor() throws(ModelError) {
    guard let first = counts.loads.firstIndex(where: { $0 > 0 }) else { return }
    let (k, rest) = touching(first).quotientAndRemainder(dividingBy: counts.loads[first])
    guard rest == 0, k > 0 else {
      throw .counts(
        "\(place(first)), but \(touching(first)) transitions leave or enter this expert, expected "
          + "a multiple of the load" + Self.remedy)
    }
    for index in counts.loads.indices {
      let (wanted, overflow) = counts.loads[index].multipliedReportingOverflow(by: k)
      guard !overflow, wanted == touching(index) else {
        throw .counts(
          "\(place(index)), but \(touching(index)) transitions leave or enter this expert, "
            + "expected \(k) for each of its tokens as for loads[\(first / counts.experts), "
            + "\(first % counts.experts)]" + Self.remedy)
      }
    }
  }

  /// Two experts that tokens use together need tokens: `V[l, i, j] ≤ min(load[i], load[j])`.
  /// - Throws: `ModelError.counts` with the place.
  static func checkCoactivation(_ counts: TransitionCounts) throws(ModelError) {
    guard !counts.coactivation.isEmpty else { return }
    let experts = counts.experts
    for l in 0..<counts.layers {
      for i in 0..<experts {
        for j in 0..<i {
          let together = counts.coactivation[(l * experts + i) * experts + j]
          let least = min(counts.load(layer: l, expert: i), counts.load(layer: l, expert: j))
          guard together <= least else {
            throw .counts(
              "co-activation [\(l), \(i), \(j)] = \(together), but one of the two experts has only "
                + "\(least) tokens")
          }
        }
      }
    }
  }
}
