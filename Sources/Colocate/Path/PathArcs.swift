/// The arcs of one boundary by rows, each row sorted by penalty, with exact slacks in ticks: what
/// the layered search steps along.
package final class PathArcs: Sendable {
  /// `[n_l + 1]`.
  let rowStart: SharedBuffer<Int32>
  let target: SharedBuffer<UInt16>
  /// Members of the target, as a bit set.
  let mask: SharedBuffer<UInt64>
  /// slack(S,T).
  let slack: SharedBuffer<Int32>
  /// slack(S,T) + pen(T).
  let penalty: SharedBuffer<Int32>
  /// The least slack of each row; `Int32.max` where it is empty, `[n_l]`.
  let leastSlack: SharedBuffer<Int32>

  private struct Arc {
    var penalty: Int32
    var slack: Int32
    var target: UInt16
  }

  /// Arcs with a penalty of at most `cut` ticks (below 2³¹); nil where there are more than `limit`,
  /// or where the control stopped it (whoever asked looks at the clock).
  init?(_ evaluation: PathEvaluation, boundary l: Int, cut: Int, limit: Int) {
    let control = evaluation.model.control
    let start = SharedBuffer(repeating: Int32(0), count: evaluation.layers[l].count + 1)
    var arcs = GrowingBuffer<Arc>(capacity: 4096)
    var isOver = false
    evaluation.scanArcs(boundary: l, cut: Double(cut)) { s, t, slack in
      let penalty = slack + evaluation.penalty(l + 1, Int(t))
      arcs.append(Arc(penalty: Int32(penalty), slack: Int32(slack), target: t))
    } endOfRow: { s in
      start[s + 1] = Int32(truncatingIfNeeded: arcs.count)
      isOver = arcs.count > limit || (s & 63 == 0 && control?.shouldStop ?? false)
      if !isOver {
        var row = UnsafeMutableBufferPointer(
          start: arcs.base + Int(start[s]), count: arcs.count - Int(start[s]))
        row.sort { ($0.penalty, $0.slack, $0.target) < ($1.penalty, $1.slack, $1.target) }
      }
      return !isOver
    }
    if isOver { return nil }
    rowStart = start
    target = SharedBuffer(repeating: 0, count: arcs.count)
    mask = SharedBuffer(repeating: 0, count: arcs.count)
    slack = SharedBuffer(repeating: 0, count: arcs.count)
    penalty = SharedBuffer(repeating: 0, count: arcs.count)
    leastSlack = SharedBuffer(repeating: Int32.max, count: evaluation.layers[l].count)
    for s in 0..<leastSlack.count {
      for index in Int(start[s])..<Int(start[s + 1]) {
        leastSlack[s] = min(leastSlack[s], arcs.base[index].slack)
      }
    }
    let masks = evaluation.layers[l + 1].masks
    for index in 0..<arcs.count {
      let arc = arcs.base[index]
      target[index] = arc.target
      mask[index] = masks[Int(arc.target)]
      slack[index] = arc.slack
      penalty[index] = arc.penalty
    }
  }
}
