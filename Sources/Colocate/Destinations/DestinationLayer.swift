import ColocateModel

/// One layer's problem: put `E` experts into `P` groups of `c = E / P` so that the sets are spread
/// over few groups, `Σ_t w_t · λ(t)` as small as possible.
///
/// What the searches and bounds work on: flat memory, sets of one expert left out (their λ is 1
/// under every placement), multiplicities divided by their greatest common divisor. A set may have
/// **anchors**: members that are groups and not experts, so a group that the token needs anyway.
/// Member `E + q` is group `q`. They come from the layer before in coherent mode.
///
/// `linear[e, q]` is what expert `e` costs on group `q` whatever else is there (crossings to
/// neighbouring layers for instance).
package final class DestinationLayer: Sendable {
  /// Experts, `E`.
  package let experts: Int
  /// Groups, `P`.
  package let groups: Int
  /// Experts in a group, `c`.
  package let size: Int
  /// Set `t` is `members[starts[t] ..< starts[t + 1]]`; `[U + 1]`.
  package let starts: SharedBuffer<Int32>
  package let members: SharedBuffer<Int32>
  /// `w`, shape `[U]`, in units of `unit`.
  package let weights: SharedBuffer<Int>
  /// The sets as bits; only for at most 64 experts and no anchors, empty otherwise.
  package let masks: [UInt64]
  /// Sets that contain member `e`: `lists[listStarts[e] ..< listStarts[e + 1]]`; `[E + P + 1]`.
  package let listStarts: SharedBuffer<Int32>
  package let lists: SharedBuffer<Int32>
  /// Tokens that each expert serves, shape `[E]`.
  package let loads: [Int]
  /// The most tokens of a group, nil for no cap.
  package let cap: Int?
  /// `[E, P]`, in units of `unit`, or empty.
  package let linear: [Int]
  /// What weights (and `linear`) were divided by.
  package let unit: Int
  /// `Σ w` of the sets that were left out, in units of `unit`.
  package let constant: Int

  /// Sets with at least two members.
  package var count: Int { weights.count }
  /// `Σ w` of the sets that stand here.
  package let total: Int
  /// The greatest number of members of a set, anchors included.
  package let largestSet: Int

  /// A set and how many tokens have it.
  package typealias Entry = (members: [Int], weight: Int)

  /// - Parameters:
  ///   - sets: members below `experts`, or anchors from `experts` up; ascending, distinct.
  ///   - loads: `[E]`.
  ///   - unit: divides all weights and linear costs; nil takes the largest such number.
  package init(
    experts: Int, groups: Int, sets: [Entry], loads: [Int], cap: Int? = nil, linear: [Int] = [],
    unit given: Int? = nil
  ) {
    let unit = given ?? max(1, Magnitude.unit(sets.map(\.weight) + linear))
    let kept = sets.filter { $0.members.count > 1 }
    constant = sets.reduce(0) { $0 + ($1.members.count == 1 ? $1.weight / unit : 0) }
    self.experts = experts
    self.groups = groups
    self.unit = unit
    self.loads = loads
    self.cap = cap
    size = experts / groups
    self.linear = linear.map { $0 / unit }
    weights = SharedBuffer(kept.map { $0.weight / unit }, filler: 0)
    total = kept.reduce(0) { $0 + $1.weight / unit }
    largestSet = kept.map(\.members.count).max() ?? 0
    var (starts, members) = ([Int32(0)], [Int32]())
    var listSizes = [Int32](repeating: 0, count: experts + groups + 1)
    var anchored = false
    for set in kept {
      for m in set.members {
        members.append(Int32(m))
        listSizes[m + 1] += 1
        anchored = anchored || m >= experts
      }
      starts.append(Int32(members.count))
    }
    for m in 0..<(experts + groups) { listSizes[m + 1] += listSizes[m] }
    var (next, lists) = (listSizes, [Int32](repeating: 0, count: members.count))
    for (t, set) in kept.enumerated() {
      for m in set.members {
        lists[Int(next[m])] = Int32(t)
        next[m] += 1
      }
    }
    masks =
      experts <= 64 && !anchored
      ? kept.map { $0.members.reduce(0) { $0 | 1 << UInt64($1) } } : []
    self.starts = SharedBuffer(starts, filler: 0)
    self.members = SharedBuffer(members, filler: 0)
    self.lists = SharedBuffer(lists, filler: 0)
    listStarts = SharedBuffer(listSizes, filler: 0)
  }

  /// The experts `0 ..< E` of a layer on `groups` groups.
  package convenience init(_ layer: TokenSets.Layer, groups: Int, cap: Int? = nil) {
    self.init(
      experts: layer.loads.count, groups: groups,
      sets: (0..<layer.count).map { t in
        (layer[t].map { Int($0) }, layer.multiplicities[t])
      }, loads: layer.loads, cap: cap)
  }

  /// The part of a layer that lives on one node: its experts, renumbered, with what the sets have
  /// of them.
  /// - Parameter inside: the experts of the node, ascending.
  package convenience init(
    _ layer: TokenSets.Layer, inside: [Int], groups: Int, cap: Int? = nil
  ) {
    var local = [Int](repeating: -1, count: layer.loads.count)
    for (index, e) in inside.enumerated() { local[e] = index }
    var merged = [[Int]: Int]()
    for t in 0..<layer.count {
      let members = layer[t].map { local[Int($0)] }.filter { $0 >= 0 }
      if !members.isEmpty { merged[members, default: 0] += layer.multiplicities[t] }
    }
    // The dictionary's order differs from run to run.
    let sets = merged.sorted { $0.key.lexicographicallyPrecedes($1.key) }
    self.init(
      experts: inside.count, groups: groups, sets: sets.map { ($0.key, $0.value) },
      loads: inside.map { layer.loads[$0] }, cap: cap,
      // That of the whole layer's sets, which a checker knows; merged ones may have a larger one.
      unit: max(1, Magnitude.unit(layer.multiplicities)))
  }

  /// `Σ w · λ + Σ linear` by the definition, in units of `unit`, the constant included.
  package func value(_ groupOf: [Int]) -> Int {
    var lastSet = [Int](repeating: -1, count: groups)
    var sum = constant
    for t in 0..<count {
      for index in Int(starts[t])..<Int(starts[t + 1]) {
        let m = Int(members[index])
        let g = m < experts ? groupOf[m] : m - experts
        if lastSet[g] != t {
          lastSet[g] = t
          sum += weights[t]
        }
      }
    }
    guard !linear.isEmpty else { return sum }
    for e in 0..<experts { sum += linear[e * groups + groupOf[e]] }
    return sum
  }

  /// Tokens of each group.
  package func groupLoads(_ groupOf: [Int]) -> [Int] {
    var sums = [Int](repeating: 0, count: groups)
    for e in 0..<experts { sums[groupOf[e]] += loads[e] }
    return sums
  }

  /// Whether every group holds `c` experts and at most `cap` tokens.
  package func isFeasible(_ groupOf: [Int]) -> Bool {
    var held = [Int](repeating: 0, count: groups)
    for g in groupOf { held[g] += 1 }
    guard held.allSatisfy({ $0 == size }) else { return false }
    guard let cap else { return true }
    return groupLoads(groupOf).allSatisfy { $0 <= cap }
  }

  /// The same sets with other linear costs, of the same unit.
  package func with(linear: [Int]) -> DestinationLayer {
    DestinationLayer(
      experts: experts, groups: groups,
      sets: (0..<count).map { t in
        ((Int(starts[t])..<Int(starts[t + 1])).map { Int(members[$0]) }, weights[t] * unit)
      } + (constant > 0 ? [([0], constant * unit)] : []),
      loads: loads, cap: cap, linear: linear)
  }
}
