import ColocateModel

/// Two groups of at most 16 experts each, exactly: the experts are cut into two halves, and what a
/// choice in one half leaves to the other is answered for all of the other's choices at once.
///
/// With two groups a token costs 1, and 1 more if it is **cut**: has experts in both. So the group
/// `S` of one expert that is held fixed decides everything, and
///
///     Σ_tokens λ = Σ w + cut(S),     cut(S) = Σ w − Σ_{t ⊆ S} w − Σ_{t ⊆ S̄} w.
///
/// Let `L` be the busier half of the experts and `R` the other, `A = S ∩ L` and `B = S ∩ R`. Tokens
/// with experts of `L` on both sides are cut whatever `B` is; let `cut(A)` be theirs. A token that
/// has experts of `L` on one side alone, and the experts `C` of `R`, is cut if one of `C` goes to
/// the other side; if each of these is charged `w / |C|`, no more than `w` is charged. So
///
///     cut(A ∪ B) ≥ cut(A) + Σ_{j ∈ B} out(j, A) + Σ_{j ∈ R \ B} in(j, A),
///
/// where `in(j, A)` charges the tokens with `j` that have experts in `A` and none in `L \ A`, and
/// `out` those that have some in `L \ A` and none in `A`. The `c − |A|` experts `j` with the least
/// `out − in` give the least of it over all `B`. All `cut`, `in` and `out` come from zeta
/// transforms (sums over all subsets) of `L`. The `A` are taken by ascending bound until one is no
/// better than the best placement.
///
/// For one `A`, let `h₀(C)` be the tokens that are nowhere but in `A` and on `C ⊆ R`, and `h₁(C)`
/// those in `L \ A` and on `C`; tokens all in `R` stand in both. A token of `h₀` stays whole where
/// `C ⊆ B`, one of `h₁` where `C ⊆ R \ B`. So with the zeta transforms `z₀`, `z₁` of `h₀`, `h₁`
///
///     cut(A ∪ B) = Σ w − z₀(B) − z₁(R \ B),
///
/// and two transforms of `2^|R|` numbers give the best of all `B` of `c − |A|` experts, those whose
/// load fits the cap. For 32 experts there are `2^15` choices of `A`; a good placement leaves some
/// hundred of them.
///
/// Where it is stopped, the bound of the next `A` bounds all that has not been looked at. Nothing
/// is left for a checker but to look again: such a bound comes without prices.
///
/// **Numbers.** Sums are at most `Σ w`, which is below `2^31`: exact in 32 bits. Charges are in
/// parts of a token, rounded down, as small as 32 bits allow.
package struct HalvesSearch {
  /// The most experts of a layer.
  static let mostExperts = 32

  /// Whether the layer is one for this search.
  package static func takes(_ layer: DestinationLayer) -> Bool {
    layer.groups == 2 && layer.experts <= mostExperts && layer.masks.count == layer.count
      && layer.linear.isEmpty && layer.total < Int32.max
  }

  /// A token set's part in `R`, and how many tokens have it.
  private struct Entry {
    let right: Int
    let weight: Int32
  }

  private let layer: DestinationLayer
  private let control: SearchControl
  /// Experts of each bit, `L` and `R`.
  private let left: [Int]
  private let right: [Int]
  /// Distinct parts in `L`, not empty, and what comes with each.
  private var parts: [(left: Int, entries: [Entry])] = []
  /// Sets all in `R`.
  private var rest: [Entry] = []
  /// Tokens of each subset of `L`, of `R`: what it has to bear of the cap.
  private let leftLoads: [Int]
  private let rightLoads: [Int]
  /// The subsets of `R` with so many experts.
  private let choices: [[Int]]
  private var whole: (zeta: SubsetSums, other: SubsetSums)

  /// - Precondition: `takes(layer)`.
  package init(_ layer: DestinationLayer, control: SearchControl) {
    self.layer = layer
    self.control = control
    let order = (0..<layer.experts).sorted { (layer.loads[$0], $1) > (layer.loads[$1], $0) }
    left = Array(order.prefix(layer.size))
    right = Array(order.dropFirst(layer.size))
    leftLoads = Self.loads(left, layer)
    rightLoads = Self.loads(right, layer)
    var choices = [[Int]](repeating: [], count: layer.size + 1)
    for subset in 0..<(1 << layer.size) { choices[subset.nonzeroBitCount].append(subset) }
    self.choices = choices
    whole = (SubsetSums(bits: layer.size), SubsetSums(bits: layer.size))
    var bit = [(isLeft: Bool, bit: Int)](repeating: (true, 0), count: layer.experts)
    for (place, e) in left.enumerated() { bit[e] = (true, 1 << place) }
    for (place, e) in right.enumerated() { bit[e] = (false, 1 << place) }
    var byLeft = [Int: [Entry]]()
    for t in 0..<layer.count {
      var (inLeft, inRight) = (0, 0)
      for index in Int(layer.starts[t])..<Int(layer.starts[t + 1]) {
        let (isLeft, bit) = bit[Int(layer.members[index])]
        if isLeft { inLeft |= bit } else { inRight |= bit }
      }
      byLeft[inLeft, default: []].append(Entry(right: inRight, weight: Int32(layer.weights[t])))
    }
    rest = byLeft.removeValue(forKey: 0) ?? []
    parts = byLeft.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// Loads of all subsets.
  private static func loads(_ experts: [Int], _ layer: DestinationLayer) -> [Int] {
    var sums = [0]
    for e in experts { sums += sums.map { $0 + layer.loads[e] } }
    return sums
  }

  /// What was found, in units of the layer.
  package struct Answer {
    /// A placement that is better than the one given, the best of those looked at.
    package var groupOf: [Int]?
    /// No placement has a smaller value than this, or than the best known.
    package var bound: Int
  }

  /// Looks for placements of less than `value`.
  package mutating func run(below value: Int) -> Answer {
    let base = layer.total + layer.constant
    var best = (cut: value - base, subset: -1)
    let bounds = leftBounds()
    // The first expert stays: the sides have no names.
    let order = stride(from: 1, to: 1 << left.count, by: 2).filter { bounds[$0] < best.cut }
      .sorted { (bounds[$0], $0) < (bounds[$1], $1) }
    var open = Int.max
    for subset in order {
      guard bounds[subset] < best.cut else { break }
      if control.isOver {
        open = bounds[subset]
        break
      }
      complete(subset, &best)
    }
    let groupOf = best.subset < 0 ? nil : labels(best.subset)
    return Answer(groupOf: groupOf, bound: base + min(best.cut, open))
  }

  /// A bound of `cut(A ∪ B)` for every subset `A` of `L`.
  private func leftBounds() -> [Int] {
    let full = (1 << left.count) - 1
    let parting = min(840, Int(Int32.max) / max(1, layer.total))
    var sums = SubsetSums(bits: left.count)
    var all = 0
    for part in parts {
      let weight = part.entries.reduce(Int32(0)) { $0 + $1.weight }
      sums.add(weight, to: part.left)
      all += Int(weight)
    }
    sums.transform()
    let cuts = (0...full).map { all - Int(sums[$0]) - Int(sums[full ^ $0]) }
    let charges = right.indices.map { charge(of: $0, parting: parting) }
    var differences = [Int](repeating: 0, count: right.count)
    return (0...full).map { subset in
      var sum = cuts[subset] * parting
      for (place, charge) in charges.enumerated() {
        let (inside, outside) = (Int(charge[subset]), Int(charge[full ^ subset]))
        sum += inside
        differences[place] = outside - inside
      }
      differences.sort()
      sum += differences.prefix(left.count - subset.nonzeroBitCount).reduce(0, +)
      return (sum + parting - 1) / parting
    }
  }

  /// What the tokens with expert `place` of `R` and experts of `L` only in each subset are charged,
  /// in `1 / parting`: `in` of the subset and `out` of its complement.
  private func charge(of place: Int, parting: Int) -> SubsetSums {
    var sums = SubsetSums(bits: left.count)
    for part in parts {
      for entry in part.entries where entry.right >> place & 1 == 1 {
        let charge = Int(entry.weight) * parting / entry.right.nonzeroBitCount
        sums.add(Int32(charge), to: part.left)
      }
    }
    sums.transform()
    return sums
  }

  /// The best `B` for one `A`.
  private mutating func complete(_ subset: Int, _ best: inout (cut: Int, subset: Int)) {
    let (full, bits) = ((1 << left.count) - 1, right.count)
    whole.zeta.clear()
    whole.other.clear()
    for entry in rest {
      whole.zeta.add(entry.weight, to: entry.right)
      whole.other.add(entry.weight, to: entry.right)
    }
    for part in parts {
      if part.left & ~subset == 0 {
        for entry in part.entries { whole.zeta.add(entry.weight, to: entry.right) }
      } else if part.left & subset == 0 {
        for entry in part.entries { whole.other.add(entry.weight, to: entry.right) }
      }
    }
    whole.zeta.transform()
    whole.other.transform()
    control.spend((1 << bits) / 4)
    let cap = layer.cap ?? .max
    let all = leftLoads[full] + rightLoads[(1 << bits) - 1]
    let mostUncut = layer.total - best.cut
    var found = (uncut: mostUncut, choice: -1)
    for choice in choices[layer.size - subset.nonzeroBitCount] {
      let uncut = Int(whole.zeta[choice]) + Int(whole.other[((1 << bits) - 1) ^ choice])
      guard uncut > found.uncut else { continue }
      let load = leftLoads[subset] + rightLoads[choice]
      if load <= cap, all - load <= cap { found = (uncut, choice) }
    }
    guard found.choice >= 0 else { return }
    best = (layer.total - found.uncut, subset | found.choice << left.count)
  }

  /// A placement with the experts of `subset`, bits of `L` below those of `R`, in group 0.
  private func labels(_ subset: Int) -> [Int] {
    var labels = [Int](repeating: 1, count: layer.experts)
    for (place, e) in (left + right).enumerated() where subset >> place & 1 == 1 { labels[e] = 0 }
    return labels
  }
}

/// Numbers of all subsets of a few things, and the sums over their subsets.
///
/// Eight subsets, those that differ in the three lowest bits alone, are one vector. A number is
/// added at once to all supersets within its vector, so that the transform only has to pass over
/// the higher bits, whole vectors at a time.
package struct SubsetSums {
  private var vectors: [SIMD8<Int32>]
  /// Bits above the three lowest.
  private let bits: Int

  /// - Parameter bits: the number of things.
  package init(bits: Int) {
    self.bits = max(0, bits - 3)
    vectors = [SIMD8<Int32>](repeating: .zero, count: 1 << max(0, bits - 3))
  }

  package subscript(subset: Int) -> Int32 { vectors[subset >> 3][subset & 7] }

  package mutating func clear() {
    for index in vectors.indices { vectors[index] = .zero }
  }

  /// All ones where the place is a superset of the index within the three lowest bits.
  private static let supersets: [SIMD8<Int32>] = (0..<8).map { low in
    var mask = SIMD8<Int32>.zero
    for place in 0..<8 where place & low == low { mask[place] = -1 }
    return mask
  }

  /// Adds to the number of `subset`, before `transform`.
  package mutating func add(_ weight: Int32, to subset: Int) {
    vectors[subset >> 3] &+= SIMD8(repeating: weight) & Self.supersets[subset & 7]
  }

  /// Replaces every number by the sum over all subsets.
  package mutating func transform() {
    let (count, bits) = (vectors.count, bits)
    vectors.withUnsafeMutableBufferPointer { all in
      for bit in 0..<bits {
        let step = 1 << bit
        var start = step
        while start < count {
          for place in start..<(start + step) { all[place] &+= all[place - step] }
          start += 2 * step
        }
      }
    }
  }
}
