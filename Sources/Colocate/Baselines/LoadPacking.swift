import ColocateModel

/// Balance and nothing else: what load balancers for expert parallelism do.
///
/// Each layer on its own: experts by falling load, each to the least loaded GPU that has room (the
/// balanced packing step of DeepSeek's EPLB, without its replicas: here every expert has one copy).
enum LoadPacking {
  static func labels(_ problem: GroupingProblem) -> [Int] {
    let (layers, experts, groups) = (problem.layers, problem.experts, problem.groups)
    var labels = [Int](repeating: 0, count: layers * experts)
    for l in 0..<layers {
      var load = [Int](repeating: 0, count: groups)
      var size = load
      let order = (0..<experts).sorted {
        (problem.loads[l * experts + $0], $1) > (problem.loads[l * experts + $1], $0)
      }
      for e in order {
        var best = -1
        for g in 0..<groups where size[g] < problem.groupSize {
          if best < 0 || load[g] < load[best] { best = g }
        }
        labels[l * experts + e] = best
        load[best] += problem.loads[l * experts + e]
        size[best] += 1
      }
    }
    return labels
  }
}
