import ColocateModel

/// All partitions of a layer into unlabelled groups of one size, and how many there are.
///
/// `E! / (c!^P · P!)`: 35 and 105 for 8 experts on 2 and 4 GPUs, 6,435 for 16 on 2. Listed in the
/// naming by smallest members: the first expert without a group opens the next one, so each
/// partition appears once, always in the same order.
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
  /// smallest member.
  /// - Parameters:
  ///   - experts: `E ≤ 64`, a multiple of `groups`.
  ///   - loads: `[E]`.
  ///   - cap: partitions with a group above it are left out.
  package static func all(experts: Int, groups: Int, loads: [Int], cap: Int?) -> [UInt64] {
    precondition(
      experts <= 64 && experts % groups == 0 && loads.count == experts,
      "partitions are listed for at most 64 experts in equal groups")
    var lister = Lister(
      size: experts / groups, loads: loads, cap: cap ?? .max,
      current: [ExpertSet](repeating: ExpertSet(), count: groups))
    lister.open(0, free: .all(experts))
    return lister.found
  }

  /// The recursion over groups and over the members of each.
  private struct Lister {
    let size: Int
    let loads: [Int]
    let cap: Int
    /// The groups that are complete, `[P]`.
    var current: [ExpertSet]
    var found: [UInt64] = []

    /// The least free expert opens `group`.
    mutating func open(_ group: Int, free: ExpertSet) {
      guard group < current.count else {
        found += current.map(\.bits)
        return
      }
      var (free, members) = (free, ExpertSet())
      let first = free.first
      free.remove(first)
      members.insert(first)
      fill(group, members, free: free, from: first + 1, load: loads[first])
    }

    /// Completes `group` with free experts from `from` on.
    private mutating func fill(
      _ group: Int, _ members: ExpertSet, free: ExpertSet, from: Int, load: Int
    ) {
      if load > cap { return }
      if members.count == size {
        current[group] = members
        open(group + 1, free: free)
        return
      }
      for e in free.subtracting(.all(from)) {
        var (rest, more) = (free, members)
        rest.remove(e)
        more.insert(e)
        fill(group, more, free: rest, from: e + 1, load: load + loads[e])
      }
    }
  }
}
