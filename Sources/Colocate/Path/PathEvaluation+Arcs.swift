/// The arcs of a boundary that are good enough to matter, found by one streaming pass over all of
/// them: an arc is never stored before it has been seen to be one.
///
/// An arc S → T costs a placement `slack(S,T) = f(T) − own(T) − w(S,T) − f(S) ≥ 0`, by which the
/// way to T over S is shorter than the longest way to T. Its penalty is
///
///     λ − f(S) − w(S,T) − own(T) − b(T) = slack(S,T) + pen(T)
///
/// the amount by which the longest path through the arc is shorter than λ.
extension PathEvaluation {
  /// Calls `visit(S, T, slack)` for every arc of boundary `l` whose penalty is at most `cut` ticks,
  /// row by row with T ascending, and `endOfRow(S)` after each row; that answers whether to go on.
  /// O(n_l · n_{l+1}), four rows at once.
  @inline(__always)
  func scanArcs(
    boundary l: Int, cut: Double, _ visit: (Int, UInt16, Double) -> Void,
    endOfRow: (Int) -> Bool
  ) {
    let sources = layers[l]
    let targets = layers[l + 1]
    let targetCount = targets.count
    let reach = Buffer(repeating: 0.0, count: targetCount)  // own(T) + b(T)
    let start = Buffer(repeating: 0.0, count: targetCount)  // f(T) − own(T)
    for t in 0..<targetCount {
      reach.base[t] = own[l + 1][t] + backward[l + 1][t]
      start.base[t] = forward[l + 1][t] - own[l + 1][t]
    }
    let sums = Buffer(repeating: SIMD4<Double>.zero, count: experts)
    let left = Buffer(repeating: SIMD4<Double>.zero, count: targets.leftCount)
    let right = Buffer(repeating: SIMD4<Double>.zero, count: targets.rightCount)
    let leftIndex = targets.left.base
    let rightIndex = targets.right.base
    // What passes in each lane: T and the weight.
    let passing = Buffer(repeating: UInt16(0), count: 4 * targetCount)
    let weights = Buffer(repeating: 0.0, count: 4 * targetCount)
    let matrix = model.weights.base + l * experts * experts
    for row in 0..<((sources.count + 3) / 4) {
      PathEvaluation.sumRows(
        sources, from: row * 4, matrix: matrix, experts: experts, into: sums.base)
      targets.tabulate(sums.base, left: left.base, right: right.base)
      var need = SIMD4<Double>(repeating: .greatestFiniteMagnitude)
      for lane in 0..<min(4, sources.count - row * 4) {
        need[lane] = longest - forward[l][row * 4 + lane] - cut
      }
      var count = SIMD4<Int>.zero
      for t in 0..<targetCount {
        let weight = left.base[Int(leftIndex[t])] + right.base[Int(rightIndex[t])]
        let excess = weight + SIMD4(repeating: reach.base[t]) - need
        if max(max(excess[0], excess[1]), max(excess[2], excess[3])) < 0 { continue }
        for lane in 0..<4 where excess[lane] >= 0 {
          passing.base[lane * targetCount + count[lane]] = UInt16(truncatingIfNeeded: t)
          weights.base[lane * targetCount + count[lane]] = weight[lane]
          count[lane] += 1
        }
      }
      for lane in 0..<min(4, sources.count - row * 4) {
        let s = row * 4 + lane
        let from = forward[l][s]
        for index in (lane * targetCount)..<(lane * targetCount + count[lane]) {
          let t = passing.base[index]
          visit(s, t, start.base[Int(t)] - weights.base[index] - from)
        }
        if !endOfRow(s) { return }
      }
    }
  }
}
