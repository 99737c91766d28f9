import ColocateModel

/// Groups grown one after the other from the experts that tokens use together most: the idea of
/// Occult (Luo et al., 2025), without its pruning.
///
/// A group starts with the expert that is left and occurs most often together with others that are
/// left; the one that occurs most often with the group's experts comes next, until it is full.
enum GreedyPairsPlacement {
  /// - Returns: the group of each expert, `[E]`. O(E²).
  static func labels(_ pairs: PairCounts, groups: Int) -> [Int] {
    let (experts, size) = (pairs.experts, pairs.experts / groups)
    var groupOf = [Int](repeating: -1, count: experts)
    for g in 0..<groups {
      let left = (0..<experts).filter { groupOf[$0] < 0 }
      func best(_ value: (Int) -> Int) -> Int {
        var best = (e: -1, value: Int.min)
        for e in left where groupOf[e] < 0 {
          let found = value(e)
          if found > best.value { best = (e, found) }
        }
        return best.e
      }
      var pull = [Int](repeating: 0, count: experts)
      for step in 0..<size {
        let e =
          step == 0
          ? best { e in left.reduce(0) { $0 + pairs.together[e * experts + $1] } }
          : best { pull[$0] }
        groupOf[e] = g
        for j in 0..<experts { pull[j] += pairs.together[e * experts + j] }
      }
    }
    return groupOf
  }
}
