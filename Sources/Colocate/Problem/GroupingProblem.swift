import ColocateModel

/// The problem underneath: one level of groups, nothing hierarchical.
///
/// Partition the `E` experts of each of `L` layers into `P` groups of `c = E / P`, and match the
/// groups of neighbouring layers, so that the most weight stays inside groups:
///
///     maximise  kept(π) = Σ_l Σ_ij W_l[i,j] · [π_l(i) = π_{l+1}(j)]
///                       + Σ_l Σ_{i<i'} V_l[i,i'] · [π_l(i) = π_l(i')]
///     subject to  Σ_{e: π_l(e) = g} loads_l(e) ≤ cap_l
///
/// The flat objective is one such problem; the staged objective is one (P := N) followed by one for
/// each node (E := E/N, P := G). Bounds, exact methods and search all work on this type, and
/// `total - kept` is the crossings of `Objective.swift`.
package struct GroupingProblem: Sendable {
  /// `L ≥ 2`.
  package let layers: Int
  /// `E`, experts per layer.
  package let experts: Int
  /// `P`, groups.
  package let groups: Int
  /// `W`, `[L-1, E, E]`.
  package let weights: [Int]
  /// `V`, `[L, E, E]`, symmetric with zero diagonal, or empty.
  package let coactivation: [Int]
  /// `[L, E]`.
  package let loads: [Int]
  /// Per layer, the most load a group may have; nil without a cap.
  package let caps: [Int]?
  /// Groups within the caps, `[L, E]`, where some are known.
  package let packing: [Int]?
  /// `Σ W + Σ_{i<i'} V`.
  package let total: Int

  /// `c = E / P`.
  package var groupSize: Int { experts / groups }

  package init(
    layers: Int, experts: Int, groups: Int, weights: [Int], coactivation: [Int] = [],
    loads: [Int], caps: [Int]? = nil, packing: [Int]? = nil
  ) {
    precondition(layers >= 2 && groups >= 1 && experts % groups == 0)
    precondition(weights.count == (layers - 1) * experts * experts)
    precondition(coactivation.isEmpty || coactivation.count == layers * experts * experts)
    precondition(loads.count == layers * experts && (caps.map(\.count) ?? layers == layers))
    self.layers = layers
    self.experts = experts
    self.groups = groups
    self.weights = weights
    self.coactivation = coactivation
    self.loads = loads
    self.caps = caps
    self.packing = packing
    total = weights.reduce(0, +) + coactivation.reduce(0, +) / 2
  }

  // MARK: Typed access

  /// `W_l[i, j]`: tokens that go from expert `i` of layer `l` to expert `j` of the next.
  @inline(__always)
  package func weight(_ l: Int, _ i: Int, _ j: Int) -> Int {
    weights[(l * experts + i) * experts + j]
  }

  /// `V_l[i, j]`; 0 where the problem has no co-activation.
  @inline(__always)
  package func coactivation(_ l: Int, _ i: Int, _ j: Int) -> Int {
    coactivation.isEmpty ? 0 : coactivation[(l * experts + i) * experts + j]
  }

  /// `W_l[i, ·]`, `[E]`.
  @inline(__always)
  package func weightRow(_ l: Int, _ i: Int) -> ArraySlice<Int> {
    let first = (l * experts + i) * experts
    return weights[first..<(first + experts)]
  }

  /// Load of expert `e` of layer `l`.
  @inline(__always)
  package func load(_ l: Int, _ e: Int) -> Int { loads[l * experts + e] }

  /// Loads of layer `l`, `[E]`.
  package func loads(layer l: Int) -> [Int] { Array(loads[(l * experts)..<((l + 1) * experts)]) }

  // MARK: Placements

  /// Groups of layer `l` within its cap: those that are known, or the best that are found.
  /// - Parameter stepLimit: of the search; 0 for the greedy packing, where the answer may break the
  ///   cap.
  package func packed(layer l: Int, stepLimit: Int = 1_000_000) -> [Int] {
    let range = (l * experts)..<((l + 1) * experts)
    if let packing { return Array(packing[range]) }
    return BalancedPacking(
      loads: Array(loads[range]), groups: groups, goal: caps?[l] ?? .max, stepLimit: stepLimit
    ).groupOf
  }

  /// Whether groups of layer `l` alone, `[E]`, are within its cap.
  package func meetsCap(layer l: Int, _ groupOf: [Int]) -> Bool {
    guard let cap = caps?[l] else { return true }
    var sums = [Int](repeating: 0, count: groups)
    for e in 0..<experts { sums[groupOf[e]] += loads[l * experts + e] }
    return sums.allSatisfy { $0 <= cap }
  }

  /// Weight that `labels` (`[L, E]`, groups `0 ..< P`) keeps inside groups. O(L · E²).
  package func kept(_ labels: [Int]) -> Int {
    var kept = 0
    for l in 0..<(layers - 1) {
      for i in 0..<experts {
        let group = labels[l * experts + i]
        for j in 0..<experts where labels[(l + 1) * experts + j] == group {
          kept += weights[(l * experts + i) * experts + j]
        }
      }
    }
    if !coactivation.isEmpty {
      for l in 0..<layers {
        for i in 0..<experts {
          for j in 0..<i where labels[l * experts + i] == labels[l * experts + j] {
            kept += coactivation[(l * experts + i) * experts + j]
          }
        }
      }
    }
    return kept
  }

  /// Whether every group has `c` experts of each layer and no group's load is over the cap.
  package func isFeasible(_ labels: [Int]) -> Bool {
    guard labels.count == layers * experts else { return false }
    var size = [Int](repeating: 0, count: groups)
    var load = size
    for l in 0..<layers {
      for g in 0..<groups { (size[g], load[g]) = (0, 0) }
      for e in 0..<experts {
        let group = labels[l * experts + e]
        guard size.indices.contains(group) else { return false }
        size[group] += 1
        load[group] += loads[l * experts + e]
      }
      for g in 0..<groups where size[g] != groupSize || load[g] > (caps?[l] ?? Int.max) {
        return false
      }
    }
    return true
  }

  /// The problem inside one group of a solved problem: its experts (`members[l]`, ascending, all of
  /// one size) into `groups` groups.
  package func restricted(to members: [[Int]], groups: Int, caps: [Int]?) -> GroupingProblem {
    let size = members[0].count
    var inner = [Int]()
    inner.reserveCapacity((layers - 1) * size * size)
    for l in 0..<(layers - 1) {
      for i in members[l] {
        for j in members[l + 1] { inner.append(weights[(l * experts + i) * experts + j]) }
      }
    }
    var together = [Int]()
    var innerLoads = [Int]()
    for l in 0..<layers {
      for i in members[l] {
        innerLoads.append(loads[l * experts + i])
        guard !coactivation.isEmpty else { continue }
        for j in members[l] { together.append(coactivation[(l * experts + i) * experts + j]) }
      }
    }
    return GroupingProblem(
      layers: layers, experts: size, groups: groups, weights: inner, coactivation: together,
      loads: innerLoads, caps: caps)
  }
}
