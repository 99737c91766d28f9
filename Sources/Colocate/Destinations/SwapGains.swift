import ColocateModel

/// What swapping two experts of a layer changes, in O(1) a pair.
///
/// With `n[t, q]` the members of set `t` in group `q`, `g(e)` the group of `e`, and sums over sets
/// weighted by `w`, keep
///
///     lone[e]    = Σ_{t ∋ e} w [n[t, g(e)] = 1]            what leaving its group saves
///     fresh[e,q] = Σ_{t ∋ e} w [n[t, q] = 0]               what entering q costs
///     both[e,f]  = Σ_{t ∋ e,f} w [n[t, g(e)] = 1]
///
/// Swapping `e` (of p) with `f` (of q) then changes `Σ w · λ` by
///
///     fresh[e,q] − lone[e] + fresh[f,p] − lone[f] + both[e,f] + both[f,e]
///
/// because a set with both keeps its count in p and in q: where `e` was alone in p, `lone[e]`
/// claims a saving that `f` takes back, and the same in q. A move touches only sets of the moved
/// expert whose counts cross 0, 1 or 2: about `load · k` steps.
package final class SwapGains {
  package let layer: DestinationLayer
  /// Group of each expert, `[E]`.
  package private(set) var groupOf: [Int]
  /// Tokens of each group, `[P]`.
  package private(set) var load: [Int]
  /// `DestinationLayer.value` of the labels now.
  package private(set) var value: Int
  /// Tokens beyond the cap, all groups together.
  package private(set) var excess = 0

  /// Group of each member, anchors included, `[E + P]`.
  private let place: SharedBuffer<Int32>
  /// `n`, `[U, P]`.
  private let held: SharedBuffer<UInt16>
  private let lone: SharedBuffer<Int>
  private let fresh: SharedBuffer<Int>
  private let both: SharedBuffer<Int>
  /// Linear costs, `[E, P]`, or empty.
  private let linear: SharedBuffer<Int>
  private let members: Int

  /// - Parameter groupOf: `c` experts in each group.
  package init(_ layer: DestinationLayer, _ groupOf: [Int]) {
    self.layer = layer
    self.groupOf = groupOf
    members = layer.experts + layer.groups
    place = SharedBuffer(
      groupOf.map { Int32($0) } + (0..<layer.groups).map { Int32($0) }, filler: 0)
    held = SharedBuffer(repeating: 0, count: layer.count * layer.groups)
    lone = SharedBuffer(repeating: 0, count: members)
    fresh = SharedBuffer(repeating: 0, count: members * layer.groups)
    both = SharedBuffer(repeating: 0, count: members * members)
    linear = SharedBuffer(layer.linear, filler: 0)
    load = layer.groupLoads(groupOf)
    value = layer.value(groupOf)
    if let cap = layer.cap { excess = load.reduce(0) { $0 + max(0, $1 - cap) } }
    for t in 0..<layer.count { enter(t) }
  }

  private func enter(_ t: Int) {
    let (from, to) = (Int(layer.starts[t]), Int(layer.starts[t + 1]))
    let groups = layer.groups
    let w = layer.weights[t]
    let row = held.base + t * groups
    for index in from..<to { row[Int(place[Int(layer.members[index])])] += 1 }
    for index in from..<to {
      let e = Int(layer.members[index])
      for q in 0..<groups where row[q] == 0 { fresh[e * groups + q] += w }
      guard row[Int(place[e])] == 1 else { continue }
      lone[e] += w
      for other in from..<to where other != index {
        both[e * members + Int(layer.members[other])] += w
      }
    }
  }

  /// What swapping experts `e` and `f` of different groups adds to `value`.
  @inline(__always)
  package func change(_ e: Int, _ f: Int) -> Int {
    let groups = layer.groups
    let (p, q) = (Int(place[e]), Int(place[f]))
    var sum = fresh[e * groups + q] - lone[e] + fresh[f * groups + p] - lone[f]
    sum += both[e * members + f] + both[f * members + e]
    if linear.count > 0 {
      sum += linear[e * groups + q] - linear[e * groups + p]
      sum += linear[f * groups + p] - linear[f * groups + q]
    }
    return sum
  }

  /// What swapping `e` and `f` adds to `excess`.
  @inline(__always)
  package func excessChange(_ e: Int, _ f: Int) -> Int {
    guard let cap = layer.cap else { return 0 }
    let (p, q) = (Int(place[e]), Int(place[f]))
    let more = layer.loads[e] - layer.loads[f]
    let (a, b) = (load[p], load[q])
    return max(0, a - more - cap) + max(0, b + more - cap) - max(0, a - cap) - max(0, b - cap)
  }

  /// Swaps experts `e` and `f` of different groups.
  package func swap(_ e: Int, _ f: Int) {
    value += change(e, f)
    excess += excessChange(e, f)
    let (p, q) = (Int(place[e]), Int(place[f]))
    move(e, from: p, to: q)
    move(f, from: q, to: p)
    let more = layer.loads[e] - layer.loads[f]
    load[p] -= more
    load[q] += more
    groupOf[e] = q
    groupOf[f] = p
  }

  private func move(_ e: Int, from p: Int, to q: Int) {
    let groups = layer.groups
    place[e] = Int32(q)
    for index in Int(layer.listStarts[e])..<Int(layer.listStarts[e + 1]) {
      let t = Int(layer.lists[index])
      let row = held.base + t * groups
      let (inP, inQ) = (row[p], row[q])
      row[p] = inP - 1
      row[q] = inQ + 1
      // Counts of three and more on both sides change nothing.
      if inP > 2 && inQ > 1 { continue }
      update(t, moved: e, from: p, to: q, inP: inP, inQ: inQ)
    }
  }

  /// - Parameters:
  ///   - inP: members in `p` before, `e` included.
  ///   - inQ: members in `q` before.
  private func update(_ t: Int, moved e: Int, from p: Int, to q: Int, inP: UInt16, inQ: UInt16) {
    let groups = layer.groups
    let w = layer.weights[t]
    let base = layer.members.base
    let (from, to) = (Int(layer.starts[t]), Int(layer.starts[t + 1]))
    if inP == 1 {
      for index in from..<to { fresh[Int(base[index]) * groups + p] += w }
    }
    if inQ == 0 {
      for index in from..<to { fresh[Int(base[index]) * groups + q] -= w }
    }
    if (inP == 1) != (inQ == 0) { setLone(t, e, by: inP == 1 ? -w : w) }
    if inP == 2 { setLone(t, member(of: t, in: p, not: e), by: w) }
    if inQ == 1 { setLone(t, member(of: t, in: q, not: e), by: -w) }
  }

  private func member(of t: Int, in group: Int, not e: Int) -> Int {
    for index in Int(layer.starts[t])..<Int(layer.starts[t + 1]) {
      let other = Int(layer.members[index])
      if other != e && Int(place[other]) == group { return other }
    }
    fatalError("set \(t) is said to have a member in group \(group) and has none")
  }

  private func setLone(_ t: Int, _ e: Int, by w: Int) {
    lone[e] += w
    for index in Int(layer.starts[t])..<Int(layer.starts[t + 1]) {
      let other = Int(layer.members[index])
      if other != e { both[e * members + other] += w }
    }
  }
}
