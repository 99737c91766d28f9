import ColocateModel

/// The vertices of one layer of the path relaxation: what a GPU may hold of it.
///
/// A vertex is a c-subset of the layer's experts that the load cap allows and that keeps the
/// decisions of a branch ("e and f together", "e and f apart"). Its own weight is what
/// co-activation keeps inside it.
///
/// **Halves.** The weight of an arc S → T is additive over T's members: with
/// `r_j = Σ_{i∈S} W[i,j]` it is `Σ_{j∈T} r_j`. Every subset is stored as a left and a right half
/// (the first ⌊c/2⌋ members and the rest). Many subsets share a half, so the sums over all halves
/// are tabulated once for S, and an arc then costs two table look-ups instead of c. Tables of four
/// S at a time make the look-ups vectors.
///
/// A list is never changed: what deletes or branches makes another.
package struct PathSubsets: Sendable {
  /// `n`, subsets of this layer.
  package let count: Int
  /// `c`.
  package let size: Int
  /// `[n, c]`, ascending in each row.
  package let members: SharedBuffer<UInt8>
  /// `[n]`; bit e is set where e is a member; zeros where E > 64.
  package let masks: SharedBuffer<UInt64>
  /// `[n]`, what co-activation keeps inside, in ticks.
  package let inner: SharedBuffer<Double>
  /// `[n]`, index of the left and the right half of each subset in the lists below.
  let left: SharedBuffer<UInt16>
  let right: SharedBuffer<UInt16>
  /// Members of the different halves: `[.., ⌊c/2⌋]`, `[.., ⌈c/2⌉]`.
  let leftHalves: [UInt8]
  let rightHalves: [UInt8]
  let leftCount: Int
  let rightCount: Int

  /// A tick is 1/64 of a token: prices are whole ticks, so that everything evaluated with them is a
  /// whole number.
  package static let ticks = 64

  /// The members of subset `s`, ascending.
  @inline(__always)
  package func row(_ s: Int) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: members.base + s * size, count: size)
  }

  /// The members of subset `s`; empty where E > 64.
  @inline(__always)
  package func set(_ s: Int) -> ExpertSet { ExpertSet(bits: masks[s]) }

  /// From rows of members.
  init(problem: GroupingProblem, layer: Int, members rows: [UInt8]) {
    let size = problem.groupSize
    count = rows.count / size
    self.size = size
    members = SharedBuffer(rows, filler: 0)
    masks = SharedBuffer(repeating: 0, count: count)
    inner = SharedBuffer(repeating: 0, count: count)
    left = SharedBuffer(repeating: 0, count: count)
    right = SharedBuffer(repeating: 0, count: count)
    var leftList = HalfList()
    var rightList = HalfList()
    for s in 0..<count {
      let row = rows[(s * size)..<((s + 1) * size)]
      if problem.experts <= 64 { for e in row { masks[s] |= 1 << UInt64(e) } }
      inner[s] = Double(Self.innerWeight(problem, layer, row) * Self.ticks)
      left[s] = leftList.number(of: row.prefix(size / 2))
      right[s] = rightList.number(of: row.dropFirst(size / 2))
    }
    leftCount = leftList.numbers.count
    rightCount = rightList.numbers.count
    leftHalves = leftList.members
    rightHalves = rightList.members
  }

  /// What co-activation keeps inside a subset, in tokens.
  private static func innerWeight(
    _ problem: GroupingProblem, _ layer: Int, _ row: ArraySlice<UInt8>
  ) -> Int {
    guard !problem.coactivation.isEmpty else { return 0 }
    var sum = 0
    for a in row {
      for b in row where b < a { sum += problem.coactivation(layer, Int(a), Int(b)) }
    }
    return sum
  }

  /// The different halves, numbered as they are met.
  private struct HalfList {
    var numbers: [UInt64: UInt16] = [:]
    var members: [UInt8] = []

    mutating func number(of half: ArraySlice<UInt8>) -> UInt16 {
      // A half has up to seven members of a byte each; the leading 1 keeps leading zeros.
      let key = half.reduce(UInt64(1)) { ($0 << 8) | UInt64($1) }
      if let known = numbers[key] { return known }
      let number = UInt16(numbers.count)
      numbers[key] = number
      members += half
      return number
    }
  }

  /// The subsets with the given indices, in this order.
  func selected(problem: GroupingProblem, layer: Int, _ kept: [Int]) -> PathSubsets {
    var rows = [UInt8]()
    rows.reserveCapacity(kept.count * size)
    for s in kept { rows += row(s) }
    return PathSubsets(problem: problem, layer: layer, members: rows)
  }

  // MARK: - Generation

  /// All subsets of a layer that the cap allows and `keep` takes.
  ///
  /// Every c-subset has one ascending row of members, so choosing the members in ascending order
  /// meets each subset once, in lexicographic order: position by position, each expert above the
  /// last one that leaves enough experts above itself for the positions that follow. Loads are not
  /// negative, so a beginning whose load is over the cap has no completion within it and is left
  /// at once.
  /// - Returns: nil where there are more than `limit` (numbers of subsets and halves have 16 bits,
  ///   members 8, and the key of a half is 64 bits wide: hence 65,535 subsets, 256 experts, c ≤ 14
  ///   at most), or where `control`, looked at every few thousand steps (a cap can leave next to
  ///   nothing of very many), says stop.
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
    /// - Returns: whether to go on.
    func extend(_ position: Int, from first: Int, load: Int) -> Bool {
      steps += 1
      if steps & 4095 == 0, control?.shouldStop ?? false { return false }
      if position == size {
        guard keep(row) else { return true }
        found += 1
        rows += row
        return found <= limit
      }
      for e in stride(from: first, through: experts - (size - position), by: 1) {
        let more = load + problem.load(layer, e)
        if more > cap { continue }
        row[position] = UInt8(e)
        if !extend(position + 1, from: e + 1, load: more) { return false }
      }
      return true
    }
    guard extend(0, from: 0, load: 0) else { return nil }
    return PathSubsets(problem: problem, layer: layer, members: rows)
  }

  // MARK: - Arcs

  /// Sums over the halves for four subsets S at once. `sums[j]` is `Σ_{i∈S} W[i,j]` for each of
  /// the four, in ticks.
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
  /// subsets.
  ///
  /// This loop is where a root evaluation spends its time: two vector loads, two additions and a
  /// maximum for four arcs at once.
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
