import ColocateModel

/// `θ`, the best match of two partitions' groups, with the scratch memory of one thread.
///
/// Two groups have two matches. For three and four groups a small programme over subsets is the
/// quickest (Held and Karp's idea, 1962): `reach[M]`, the best match of the first |M| groups with
/// the groups in M, takes P · 2^P additions. Beyond that `LinearAssignment`, O(P³).
struct ThetaTable {
  private let groups: Int
  private var block: [Int]
  private var reach: [Int]
  private var column: [Int] = []
  private let assignment = LinearAssignment()

  init(groups: Int) {
    self.groups = groups
    block = [Int](repeating: 0, count: groups * groups)
    reach = [Int](repeating: 0, count: groups <= 4 ? 1 << groups : 1)
  }

  /// `max_a values[a] + θ(a, b)`.
  mutating func most(_ step: PartitionStep, _ values: [Int], to b: Int) -> Int {
    var most = -1
    for a in values.indices {
      let value = values[a] + best(step, from: a, to: b)
      if value > most { most = value }
    }
    return most
  }

  /// `θ(a, b)`.
  mutating func best(_ step: PartitionStep, from a: Int, to b: Int) -> Int {
    step.overlap.withUnsafeBufferPointer { overlap in
      step.from.withUnsafeBufferPointer { from in
        step.to.withUnsafeBufferPointer { to in
          let columns = step.columns
          return best { [groups] g, h in
            overlap[Int(from[a * groups + g]) * columns + Int(to[b * groups + h])]
          }
        }
      }
    }
  }

  @inline(__always)
  private mutating func best(_ entry: (_ g: Int, _ h: Int) -> Int) -> Int {
    switch groups {
    case 2: return max(entry(0, 0) + entry(1, 1), entry(0, 1) + entry(1, 0))
    case 3, 4: return bestOfFew(entry)
    default:
      for g in 0..<groups {
        for h in 0..<groups { block[g * groups + h] = entry(g, h) }
      }
      return assignment.maximise(size: groups, entries: block, columnOf: &column)
    }
  }

  @inline(__always)
  private mutating func bestOfFew(_ entry: (_ g: Int, _ h: Int) -> Int) -> Int {
    reach.withUnsafeMutableBufferPointer { reach in
      reach[0] = 0
      for set in 1..<(1 << groups) {
        let g = set.nonzeroBitCount - 1
        var most = -1
        for h in 0..<groups where set >> h & 1 == 1 {
          most = max(most, reach[set & ~(1 << h)] + entry(g, h))
        }
        reach[set] = most
      }
      return reach[(1 << groups) - 1]
    }
  }
}
