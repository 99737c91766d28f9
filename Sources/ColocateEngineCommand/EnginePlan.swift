import Colocate
import ColocateFormats
import MoEEngine

/// A plan as the engine needs it, checked against the model and the ranks.
struct EnginePlan {
  /// The plan's placement on the ranks' nodes: what is measured goes between those, whatever the
  /// nodes that the plan was made for.
  let placement: Placement
  /// What people should know about it, on one line; nil where there is nothing.
  let note: String?

  /// - Parameter ranksPerNode: as the user said it; nil: MPI was asked which ranks share memory.
  /// - Throws: `EngineError` on this rank alone, with the file, where the plan is not for this
  ///   model or not for these ranks.
  init(_ path: String, for model: Model, ranksPerNode: Int?) throws(EngineError) {
    let config = model.config
    let (planned, knowsNodes) = try EngineError.naming { () throws(FormatError) in
      try Self.read(path, layers: config.layers, experts: config.experts)
    }
    guard planned.layers == config.layers, planned.experts == config.experts else {
      throw EngineError(
        "\(path): a plan for \(planned.layers) layers × \(planned.experts) experts; the model "
          + "has \(config.layers) × \(config.experts)")
    }
    let (gpus, ranks) = (planned.topology.gpus, model.communicator.size)
    guard gpus == ranks else {
      throw EngineError(
        "\(path): a plan for \(gpus) GPUs, but "
          + "\(ranks == 1 ? "1 rank runs" : "\(ranks) ranks run"); start with mpirun -n \(gpus), "
          + "one rank for each GPU")
    }
    placement = try model.placement(planned.assignment)
    note =
      knowsNodes
      ? try Self.comparison(
        path, planned.topology, with: model.communicator.nodeOf, ranksPerNode: ranksPerNode)
      : nil
  }

  /// JSON or ExFlow's table, whatever the file's name; the table says nothing of nodes.
  private static func read(
    _ path: String, layers: Int, experts: Int
  ) throws(FormatError) -> (Placement, knowsNodes: Bool) {
    let file = try PositionedFile(path)
    let start = try file.bytes(0..<min(file.size, 64))
    let first = start.first { ![0x20, 0x09, 0x0A, 0x0D, 0xEF, 0xBB, 0xBF].contains($0) }
    if first == UInt8(ascii: "{") { return (try PlanFile.read(path).placement, true) }
    return (try ExFlowCSV.read(path, layers: layers, experts: experts), false)
  }

  /// Compares the plan's nodes with those of the ranks.
  /// - Throws: `EngineError` where the user's own `--ranks-per-node` contradicts a plan for nodes.
  private static func comparison(
    _ path: String, _ planned: Topology, with nodeOf: [Int], ranksPerNode: Int?
  ) throws(EngineError) -> String? {
    guard nodeOf != nodeOf.indices.map({ $0 / planned.gpusPerNode }) else { return nil }
    let nodes = Set(nodeOf).count
    let made =
      "\(path): made for \(planned.nodes) node\(planned.nodes == 1 ? "" : "s") × "
      + "\(planned.gpusPerNode) GPUs"
    let found = "the \(nodeOf.count) ranks are on \(nodes) node\(nodes == 1 ? "" : "s")"
    guard planned.nodes > 1 else {
      return "Note: \(made), but \(found): the plan does not know of them."
    }
    if let ranksPerNode {
      throw EngineError(
        "\(made), but with --ranks-per-node \(ranksPerNode) \(found); expected --ranks-per-node "
          + "\(planned.gpusPerNode)")
    }
    return "Note: \(made), but \(found); --ranks-per-node \(planned.gpusPerNode) counts them as "
      + "the plan does."
  }
}
