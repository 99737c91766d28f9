import ColocateModel

/// Transportation: `items` go to `groups` with room for `capacity` each so that the chosen gains
/// add up to the most. A layer between two fixed neighbours is exactly this problem.
///
/// Successive shortest augmenting paths (Ahuja, Magnanti, Orlin, Network Flows, 1993, §9.7) on the
/// groups alone: the copies of a group's `capacity` seats are merged, so an augmenting path visits
/// each group once and moves one member out of each full group it passes. Prices `y_g` keep every
/// item at a group that is best for it under `gain - price`. O(items · (groups · capacity) ·
/// groups), exact in integers. The same problem as a square assignment with copied columns costs
/// O(items³): 30 times as much at 256 items and 32 groups.
package struct Transportation {
  private var price: [Int] = []
  private var distance: [Int] = []
  private var fromGroup: [Int] = []
  private var fromItem: [Int] = []
  private var done: [Bool] = []
  private var member: [Int] = []
  private var size: [Int] = []
  private var seat: [Int] = []
  private let control: SearchControl?

  /// - Parameter control: looked at for every item; where it says stop, the rest of the items go
  ///   wherever there is room. Ask it afterwards: then the sum is not the largest. nil for never.
  package init(control: SearchControl? = nil) { self.control = control }

  /// - Parameters:
  ///   - gains: `[items, groups]`, row-major.
  ///   - capacity: `groups · capacity ≥ items`.
  ///   - groupOf: filled with each item's group.
  /// - Returns: the largest sum of gains.
  @discardableResult
  package mutating func maximise(
    items: Int, groups: Int, capacity: Int, gains: [Int], groupOf: inout [Int]
  ) -> Int {
    precondition(gains.count >= items * groups && groups * capacity >= items)
    return gains.withUnsafeBufferPointer {
      maximise(
        items: items, groups: groups, capacity: capacity, gains: $0.baseAddress!, groupOf: &groupOf)
    }
  }

  @discardableResult
  package mutating func maximise(
    items: Int, groups: Int, capacity: Int, gains: UnsafePointer<Int>, groupOf: inout [Int]
  ) -> Int {
    if price.count != groups || member.count != groups * capacity {
      price = [Int](repeating: 0, count: groups)
      (distance, fromGroup, fromItem, size) = (price, price, price, price)
      done = [Bool](repeating: false, count: groups)
      member = [Int](repeating: -1, count: groups * capacity)
    }
    if seat.count != items { seat = [Int](repeating: -1, count: items) }
    if groupOf.count != items { groupOf = [Int](repeating: -1, count: items) }
    for g in 0..<groups { (price[g], size[g]) = (0, 0) }
    var isStopped = false
    for item in 0..<items {
      isStopped = isStopped || (control?.shouldStop ?? false)
      if isStopped {
        // No prices any more: the first group with room.
        var group = 0
        while size[group] == capacity { group += 1 }
        member[group * capacity + size[group]] = item
        size[group] += 1
        groupOf[item] = group
        continue
      }
      let row = gains + item * groups
      for g in 0..<groups {
        distance[g] = price[g] - row[g]
        fromGroup[g] = -1
        fromItem[g] = item
        done[g] = false
      }
      var end = 0
      while true {
        end = -1
        for g in 0..<groups where !done[g] && (end < 0 || distance[g] < distance[end]) { end = g }
        done[end] = true
        if size[end] < capacity { break }
        for k in 0..<capacity {
          let mover = member[end * capacity + k]
          let moverRow = gains + mover * groups
          let base = distance[end] - price[end] + moverRow[end]
          for g in 0..<groups where !done[g] {
            let length = base + price[g] - moverRow[g]
            if length < distance[g] {
              (distance[g], fromGroup[g], fromItem[g]) = (length, end, mover)
            }
          }
        }
      }
      let reach = distance[end]
      for g in 0..<groups where done[g] && g != end { price[g] += reach - distance[g] }
      // Back along the path: each group takes its item over from the group before, which frees that
      // seat.
      var group = end
      var free = size[end]
      size[end] += 1
      while true {
        let mover = fromItem[group]
        let before = fromGroup[group]
        let left = before < 0 ? -1 : seat[mover]
        member[group * capacity + free] = mover
        seat[mover] = free
        groupOf[mover] = group
        if before < 0 { break }
        group = before
        free = left
      }
    }
    var sum = 0
    for item in 0..<items { sum += gains[item * groups + groupOf[item]] }
    return sum
  }
}
