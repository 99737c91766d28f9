import ColocateModel

/// The bound of a node of the pricing search, and what it drops. The derivation is in
/// `DestinationPricing`.
extension DestinationPricing {
  /// Steps of θ at a node: the root's carry over to all below.
  private static func steps(depth: Int, size: Int) -> Int {
    switch depth {
    case 0: return size >= 12 ? 1000 : 300
    case 1: return size >= 12 ? 40 : 20
    default: return size >= 12 ? 12 : 8
    }
  }

  /// Moves θ, drops candidates that no group within the limit has, and returns a lower bound of
  /// every group below the node (infinite where none is left).
  func tighten(
    _ frame: PricingFrame, left: Int, base: Double, load: Int, depth: Int
  ) -> Double {
    guard dropByLoad(frame, left: left, load: load) else { return .infinity }
    var (first, best) = (0.0, -Double.infinity)
    let rounds = Self.steps(depth: depth, size: size)
    for round in 0..<rounds {
      let n = frame.candidates.count
      guard n >= left else { return .infinity }
      valueAll(frame, left: left, triesSlopes: round == 0 || round % 8 == 7)
      let (sum, last, chosen) = smallest(frame, left: left)
      let bound = base + sum - margin
      if round == 0 { first = bound }
      best = max(best, bound)
      if bound > limit { return bound }
      drop(frame) { bound - last + frame.worth[$0] > limit }
      if frame.candidates.count < n { continue }
      // Steps that bring little will not bring it beyond the limit either.
      let outlook = 1.5 * (best - first) * Double(rounds - round) / Double(max(1, round))
      let isHopeless = round > 2 && depth > 0 && outlook < limit - best
      guard round < rounds - 1, !isHopeless else { break }
      guard moveShift(frame, chosen, gap: limit - bound, overshoot: margin + 1) else { break }
    }
    return best
  }

  /// Drops from `list` what no group within the limit has, without moving θ.
  /// - Returns: false where no group from the list is within the limit.
  func narrow(
    _ frame: PricingFrame, _ list: inout [Int32], left: Int, base: Double
  ) -> Bool {
    frame.candidates = list
    valueAll(frame, left: left, triesSlopes: false)
    let (sum, last, _) = smallest(frame, left: left)
    let bound = base + sum - margin
    guard bound <= limit else { return false }
    drop(frame) { bound - last + frame.worth[$0] > limit }
    list = frame.candidates
    return true
  }

  private func drop(_ frame: PricingFrame, where isOut: (Int) -> Bool) {
    var kept = 0
    for index in frame.candidates.indices where !isOut(Int(frame.candidates[index])) {
      frame.candidates[kept] = frame.candidates[index]
      kept += 1
    }
    frame.candidates.removeSubrange(kept...)
  }

  /// - Returns: whether the cap leaves enough candidates.
  private func dropByLoad(_ frame: PricingFrame, left: Int, load: Int) -> Bool {
    guard let cap = layer.cap else { return true }
    // Ranks fall by load: the smallest are at the end.
    var least = 0
    for e in frame.candidates.suffix(left - 1) { least += loads[Int(e)] }
    drop(frame) { load + least + loads[$0] > cap }
    return frame.candidates.count >= left
  }

  /// `v` of all candidates for the slopes that stand, or the best of them and their neighbours.
  private func valueAll(_ frame: PricingFrame, left: Int, triesSlopes: Bool) {
    let most = max(1, min(left, layer.largestSet) - 1)
    for e in frame.candidates {
      let i = Int(e)
      let m = min(frame.slope[i], most)
      var (best, partners) = value(frame, i, slope: m, left: left)
      frame.slope[i] = m
      if triesSlopes {
        for other in [m - 1, m + 1] where other >= 1 && other <= most {
          let (sum, bits) = value(frame, i, slope: other, left: left)
          if sum > best {
            (best, partners) = (sum, bits)
            frame.slope[i] = other
          }
        }
      }
      frame.worth[i] = best
      frame.partners[i] = partners
    }
  }

  /// `v_i` with slope `m`, and the `r − 1` partners it counts.
  private func value(
    _ frame: PricingFrame, _ i: Int, slope m: Int, left: Int
  ) -> (Double, UInt64) {
    let wanted = left - 1
    let factor = 1 / Double(m * (m + 1))
    let pair = frame.pair.base + i * count
    let shift = frame.shift.base + i * count
    return withUnsafeTemporaryAllocation(of: (Double, Int).self, capacity: wanted + 1) { top in
      var held = 0
      frame.candidates.withUnsafeBufferPointer { list in
        for e in list where Int(e) != i {
          let j = Int(e)
          let entry = pair[j] * factor + shift[j]
          if held == wanted && entry <= top[held - 1].0 { continue }
          var position = held < wanted ? held : held - 1
          while position > 0 && top[position - 1].0 < entry {
            top[position] = top[position - 1]
            position -= 1
          }
          top[position] = (entry, j)
          if held < wanted { held += 1 }
        }
      }
      var (sum, bits) = (0.0, UInt64(0))
      for index in 0..<held {
        sum += top[index].0
        bits |= 1 << UInt64(top[index].1)
      }
      return (2 / Double(m + 1) * frame.single[i] - price[i] - sum, bits)
    }
  }

  /// The sum of the `left` smallest `v`, the largest among them, and who they are as bits.
  private func smallest(
    _ frame: PricingFrame, left: Int
  ) -> (sum: Double, last: Double, chosen: UInt64) {
    withUnsafeTemporaryAllocation(of: (Double, Int).self, capacity: left + 1) { low in
      var held = 0
      for e in frame.candidates {
        let v = frame.worth[Int(e)]
        if held == left && v >= low[held - 1].0 { continue }
        var position = held < left ? held : held - 1
        while position > 0 && low[position - 1].0 > v {
          low[position] = low[position - 1]
          position -= 1
        }
        low[position] = (v, Int(e))
        if held < left { held += 1 }
      }
      var (sum, bits) = (0.0, UInt64(0))
      for index in 0..<held {
        sum += low[index].0
        bits |= 1 << UInt64(low[index].1)
      }
      return (sum, low[held - 1].0, bits)
    }
  }

  /// One subgradient step: `θ_ij` falls where `i` counts `j` and `j` does not count `i`.
  /// - Returns: false where the subgradient is 0, and θ the best there is.
  private func moveShift(
    _ frame: PricingFrame, _ chosen: UInt64, gap: Double, overshoot: Double
  ) -> Bool {
    var norm = 0
    for i in ExpertSet(bits: chosen) {
      for j in ExpertSet(bits: frame.partners[i]) {
        let isMutual = chosen >> UInt64(j) & 1 == 1 && frame.partners[j] >> UInt64(i) & 1 == 1
        norm += isMutual ? 0 : 1
      }
    }
    guard norm > 0 else { return false }
    // Polyak's step only comes near its target: aim beyond the limit.
    let step = (1.2 * gap + overshoot) / Double(norm)
    for i in ExpertSet(bits: chosen) {
      for j in ExpertSet(bits: frame.partners[i]) {
        if chosen >> UInt64(j) & 1 == 1 && frame.partners[j] >> UInt64(i) & 1 == 1 { continue }
        let moved = frame.shift[i * count + j] - step
        // The margin for rounding counts on it.
        guard moved.magnitude <= Double(layer.total) else { continue }
        frame.shift[i * count + j] = moved
        frame.shift[j * count + i] = -moved
      }
    }
    return true
  }
}
