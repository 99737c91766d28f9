import Colocate
import Foundation
import MoEEngine

/// Reads the tool's own plan (`"format": "colocate-plan"`).
struct PlanDocument: Decodable {
  struct Machines: Decodable {
    let nodes: Int
    let gpusPerNode: Int
    enum CodingKeys: String, CodingKey {
      case nodes
      case gpusPerNode = "gpus_per_node"
    }
  }
  let format: String
  let version: Int
  let layers: Int
  let experts: Int
  let topology: Machines
  let assignment: [[Int]]

  static func placement(_ path: String) throws(EngineError) -> Placement {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw EngineError("\(path): cannot be read")
    }
    guard let plan = try? JSONDecoder().decode(PlanDocument.self, from: data),
      plan.format == "colocate-plan", plan.version == 1
    else {
      throw EngineError("\(path): not a plan (JSON with \"format\": \"colocate-plan\", version 1)")
    }
    do {
      let topology = try Topology(
        gpus: max(0, plan.topology.nodes).multipliedReportingOverflow(
          by: plan.topology.gpusPerNode
        ).partialValue,
        nodes: plan.topology.nodes)
      return try Placement(
        topology: topology, layers: plan.layers, experts: plan.experts,
        assignment: plan.assignment.flatMap { $0 })
    } catch {
      throw EngineError("\(path): \(error)")
    }
  }
}
