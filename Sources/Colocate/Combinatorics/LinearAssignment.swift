import ColocateModel

/// Linear assignment: match `n` rows to `n` columns so that the chosen entries add up to the most.
///
/// Shortest augmenting paths (Jonker and Volgenant, Computing 38, 1987; in the row-by-row form of
/// Kuhn's Hungarian method): rows enter one after the other; each finds the cheapest alternating
/// path to a free column under reduced costs `price - entry ≥ 0`, by Dijkstra over the columns, and
/// the prices move so that matched entries stay tight. O(n³), integers, exact. Rows whose best
/// column is still free are matched without a search, which settles most rows of the nearly
/// diagonal overlap matrices that label matching produces. The auction algorithm was not tried: its
/// ε-scaling has nothing to win at n ≤ 256 with exact integers.
package struct LinearAssignment {
  private var rowOf: [Int] = []
  private var price: [Int] = []
  private var rowPrice: [Int] = []
  private var slack: [Int] = []
  private var from: [Int] = []
  private var done: [Bool] = []

  private let control: SearchControl?

  /// - Parameter control: looked at for every row that needs a path; where it says stop, the rest
  ///   of the rows get the columns that are free. Ask it afterwards: then the sum is not the
  ///   largest. nil for never.
  package init(control: SearchControl? = nil) { self.control = control }

  /// - Parameters:
  ///   - size: `n ≥ 1`.
  ///   - entries: `[n, n]`, row-major; differences must fit into half of `Int`.
  ///   - columnOf: filled with each row's column.
  /// - Returns: the largest sum.
  @discardableResult
  package mutating func maximise(size: Int, entries: [Int], columnOf: inout [Int]) -> Int {
    precondition(entries.count >= size * size)
    return entries.withUnsafeBufferPointer {
      maximise(size: size, entries: $0.baseAddress!, columnOf: &columnOf)
    }
  }

  @discardableResult
  package mutating func maximise(
    size: Int, entries: UnsafePointer<Int>, columnOf: inout [Int]
  ) -> Int {
    if columnOf.count != size { columnOf = [Int](repeating: -1, count: size) }
    if size == 1 {
      columnOf[0] = 0
      return entries[0]
    }
    if size == 2 {
      let (straight, crossed) = (entries[0] + entries[3], entries[1] + entries[2])
      columnOf[0] = straight >= crossed ? 0 : 1
      columnOf[1] = 1 - columnOf[0]
      return max(straight, crossed)
    }
    if rowOf.count != size {
      rowOf = [Int](repeating: -1, count: size)
      price = [Int](repeating: 0, count: size)
      rowPrice = price
      slack = price
      from = price
      done = [Bool](repeating: false, count: size)
    }
    // Invariant: rowPrice[i] + price[j] ≥ entries[i, j] for all i, j, with equality where i and j
    // are matched.
    rowOf.withUnsafeMutableBufferPointer { rowOf in
      price.withUnsafeMutableBufferPointer { price in
        rowPrice.withUnsafeMutableBufferPointer { rowPrice in
          slack.withUnsafeMutableBufferPointer { slack in
            from.withUnsafeMutableBufferPointer { from in
              done.withUnsafeMutableBufferPointer { done in
                columnOf.withUnsafeMutableBufferPointer { columnOf in
                  Self.solve(
                    size, entries, rowOf, price, rowPrice, slack, from, done, columnOf, control)
                }
              }
            }
          }
        }
      }
    }
    var sum = 0
    for i in 0..<size { sum += entries[i * size + columnOf[i]] }
    return sum
  }

  private static func solve(
    _ size: Int, _ entries: UnsafePointer<Int>, _ rowOf: UnsafeMutableBufferPointer<Int>,
    _ price: UnsafeMutableBufferPointer<Int>, _ rowPrice: UnsafeMutableBufferPointer<Int>,
    _ slack: UnsafeMutableBufferPointer<Int>, _ from: UnsafeMutableBufferPointer<Int>,
    _ done: UnsafeMutableBufferPointer<Bool>, _ columnOf: UnsafeMutableBufferPointer<Int>,
    _ control: SearchControl?
  ) {
    for j in 0..<size { (rowOf[j], price[j]) = (-1, 0) }
    for i in 0..<size {
      let row = entries + i * size
      var best = 0
      for j in 1..<size where row[j] > row[best] { best = j }
      rowPrice[i] = row[best]
      columnOf[i] = -1
      if rowOf[best] < 0 {
        rowOf[best] = i
        columnOf[i] = best
      }
    }
    var free = 0
    var isStopped = false
    for start in 0..<size where columnOf[start] < 0 {
      // O(size²) from one look at the clock to the next.
      isStopped = isStopped || (control?.shouldStop ?? false)
      if isStopped {
        while rowOf[free] >= 0 { free += 1 }
        rowOf[free] = start
        columnOf[start] = free
        continue
      }
      for j in 0..<size {
        slack[j] = rowPrice[start] + price[j] - entries[start * size + j]
        from[j] = start
        done[j] = false
      }
      var end = -1
      var reach = 0
      while true {
        end = -1
        for j in 0..<size where !done[j] && (end < 0 || slack[j] < slack[end]) { end = j }
        reach = slack[end]
        done[end] = true
        let i = rowOf[end]
        if i < 0 { break }
        let row = entries + i * size
        let base = reach + rowPrice[i]
        for j in 0..<size where !done[j] {
          let length = base + price[j] - row[j]
          if length < slack[j] { (slack[j], from[j]) = (length, i) }
        }
      }
      // Rows on the tree give, columns on the tree take, so that the path's edges become tight and
      // none turns negative.
      rowPrice[start] -= reach
      for j in 0..<size where done[j] && j != end {
        price[j] += reach - slack[j]
        rowPrice[rowOf[j]] -= reach - slack[j]
      }
      var column = end
      while true {
        let i = from[column]
        let next = columnOf[i]
        rowOf[column] = i
        columnOf[i] = column
        if i == start { break }
        column = next
      }
    }
  }
}
