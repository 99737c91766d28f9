/// TensorRT-LLM's `moe_load_balancer` (YAML; tensorrt_llm/llmapi/llm_args.py,
/// MoeLoadBalancerConfig, a strict model): `num_slots`, `initial_global_assignments` by the model's
/// layer numbers, and `layer_updates_per_iter: 0`, without which the placement would be changed as
/// it runs.
///
/// Slot `s` lives on rank `s / (S / P)`. TensorRT-LLM does not look whether every expert is there.
enum TensorRTPlacement {
  private static let known = [
    "num_slots", "initial_global_assignments", "layer_updates_per_iter",
  ]

  /// Whether an object with these keys is such a file.
  static func isNamed(by keys: [String]) -> Bool {
    keys.contains("num_slots") && keys.contains("initial_global_assignments")
      && !keys.contains("record_type")
  }

  static func text(_ placement: StackPlacement) -> String {
    let plan = placement.plan
    let numbers = placement.modelLayers ?? Array(0..<plan.layers)
    var text = "num_slots: \(plan.slotsPerLayer)\ninitial_global_assignments:\n"
    for (number, row) in zip(numbers, plan.slots) {
      text += "  \(number): [" + row.map(String.init).joined(separator: ", ") + "]\n"
    }
    return text + "layer_updates_per_iter: 0\n"
  }

  static func rows(_ document: JSONNode) throws(JSONProblem) -> SlotRows {
    try document.checkKeys(known)
    let slots = try document.member("num_slots").integer()
    if let updates = try document.optional("layer_updates_per_iter")?.integer(), updates != 0 {
      throw JSONProblem(
        message: "'layer_updates_per_iter' is \(updates): the placement changes as it runs, "
          + "expected 0")
    }
    var rows = [(number: Int, slots: [Int])]()
    for (key, node) in try document.member("initial_global_assignments").members() {
      guard let number = Int(key), number >= 0 else {
        throw JSONProblem(message: "layer '\(key)', expected a number of 0 or more")
      }
      let row = try node.integers()
      guard row.count == slots else {
        throw JSONProblem(message: "layer \(number): \(row.count) slots, expected \(slots)")
      }
      rows.append((number, row))
    }
    rows.sort { $0.number < $1.number }
    guard zip(rows, rows.dropFirst()).allSatisfy({ $0.number < $1.number }) else {
      throw JSONProblem(message: "a layer is there twice")
    }
    guard !rows.isEmpty else {
      throw JSONProblem(message: "'initial_global_assignments' holds no layer")
    }
    return SlotRows(slots: rows.map(\.slots), modelLayers: rows.map(\.number))
  }
}
