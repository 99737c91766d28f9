import ColocateModel

/// The bound of a node of the pricing search: the steps of θ and m, and what is dropped. The
/// derivation is in `PricingNode`.
extension PricingNode {
  /// What `tighten` may do and needs to know.
  struct Effort {
    /// Experts chosen.
    let depth: Int
    let rounds: Int
    /// Reduced cost of what is chosen.
    let base: Double
    let limit: Double
    /// Units of work.
    var spent = 0

    init(depth: Int, base: Double, limit: Double) {
      self.depth = depth
      self.base = base
      self.limit = limit
      rounds = depth == 0 ? 400 : depth == 1 ? 60 : 30
    }
  }

  /// Moves θ and m, drops candidates that no group within the limit has, and returns a lower bound
  /// of every group below the node (infinite where none is left).
  func tighten(_ effort: inout Effort) -> Double {
    let (base, limit) = (effort.base, effort.limit)
    var (first, best) = (0.0, -Double.infinity)
    var dropped = 0
    setSlopes()
    for round in 0..<effort.rounds {
      if round > 0 && round % 6 == 0 {
        if dropped > 0 { shrink() }
        dropped = 0
        setSlopes()
      }
      evaluate()
      effort.spent += count * count / 16 + 4
      guard let (sum, last, chosen) = smallest(left, of: { worth[$0] }) else { return .infinity }
      let bound = base + sum
      if round == 0 { first = bound }
      best = max(best, bound)
      if bound > limit { return bound }
      for i in 0..<count where isThere[i] && bound - last + worth[i] > limit {
        strike(i)
        dropped += 1
      }
      if round & 1 == 0 { countPartners() }
      // Steps that bring little will not bring it beyond the limit either.
      let outlook = 1.5 * (best - first) * Double(effort.rounds - round) / Double(max(1, round))
      let isHopeless = round > 4 && effort.depth > 0 && outlook < limit - best
      if isHopeless || round == effort.rounds - 1 { break }
      // Polyak's step only comes near its target: aim beyond the limit.
      guard moveShift(chosen, rise: 1.2 * (limit - bound) + Self.token) else { break }
    }
    if dropped > 0 {
      shrink()
      setSlopes()
    }
    return best
  }

  /// `m`, and with it `A`, `x − θ` and `R`.
  private func setSlopes() {
    let most = left - 1
    dirty = .max
    for i in 0..<count where isThere[i] {
      var sum = lone[i] - price[i]
      let (row, gone) = (pair.base + i * stride, lost.base + i * stride)
      let (share, both) = (partnership.base + i * stride, duo.base + i * stride)
      for j in 0..<stride {
        row[j] = 0.5 * both[j]
        gone[j] = both[j]
        sum += both[j]
      }
      for position in Int(rowStarts[i])..<Int(rowStarts[i + 1]) {
        let t = Int(rows[position])
        let (from, to) = (Int(starts[t]), Int(starts[t + 1]))
        // A little more, so that what is nearly whole counts as whole.
        var together: Float = 1.02
        for index in from..<to { together += share[Int(members[index])] }
        let m = max(1, min(Int(together), to - from - 1, most, Self.steepest))
        let whole = weights[t] / Self.chord
        let full = whole * Self.ends[m]
        let each = whole * Self.slopes[m]
        sum += full
        for index in from..<to {
          row[Int(members[index])] += each
          gone[Int(members[index])] += full
        }
      }
      factor[i] = sum
    }
  }

  /// `2 / (m + 1)` and `1 / (m (m + 1))`, times `chord`.
  private static let ends = table { 2 * chord / Double($0 + 1) }
  private static let slopes = table { chord / Double($0 * ($0 + 1)) }

  private static func table(_ value: (Int) -> Double) -> SharedBuffer<Double> {
    SharedBuffer([0] + (1...steepest).map(value), filler: 0)
  }

  /// `v` and partners of everyone for whom something changed. Those of the last time come first:
  /// most of them stay.
  private func evaluate() {
    let wanted = left - 1
    var all: UInt64 = 0
    for i in 0..<count where isThere[i] { all |= 1 << UInt64(i) }
    let made = dirty & all
    dirty = 0
    withUnsafeTemporaryAllocation(of: Double.self, capacity: wanted + 1) { value in
      withUnsafeTemporaryAllocation(of: Int.self, capacity: wanted + 1) { who in
        for i in ExpertSet(bits: made) {
          evaluate(i, all & ~(1 << UInt64(i)), value, who)
        }
      }
    }
  }

