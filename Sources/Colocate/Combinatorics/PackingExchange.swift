import ColocateModel

/// Better packings by exchanging a few items between two groups.
///
/// Two groups whose sums differ by d are best evened out by moving d/2. For t = 1, 2, … items each
/// way, the sums of all t-subsets of either group are sorted, and two fingers find the pair whose
/// difference is nearest to d/2: O(C(c, t) · log) instead of C(c, t)² (Horowitz and Sahni's idea,
/// 1974, for two groups). `improve` does that between the fullest group and every other; where none
/// helps, a few random exchanges disturb the packing and it starts again from there, the best one
/// being kept. The random numbers have a fixed seed and steps are counted, not timed: the same
/// loads give the same packing.
struct PackingExchange {
  /// Subsets of one group that are listed at most, for each t.
  private static let mostSubsets = 3000

  let loads: [Int]
  let groups: Int
  private let size: Int
  /// For each t, the t-subsets of the places 0 ..< c.
  private let subsets: [[[Int]]]

  init(loads: [Int], groups: Int) {
    self.loads = loads
    self.groups = groups
    size = loads.count / groups
    var subsets = [[[Int]]]()
    for t in 1...max(1, size / 2) {
      guard let list = Self.subsets(size, t) else { break }
      subsets.append(list)
    }
    self.subsets = subsets
  }

  /// All t-subsets of `0 ..< n`; nil where there are too many.
  private static func subsets(_ n: Int, _ t: Int) -> [[Int]]? {
    var count = 1
    for k in 1...t {
      count = count * (n - k + 1) / k
      guard count <= mostSubsets else { return nil }
    }
    var list = [[]] as [[Int]]
    for _ in 0..<t {
      list = list.flatMap { part in ((part.last ?? -1) + 1..<n).map { part + [$0] } }
    }
    return list
  }

  /// Exchanges of two items out of the fullest group while one helps.
  static func descend(_ packing: inout Packing, loads: [Int]) {
    while true {
      let full = packing.fullest
      var best = (gain: 0, from: -1, to: -1)
      for a in loads.indices where packing.groupOf[a] == full {
        for b in loads.indices where packing.groupOf[b] != full && loads[b] < loads[a] {
          let shift = loads[a] - loads[b]
          let other = packing.sums[packing.groupOf[b]] + shift
          let gain = packing.sums[full] - max(packing.sums[full] - shift, other)
          if gain > best.gain { best = (gain, a, b) }
        }
      }
      guard best.gain > 0 else { return }
      packing.swap(best.from, best.to, loads: loads)
    }
  }

  /// Looks for a packing whose fullest group has at most `target`.
  /// - Returns: steps made: subsets that were sorted.
  func improve(
    _ packing: inout Packing, target: Int, stepLimit: Int
  ) -> Int {
    guard groups > 1, size > 1, !subsets.isEmpty else { return 0 }
    let perPair = 2 * subsets.reduce(0) { $0 + $1.count }
    var random = SeededGenerator(seed: 0x9AC4)
    var steps = 0
    var current = packing
    while steps < stepLimit {
      var full = current.fullest
      var isStuck = false
      while !isStuck, current.sums[full] > target, steps < stepLimit {
        isStuck = true
        for other in current.sums.indices.sorted(by: { current.sums[$0] < current.sums[$1] })
        where other != full {
          steps += perPair
          if even(&current, full, other) {
            isStuck = false
            break
          }
        }
        full = current.fullest
      }
      if current.sums[full] < packing.largest { packing = current }
      if packing.largest <= target { break }
      disturb(&current, random: &random)
    }
    return steps
  }

  /// Moves what brings the larger of the two sums down most. Answers whether anything does.
  private func even(_ packing: inout Packing, _ full: Int, _ other: Int) -> Bool {
    let wanted = packing.sums[full] - packing.sums[other]
    guard wanted > 1 else { return false }
    let heavy = loads.indices.filter { packing.groupOf[$0] == full }
    let light = loads.indices.filter { packing.groupOf[$0] == other }
    // |2·shift − wanted| as small as possible, below `wanted` itself.
    var best = (distance: wanted, from: [Int](), to: [Int]())
    for list in subsets {
      let from = Self.sums(list, heavy, loads)
      let to = Self.sums(list, light, loads)
      var b = 0
      for a in from {
        // The difference falls as b grows: stop at the first that is not above d/2, look one back.
        while b < to.count - 1, 2 * (a.sum - to[b].sum) > wanted { b += 1 }
        for place in max(0, b - 1)...b {
          let shift = a.sum - to[place].sum
          let distance = abs(2 * shift - wanted)
          if distance < best.distance {
            best = (distance, a.part.map { heavy[$0] }, to[place].part.map { light[$0] })
          }
        }
      }
      if best.distance <= 1 { break }
    }
    guard best.distance < wanted else { return false }
    packing.move(best.from, to: other, loads: loads)
    packing.move(best.to, to: full, loads: loads)
    return true
  }

  /// The sum of each subset of `members`, ascending.
  private static func sums(
    _ subsets: [[Int]], _ members: [Int], _ loads: [Int]
  ) -> [(sum: Int, part: [Int])] {
    subsets.map { part in (part.reduce(0) { $0 + loads[members[$1]] }, part) }
      .sorted { $0.0 < $1.0 }
  }

  /// A few exchanges of random items.
  private func disturb(_ packing: inout Packing, random: inout SeededGenerator) {
    for _ in 0..<(2 + groups / 2) {
      let (a, b) = (random.next(below: loads.count), random.next(below: loads.count))
      if packing.groupOf[a] != packing.groupOf[b] { packing.swap(a, b, loads: loads) }
    }
  }
}
