/// The group of every expert of every layer, `[L, E]`.
///
/// Searches pass placements as plain arrays; this gives them their two indices.
package struct Labels: Hashable, Sendable {
  package let experts: Int
  /// `[L, E]`, row-major.
  package var flat: [Int]

  /// - Parameter flat: `[L, E]`.
  @inline(__always)
  package init(_ flat: [Int], experts: Int) {
    self.flat = flat
    self.experts = experts
  }

  package init(layers: Int, experts: Int, group: Int = 0) {
    self.init([Int](repeating: group, count: layers * experts), experts: experts)
  }

  package var layers: Int { flat.count / experts }

  /// The group of expert `e` of layer `l`.
  @inline(__always)
  package subscript(_ l: Int, _ e: Int) -> Int {
    get { flat[l * experts + e] }
    set { flat[l * experts + e] = newValue }
  }

  /// The groups of layer `l`, `[E]`.
  package func layer(_ l: Int) -> [Int] { Array(flat[(l * experts)..<((l + 1) * experts)]) }

  /// The experts of layer `l` in group `group`, ascending.
  package func members(of group: Int, layer l: Int) -> [Int] {
    (0..<experts).filter { self[l, $0] == group }
  }

  /// The experts of each group of layer `l` as bit sets, `[P]`; for at most 64 experts.
  package func sets(layer l: Int, groups: Int) -> [ExpertSet] {
    var sets = [ExpertSet](repeating: ExpertSet(), count: groups)
    for e in 0..<experts { sets[self[l, e]].insert(e) }
    return sets
  }
}