  @inline(__always)
  private func evaluate(
    _ i: Int, _ others: UInt64, _ value: UnsafeMutableBufferPointer<Double>,
    _ who: UnsafeMutableBufferPointer<Int>
  ) {
    let wanted = left - 1
    let (row, added) = (pair.base + i * stride, shift.base + i * stride)
    var chosen = partners[i] & others
    if chosen.nonzeroBitCount != wanted {
      var spare = others & ~chosen
      while chosen.nonzeroBitCount < wanted, spare != 0 {
        chosen |= spare & (~spare &+ 1)
        spare &= spare &- 1
      }
      guard chosen.nonzeroBitCount == wanted else {
        worth[i] = .infinity
        partners[i] = 0
        least[i] = 0
        return
      }
    }
    var held = 0
    var rest = chosen
    while rest != 0 {
      let j = rest.trailingZeroBitCount
      rest &= rest &- 1
      value[held] = row[j] + added[j]
      who[held] = j
      held += 1
    }
    var lowest = 0
    for k in 1..<held where value[k] < value[lowest] { lowest = k }
    var block = 0
    while block < stride {
      let entries =
        UnsafeRawPointer(row + block).loadUnaligned(as: SIMD4<Double>.self)
        + UnsafeRawPointer(added + block).loadUnaligned(as: SIMD4<Double>.self)
      if any(entries .> value[lowest]) {
        for lane in 0..<4 where chosen >> UInt64(block + lane) & 1 == 0 {
          guard entries[lane] > value[lowest] else { continue }
          chosen ^= 1 << UInt64(who[lowest]) | 1 << UInt64(block + lane)
          value[lowest] = entries[lane]
          who[lowest] = block + lane
          lowest = 0
          for k in 1..<held where value[k] < value[lowest] { lowest = k }
        }
      }
      block += 4
    }
    var sum = 0.0
    for k in 0..<held { sum += value[k] }
    worth[i] = factor[i] - sum
    least[i] = value[lowest]
    partners[i] = chosen
  }

  /// The sum of the `wanted` smallest values of candidates, the largest among them, and who they
  /// are as bits; nil where there are not so many.
  @inline(__always)
  private func smallest(
    _ wanted: Int, of value: (Int) -> Double
  ) -> (sum: Double, last: Double, chosen: UInt64)? {
    withUnsafeTemporaryAllocation(of: (Double, Int).self, capacity: wanted + 1) { low in
      var held = 0
      for i in 0..<count where isThere[i] {
        let v = value(i)
        if held == wanted && v >= low[held - 1].0 { continue }
        var position = held < wanted ? held : held - 1
        while position > 0 && low[position - 1].0 > v {
          low[position] = low[position - 1]
          position -= 1
        }
        low[position] = (v, i)
        if held < wanted { held += 1 }
      }
      guard held == wanted else { return nil }
      var (sum, bits) = (0.0, UInt64(0))
      for index in 0..<held {
        sum += low[index].0
        bits |= 1 << UInt64(low[index].1)
      }
      return (sum, low[held - 1].0, bits)
    }
  }

  /// `z`: partners count a tenth.
  private func countPartners() {
    for i in 0..<count where isThere[i] {
      let row = partnership.base + i * stride
      let bits = partners[i]
      for j in 0..<count { row[j] = row[j] * 0.9 + (bits >> UInt64(j) & 1 == 1 ? 0.1 : 0) }
    }
  }

  /// One subgradient step: `θ_ij` falls where `i` counts `j` and `j` does not count `i`.
  /// - Returns: false where the subgradient is 0, and θ the best there is.
  private func moveShift(_ chosen: UInt64, rise: Double) -> Bool {
    var norm = 0
    for i in ExpertSet(bits: chosen) {
      for j in ExpertSet(bits: partners[i]) where !isMutual(i, j, chosen) { norm += 1 }
    }
    guard norm > 0 else { return false }
    let step = (rise / Double(norm)).rounded()
    for i in ExpertSet(bits: chosen) {
      for j in ExpertSet(bits: partners[i]) where !isMutual(i, j, chosen) {
        let moved = shift[i * stride + j] - step
        guard moved.magnitude <= Self.mostShift else { continue }
        shift[i * stride + j] = moved
        shift[j * stride + i] = -moved
        dirty |= 1 << UInt64(i) | 1 << UInt64(j)
      }
    }
    return true
  }

  private func isMutual(_ i: Int, _ j: Int, _ chosen: UInt64) -> Bool {
    chosen >> UInt64(j) & 1 == 1 && partners[j] >> UInt64(i) & 1 == 1
  }

  // MARK: - What comes next

  /// Drops whom those struck off since leave beyond the limit.
  /// - Returns: the candidate to choose next, the one with the largest `v`; nil where no group of
  ///   those left is within the limit.
  func next(base: Double, limit: Double) -> Int? {
    evaluate()
    guard let (sum, last, _) = smallest(left, of: { worth[$0] }), base + sum <= limit else {
      return nil
    }
    var worst = -1
    for i in 0..<count where isThere[i] {
      if base + sum - last + worth[i] > limit {
        strike(i)
      } else if worst < 0 || worth[i] > worth[worst] {
        worst = i
      }
    }
    return worst
  }

  /// A bound for the child in which `e`, struck off already, is chosen.
  /// - Parameter base: with `e`.
  func bound(choosing e: Int, base: Double) -> Double {
    let rest = smallest(left - 1) { j in
      let isPartner = partners[j] >> UInt64(e) & 1 == 1
      // θ_je went when e was struck off; that of the row of e is still there.
      let freed = isPartner ? pair[j * stride + e] - shift[e * stride + j] : least[j]
      return worth[j] - lost[j * stride + e] + freed
    }
    return rest.map { base + $0.sum } ?? .infinity
  }
}
