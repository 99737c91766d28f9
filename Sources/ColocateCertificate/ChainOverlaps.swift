import ColocateModel

/// θ of one boundary: the best match of the groups of two partitions, by a table of the overlaps of
/// all groups that occur.
struct GroupOverlaps: Sendable {
  let groups: Int
  let from: [Int]
  let to: [Int]
  let columns: Int
  let table: [Int]

  init(_ problem: CertifiedProblem, boundary: Int, from: [UInt64], to: [UInt64]) {
    groups = problem.groups
    func number(_ masks: [UInt64]) -> (places: [Int], distinct: [UInt64]) {
      let distinct = Array(Set(masks)).sorted()
      let place = Dictionary(uniqueKeysWithValues: distinct.enumerated().map { ($1, $0) })
      return (
        masks.map { mask in
          guard let place = place[mask] else { preconditionFailure("every mask has a number") }
          return place
        }, distinct
      )
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

/// θ between partitions into two groups. With S and T one group of each, R and C the whole weight
/// of S's rows and T's columns:
///
///     θ = max( w(S,T) + (all − R − C + w(S,T)),  (R − w(S,T)) + (C − w(S,T)) )
///
/// so one overlap is enough. It is a sum over the members of S, taken from tables of the sums of
/// eight experts at a time.
struct TwoGroupOverlaps: Sendable {
  let experts: Int
  /// `[E, E]`.
  let weights: ArraySlice<Int>
  let total: Int
  /// S of every partition, and its R.
  let masks: [UInt64]
  let rowWeights: [Int]

  init(_ problem: CertifiedProblem, boundary: Int, from: [UInt64]) {
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
