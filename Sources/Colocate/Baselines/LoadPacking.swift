import ColocateModel

/// Balance and nothing else: what load balancers for expert parallelism do.
///
/// Each layer on its own: experts by falling load, each to the least loaded GPU that has room (the
/// balanced packing step of DeepSeek's EPLB, without its replicas: here every expert has one copy).
enum LoadPacking {
  /// - Returns: `[L, E]`, without regard to caps. O(L · E · (log E + P)), ties to the first.
  static func labels(_ problem: GroupingProblem) -> [Int] {
    let (experts, groups) = (problem.experts, problem.groups)
    var labels = Labels(layers: problem.layers, experts: experts)
    for l in 0..<problem.layers {
      var load = [Int](repeating: 0, count: groups)
      var size = load
      let order = (0..<experts).sorted {
        (problem.load(l, $0), $1) > (problem.load(l, $1), $0)
      }
      for e in order {
        var best = -1
        for g in 0..<groups where size[g] < problem.groupSize {
          if best < 0 || load[g] < load[best] { best = g }
        }
        labels[l, e] = best
        load[best] += problem.load(l, e)
        size[best] += 1
      }
    }
    return labels.flat
  }
}
