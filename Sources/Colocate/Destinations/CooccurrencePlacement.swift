import ColocateModel

/// The placement of TensorRT-LLM's generator that looks at co-occurrence
/// (`examples/wide_ep/ep_load_balancer/generate_eplb_config_cooccurrence.py` as of 2025, with its
/// default α = 0.8), for one copy of each expert.
///
/// GPU by GPU: it takes the heaviest expert that is left, then again and again the one that occurs
/// most often together with those it has, until it has α of its slots or the next would bring it
/// beyond α of the mean load. What is left goes by falling load to the least loaded GPU with room.
/// Ties go to the first, which the generator leaves to the sort of its library.
enum CooccurrencePlacement {
  private static let alpha = 0.8

  /// - Returns: the GPU of each expert, `[E]`. O(E² · c).
  static func labels(_ pairs: PairCounts, groups: Int) -> [Int] {
    let (experts, size) = (pairs.experts, pairs.experts / groups)
    var groupOf = [Int](repeating: -1, count: experts)
    var load = [Int](repeating: 0, count: groups)
    var held = load
    let mean = Double(pairs.loads.reduce(0, +)) / Double(groups)
    let byLoad = pairs.byLoad
    for g in 0..<groups {
      var pull = [Int](repeating: 0, count: experts)
      var next = byLoad.first { groupOf[$0] < 0 }
      while let e = next {
        guard Double(held[g] + 1) <= Self.alpha * Double(size),
          Double(load[g] + pairs.loads[e]) <= Self.alpha * mean
        else { break }
        groupOf[e] = g
        held[g] += 1
        load[g] += pairs.loads[e]
        for j in 0..<experts { pull[j] += pairs.together[e * experts + j] }
        next = (0..<experts).filter { groupOf[$0] < 0 }.max { (pull[$0], $1) < (pull[$1], $0) }
      }
    }
    for e in byLoad where groupOf[e] < 0 {
      var least = -1
      for g in 0..<groups where held[g] < size && (least < 0 || load[g] < load[least]) { least = g }
      groupOf[e] = least
      held[least] += 1
      load[least] += pairs.loads[e]
    }
    return groupOf
  }
}
