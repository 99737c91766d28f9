import ColocateModel

/// Linear assignment: match `n` rows to `n` columns so that the chosen entries add up to the most.
///
/// Shortest augmenting paths (Jonker and Volgenant, Computing 38, 1987; in the row-by-row form of
/// Kuhn's Hungarian method): rows enter one after the other; each finds the cheapest alternating
/// path to a free column under the reduced costs `rowPrice + price − entry ≥ 0`, by Dijkstra over
/// the columns, and the prices move so that matched entries stay tight. When all rows are matched
/// every matched entry is tight and no reduced cost is negative, so the prices prove that no other
/// matching is worth more. O(n³), in integers, exact; of several best matchings the same one is
/// found each time. Rows whose best column is still free are matched without a search, which
/// settles most rows of the nearly diagonal overlap matrices that label matching produces.
package struct LinearAssignment {
  private let control: SearchControl?

  /// - Parameter control: looked at for every row that needs a path; where it says stop, the rest
  ///   of the rows get the columns that are free. Ask it afterwards: then the sum is not the
  ///   largest. nil for never.
  package init(control: SearchControl? = nil) { self.control = control }

  /// The best matching of entries in an array.
  @discardableResult
  package func maximise(size: Int, entries: [Int], columnOf: inout [Int]) -> Int {
    maximise(size: size, entries: entries.span, columnOf: &columnOf)
  }

  /// The best matching.
  /// - Parameters:
  ///   - size: `n ≥ 1`.
  ///   - entries: `[n, n]`, row-major; differences must fit into half of `Int`.
  ///   - columnOf: filled with each row's column, `[n]`.
  /// - Returns: the largest sum.
  @discardableResult
  package func maximise(size: Int, entries: Span<Int>, columnOf: inout [Int]) -> Int {
    precondition(entries.count == size * size, "an assignment's entries are not square")
    if columnOf.count != size { columnOf = [Int](repeating: -1, count: size) }
    switch size {
    case 1:
      columnOf[0] = 0
      return entries[0]
    case 2:
      let (straight, crossed) = (entries[0] + entries[3], entries[1] + entries[2])
      columnOf[0] = straight >= crossed ? 0 : 1
      columnOf[1] = 1 - columnOf[0]
      return max(straight, crossed)
    default:
      return entries.withUnsafeBufferPointer { entries in
        columnOf.withUnsafeMutableBufferPointer { columnOf in
          withUnsafeTemporaryAllocation(of: Int.self, capacity: Matching.words * size) { memory in
            var matching = Matching(
              size: size, entries: entries, columnOf: columnOf, memory: memory)
            return matching.solve(control: control)
          }
        }
      }
    }
  }
}

/// One assignment problem on its way, in memory that the caller holds for as long.
///
/// Invariant: `rowPrice[i] + price[j] ≥ entries[i, j]` for all i, j, with equality where i and j
/// are matched.
private struct Matching {
  /// `Int`s needed for each row.
  static let words = 6

  let size: Int
  let entries: UnsafeBufferPointer<Int>
  /// -1 for a row without a column.
  let columnOf: UnsafeMutableBufferPointer<Int>
  /// -1 for a free column.
  let rowOf: UnsafeMutableBufferPointer<Int>
  /// Of columns.
  let price: UnsafeMutableBufferPointer<Int>
  let rowPrice: UnsafeMutableBufferPointer<Int>
  /// Length of the shortest alternating path to each column so far.
  let length: UnsafeMutableBufferPointer<Int>
  /// The row from which that path reaches the column.
  let from: UnsafeMutableBufferPointer<Int>
  /// 1 for a column whose shortest path is known.
  let isDone: UnsafeMutableBufferPointer<Int>

  /// - Parameter memory: `words · size`, initialised here. The values are plain integers, so there
  ///   is nothing to undo at the end.
  init(
    size: Int, entries: UnsafeBufferPointer<Int>, columnOf: UnsafeMutableBufferPointer<Int>,
    memory: UnsafeMutableBufferPointer<Int>
  ) {
    memory.initialize(repeating: 0)
    func part(_ index: Int) -> UnsafeMutableBufferPointer<Int> {
      UnsafeMutableBufferPointer(rebasing: memory[(index * size)..<((index + 1) * size)])
    }
    (self.size, self.entries, self.columnOf) = (size, entries, columnOf)
    (rowOf, price, rowPrice) = (part(0), part(1), part(2))
    (length, from, isDone) = (part(3), part(4), part(5))
  }

  /// Matches every row.
  /// - Returns: the sum of the matched entries.
  mutating func solve(control: SearchControl?) -> Int {
    matchFreeMaxima()
    var free = 0
    var isStopped = false
    for row in 0..<size where columnOf[row] < 0 {
      // O(size²) from one look at the clock to the next.
      isStopped = isStopped || (control?.shouldStop ?? false)
      if isStopped {
        while rowOf[free] >= 0 { free += 1 }
        rowOf[free] = row
        columnOf[row] = free
      } else {
        let end = findPath(from: row)
        movePrices(start: row, end: end)
        augment(start: row, end: end)
      }
    }
    var sum = 0
    for i in 0..<size { sum += entries[i * size + columnOf[i]] }
    return sum
  }

  /// Matches the rows whose largest entry is in a column that no earlier row took.
  private mutating func matchFreeMaxima() {
    for j in 0..<size { rowOf[j] = -1 }
    for i in 0..<size {
      let row = i * size
      var best = 0
      for j in 1..<size where entries[row + j] > entries[row + best] { best = j }
      rowPrice[i] = entries[row + best]
      columnOf[i] = -1
      if rowOf[best] < 0 {
        rowOf[best] = i
        columnOf[i] = best
      }
    }
  }

  /// Dijkstra's shortest paths from row `start` to all columns, until a free one is reached.
  /// - Returns: the free column.
  private mutating func findPath(from start: Int) -> Int {
    for j in 0..<size {
      length[j] = rowPrice[start] + price[j] - entries[start * size + j]
      from[j] = start
      isDone[j] = 0
    }
    while true {
      var end = -1
      for j in 0..<size where isDone[j] == 0 && (end < 0 || length[j] < length[end]) { end = j }
      isDone[end] = 1
      let i = rowOf[end]
      if i < 0 { return end }
      let row = i * size
      let base = length[end] + rowPrice[i]
      for j in 0..<size where isDone[j] == 0 {
        let longer = base + price[j] - entries[row + j]
        if longer < length[j] { (length[j], from[j]) = (longer, i) }
      }
    }
  }

  /// Rows on the tree of paths give and its columns take, so that the path's entries become tight
  /// and no reduced cost turns negative.
  private mutating func movePrices(start: Int, end: Int) {
    let reach = length[end]
    rowPrice[start] -= reach
    for j in 0..<size where isDone[j] == 1 && j != end {
      price[j] += reach - length[j]
      rowPrice[rowOf[j]] -= reach - length[j]
    }
  }

  /// Each row on the path gives its column up to the row before it.
  private mutating func augment(start: Int, end: Int) {
    var column = end
    while true {
      let i = from[column]
      let next = columnOf[i]
      rowOf[column] = i
      columnOf[i] = column
      if i == start { return }
      column = next
    }
  }
}
