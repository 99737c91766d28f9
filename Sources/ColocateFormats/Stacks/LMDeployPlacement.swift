import ColocateModel

/// LMDeploy reads loads, `[H][E]`, and packs the experts itself (0.18,
/// lmdeploy/pytorch/nn/eplb.py): in the order of their loads, each to the lightest GPU that has
/// room. Without replicas and with one group that packing can be made to return any plan.
///
/// **The loads.** Give the experts, in the order in which they shall be packed, the loads
/// `2E, 2E − 1, …, E + 1`, and pack in rounds, one expert to each GPU a round: GPUs 0…P−1 in even
/// rounds, P−1…0 in odd ones. Claim: every choice is the packing's own. Before an even round all
/// GPUs weigh the same, since in each pair of rounds GPU g got steps g and 2P − 1 − g. In it GPU g
/// gets the round's g-th load, more than E; so a GPU that has had its turn is heavier than one that
/// has not by more than E less the differences of at most P ≤ E, and among those that have not the
/// first one wins the tie. After the even round the lightest is P − 1, then P − 2, and so on, which
/// is the order of the odd round. All sums are at most `2E · E / P`, exact in the 32-bit floats in
/// which LMDeploy adds.
///
/// **One expert a GPU** is a special case there: loads are not looked at, expert g goes to GPU g.
enum LMDeployPlacement {
  /// Sums of loads that a 32-bit float holds exactly.
  private static let mostExact = 1 << 24

  /// The loads that LMDeploy packs into the placement.
  /// - Throws: `ModelError.placement` where it has replicas or is none that LMDeploy can reach.
  static func text(_ placement: StackPlacement) throws(ModelError) -> JSONText {
    let plan = placement.plan
    _ = try plan.placement()
    let (gpus, experts) = (plan.topology.gpus, plan.experts)
    guard 2 * experts * plan.slotsPerGPU <= mostExact else {
      throw .placement("\(experts) experts on \(gpus) GPUs: too many for LMDeploy's 32-bit floats")
    }
    if plan.slotsPerGPU == 1 {
      let identity = Array(0..<experts)
      guard plan.slots.allSatisfy({ $0 == identity }) else {
        throw .placement(
          "one expert a GPU: LMDeploy puts expert g on GPU g whatever the loads, expected fewer "
            + "GPUs than experts")
      }
    }
    let loads = plan.slots.map { row in
      var loads = [Int](repeating: 0, count: experts)
      for (step, slot) in order(gpus: gpus, perGPU: plan.slotsPerGPU).enumerated() {
        loads[row[slot]] = 2 * experts - step
      }
      return loads
    }
    let dense = (0..<experts).map { 2 * experts - $0 }
    return .array(placement.rows.map { layer in JSONText(layer.map { loads[$0] } ?? dense) })
  }

  /// The slots in the order in which they are filled.
  private static func order(gpus: Int, perGPU: Int) -> [Int] {
    (0..<perGPU).flatMap { round in
      (0..<gpus).map { turn in
        (round % 2 == 0 ? turn : gpus - 1 - turn) * perGPU + round
      }
    }
  }

  /// The loads of a file.
  static func loads(_ document: JSONNode) throws(JSONProblem) -> [[Float]] {
    var rows = [[Float]]()
    for row in try document.elements() {
      var loads = [Float]()
      for node in try row.elements() {
        switch node.value {
        case .integer(let load): loads.append(Float(load))
        case .number(let load): loads.append(Float(load))
        default: loads.append(Float(try node.integer()))
        }
      }
      guard loads.count == rows.first?.count ?? loads.count, !loads.isEmpty else {
        throw JSONProblem(
          message: "row \(rows.count) with \(loads.count) loads, expected "
            + "\(rows.first?.count ?? 1)")
      }
      if let bad = loads.first(where: { !$0.isFinite || $0 < 0 }) {
        throw JSONProblem(message: "row \(rows.count): a load of \(bad), expected 0 or more")
      }
      rows.append(loads)
    }
    return rows
  }

  /// The slots that LMDeploy packs the loads into.
  static func rows(_ document: JSONNode, gpus: Int) throws(JSONProblem) -> SlotRows {
    let loads = try loads(document)
    guard let experts = loads.first?.count else {
      throw JSONProblem(message: "an empty table, expected loads [layers][experts]")
    }
    guard gpus >= 1, experts % gpus == 0, experts <= TransitionAccumulator.mostExperts else {
      throw JSONProblem(message: "\(experts) experts do not spread evenly over \(gpus) GPUs")
    }
    var slots = [[Int]]()
    for row in loads { slots.append(try packed(row, gpus: gpus, layer: slots.count)) }
    return SlotRows(slots: slots, experts: experts)
  }

  private static func packed(
    _ loads: [Float], gpus: Int, layer: Int
  ) throws(JSONProblem) -> [Int] {
    let perGPU = loads.count / gpus
    if perGPU == 1 { return Array(loads.indices) }
    let order = loads.indices.sorted { loads[$0] > loads[$1] }
    if let tie = zip(order, order.dropFirst()).first(where: { loads[$0] == loads[$1] }) {
      throw JSONProblem(
        message: "layer \(layer): experts \(tie.0) and \(tie.1) have the same load: in which "
          + "order LMDeploy packs them is not defined")
    }
    var slots = [Int](repeating: 0, count: loads.count)
    var (weight, items) = ([Float](repeating: 0, count: gpus), [Int](repeating: 0, count: gpus))
    for expert in order {
      var best = -1
      for gpu in 0..<gpus where items[gpu] < perGPU && (best < 0 || weight[gpu] < weight[best]) {
        best = gpu
      }
      slots[best * perGPU + items[best]] = expert
      items[best] += 1
      weight[best] += loads[expert]
    }
    return slots
  }
}
