/// All partitions of a layer in the order that chain evidence is written in.
///
/// The smallest expert without a group chooses its c - 1 companions among the larger ones without a group, in lexicographic order, and so on. A partition is
/// the list of its groups as bit sets, in the order in which they were formed (which is by smallest member). Partitions over the cap are left out.
package enum CertificatePartitions {
  /// `[partitions, P]`.
  package static func list(_ problem: GroupingProblem, layer: Int, limit: Int)
    throws(CertificateError) -> [UInt64]
  {
    let (experts, groups, size) = (problem.experts, problem.groups, problem.groupSize)
    guard experts <= 64 else { throw CertificateError("chain evidence for \(experts) experts") }
    let cap = problem.caps?[layer] ?? Int.max
    var found = [UInt64]()
    var formed = [UInt64]()
    var full = false
    func form(_ free: UInt64) {
      guard free != 0 else {
        full = full || found.count >= limit * groups
        if !full { found += formed }
        return
      }
      let first = free.trailingZeroBitCount
      func choose(_ group: UInt64, _ load: Int, _ count: Int, _ after: Int) {
        guard !full, load <= cap else { return }
        if count == size {
          formed.append(group)
          form(free & ~group)
          formed.removeLast()
          return
        }
        guard after < experts else { return }
        for e in after..<experts where free >> UInt64(e) & 1 == 1 {
          choose(
            group | 1 << UInt64(e), load + problem.loads[layer * experts + e], count + 1, e + 1)
        }
      }
      choose(1 << UInt64(first), problem.loads[layer * experts + first], 1, first + 1)
    }
    form(experts == 64 ? .max : (1 << UInt64(experts)) - 1)
    guard !full else {
      throw CertificateError("more than \(limit) partitions of layer \(layer): out of range")
    }
    return found
  }
}

extension Certificate {
  /// max f_{L-1}, once the inequalities of `Evidence.chain` are checked for all pairs of partitions.
  static func checkChain(
    _ problem: GroupingProblem, values: [[Int]], control: SearchControl
  ) throws(CertificateError) -> Int {
    let groups = problem.groups
    guard values.count == problem.layers else {
      throw CertificateError(
        "a value function of \(values.count) layers, expected \(problem.layers)")
    }
    guard groups <= 10 else { throw CertificateError("chain evidence for \(groups) groups") }
    var before = [UInt64]()
    for l in 0..<problem.layers {
      let states = try CertificatePartitions.list(problem, layer: l, limit: 60_000)
      let count = states.count / groups
      guard count == values[l].count else {
        throw CertificateError(
          "layer \(l): a value function of \(values[l].count) partitions, expected \(count)")
      }
      guard values[l].allSatisfy({ 0 <= $0 && $0 <= Magnitude.exact }) else {
        throw CertificateError("layer \(l): a value is out of range")
      }
      let inside = (0..<count).map { slot in
        states[(slot * groups)..<((slot + 1) * groups)].reduce(0) { sum, group in
          sum + together(problem, l, group)
        }
      }
      if l == 0 {
        for slot in 0..<count where values[0][slot] < inside[slot] {
          throw CertificateError("layer 0: the value of partition \(slot) is too small")
        }
      } else {
        let (earlier, later) = (values[l - 1], values[l])
        // A partition whose value is too small, or -1.
        let bad: [Int]
        if groups == 2 {
          let halves = TwoGroupOverlaps(problem, boundary: l - 1, from: before)
          bad = concurrentMap(count, threads: control.threads) { slot -> Int in
            halves.most(earlier, to: states[2 * slot]) + inside[slot] > later[slot] ? slot : -1
          }
        } else {
          let overlap = GroupOverlaps(problem, boundary: l - 1, from: before, to: states)
          bad = concurrentMap(count, threads: control.threads) { slot -> Int in
            var theta = overlap.scratch()
            for from in 0..<earlier.count
            where earlier[from] + overlap.best(from, slot, &theta) + inside[slot] > later[slot] {
              return slot
            }
            return -1
          }
        }
        if let slot = bad.first(where: { $0 >= 0 }) {
          throw CertificateError("layer \(l): the value of partition \(slot) is too small")
        }
      }
      before = states
    }
    guard let most = values[problem.layers - 1].max() else {
      throw CertificateError("no partition meets the cap")
    }
    return most
  }

  /// Σ_{i<j in group} V_l[i,j].
  static func together(_ problem: GroupingProblem, _ l: Int, _ group: UInt64) -> Int {
    guard !problem.coactivation.isEmpty else { return 0 }
    let experts = problem.experts
    var sum = 0
    for i in 0..<experts where group >> UInt64(i) & 1 == 1 {
      for j in 0..<i where group >> UInt64(j) & 1 == 1 {
        sum += problem.coactivation[(l * experts + i) * experts + j]
      }
    }
    return sum
  }

  /// A value function in the checker's order, from partitions and values in any order, `[L][partitions, P]` and `[L][partitions]`.
  package static func chain(
    _ problem: GroupingProblem, partitions: [[UInt64]], values: [[Int]]
  ) -> Evidence? {
    let groups = problem.groups
    var ordered = [[Int]]()
    for l in 0..<problem.layers {
      guard let states = try? CertificatePartitions.list(problem, layer: l, limit: 60_000),
        states.count == partitions[l].count
      else { return nil }
      func key(_ list: [UInt64], _ slot: Int) -> [UInt64] {
        list[(slot * groups)..<((slot + 1) * groups)].sorted {
          $0.trailingZeroBitCount < $1.trailingZeroBitCount
        }
      }
      var value = [[UInt64]: Int](minimumCapacity: values[l].count)
      for slot in values[l].indices { value[key(partitions[l], slot)] = values[l][slot] }
      var row = [Int]()
      for slot in values[l].indices {
        guard let known = value[key(states, slot)] else { return nil }
        row.append(known)
      }
      ordered.append(row)
    }
    return .chain(values: ordered)
  }
}

