import ColocateModel

/// Arcs of the path relaxation that are good enough to matter, found by one streaming pass over all
/// of them.
///
/// A scan is the relaxation as it was when it was made: values, which several threads may read.
struct PathScan: Sendable {
  let experts: Int
  let layers: [PathSubsets]
  /// `own(S)`, `f(S)`, `b(S)` of every layer, and λ; in ticks.
  let own: [Block<Double>]
  let forward: [Block<Double>]
  let backward: [Block<Double>]
  let longest: Double
  let weights: Block<Double>
  let control: SearchControl?

  /// `pen(S)`.
  @inline(__always)
  func penalty(_ l: Int, _ s: Int) -> Double { longest - forward[l][s] - backward[l][s] }

  /// Calls `visit(S, T, slack)` for every arc of boundary `l` whose penalty
  ///
  ///     λ − f(S) − w(S,T) − own(T) − b(T) = slack(S,T) + pen(T),   slack(S,T) = f(T) − own(T) − w(S,T) − f(S)
  ///
  /// is at most `cut` ticks, row by row with T ascending, and `endOfRow(S)` after each row; that
  /// answers whether to go on. O(n_l · n_{l+1}), four rows at once. The potentials must belong to
  /// the present subsets.
  @inline(__always)
  func scanArcs(
    boundary l: Int, cut: Double, _ visit: (Int, UInt16, Double) -> Void,
    endOfRow: (Int) -> Bool
  ) {
    let sources = layers[l]
    let targets = layers[l + 1]
    let own = own[l + 1]
    let reach = Block(targets.count, 0.0)  // own(T) + b(T)
    let start = Block(targets.count, 0.0)  // f(T) − own(T)
    for t in 0..<targets.count {
      reach[t] = own[t] + backward[l + 1][t]
      start[t] = forward[l + 1][t] - own[t]
    }
    let sums = Block(experts, SIMD4<Double>.zero)
    let left = Block(targets.leftCount, SIMD4<Double>.zero)
    let right = Block(targets.rightCount, SIMD4<Double>.zero)
    let leftIndex = targets.left.base
    let rightIndex = targets.right.base
    // What passes in each lane: T and the weight.
    let passing = Block(4 * targets.count, UInt16(0))
    let weights = Block(4 * targets.count, 0.0)
    for row in 0..<((sources.count + 3) / 4) {
      PathRelaxation.sumRows(
        sources, from: row * 4, matrix: self.weights.base + l * experts * experts,
        experts: experts, into: sums.base)
      targets.tabulate(sums.base, left: left.base, right: right.base)
      var need = SIMD4<Double>(repeating: .greatestFiniteMagnitude)
      for lane in 0..<min(4, sources.count - row * 4) {
        need[lane] = longest - forward[l][row * 4 + lane] - cut
      }
      var count = SIMD4<Int>.zero
      for t in 0..<targets.count {
        let weight = left[Int(leftIndex[t])] + right[Int(rightIndex[t])]
        let excess = weight + SIMD4(repeating: reach[t]) - need
        if max(max(excess[0], excess[1]), max(excess[2], excess[3])) < 0 { continue }
        for lane in 0..<4 where excess[lane] >= 0 {
          passing[lane * targets.count + count[lane]] = UInt16(truncatingIfNeeded: t)
          weights[lane * targets.count + count[lane]] = weight[lane]
          count[lane] += 1
        }
      }
      for lane in 0..<min(4, sources.count - row * 4) {
        let s = row * 4 + lane
        let from = forward[l][s]
        for index in 0..<count[lane] {
          let t = passing[lane * targets.count + index]
          visit(s, t, start[Int(t)] - weights[lane * targets.count + index] - from)
        }
        if !endOfRow(s) { return }
      }
    }
  }
}

extension PathRelaxation {
  /// For scans of the arcs at the present potentials.
  var scan: PathScan {
    PathScan(
      experts: experts, layers: layers, own: (0..<layers.count).map { vertexWeights($0) },
      forward: forward, backward: backward, longest: longest, weights: weights, control: control)
  }
}

/// The arcs of one boundary by rows, each row sorted by penalty, with exact slacks in ticks.
package final class PathArcs: Sendable {
  let rowStart: Block<Int32>
  let target: Block<UInt16>
  /// Members of the target, as a bit set.
  let mask: Block<UInt64>
  /// slack(S,T).
  let slack: Block<Int32>
  /// slack(S,T) + pen(T).
  let penalty: Block<Int32>

  package var count: Int { target.count }

  /// Arcs with a penalty of at most `cut` ticks; nil where there are more than `limit`.
  init?(scan: PathScan, boundary l: Int, cut: Int, limit: Int) {
    struct Arc {
      var penalty: Int32
      var slack: Int32
      var target: UInt16
    }
    let rows = scan.layers[l].count
    let masks = scan.layers[l + 1].masks
    rowStart = Block(rows + 1, 0)
    var arcs = GrowingList<Arc>(capacity: 4096)
    defer { arcs.deallocate() }
    var isOverfull = false
    let start = rowStart
    scan.scanArcs(boundary: l, cut: Double(cut)) { s, t, slack in
      let penalty = slack + scan.penalty(l + 1, Int(t))
      arcs.append(Arc(penalty: Int32(penalty), slack: Int32(slack), target: t))
    } endOfRow: { s in
      start[s + 1] = Int32(truncatingIfNeeded: arcs.count)
      // A stopped list is given up like one that grew too long; whoever asked looks at the clock.
      isOverfull = arcs.count > limit || (s & 63 == 0 && scan.control?.shouldStop ?? false)
      if !isOverfull {
        var row = UnsafeMutableBufferPointer(
          start: arcs.base + Int(start[s]), count: arcs.count - Int(start[s]))
        row.sort { ($0.penalty, $0.slack, $0.target) < ($1.penalty, $1.slack, $1.target) }
      }
      return !isOverfull
    }
    target = Block(arcs.count, 0)
    mask = Block(arcs.count, 0)
    slack = Block(arcs.count, 0)
    penalty = Block(arcs.count, 0)
    if isOverfull { return nil }
    for index in 0..<arcs.count {
      let arc = arcs.base[index]
      target[index] = arc.target
      mask[index] = masks[Int(arc.target)]
      slack[index] = arc.slack
      penalty[index] = arc.penalty
    }
  }
}
