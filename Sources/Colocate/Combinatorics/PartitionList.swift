import ColocateModel

/// All partitions of a layer into unlabelled groups, and how many there are.
///
/// `E! / (c!^P · P!)`: 35 and 105 for 8 experts on 2 and 4 GPUs, 6,435 for 16 on 2. Listed in the
/// naming by smallest members: the first expert without a group opens the next one, so each
/// partition appears once.
package enum PartitionList {
  /// `E! / (c!^P · P!)`, infinite where a double cannot hold it.
  package static func count(experts: Int, groups: Int) -> Double {
    let size = experts / groups
    var count = 1.0
    var left = experts
    while left > 0 {
      // The smallest free expert opens a group and chooses c - 1 companions.
      for k in 1..<max(size, 1) { count *= Double(left - k) / Double(k) }
      left -= size
    }
    return count.rounded()
  }

  /// Every partition as its groups' members, bit `e` for expert `e`: `[count, P]`, groups by
  /// smallest member. `E ≤ 64`.
  /// - Parameters:
  ///   - loads: `[E]`.
  ///   - cap: partitions with a group above it are left out.
  package static func all(experts: Int, groups: Int, loads: [Int], cap: Int?) -> [UInt64] {
    precondition(experts <= 64 && experts % groups == 0)
    let size = experts / groups
    var found = [UInt64]()
    var current = [UInt64](repeating: 0, count: groups)
    func open(_ group: Int, _ free: UInt64) {
      guard group < groups else {
        found += current
        return
      }
      let first = free.trailingZeroBitCount
      let bit = UInt64(1) << UInt64(first)
      fill(group, free & ~bit, bit, from: first + 1, left: size - 1, load: loads[first])
    }
    func fill(
      _ group: Int, _ free: UInt64, _ members: UInt64, from: Int, left: Int, load: Int
    ) {
      if let cap, load > cap { return }
      if left == 0 {
        current[group] = members
        open(group + 1, free)
        return
      }
      var e = from
      while e < experts {
        let bit = UInt64(1) << UInt64(e)
        if free & bit != 0 {
          fill(
            group, free & ~bit, members | bit, from: e + 1, left: left - 1, load: load + loads[e])
        }
        e += 1
      }
    }
    open(0, experts == 64 ? .max : (UInt64(1) << UInt64(experts)) - 1)
    return found
  }
}
