import ColocateModel

/// The partitions of one layer whose penalties add up to at most a limit: where the dolls start.
///
/// Exact cover by depth-first search. The next group is always one that holds the first uncovered
/// expert of a fixed order. A partition has exactly one group with that expert, so every partition
/// is met, and met once. Three things keep the tree small:
///
/// * **The order**: experts with few subsets inside the limit come first. Busy experts decide, and
///   near-empty ones, which may stand almost anywhere, come when hardly a choice is left.
/// * **What is still to be paid**: a group's penalty is shared equally by its c members, so each
///   uncovered expert e will pay at least `least[e]/c` with `least[e] = min_{S∋e} pen(S)`, whatever
///   groups complete the partition. All is multiplied by c to stay with whole numbers: a beginning
///   with the penalty p goes on only if `c·p + Σ_{e uncovered} least[e] ≤ c·limit`.
/// * **Dead ends**: with a fixed order many branches come to the same set of covered experts, and
///   what can complete it depends on nothing but that set and the rest of the limit. Where nothing
///   could within some rest, nothing will within less. A hash table without chains remembers such
///   sets; what it forgets costs time and nothing else.
package struct StartList {
  struct Choice {
    var penalty: Int32
    var subset: UInt16
    /// Members, as bits by rank in the order.
    var mask: UInt64
    /// `Σ_{e∈S} least[e]`.
    var least: Int
  }

  /// The first groups of some partitions.
  package struct Prefix {
    var state: [UInt16]
    var used: UInt64
    var penalty: Int
    var rest: Int
  }

  let groups: Int
  let size: Int
  /// In ticks.
  let limit: Int
  /// The subsets whose first member in the order has this rank, by penalty.
  let choices: [[Choice]]
  /// `Σ_e least[e]`: c times what covering everyone costs at least.
  let least: Int

  /// - Parameter penalties: of each subset, in ticks.
  package init(
    subsets: PathSubsets, penalties: SharedBuffer<Int32>, experts: Int, groups: Int, limit: Int
  ) {
    self.groups = groups
    self.limit = limit
    size = subsets.size
    let possible = (0..<subsets.count).filter { Int(penalties[$0]) <= limit }
    var count = [Int](repeating: 0, count: experts)
    // An expert without a subset: no partition, and no overflow in the sums.
    var least = [Int](repeating: .max / 1024, count: experts)
    for s in possible {
      for e in subsets.set(s) {
        count[e] += 1
        least[e] = min(least[e], Int(penalties[s]))
      }
    }
    var rank = [Int](repeating: 0, count: experts)
    for (place, e) in (0..<experts).sorted(by: { (count[$0], $0) < (count[$1], $1) }).enumerated() {
      rank[e] = place
    }
    var choices = [[Choice]](repeating: [], count: experts)
    for s in possible {
      var choice = Choice(penalty: penalties[s], subset: UInt16(s), mask: 0, least: 0)
      for e in subsets.set(s) {
        choice.mask |= 1 << UInt64(rank[e])
        choice.least += least[e]
      }
      choices[choice.mask.trailingZeroBitCount].append(choice)
    }
    for place in choices.indices {
      choices[place].sort { ($0.penalty, $0.subset) < ($1.penalty, $1.subset) }
    }
    self.choices = choices
    self.least = least.reduce(0, +)
  }

  /// The beginnings with `depth` groups that may be completed.
  package func prefixes(depth: Int) -> [Prefix] {
    var list = [Prefix(state: [], used: 0, penalty: 0, rest: least)]
    for _ in 0..<depth {
      list = list.flatMap { prefix in
        choices[(~prefix.used).trailingZeroBitCount].compactMap { choice in
          let penalty = prefix.penalty + Int(choice.penalty)
          let rest = prefix.rest - choice.least
          guard choice.mask & prefix.used == 0, penalty * size + rest <= limit * size else {
            return nil
          }
          return Prefix(
            state: prefix.state + [choice.subset], used: prefix.used | choice.mask,
            penalty: penalty, rest: rest)
        }
      }
    }
    return list
  }

  /// One worker's search, with its memory of dead ends.
  package final class Walk {
    private let list: StartList
    private let state: Buffer<UInt16>
    /// Made when the search turns out to be long; most are over in a few steps.
    private var deadEnds: DeadEnds?
    private var steps = 0
    private let stepsBefore: Int

    /// - Parameter stepsBefore: steps of the search after which it begins to remember dead ends.
    package init(_ list: StartList, stepsBefore: Int = 4096) {
      self.list = list
      self.stepsBefore = stepsBefore
      state = Buffer(repeating: 0, count: list.groups)
    }

    /// Calls `found(state, Σ pen)` for every completion of `prefix`; `isOver` is asked now and
    /// then.
    package func run(
      from prefix: Prefix, found: (UnsafePointer<UInt16>, Int) -> Void, isOver: () -> Bool
    ) {
      for (depth, subset) in prefix.state.enumerated() { state.base[depth] = subset }
      _ = extend(
        prefix.state.count, used: prefix.used, penalty: prefix.penalty, rest: prefix.rest,
        found: found, isOver: isOver)
    }

    /// - Returns: whether something was found below, or the search was broken off: then it is no
    ///   dead end.
    private func extend(
      _ depth: Int, used: UInt64, penalty: Int, rest least: Int,
      found: (UnsafePointer<UInt16>, Int) -> Void, isOver: () -> Bool
    ) -> Bool {
      if steps & 1023 == 0 && isOver() { return true }
      steps += 1
      if depth == list.groups {
        found(state.base, penalty)
        return true
      }
      let left = Int32(list.limit - penalty)
      if let deadEnds, deadEnds.has(used, rest: left) { return false }
      var isOpen = false
      list.choices[(~used).trailingZeroBitCount].withUnsafeBufferPointer { choices in
        for choice in choices where choice.mask & used == 0 {
          let more = penalty + Int(choice.penalty)
          // By penalty: the rest of the list is worse, whatever its members spare.
          if more > list.limit { break }
          let rest = least - choice.least
          if (more - list.limit) * list.size + rest > 0 { continue }
          state.base[depth] = choice.subset
          if extend(
            depth + 1, used: used | choice.mask, penalty: more, rest: rest, found: found,
            isOver: isOver)
          {
            isOpen = true
          }
          if isOpen && steps & 1023 == 0 && isOver() { break }
        }
      }
      if !isOpen, steps > stepsBefore {
        let known = deadEnds ?? DeadEnds()
        known.add(used, rest: left)
        deadEnds = known
      }
      return isOpen
    }
  }

  /// By hash of the covered set: the set, and the largest rest of the limit (in ticks) for which
  /// nothing was found.
  private final class DeadEnds {
    private static let slotBits = 16
    private let covered = Buffer(repeating: UInt64(0), count: 1 << slotBits)
    private let rest = Buffer(repeating: Int32(-1), count: 1 << slotBits)

    @inline(__always)
    private func slot(_ used: UInt64) -> Int {
      Int(truncatingIfNeeded: (used &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - Self.slotBits))
    }

    @inline(__always)
    func has(_ used: UInt64, rest left: Int32) -> Bool {
      let slot = slot(used)
      return covered.base[slot] == used && rest.base[slot] >= left
    }

    @inline(__always)
    func add(_ used: UInt64, rest left: Int32) {
      let slot = slot(used)
      covered.base[slot] = used
      rest.base[slot] = left
    }
  }
}
