/// vLLM's initial mappings: JSON lines with one record `eplb_initial_mapping` (proposed in vLLM
/// pull request 41141), and the bare table `[L][S]` (pull request 49572,
/// `initial_expert_map_path`). Released vLLM reads neither; the plugin in
/// Benchmarks/consumers/vllm_plugin makes it follow either. Layers are MoE layers, counted from 0;
/// slot `s` lives on rank `s / (S / P)`.
enum VLLMPlacement {
  private static let record = "eplb_initial_mapping"

  /// One line.
  static func text(_ placement: StackPlacement) -> String {
    let plan = placement.plan
    let rows = plan.slots.enumerated().map { layer, row in
      "\"\(layer)\":[" + row.map(String.init).joined(separator: ",") + "]"
    }
    return "{\"record_type\":\"\(record)\",\"version\":1,"
      + "\"num_redundant_experts\":\(plan.redundant),\"num_slots\":\(plan.slotsPerLayer),"
      + "\"initial_global_assignments\":{" + rows.joined(separator: ",") + "}}\n"
  }

  /// The records of JSON lines.
  static func records(_ bytes: [UInt8]) throws(JSONProblem) -> [JSONNode] {
    var records = [JSONNode]()
    var number = 0
    for line in bytes.split(separator: 0x0A, omittingEmptySubsequences: false) {
      number += 1
      guard line.contains(where: { $0 > 0x20 }) else { continue }
      do throws(JSONProblem) {
        let document = try JSONReader.read(line)
        if try document.optional("record_type")?.string() == record { records.append(document) }
      } catch {
        throw JSONProblem(message: "record in line \(number): \(error.message)")
      }
    }
    return records
  }

  static func rows(_ bytes: [UInt8]) throws(JSONProblem) -> SlotRows {
    let records: [JSONNode]
    if let document = try? JSONReader.read(bytes) {
      guard try document.member("record_type").string() == record else {
        throw JSONProblem(message: "no record '\(record)'")
      }
      records = [document]
    } else {
      records = try Self.records(bytes)
    }
    guard records.count == 1 else {
      throw JSONProblem(message: "\(records.count) records '\(record)', expected 1")
    }
    let mapping = records[0]
    let version = try mapping.member("version").integer()
    guard version == 1 else { throw JSONProblem(message: "version \(version), expected 1") }
    let slots = try mapping.member("num_slots").integer()
    let redundant = try mapping.member("num_redundant_experts").integer()
    guard redundant >= 0, slots > redundant else {
      throw JSONProblem(
        message: "\(slots) slots with \(redundant) redundant experts: expected fewer than slots")
    }
    let assignments = try mapping.member("initial_global_assignments").members()
    var rows = [[Int]?](repeating: nil, count: assignments.count)
    for (key, node) in assignments {
      guard let layer = Int(key), rows.indices.contains(layer), rows[layer] == nil else {
        throw JSONProblem(
          message: "layer '\(key)', expected 0 to \(assignments.count - 1), each once")
      }
      let row = try node.integers()
      guard row.count == slots else {
        throw JSONProblem(message: "layer \(layer): \(row.count) slots, expected \(slots)")
      }
      rows[layer] = row
    }
    return SlotRows(slots: rows.compactMap { $0 }, experts: slots - redundant)
  }

  /// Whether a table of integers is a map: every row holds all ids from 0 to the largest.
  static func isMap(_ rows: [[Int]]) -> Bool {
    guard let width = rows.first?.count, width > 0, let most = rows[0].max(), most < width else {
      return false
    }
    return rows.allSatisfy { row in
      var seen = [Bool](repeating: false, count: most + 1)
      for id in row {
        guard seen.indices.contains(id) else { return false }
        seen[id] = true
      }
      return seen.allSatisfy { $0 }
    }
  }
}
