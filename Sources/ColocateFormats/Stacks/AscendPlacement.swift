import ColocateModel

/// vLLM-Ascend's expert map (0.23, vllm_ascend/eplb/core/eplb_utils.py), read by position: layers
/// are MoE layers in their order, devices are ranks in theirs, and each device holds as many
/// experts as the others.
enum AscendPlacement {
  /// - Throws: `ModelError.placement` where a GPU has an expert twice: vLLM-Ascend takes the number
  ///   of different experts on rank 0 for that of its slots, and would send tokens to wrong ones.
  static func text(_ placement: StackPlacement) throws(ModelError) -> JSONText {
    let plan = placement.plan
    if let useless = plan.uselessReplica {
      throw .placement(
        "layer \(useless.layer): GPU \(useless.gpu) has expert \(useless.expert) twice, by which "
          + "vLLM-Ascend miscounts its slots, expected different experts on each GPU")
    }
    let gpus = plan.topology.gpus
    let layers = plan.slots.enumerated().map { layer, row in
      let devices = (0..<gpus).map { gpu -> JSONText in
        let held = row[(gpu * plan.slotsPerGPU)..<((gpu + 1) * plan.slotsPerGPU)]
        return .object([("device_id", .integer(gpu)), ("device_expert", JSONText(held))])
      }
      return JSONText.object([
        ("layer_id", .integer(layer)), ("device_count", .integer(gpus)),
        ("device_list", .array(devices)),
      ])
    }
    return .object([
      ("moe_layer_count", .integer(plan.layers)), ("layer_list", .array(layers)),
    ])
  }

  static func rows(_ document: JSONNode) throws(JSONProblem) -> SlotRows {
    let layers = try document.member("layer_list").elements()
    let count = try document.member("moe_layer_count").integer()
    guard layers.count == count else {
      throw JSONProblem(message: "\(layers.count) layers in 'layer_list', expected \(count)")
    }
    var rows = [[Int]]()
    var gpus: Int?
    for (number, layer) in layers.enumerated() {
      try checkPosition(layer, "layer_id", number)
      let devices = try layer.member("device_list").elements()
      let wanted = try layer.member("device_count").integer()
      guard devices.count == wanted, wanted >= 1, gpus ?? wanted == wanted else {
        throw JSONProblem(
          message: "layer \(number): \(devices.count) devices, expected \(gpus ?? wanted)")
      }
      gpus = wanted
      var row = [Int]()
      for (device, node) in devices.enumerated() {
        try checkPosition(node, "device_id", device)
        let held = try node.member("device_expert").integers()
        guard (device + 1) * held.count == row.count + held.count else {
          throw JSONProblem(
            message: "layer \(number), device \(device): \(held.count) experts, expected "
              + "\(row.count / max(device, 1)) as on the others")
        }
        row += held
      }
      rows.append(row)
    }
    return SlotRows(slots: rows, gpus: gpus)
  }

  /// The stack goes by position: a number that says otherwise would be lost.
  private static func checkPosition(
    _ node: JSONNode, _ key: String, _ position: Int
  ) throws(JSONProblem) {
    let number = try node.member(key).integer()
    guard number == position else {
      throw JSONProblem(
        message: "'\(key)' \(number) at position \(position): vLLM-Ascend goes by position, "
          + "expected \(position)")
    }
  }
}