/// θ of one boundary: the best match of the groups of two partitions, by a table of the overlaps of all groups that occur.
private struct GroupOverlaps: Sendable {
  let groups: Int
  let from: [Int]
  let to: [Int]
  let columns: Int
  let table: [Int]

  init(_ problem: GroupingProblem, boundary: Int, from: [UInt64], to: [UInt64]) {
    groups = problem.groups
    func number(_ masks: [UInt64]) -> (places: [Int], distinct: [UInt64]) {
      let distinct = Array(Set(masks)).sorted()
      let place = Dictionary(uniqueKeysWithValues: distinct.enumerated().map { ($1, $0) })
      return (masks.map { place[$0]! }, distinct)
    }
    let (rows, rowMasks) = number(from)
    let (columnPlaces, columnMasks) = number(to)
    self.from = rows
    self.to = columnPlaces
    columns = columnMasks.count
    let experts = problem.experts
    var table = [Int]()
    table.reserveCapacity(rowMasks.count * columnMasks.count)
    for row in rowMasks {
      var sums = [Int](repeating: 0, count: experts)
      for i in 0..<experts where row >> UInt64(i) & 1 == 1 {
        for j in 0..<experts {
          sums[j] += problem.weights[(boundary * experts + i) * experts + j]
        }
      }
      for column in columnMasks {
        var sum = 0
        var rest = column
        while rest != 0 {
          sum += sums[rest.trailingZeroBitCount]
          rest &= rest - 1
        }
        table.append(sum)
      }
    }
    self.table = table
  }

  /// `best[M]`: the first |M| groups matched with the groups in M.
  func scratch() -> [Int] { [Int](repeating: 0, count: 1 << groups) }

  func best(_ a: Int, _ b: Int, _ best: inout [Int]) -> Int {
    table.withUnsafeBufferPointer { table in
      from.withUnsafeBufferPointer { from in
        to.withUnsafeBufferPointer { to in
          for set in 1..<(1 << groups) {
            let row = from[a * groups + set.nonzeroBitCount - 1] * columns
            var most = Int.min
            for h in 0..<groups where set >> h & 1 == 1 {
              most = max(most, best[set & ~(1 << h)] + table[row + to[b * groups + h]])
            }
            best[set] = most
          }
          return best[(1 << groups) - 1]
        }
      }
    }
  }
}

/// θ between partitions into two groups. With S and T one group of each, R and C the whole weight of S's rows and T's columns:
///
///     θ = max( w(S,T) + (all − R − C + w(S,T)),  (R − w(S,T)) + (C − w(S,T)) )
///
/// so one overlap is enough. It is a sum over the members of S, taken from tables of the sums of eight experts at a time.
private struct TwoGroupOverlaps: Sendable {
  let experts: Int
  /// `[E, E]`.
  let weights: ArraySlice<Int>
  let total: Int
  /// S of every partition, and its R.
  let masks: [UInt64]
  let rowWeights: [Int]

  init(_ problem: GroupingProblem, boundary: Int, from: [UInt64]) {
    let experts = problem.experts
    self.experts = experts
    let start = boundary * experts * experts
    weights = problem.weights[start..<(start + experts * experts)]
    total = weights.reduce(0, +)
    masks = stride(from: 0, to: from.count, by: 2).map { from[$0] }
    let rows = (0..<experts).map { i in
      problem.weights[(start + i * experts)..<(start + (i + 1) * experts)].reduce(0, +)
    }
    rowWeights = masks.map { mask in
      (0..<experts).reduce(0) { mask >> UInt64($1) & 1 == 1 ? $0 + rows[$1] : $0 }
    }
  }

  /// max over the partitions Π of `values[Π] + θ(Π, Π')`, where `group` is one group of Π'.
  func most(_ values: [Int], to group: UInt64) -> Int {
    let bytes = (experts + 7) / 8
    var tables = [Int](repeating: 0, count: bytes * 256)
    var columnWeight = 0
    for i in 0..<experts {
      var sum = 0
      var rest = group
      while rest != 0 {
        sum += weights[weights.startIndex + i * experts + rest.trailingZeroBitCount]
        rest &= rest - 1
      }
      columnWeight += sum
      tables[(i >> 3) << 8 | 1 << (i & 7)] = sum
    }
    for byte in 0..<bytes {
      for set in 1..<256 where set & (set - 1) != 0 {
        tables[byte << 8 | set] =
          tables[byte << 8 | set & (set - 1)] + tables[byte << 8 | set & -set]
      }
    }
    var most = Int.min
    tables.withUnsafeBufferPointer { tables in
      for slot in masks.indices {
        var overlap = 0
        for byte in 0..<bytes {
          overlap += tables[byte << 8 | Int(masks[slot] >> UInt64(8 * byte) & 255)]
        }
        let apart = rowWeights[slot] + columnWeight - 2 * overlap
        most = max(most, values[slot] + max(apart, total - apart))
      }
    }
    return most
  }
}
