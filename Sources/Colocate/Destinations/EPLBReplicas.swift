import ColocateModel

/// EPLB's plan with copies, as people run it: loads alone, blind to what tokens use together.
///
/// Its global policy (github.com/deepseek-ai/EPLB): copies by `CopyCounts`' rule, and then the
/// balanced packing, copies by falling load, each to the least loaded GPU with room. Nothing keeps
/// two copies of one expert apart, so a GPU may hold an expert twice; no limit of copies either.
public enum EPLBReplicas {
  /// - Parameter redundant: `R`, slots beyond one for each expert.
  /// - Throws: `ModelError.sizes` where the slots do not spread evenly over the GPUs.
  public static func plan(
    _ sets: TokenSets, topology: Topology, redundant: Int
  ) throws(ModelError) -> SlotPlan {
    try ReplicaSolver.checkSizes(sets.experts, topology, redundant)
    let slots = sets.experts + redundant
    let rows = sets.layerSets.map { layer in
      row(layer.loads, slots: slots, gpus: topology.gpus)
    }
    return try SlotPlan(topology: topology, experts: sets.experts, slots: rows)
  }

  /// The expert of each slot of a layer.
  private static func row(_ loads: [Int], slots: Int, gpus: Int) -> [Int] {
    let counts = CopyCounts.counts(loads, slots: slots, gpus: .max)
    let each = loads.indices.map { Double(loads[$0]) / Double(counts[$0]) }
    var held = [[Int]](repeating: [], count: gpus)
    var weight = [Double](repeating: 0, count: gpus)
    for expert in loads.indices.sorted(by: { (each[$0], $1) > (each[$1], $0) }) {
      for _ in 0..<counts[expert] {
        let open = held.indices.filter { held[$0].count < slots / gpus }
        guard let gpu = open.min(by: { (weight[$0], $0) < (weight[$1], $1) }) else { continue }
        held[gpu].append(expert)
        weight[gpu] += each[expert]
      }
    }
    return held.flatMap { $0 }
  }
}
