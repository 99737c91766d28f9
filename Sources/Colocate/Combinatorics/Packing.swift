import ColocateModel

/// Items in groups, with the groups' sums kept up to date.
struct Packing {
  /// Group of each item.
  private(set) var groupOf: [Int]
  /// Sum of each group.
  private(set) var sums: [Int]

  /// - Parameter loads: one per item, none negative.
  init(groupOf: [Int], loads: [Int], groups: Int) {
    self.groupOf = groupOf
    sums = [Int](repeating: 0, count: groups)
    for (item, group) in groupOf.enumerated() { sums[group] += loads[item] }
  }

  /// The fullest group's sum.
  var largest: Int { sums[fullest] }

  /// The fullest group, of several the first.
  var fullest: Int {
    var fullest = 0
    for group in sums.indices where sums[group] > sums[fullest] { fullest = group }
    return fullest
  }

  /// Items `a` and `b` change places.
  mutating func swap(_ a: Int, _ b: Int, loads: [Int]) {
    let shift = loads[a] - loads[b]
    sums[groupOf[a]] -= shift
    sums[groupOf[b]] += shift
    groupOf.swapAt(a, b)
  }

  /// Some items go to `group`.
  mutating func move(_ items: [Int], to group: Int, loads: [Int]) {
    for item in items {
      sums[groupOf[item]] -= loads[item]
      sums[group] += loads[item]
      groupOf[item] = group
    }
  }
}
