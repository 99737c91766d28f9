import ColocateModel

/// A labelled placement with the gain of every move at hand.
///
/// `attraction[l, g, e]` is what expert `e` of layer `l` would save in group `g`, its neighbours in
/// layers `l-1` and `l+1` and its co-activated experts staying where they are. Two experts `a ∈ g`,
/// `b ∈ h` of one layer that change places gain
///
///     A[h,a] − A[g,a] + A[g,b] − A[h,b] − 2 · V[a,b] · (s(g,g) − s(g,h))
///
/// (their own pair is as far apart after as before, but both attractions count it as won). Four
/// loads a proposal; an accepted move adds `row(b) − row(a)` of each neighbour to group `g`'s
/// attractions and takes it from `h`'s: contiguous, vectorised. On two levels the other groups of
/// the two nodes change as well. A proposal costs O(1), an accepted swap O(E) on one level and
/// O(G · E) on two, a table from scratch O(L · E²).
///
/// One thread at a time works on a table.
package final class GainTable<Gain: FixedWidthInteger & SignedInteger & SIMDScalar & Sendable> {
  let model: SearchModel<Gain>
  /// `[L, E]`.
  let labels: UnsafeMutablePointer<UInt16>
  /// `[L, P, pitch]`.
  let attraction: UnsafeMutablePointer<Gain>
  /// `[L, P]`.
  let groupLoad: UnsafeMutablePointer<Int>
  /// `SavedWeights.value` of the labels.
  package private(set) var value = 0
  /// Whether nobody stopped the last `load`; otherwise neither gains nor `value` mean anything.
  package private(set) var isWhole = true

  private let control: SearchControl?
  private let layers: Int
  private let experts: Int
  private let groups: Int
  private let pitch: Int

  /// - Parameters:
  ///   - labels: `[L, E]`, `c` experts per group and layer.
  ///   - control: looked at while attractions are added up; where it says stop the table is not
  ///     `isWhole`. nil for never.
  package init(model: SearchModel<Gain>, labels start: [Int], control: SearchControl? = nil) {
    self.model = model
    (layers, experts, groups, pitch) = (model.layers, model.experts, model.groups, model.pitch)
    self.control = control
    labels = .allocate(capacity: layers * experts)
    labels.initialize(repeating: 0, count: layers * experts)
    attraction = .allocate(capacity: layers * groups * pitch)
    attraction.initialize(repeating: 0, count: layers * groups * pitch)
    groupLoad = .allocate(capacity: layers * groups)
    groupLoad.initialize(repeating: 0, count: layers * groups)
    load(start)
  }

  deinit {
    labels.deallocate()
    attraction.deallocate()
    groupLoad.deallocate()
  }

  /// `[L, E]`.
  package var placement: [Int] { (0..<(layers * experts)).map { Int(labels[$0]) } }

  /// Takes other labels and recomputes everything.
  package func load(_ start: [Int]) {
    precondition(start.count == layers * experts)
    for index in start.indices { labels[index] = UInt16(truncatingIfNeeded: start[index]) }
    rebuild(0..<layers, control: control)
    isWhole = !(control?.shouldStop ?? false)
    // Every pair is in the attractions of both its experts.
    value = 0
    for index in 0..<(layers * experts) {
      value += attraction(index / experts, Int(labels[index]), index % experts)
    }
    value /= 2
  }

  /// A copy of another table of the same model.
  package func load(_ other: GainTable) {
    labels.update(from: other.labels, count: layers * experts)
    attraction.update(from: other.attraction, count: layers * groups * pitch)
    groupLoad.update(from: other.groupLoad, count: layers * groups)
    value = other.value
    isWhole = other.isWhole
  }

  /// Attractions and loads of some layers from the labels.
  private func rebuild(_ range: Range<Int>, control: SearchControl? = nil) {
    for l in range {
      (attraction + l * groups * pitch).update(repeating: 0, count: groups * pitch)
      (groupLoad + l * groups).update(repeating: 0, count: groups)
      for i in 0..<experts {
        if i & 31 == 0, control?.shouldStop ?? false { return }
        groupLoad[l * groups + label(l, i)] += model.loads[l * experts + i]
        if l > 0 {
          add(
            l, label(l - 1, i),
            model.forward + ((l - 1) * experts + i) * pitch)
        }
        if l < layers - 1 {
          add(l, label(l + 1, i), model.backward + (l * experts + i) * pitch)
        }
        if let together = model.together {
          add(l, label(l, i), together + (l * experts + i) * pitch)
        }
      }
    }
  }

  /// A neighbour in group `h` with weights `row` attracts layer `l`.
  private func add(_ l: Int, _ h: Int, _ row: UnsafePointer<Gain>) {
    if model.isFlat {
      let target = attraction + (l * groups + h) * pitch
      let factor = Gain(model.saved.group)
      for e in 0..<experts { target[e] &+= factor &* row[e] }
      return
    }
    for g in 0..<groups {
      let factor = Gain(model.saved.saved(g, h))
      guard factor != 0 else { continue }
      let target = attraction + (l * groups + g) * pitch
      for e in 0..<experts { target[e] &+= factor &* row[e] }
    }
  }

  /// Takes other groups for layer `l`. O(E²).
  package func assign(layer l: Int, groupOf: [Int]) {
    let before = inside(l)
    for e in 0..<experts {
      labels[l * experts + e] = UInt16(truncatingIfNeeded: groupOf[e])
    }
    rebuild(max(0, l - 1)..<min(layers, l + 2))
    value += inside(l) - before
  }

  /// Value that layer `l` takes part in.
  private func inside(_ l: Int) -> Int {
    var sum = 0
    for e in 0..<experts { sum += attraction(l, label(l, e), e) }
    guard let together = model.together else { return sum }
    // Attractions count a pair of the layer from both sides.
    for a in 0..<experts {
      for b in 0..<a {
        sum -=
          Int(together[(l * experts + a) * pitch + b])
          * model.saved.saved(label(l, a), label(l, b))
      }
    }
    return sum
  }

  /// The group of expert `e` of layer `l`.
  @inline(__always)
  func label(_ l: Int, _ e: Int) -> Int { Int(labels[l * experts + e]) }

  // MARK: Swaps

  /// What `attraction` says of expert `e` of layer `l` in group `g`.
  @inline(__always)
  package func attraction(_ l: Int, _ g: Int, _ e: Int) -> Int {
    Int(attraction[(l * groups + g) * pitch + e])
  }

  /// Value won when experts `a` and `b` of layer `l`, in different groups, change places.
  @inline(__always)
  package func swapGain(_ l: Int, _ a: Int, _ b: Int) -> Gain {
    let g = label(l, a)
    let h = label(l, b)
    let atG = attraction + (l * groups + g) * pitch
    let atH = attraction + (l * groups + h) * pitch
    var gain = atH[a] &- atG[a] &+ atG[b] &- atH[b]
    if let together = model.together {
      let factor = Gain(
        truncatingIfNeeded: 2 * (model.saved.saved(g, g) - model.saved.saved(g, h)))
      gain &-= factor &* together[(l * experts + a) * pitch + b]
    }
    return gain
  }

  /// Whether the swap keeps both groups under the cap.
  @inline(__always)
  package func swapFits(_ l: Int, _ a: Int, _ b: Int) -> Bool {
    let shift = model.loads[l * experts + b] - model.loads[l * experts + a]
    let load = groupLoad + l * groups
    return load[label(l, a)] + shift <= model.caps[l]
      && load[label(l, b)] - shift <= model.caps[l]
  }

  /// Carries out the swap whose gain is `gain`.
  @inline(__always)
  package func swap(_ l: Int, _ a: Int, _ b: Int, gain: Gain) {
    let g = label(l, a)
    let h = label(l, b)
    if l + 1 < layers {
      let rows = model.forward + l * experts * pitch
      move(l + 1, g, h, taken: rows + a * pitch, given: rows + b * pitch)
    }
    if l > 0 {
      let rows = model.backward + (l - 1) * experts * pitch
      move(l - 1, g, h, taken: rows + a * pitch, given: rows + b * pitch)
    }
    if let together = model.together {
      let rows = together + l * experts * pitch
      move(l, g, h, taken: rows + a * pitch, given: rows + b * pitch)
    }
    let shift = model.loads[l * experts + b] - model.loads[l * experts + a]
    groupLoad[l * groups + g] += shift
    groupLoad[l * groups + h] -= shift
    labels[l * experts + a] = UInt16(truncatingIfNeeded: h)
    labels[l * experts + b] = UInt16(truncatingIfNeeded: g)
    value += Int(gain)
  }

  /// Layer `l`'s neighbours in group `g` lose `taken` and win `given`; group `h` the other way
  /// round.
  @inline(__always)
  private func move(
    _ l: Int, _ g: Int, _ h: Int, taken: UnsafePointer<Gain>, given: UnsafePointer<Gain>
  ) {
    let layer = attraction + l * groups * pitch
    if model.isFlat {
      Self.exchange(layer + g * pitch, layer + h * pitch, taken, given, pitch)
    } else {
      let per = model.saved.groupsPerNode
      let (group, node) = (Gain(model.saved.group), Gain(model.saved.node))
      if g / per == h / per {
        Self.shift(layer + g * pitch, group, taken, given, pitch)
        Self.shift(layer + h * pitch, 0 &- group, taken, given, pitch)
      } else {
        for k in (g / per * per)..<(g / per * per + per) {
          Self.shift(layer + k * pitch, k == g ? group &+ node : node, taken, given, pitch)
        }
        for k in (h / per * per)..<(h / per * per + per) {
          Self.shift(
            layer + k * pitch, 0 &- (k == h ? group &+ node : node), taken, given, pitch)
        }
      }
    }
  }

  /// `up += given − taken`, `down −= given − taken`.
  @inline(__always)
  private static func exchange(
    _ up: UnsafeMutablePointer<Gain>, _ down: UnsafeMutablePointer<Gain>,
    _ taken: UnsafePointer<Gain>, _ given: UnsafePointer<Gain>, _ count: Int
  ) {
    let (rawUp, rawDown) = (UnsafeMutableRawPointer(up), UnsafeMutableRawPointer(down))
    let (rawTaken, rawGiven) = (UnsafeRawPointer(taken), UnsafeRawPointer(given))
    let stride = MemoryLayout<Gain>.stride * 8
    var offset = 0
    while offset < count * MemoryLayout<Gain>.stride {
      let difference =
        rawGiven.loadUnaligned(fromByteOffset: offset, as: SIMD8<Gain>.self)
        &- rawTaken.loadUnaligned(fromByteOffset: offset, as: SIMD8<Gain>.self)
      let first = rawUp.loadUnaligned(fromByteOffset: offset, as: SIMD8<Gain>.self) &+ difference
      let second =
        rawDown.loadUnaligned(fromByteOffset: offset, as: SIMD8<Gain>.self) &- difference
      rawUp.storeBytes(of: first, toByteOffset: offset, as: SIMD8<Gain>.self)
      rawDown.storeBytes(of: second, toByteOffset: offset, as: SIMD8<Gain>.self)
      offset += stride
    }
  }

  /// `target += factor · (given − taken)`.
  @inline(__always)
  private static func shift(
    _ target: UnsafeMutablePointer<Gain>, _ factor: Gain, _ taken: UnsafePointer<Gain>,
    _ given: UnsafePointer<Gain>, _ count: Int
  ) {
    for e in 0..<count { target[e] &+= factor &* (given[e] &- taken[e]) }
  }

  // MARK: Labels over a segment

  /// Value won when groups `p` and `q` exchange labels in layers `range`. Only the boundaries at
  /// the range's two ends see it, as long as the exchange keeps `s`: both in one node, or one
  /// level.
  package func relabelGain(_ range: Range<Int>, _ p: Int, _ q: Int) -> Int {
    var gain = 0
    if range.lowerBound > 0 { gain -= straightLessCrossed(range.lowerBound - 1, p, q) }
    if range.upperBound < layers { gain -= straightLessCrossed(range.upperBound - 1, p, q) }
    return gain * model.saved.group
  }

  /// `C[p,p] + C[q,q] − C[p,q] − C[q,p]` with `C[g,h]` the weight from group `g` of layer `l` to
  /// group `h` of layer `l + 1`.
  private func straightLessCrossed(_ l: Int, _ p: Int, _ q: Int) -> Int {
    let (from, to) = (labels + l * experts, labels + (l + 1) * experts)
    let rows = model.forward + l * experts * pitch
    let (first, second) = (UInt16(truncatingIfNeeded: p), UInt16(truncatingIfNeeded: q))
    var sum = 0
    for i in 0..<experts where from[i] == first || from[i] == second {
      let row = rows + i * pitch
      var part: Gain = 0
      for j in 0..<experts {
        let sign: Gain = (to[j] == first ? 1 : 0) &- (to[j] == second ? 1 : 0)
        part &+= sign &* row[j]
      }
      sum += from[i] == first ? Int(part) : -Int(part)
    }
    return sum
  }

  /// Carries out the exchange of labels whose gain is `gain`.
  package func relabel(_ range: Range<Int>, _ p: Int, _ q: Int, gain: Int) {
    let (first, second) = (UInt16(truncatingIfNeeded: p), UInt16(truncatingIfNeeded: q))
    let lower = range.lowerBound
    let upper = range.upperBound
    for index in (lower * experts)..<(upper * experts) {
      if labels[index] == first {
        labels[index] = second
      } else if labels[index] == second {
        labels[index] = first
      }
    }
    for l in range {
      let layer = attraction + l * groups * pitch
      let (rowP, rowQ) = (layer + p * pitch, layer + q * pitch)
      for e in 0..<pitch { (rowP[e], rowQ[e]) = (rowQ[e], rowP[e]) }
      let load = groupLoad + l * groups
      (load[p], load[q]) = (load[q], load[p])
    }
    // At the two ends the neighbour kept its labels: what it sends in was exchanged with the rows
    // and goes back, and what goes out to it is new.
    if lower > 0 { crossOver(boundary: lower - 1, p, q) }
    if upper < layers { crossOver(boundary: upper - 1, p, q) }
    value += gain
  }

  /// The experts of groups `p` and `q` on either side of boundary `l` attract the other side under
  /// the labels that they have there now.
  private func crossOver(boundary l: Int, _ p: Int, _ q: Int) {
    for i in 0..<experts {
      let (before, after) = (label(l, i), label(l + 1, i))
      let row = (l * experts + i) * pitch
      if before == p || before == q {
        crossOver(l + 1, before == p ? (p, q) : (q, p), model.forward + row)
      }
      if after == p || after == q {
        crossOver(l, after == p ? (p, q) : (q, p), model.backward + row)
      }
    }
  }

  /// A neighbour's weights `row` on layer `l` count for group `pair.0` from now on and no more for
  /// `pair.1`.
  private func crossOver(_ l: Int, _ pair: (Int, Int), _ row: UnsafePointer<Gain>) {
    let up = attraction + (l * groups + pair.0) * pitch
    let down = attraction + (l * groups + pair.1) * pitch
    let factor = Gain(model.saved.group)
    for e in 0..<experts {
      up[e] &+= factor &* row[e]
      down[e] &-= factor &* row[e]
    }
  }
}
