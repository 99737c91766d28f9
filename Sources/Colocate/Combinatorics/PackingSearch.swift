import ColocateModel

/// Whether `P` groups of exactly `c` items can all stay at or below a given sum: exact, group by
/// group.
///
/// The largest item that is left opens a group, and all ways to complete it are tried (bin
/// completion, Gent and Walsh 1996, Korf 2002, with the cardinality added): sums at most `most`,
/// and at least what the other groups cannot take, `rest − (groups left − 1) · most`. With a target
/// near the mean that leaves few completions. Sets of items that are known to lead nowhere are
/// remembered, since many completions of the first groups leave the same items. Exponential in the
/// worst case, so its steps are limited; they are counted, not timed, and items are taken in one
/// order, so the same loads give the same answer.
struct PackingSearch {
  enum Result {
    /// Group of each item.
    case found([Int])
    case impossible
    /// The steps were used up.
    case undecided
  }

  /// Sets remembered at most.
  private static let mostDeadEnds = 100_000

  private let loads: [Int]
  private let size: Int
  private let most: Int
  private let limit: Int
  private(set) var stepsMade = 0
  private var groupOf: [Int]
  private var deadEnds = Set<[UInt64]>()
  private let groups: Int

  /// - Parameter loads: largest first.
  init(loads: [Int], groups: Int, most: Int, steps: Int) {
    self.loads = loads
    self.groups = groups
    self.most = most
    limit = steps
    size = loads.count / groups
    groupOf = [Int](repeating: 0, count: loads.count)
  }

  /// Searches until it is decided or the steps are used up.
  mutating func run() -> Result {
    let rest = loads.reduce(0, +)
    // `groups · most` may pass Int only where the target is no limit at all.
    let (room, overflow) = groups.multipliedReportingOverflow(by: most)
    guard overflow || rest <= room, loads[0] <= most else { return .impossible }
    switch fill(Array(loads.indices), rest: rest, groups: groups) {
    case true?: return .found(groupOf)
    case false?: return .impossible
    case nil: return .undecided
    }
  }

  /// Packs `items` (largest first) into `groups` groups.
  /// - Returns: whether it can be done, nil where the steps were used up.
  private mutating func fill(_ items: [Int], rest: Int, groups: Int) -> Bool? {
    if groups == 1 {
      guard rest <= most else { return false }
      for item in items { groupOf[item] = 0 }
      return true
    }
    stepsMade += 1 + items.count / 8
    let key = Self.key(items, of: loads.count)
    if deadEnds.contains(key) { return false }
    // Below this the other groups overflow. It cannot wrap: rest ≤ groups · most.
    var level = Level(
      loads: items.map { loads[$0] }, least: max(0, rest - Self.times(groups - 1, most)),
      most: most, size: size)
    while true {
      let made = level.stepsMade
      let isThere = level.next(limit: limit - stepsMade)
      stepsMade += level.stepsMade - made
      if stepsMade >= limit { return nil }
      guard isThere else { break }
      let chosen = level.chosen
      var left = [Int]()
      left.reserveCapacity(items.count - size)
      var next = 0
      for (place, item) in items.enumerated() {
        if next < chosen.count, chosen[next] == place {
          groupOf[item] = groups - 1
          next += 1
        } else {
          left.append(item)
        }
      }
      switch fill(left, rest: rest - level.sum, groups: groups - 1) {
      case true?: return true
      case nil: return nil
      case false?: break
      }
    }
    if deadEnds.count < Self.mostDeadEnds { deadEnds.insert(key) }
    return false
  }

  /// `a · b`, or `Int.max / 2` where that is too large.
  private static func times(_ a: Int, _ b: Int) -> Int {
    let (product, overflow) = a.multipliedReportingOverflow(by: b)
    return overflow ? Int.max / 2 : product
  }

  /// The items as bits.
  private static func key(_ items: [Int], of count: Int) -> [UInt64] {
    var key = [UInt64](repeating: 0, count: (count + 63) / 64)
    for item in items { key[item >> 6] |= 1 << UInt64(item & 63) }
    return key
  }

  /// The completions of one group one after the other, the heaviest items first.
  ///
  /// Invariant: `chosen` is ascending and starts with place 0; of equal loads that are passed over
  /// none is taken later in the same position.
  private struct Level {
    let loads: [Int]
    let least: Int
    let most: Int
    let size: Int
    /// Places in `loads`.
    private(set) var chosen: [Int] = []
    private(set) var sum = 0
    private(set) var stepsMade = 0
    /// `before[i]`: sum of the first i loads.
    private let before: [Int]

    init(loads: [Int], least: Int, most: Int, size: Int) {
      (self.loads, self.least, self.most, self.size) = (loads, least, most, size)
      var before = [0]
      before.reserveCapacity(loads.count + 1)
      var sum = 0
      for load in loads {
        sum += load
        before.append(sum)
      }
      self.before = before
    }

    /// Moves to the next completion. Answers false where there is none, or where `limit` steps were
    /// made.
    mutating func next(limit: Int) -> Bool {
      let last = stepsMade + limit
      var from = 1
      if chosen.isEmpty {
        take(0)
        if size == 1 { return sum >= least && sum <= most }
      } else {
        guard let place = release() else { return false }
        from = place
      }
      while chosen.count < size {
        stepsMade += 1
        if stepsMade >= last { return false }
        if let place = step(from: from) {
          take(place)
          from = place + 1
        } else {
          guard let place = release() else { return false }
          from = place
        }
      }
      return true
    }

    /// Gives up the last choice but the first item; answers the place after it and its equals.
    private mutating func release() -> Int? {
      guard chosen.count > 1 else { return nil }
      let place = chosen.removeLast()
      sum -= loads[place]
      var from = place + 1
      while from < loads.count, loads[from] == loads[place] { from += 1 }
      return from
    }

    private mutating func take(_ place: Int) {
      chosen.append(place)
      sum += loads[place]
    }

    /// The first place from `from` on whose load can stand next: small enough for the lightest
    /// company, and with the heaviest company after it still enough.
    private func step(from: Int) -> Int? {
      let open = size - chosen.count
      let count = loads.count
      guard from + open <= count else { return nil }
      let lightest = before[count] - before[count - open + 1]
      let room = most - sum - lightest
      // Loads fall: the first that fits, by halving.
      var (low, high) = (from, count - open + 1)
      while low < high {
        let middle = (low + high) / 2
        if loads[middle] <= room { high = middle } else { low = middle + 1 }
      }
      guard low + open <= count else { return nil }
      return sum + before[low + open] - before[low] >= least ? low : nil
    }
  }
}
