import ColocateModel

/// Groups of small reduced cost by swaps: the cheap half of column generation.
///
/// Swapping `e` out of the group `S` and `f` in changes `cover(S) − u(S)` by
/// `fresh[f] − lone[e] + both[e,f] − u_f + u_e`, with the sums of `SwapGains` for one group. They
/// are made anew after each swap, in one pass over the sets.
package struct ColumnDescent {
  package typealias Column = DestinationPricing.Column

  private let layer: DestinationLayer
  private let lone: SharedBuffer<Int>
  private let fresh: SharedBuffer<Int>
  private let both: SharedBuffer<Int>

  /// - Parameter layer: of at most 64 experts.
  package init(_ layer: DestinationLayer) {
    self.layer = layer
    lone = SharedBuffer(repeating: 0, count: 64)
    fresh = SharedBuffer(repeating: 0, count: 64)
    both = SharedBuffer(repeating: 0, count: 64 * 64)
  }

  /// Tokens with an expert in `mask`.
  static func cover(_ mask: UInt64, _ layer: DestinationLayer) -> Int {
    var sum = 0
    for t in 0..<layer.count where layer.masks[t] & mask != 0 { sum += layer.weights[t] }
    return sum
  }

  /// The group at the end of the best swaps from `start`, and what it covers.
  /// - Parameter prices: `u · scale`, `[E]`.
  package func descend(from start: UInt64, prices: [Int]) -> Column {
    var mask = start
    let all = ExpertSet.all(layer.experts)
    var load = ExpertSet(bits: mask).reduce(0) { $0 + layer.loads[$1] }
    while true {
      let covered = measure(mask)
      var best = (change: 0, e: -1, f: -1)
      for e in ExpertSet(bits: mask) {
        for f in all.subtracting(ExpertSet(bits: mask)) {
          let tokens = fresh[f] - lone[e] + both[e * 64 + f]
          let change = tokens * DestinationPricing.scale - prices[f] + prices[e]
          guard change < best.change else { continue }
          if let cap = layer.cap, load - layer.loads[e] + layer.loads[f] > cap { continue }
          best = (change, e, f)
        }
      }
      guard best.e >= 0 else { return Column(mask: mask, cost: covered) }
      mask ^= (1 << UInt64(best.e)) | (1 << UInt64(best.f))
      load += layer.loads[best.f] - layer.loads[best.e]
    }
  }

  /// The groups that one swap makes of `mask`, those within the cap and with a reduced cost of at
  /// most `limit`, in `1 / scale`.
  func neighbours(of mask: UInt64, prices: [Int], limit: Int) -> [Column] {
    let covered = measure(mask)
    let load = ExpertSet(bits: mask).reduce(0) { $0 + layer.loads[$1] }
    let outside = ExpertSet.all(layer.experts).subtracting(ExpertSet(bits: mask))
    let base = DestinationPricing.reduced(Column(mask: mask, cost: covered), prices: prices)
    var found = [Column]()
    for e in ExpertSet(bits: mask) {
      for f in outside {
        let tokens = fresh[f] - lone[e] + both[e * 64 + f]
        let reduced = base + tokens * DestinationPricing.scale - prices[f] + prices[e]
        guard reduced <= limit else { continue }
        if let cap = layer.cap, load - layer.loads[e] + layer.loads[f] > cap { continue }
        let bits = (1 << UInt64(e)) | (1 << UInt64(f)) as UInt64
        found.append(Column(mask: mask ^ bits, cost: covered + tokens))
      }
    }
    return found
  }

  /// Fills the sums for `mask`.
  /// - Returns: what it covers.
  private func measure(_ mask: UInt64) -> Int {
    for e in 0..<layer.experts {
      lone[e] = 0
      fresh[e] = 0
    }
    for e in ExpertSet(bits: mask) {
      for f in 0..<layer.experts { both[e * 64 + f] = 0 }
    }
    var covered = 0
    let (masks, count) = (layer.masks, layer.count)
    masks.withUnsafeBufferPointer { masks in
      for t in 0..<count {
        let w = layer.weights[t]
        let shared = masks[t] & mask
        if shared == 0 {
          for f in ExpertSet(bits: masks[t]) { fresh[f] += w }
          continue
        }
        covered += w
        guard shared & (shared - 1) == 0 else { continue }
        let e = shared.trailingZeroBitCount
        lone[e] += w
        for f in ExpertSet(bits: masks[t] ^ shared) { both[e * 64 + f] += w }
      }
    }
    return covered
  }
}
