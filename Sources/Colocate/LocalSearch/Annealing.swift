import ColocateModel

/// Simulated annealing on swaps of two experts of a layer and on label exchanges over a segment of
/// layers.
///
/// Kirkpatrick, Gelatt, Vecchi, Science 220, 1983, with Metropolis' rule. The rule
/// `u < exp(gain / T)` is asked as `gain > −T · ξ` with ξ drawn from a table of exponential
/// quantiles: one multiplication a move, no exp, no log. Swaps alone are rugged (whole suffixes end
/// up mislabelled against a prefix, "domain walls"); exchanging two labels over a segment moves
/// such a wall in one step, and at the end of a run the walls are settled exactly
/// (`LabelMatching`).
///
/// A proposal costs O(1), an accepted swap what `GainTable` says, an exchange of labels O(E²) at
/// each end of its segment. All chance comes from the caller's generator.
package enum Annealing {
  /// Quantiles of the exponential distribution, `−ln((k + ½) / 2048)`.
  static let quantiles: [Float] = (0..<2048).map {
    Float(-Elementary.log((Double($0) + 0.5) / 2048))
  }

  /// Proposals between two looks at the clock and two temperatures.
  static let block = 1024

  /// - Parameters:
  ///   - layers: swaps stay inside this range.
  ///   - moves: proposals, rounded up to whole blocks.
  ///   - hot: the first temperature, in units of the value; geometric to `cold`.
  ///   - relabelEvery: one label exchange per so many swaps.
  /// - Returns: false where time ended or somebody asked to stop.
  @discardableResult
  package static func run<Gain>(
    _ table: GainTable<Gain>, random: inout SeededGenerator, layers: Range<Int>, moves: Int,
    hot: Double, cold: Double, relabelEvery: Int, control: SearchControl
  ) -> Bool {
    let model = table.model
    let experts = model.experts
    guard model.groups > 1 else { return true }
    guard table.isWhole else { return false }
    // An accepted swap writes rows of both neighbours, on two levels those of two nodes: proposals
    // between two looks at the clock, so that a look comes every few milliseconds.
    let rows = model.isFlat ? 4 : 4 * model.saved.groupsPerNode
    let between = max(1, min(block, (1 << 24) / max(1, rows * model.pitch)))
    let blocks = max(1, (moves + block - 1) / block)
    let factor = Elementary.exp(Elementary.log(cold / hot) / Double(max(1, blocks - 1)))
    var temperature = hot
    let relabels = model.groups > 1 ? max(1, block / relabelEvery) : 0
    let spread = UInt32(truncatingIfNeeded: layers.count)
    let width = UInt32(truncatingIfNeeded: experts)
    return quantiles.withUnsafeBufferPointer { quantiles in
      for _ in 0..<blocks {
        let scale = Float(temperature)
        for proposal in 0..<block {
          if proposal % between == 0, control.shouldStop { return false }
          let bits = random.next()
          let l =
            layers.lowerBound
            + Int((UInt64(UInt32(truncatingIfNeeded: bits)) &* UInt64(spread)) &>> 32)
          let a = Int((UInt32(truncatingIfNeeded: (bits &>> 32) & 0xFFFF) &* width) &>> 16)
          let b = Int((UInt32(truncatingIfNeeded: bits &>> 48) &* width) &>> 16)
          guard table.label(l, a) != table.label(l, b) else { continue }
          let gain = table.swapGain(l, a, b)
          if gain < 0 {
            let rank = Int(random.next() &>> 53)
            guard Float(gain) > -scale * quantiles[rank] else { continue }
          }
          if model.isCapped, !table.swapFits(l, a, b) { continue }
          table.swap(l, a, b, gain: gain)
        }
        for _ in 0..<relabels { relabel(table, &random, layers, scale, quantiles) }
        temperature *= factor
      }
      return true
    }
  }

  /// Proposes an exchange of two labels of one node over a random segment of layers: one layer,
  /// from a cut to the end (a whole wall), or between two cuts.
  private static func relabel<Gain>(
    _ table: GainTable<Gain>, _ random: inout SeededGenerator, _ layers: Range<Int>,
    _ scale: Float, _ quantiles: UnsafeBufferPointer<Float>
  ) {
    let per = table.model.saved.groupsPerNode
    guard per > 1 else { return }
    let node = random.next(below: table.model.groups / per) * per
    let p = random.next(below: per)
    let q = (p + 1 + random.next(below: per - 1)) % per
    var first = layers.lowerBound + random.next(below: layers.count)
    var last = layers.lowerBound + random.next(below: layers.count)
    switch random.next(below: 3) {
    case 0: last = first  // one layer
    case 1: last = table.model.layers - 1  // from a cut to the end: a whole wall
    default: if last < first { swap(&first, &last) }
    }
    if last >= layers.upperBound { last = layers.upperBound - 1 }
    let range = first..<(last + 1)
    let gain = table.relabelGain(range, node + p, node + q)
    if gain < 0 {
      let rank = Int(random.next() &>> 53)
      guard Float(gain) > -scale * quantiles[rank] else { return }
    }
    table.relabel(range, node + p, node + q, gain: gain)
  }
}
