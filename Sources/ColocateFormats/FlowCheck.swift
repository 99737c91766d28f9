import ColocateModel

/// What transition counts say about themselves: whether tokens pass every boundary, and in which
/// direction they flow.
enum FlowCheck {
  /// A warning where no transition joins two neighbouring layers.
  /// - Parameter layers: what the layers are called, `[L]`; nil for 0, 1, ….
  static func emptyBoundaries(_ counts: TransitionCounts, layers: [Int]? = nil) -> [Remark] {
    let square = counts.experts * counts.experts
    let empty = (0..<counts.boundaries).filter { boundary in
      counts.weights[(boundary * square)..<((boundary + 1) * square)].allSatisfy { $0 == 0 }
    }
    guard !empty.isEmpty else { return [] }
    let after = Remark.list(empty.map { layers?[$0] ?? $0 })
    let (noun, next) = empty.count == 1 ? ("layer", "its next") : ("layers", "their next")
    return [.warning("no token goes from \(noun) \(after) to \(next): nothing joins them")]
  }

  /// A warning where the counts of all boundaries stand with rows and columns exchanged.
  ///
  /// Complete tokens that enter an expert leave it: the column sums of a boundary are the row sums
  /// of the next. Where instead the row sums of each are the column sums of the next, rows are
  /// where tokens go to.
  static func exchangedAxes(_ counts: TransitionCounts) -> [Remark] {
    let experts = counts.experts
    guard counts.boundaries > 1 else { return [] }
    var (conserves, conservesExchanged) = (true, true)
    var (entered, left) = ([Int](), [Int]())
    for l in 0..<counts.boundaries where conserves || conservesExchanged {
      var rows = [Int](repeating: 0, count: experts)
      var columns = rows
      for i in 0..<experts {
        for j in 0..<experts {
          rows[i] += counts[l, i, j]
          columns[j] += counts[l, i, j]
        }
      }
      if l > 0 {
        conserves = conserves && entered == rows
        conservesExchanged = conservesExchanged && left == columns
      }
      (entered, left) = (columns, rows)
    }
    guard conservesExchanged, !conserves else { return [] }
    return [
      .warning(
        "tokens leave by the columns and enter by the rows: counts are [layers - 1, from, to]; "
          + "numpy's swapaxes(1, 2) puts that right")
    ]
  }
}
