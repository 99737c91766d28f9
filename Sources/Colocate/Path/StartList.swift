import ColocateModel

/// The partitions of one layer whose penalties add up to at most a limit, and their slacks to at
/// most another: where the dolls start.
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
///   with the penalty p goes on only if `c·p + Σ_{e uncovered} least[e] ≤ c·limit`. The same with
///   slacks. (The two are the lanes of one vector.)
/// * **Dead ends**: with a fixed order many branches come to the same set of covered experts, and
///   what can complete it depends on nothing but that set and the rest of the limits. Where nothing
///   could within some rest of both, nothing will within less of both. A hash table without chains
///   remembers such sets; what it forgets costs time and nothing else.
package struct StartList {
  /// Penalty and slack of a subset, or of several.
  package typealias Costs = SIMD2<Int>

  struct Choice {
    var costs: Costs
    var subset: UInt16
    /// Members, as bits by rank in the order.
    var mask: UInt64
    /// `Σ_{e∈S} least[e]`.
    var least: Costs
  }

  /// The first groups of some partitions.
  package struct Prefix {
    var state: [UInt16]
    var used: UInt64
    var costs: Costs
    var rest: Costs
  }

  let groups: Int
  let size: Int
  /// In ticks.
  let limit: Costs
  /// The subsets whose first member in the order has this rank, by penalty.
  let choices: [[Choice]]
  /// `Σ_e least[e]`: c times what covering everyone costs at least.
  let least: Costs

  /// - Parameters:
  ///   - penalties: of each subset, in ticks.
  ///   - slacks: of each subset the least slack of an arc from it, in ticks; nil for none.
  ///   - slackLimit: what the slacks of a partition add up to at most.
  package init(
    subsets: PathSubsets, penalties: SharedBuffer<Int32>, experts: Int, groups: Int, limit: Int,
    slacks: SharedBuffer<Int32>? = nil, slackLimit: Int = 0
  ) {
    let limit = Costs(limit, slackLimit)
    self.groups = groups
    self.limit = limit
    size = subsets.size
    func costs(_ s: Int) -> Costs { Costs(Int(penalties[s]), slacks.map { Int($0[s]) } ?? 0) }
    let possible = (0..<subsets.count).filter { all(costs($0) .<= limit) }
    var count = [Int](repeating: 0, count: experts)
    // An expert without a subset: no partition, and no overflow in the sums.
    var least = [Costs](repeating: Costs(repeating: .max / 1024), count: experts)
    for s in possible {
      for e in subsets.set(s) {
        count[e] += 1
        least[e] = pointwiseMin(least[e], costs(s))
      }
    }
    var rank = [Int](repeating: 0, count: experts)
    for (place, e) in (0..<experts).sorted(by: { (count[$0], $0) < (count[$1], $1) }).enumerated() {
      rank[e] = place
    }
    var choices = [[Choice]](repeating: [], count: experts)
    for s in possible {
      var choice = Choice(costs: costs(s), subset: UInt16(s), mask: 0, least: .zero)
      for e in subsets.set(s) {
        choice.mask |= 1 << UInt64(rank[e])
        choice.least &+= least[e]
      }
      choices[choice.mask.trailingZeroBitCount].append(choice)
    }
    for place in choices.indices {
      choices[place].sort { ($0.costs[0], $0.subset) < ($1.costs[0], $1.subset) }
    }
    self.choices = choices
    self.least = least.reduce(.zero, &+)
  }

  /// The beginnings with `depth` groups that may be completed.
  package func prefixes(depth: Int) -> [Prefix] {
    var list = [Prefix(state: [], used: 0, costs: .zero, rest: least)]
    for _ in 0..<depth {
      list = list.flatMap { prefix in
        choices[(~prefix.used).trailingZeroBitCount].compactMap { choice in
          let costs = prefix.costs &+ choice.costs
          let rest = prefix.rest &- choice.least
          guard choice.mask & prefix.used == 0, isPossible(costs, rest: rest) else { return nil }
          return Prefix(
            state: prefix.state + [choice.subset], used: prefix.used | choice.mask,
            costs: costs, rest: rest)
        }
      }
    }
    return list
  }

  /// Whether a beginning with these costs may go on, where the rest costs at least `rest / c`.
  @inline(__always)
  private func isPossible(_ costs: Costs, rest: Costs) -> Bool {
    all((costs &- limit) &* size &+ rest .<= .zero)
  }

  /// One worker's search, with its memory of dead ends.
  package final class Walk {
    private let list: StartList
    private let state: Buffer<UInt16>
    /// Made when the search turns out to be long; most are over in a few steps.
    private var deadEnds: DeadEnds?
    /// Nodes of the search so far.
    private(set) var steps = 0
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
        prefix.state.count, used: prefix.used, costs: prefix.costs, rest: prefix.rest,
        found: found, isOver: isOver)
    }

    /// - Returns: whether something was found below, or the search was broken off: then it is no
    ///   dead end.
    private func extend(
      _ depth: Int, used: UInt64, costs: Costs, rest least: Costs,
      found: (UnsafePointer<UInt16>, Int) -> Void, isOver: () -> Bool
    ) -> Bool {
      if steps & 1023 == 0 && isOver() { return true }
      steps += 1
      if depth == list.groups {
        found(state.base, costs[0])
        return true
      }
      let left = list.limit &- costs
      if let deadEnds, deadEnds.has(used, rest: left) { return false }
      var isOpen = false
      list.choices[(~used).trailingZeroBitCount].withUnsafeBufferPointer { choices in
        for choice in choices where choice.mask & used == 0 {
          let more = costs &+ choice.costs
          // By penalty: the rest of the list is worse, whatever its members spare.
          if more[0] > list.limit[0] { break }
          let rest = least &- choice.least
          if !list.isPossible(more, rest: rest) { continue }
          state.base[depth] = choice.subset
          if extend(
            depth + 1, used: used | choice.mask, costs: more, rest: rest, found: found,
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

  /// By hash of the covered set: the set, and a rest of the limits (in ticks) for which nothing was
  /// found.
  private final class DeadEnds {
    private static let slotBits = 16
    private let covered = Buffer(repeating: UInt64(0), count: 1 << slotBits)
    private let rest = Buffer(repeating: Costs(repeating: -1), count: 1 << slotBits)

    @inline(__always)
    private func slot(_ used: UInt64) -> Int {
      Int(truncatingIfNeeded: (used &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - Self.slotBits))
    }

    @inline(__always)
    func has(_ used: UInt64, rest left: Costs) -> Bool {
      let slot = slot(used)
      return covered.base[slot] == used && all(rest.base[slot] .>= left)
    }

    @inline(__always)
    func add(_ used: UInt64, rest left: Costs) {
      let slot = slot(used)
      covered.base[slot] = used
      rest.base[slot] = left
    }
  }
}
