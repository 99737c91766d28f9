import ColocateModel

/// The vertices of the path relaxation: what a GPU may hold of one layer.
///
/// A vertex is a c-subset of the layer's experts that the load cap allows and that keeps the
/// decisions of a branch ("e and f together", "e and f apart"). Its own weight is what
/// co-activation keeps inside it.
///
/// The weight of an arc S → T is additive over T's members, so with `r_j = Σ_{i∈S} W[i,j]` it is
/// `Σ_{j∈T} r_j`. Every subset is stored as a left and a right half (the first ⌊c/2⌋ members and
/// the rest), and the sums over halves, which many subsets share, are tabulated once per S: an arc
/// then costs two table look-ups instead of c, and tables of four S at a time make the look-ups
/// vectors.
package struct PathSubsets: Sendable {
  /// `n`, subsets of this layer.
  package let count: Int
  /// `c`.
  package let size: Int
  /// `[n, c]`, ascending in each row.
  package let members: Block<UInt8>
  /// Bit e is set where e is a member; zeros where E > 64.
  package let masks: Block<UInt64>
  /// What co-activation keeps inside, in ticks.
  package let inner: Block<Double>
  /// Index of the left and the right half of each subset in the lists below.
  let left: Block<UInt16>
  let right: Block<UInt16>
  /// Members of the different halves: `[.., ⌊c/2⌋]`, `[.., ⌈c/2⌉]`.
  let leftHalves: [UInt8]
  let rightHalves: [UInt8]
  let leftCount: Int
  let rightCount: Int

  /// A tick is 1/64 of a token: prices are whole ticks, so that everything evaluated with them is a
  /// whole number.
  package static let ticks = 64

  /// From rows of members.
  init(problem: GroupingProblem, layer: Int, members rows: [UInt8]) {
    let size = problem.groupSize
    let experts = problem.experts
    count = rows.count / size
    self.size = size
    members = Block(rows, filler: 0)
    masks = Block(count, 0)
    inner = Block(count, 0)
    left = Block(count, 0)
    right = Block(count, 0)
    let half = size / 2
    var leftIndex = [UInt64: UInt16]()
    var rightIndex = [UInt64: UInt16]()
    var leftHalves = [UInt8]()
    var rightHalves = [UInt8]()
    for n in 0..<count {
      let row = rows[(n * size)..<((n + 1) * size)]
      if experts <= 64 { for e in row { masks[n] |= 1 << UInt64(e) } }
      if !problem.coactivation.isEmpty {
        var sum = 0
        for a in row {
          for b in row where b < a {
            sum += problem.coactivation[(layer * experts + Int(a)) * experts + Int(b)]
          }
        }
        inner[n] = Double(sum * Self.ticks)
      }
      let first = row.prefix(half).reduce(UInt64(1)) { $0 << 8 | UInt64($1) }
      let second = row.dropFirst(half).reduce(UInt64(1)) { $0 << 8 | UInt64($1) }
      if let known = leftIndex[first] {
        left[n] = known
      } else {
        left[n] = UInt16(leftIndex.count)
        leftIndex[first] = left[n]
        leftHalves += row.prefix(half)
      }
      if let known = rightIndex[second] {
        right[n] = known
      } else {
        right[n] = UInt16(rightIndex.count)
        rightIndex[second] = right[n]
        rightHalves += row.dropFirst(half)
      }
    }
    leftCount = leftIndex.count
    rightCount = rightIndex.count
    self.leftHalves = leftHalves
    self.rightHalves = rightHalves
  }

  /// All subsets of a layer that the cap allows and `keep` takes; nil where there are more than
  /// `limit`, or where `control`, looked at every few thousand steps (a cap can leave next to
  /// nothing of very many), says stop.
  package static func list(
    problem: GroupingProblem, layer: Int, limit: Int, control: SearchControl? = nil,
    keep: ([UInt8]) -> Bool = { _ in true }
  ) -> PathSubsets? {
    let size = problem.groupSize
    let experts = problem.experts
    guard experts <= 256, size <= 14, limit <= 65_535 else { return nil }
    let cap = problem.caps?[layer] ?? .max
    var rows = [UInt8]()
    var row = [UInt8](repeating: 0, count: size)
    var found = 0
    var steps = 0
    func extend(_ position: Int, from first: Int, load: Int) -> Bool {
      steps += 1
      if steps & 4095 == 0, control?.shouldStop ?? false { return false }
      if position == size {
        if keep(row) {
          found += 1
          if found > limit { return false }
          rows += row
        }
        return true
      }
      for e in stride(from: first, through: experts - (size - position), by: 1) {
        let more = load + problem.loads[layer * experts + e]
        if more > cap { continue }
        row[position] = UInt8(e)
        if !extend(position + 1, from: e + 1, load: more) { return false }
      }
      return true
    }
    guard extend(0, from: 0, load: 0) else { return nil }
    return PathSubsets(problem: problem, layer: layer, members: rows)
  }

  /// The subsets with the given indices, in this order.
  func selected(problem: GroupingProblem, layer: Int, _ kept: [Int]) -> PathSubsets {
    var rows = [UInt8]()
    rows.reserveCapacity(kept.count * size)
    for n in kept {
      for k in 0..<size { rows.append(members[n * size + k]) }
    }
    return PathSubsets(problem: problem, layer: layer, members: rows)
  }

  /// Sums over the halves for four subsets at once. `sums[j]` is `Σ_{i∈S} W[i,j]` for each of the
  /// four S, in ticks.
  @inline(__always)
  func tabulate(
    _ sums: UnsafePointer<SIMD4<Double>>, left tableLeft: UnsafeMutablePointer<SIMD4<Double>>,
    right tableRight: UnsafeMutablePointer<SIMD4<Double>>
  ) {
    let half = size / 2
    let rest = size - half
    leftHalves.withUnsafeBufferPointer { halves in
      for index in 0..<leftCount {
        var sum = SIMD4<Double>.zero
        for k in 0..<half { sum += sums[Int(halves[index * half + k])] }
        tableLeft[index] = sum
      }
    }
    rightHalves.withUnsafeBufferPointer { halves in
      for index in 0..<rightCount {
        var sum = SIMD4<Double>.zero
        for k in 0..<rest { sum += sums[Int(halves[index * rest + k])] }
        tableRight[index] = sum
      }
    }
  }

  /// `result[lane] = max_T potential[T] + left[..] + right[..]`: the best arc of each of four
  /// subsets. This loop is where a root evaluation spends its time: per arc two vector loads, two
  /// additions and a maximum for four arcs at once.
  @inline(__always)
  func maximum(
    _ potential: UnsafePointer<Double>, left tableLeft: UnsafePointer<SIMD4<Double>>,
    right tableRight: UnsafePointer<SIMD4<Double>>
  ) -> SIMD4<Double> {
    var best = SIMD4<Double>(repeating: -Double.greatestFiniteMagnitude)
    let left = left.base
    let right = right.base
    for t in 0..<count {
      let value =
        tableLeft[Int(left[t])] + tableRight[Int(right[t])]
        + SIMD4<Double>(repeating: potential[t])
      best = best.replacing(with: value, where: value .> best)
    }
    return best
  }
}
