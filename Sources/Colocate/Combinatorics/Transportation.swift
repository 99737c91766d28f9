import ColocateModel

/// Transportation: `items` go to `groups` with room for `capacity` each so that the chosen gains
/// add up to the most. A layer between two fixed neighbours is exactly this problem.
///
/// Successive shortest augmenting paths (Ahuja, Magnanti, Orlin, Network Flows, 1993, §9.7) on the
/// groups alone: the copies of a group's `capacity` seats are merged, so an augmenting path visits
/// each group once and moves one member out of each full group that it passes. Prices `y_g` keep
/// every item at a group that is best for it under `gain − price`, and only full groups have a
/// price, so at the end the prices prove the optimum. O(items · (groups · capacity) · groups),
/// exact in integers; of several best answers the same one is found each time. The same problem as
/// a square assignment with one column per seat costs O(items³).
package struct Transportation {
  private let control: SearchControl?

  /// - Parameter control: looked at for every item; where it says stop, the rest of the items go
  ///   wherever there is room. Ask it afterwards: then the sum is not the largest. nil for never.
  package init(control: SearchControl? = nil) { self.control = control }

  /// - Parameters:
  ///   - gains: `[items, groups]`, row-major.
  ///   - capacity: `groups · capacity ≥ items`.
  ///   - groupOf: filled with each item's group, `[items]`.
  /// - Returns: the largest sum of gains.
  @discardableResult
  package func maximise(
    items: Int, groups: Int, capacity: Int, gains: [Int], groupOf: inout [Int]
  ) -> Int {
    precondition(
      gains.count == items * groups && groups * capacity >= items,
      "a transportation problem without room for its items")
    if groupOf.count != items { groupOf = [Int](repeating: -1, count: items) }
    let words = Seating.words(items: items, groups: groups, capacity: capacity)
    return gains.withUnsafeBufferPointer { gains in
      groupOf.withUnsafeMutableBufferPointer { groupOf in
        withUnsafeTemporaryAllocation(of: Int.self, capacity: words) { memory in
          var seating = Seating(
            items: items, groups: groups, capacity: capacity, gains: gains, groupOf: groupOf,
            memory: memory)
          return seating.solve(control: control)
        }
      }
    }
  }
}

/// One transportation problem on its way, in memory that the caller holds for as long.
///
/// Invariant: every seated item's group maximises `gain − price` over all groups, and a group with
/// room has price 0.
private struct Seating {
  let items: Int
  let groups: Int
  let capacity: Int
  let gains: UnsafeBufferPointer<Int>
  let groupOf: UnsafeMutableBufferPointer<Int>
  let price: UnsafeMutableBufferPointer<Int>
  /// Seats taken of each group.
  let size: UnsafeMutableBufferPointer<Int>
  /// Length of the shortest path to each group so far.
  let distance: UnsafeMutableBufferPointer<Int>
  /// The group before it on that path, -1 for none, and the item that would move.
  let fromGroup: UnsafeMutableBufferPointer<Int>
  let fromItem: UnsafeMutableBufferPointer<Int>
  /// 1 for a group whose shortest path is known.
  let isDone: UnsafeMutableBufferPointer<Int>
  /// `[groups, capacity]`: who sits where.
  let member: UnsafeMutableBufferPointer<Int>
  /// `[items]`: each item's seat in its group.
  let seat: UnsafeMutableBufferPointer<Int>

  static func words(items: Int, groups: Int, capacity: Int) -> Int {
    6 * groups + groups * capacity + items
  }

  /// - Parameter memory: `words`, initialised here. The values are plain integers, so there is
  ///   nothing to undo at the end.
  init(
    items: Int, groups: Int, capacity: Int, gains: UnsafeBufferPointer<Int>,
    groupOf: UnsafeMutableBufferPointer<Int>, memory: UnsafeMutableBufferPointer<Int>
  ) {
    memory.initialize(repeating: 0)
    var used = 0
    func part(_ count: Int) -> UnsafeMutableBufferPointer<Int> {
      defer { used += count }
      return UnsafeMutableBufferPointer(rebasing: memory[used..<(used + count)])
    }
    (self.items, self.groups, self.capacity) = (items, groups, capacity)
    (self.gains, self.groupOf) = (gains, groupOf)
    (price, size, distance) = (part(groups), part(groups), part(groups))
    (fromGroup, fromItem, isDone) = (part(groups), part(groups), part(groups))
    (member, seat) = (part(groups * capacity), part(items))
  }

  /// Seats every item.
  /// - Returns: the sum of their gains.
  mutating func solve(control: SearchControl?) -> Int {
    var isStopped = false
    for item in 0..<items {
      isStopped = isStopped || (control?.shouldStop ?? false)
      if isStopped { seatAnywhere(item) } else { seatBest(item) }
    }
    var sum = 0
    for item in 0..<items { sum += gains[item * groups + groupOf[item]] }
    return sum
  }

  /// The first group with room, whatever the prices.
  private mutating func seatAnywhere(_ item: Int) {
    var group = 0
    while size[group] == capacity { group += 1 }
    member[group * capacity + size[group]] = item
    size[group] += 1
    groupOf[item] = group
  }

  private mutating func seatBest(_ item: Int) {
    let end = findPath(from: item)
    for g in 0..<groups where isDone[g] == 1 && g != end { price[g] += distance[end] - distance[g] }
    move(to: end)
  }

  /// Dijkstra's shortest paths from the item to all groups, until one with room is reached.
  /// - Returns: the group with room.
  private mutating func findPath(from item: Int) -> Int {
    for g in 0..<groups {
      distance[g] = price[g] - gains[item * groups + g]
      fromGroup[g] = -1
      fromItem[g] = item
      isDone[g] = 0
    }
    while true {
      var end = -1
      for g in 0..<groups where isDone[g] == 0 && (end < 0 || distance[g] < distance[end]) {
        end = g
      }
      isDone[end] = 1
      if size[end] < capacity { return end }
      for k in 0..<capacity { reach(past: end, moving: member[end * capacity + k]) }
    }
  }

  /// What the other groups cost where `mover` leaves the full group `end`.
  @inline(__always)
  private mutating func reach(past end: Int, moving mover: Int) {
    let row = mover * groups
    let base = distance[end] - price[end] + gains[row + end]
    for g in 0..<groups where isDone[g] == 0 {
      let length = base + price[g] - gains[row + g]
      if length < distance[g] { (distance[g], fromGroup[g], fromItem[g]) = (length, end, mover) }
    }
  }

  /// Back along the path: each group takes its item over from the group before, which frees that
  /// seat.
  private mutating func move(to end: Int) {
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
      if before < 0 { return }
      group = before
      free = left
    }
  }
}
