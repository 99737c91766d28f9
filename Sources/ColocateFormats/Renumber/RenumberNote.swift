import Colocate

/// The note that a renumbered checkpoint carries, `colocate.json`: what its numbers mean, for
/// people, for whoever reads traces of it, and for `--undo`.
///
///     { "format": "colocate-renumbered", "version": 1,
///       "model_type": "qwen3_moe", "experts": 128,
///       "topology": { "nodes": 2, "gpus_per_node": 8 },
///       "plan": { "file": "plan.json", "sha256": … },
///       "slot_to_expert": { "0": [ the published number of the expert with each new number ], … },
///       "header_bytes": { file: bytes of its published header, where they differ },
///       "tool": "colocate …" }
///
/// Keys of "slot_to_expert" are the model's layers; a layer that is missing keeps its numbers.
struct RenumberNote {
  static let fileName = "colocate.json"
  static let formatName = "colocate-renumbered"
  static let formatVersion = 1

  let family: MoEFamily
  let renumbering: ExpertRenumbering
  let topology: Topology
  let plan: PlanFile.Trace
  /// Safetensors file → bytes of its header before, where they differ: so that undoing gives the
  /// same bytes again.
  var headerBytes: [String: Int] = [:]

  /// The document.
  var json: JSONText {
    let rows = renumbering.slotToExpert.sorted { $0.key < $1.key }
    return .object([
      ("format", .string(Self.formatName)), ("version", .integer(Self.formatVersion)),
      ("model_type", .string(family.rawValue)), ("experts", .integer(renumbering.experts)),
      (
        "topology",
        .object([
          ("nodes", .integer(topology.nodes)), ("gpus_per_node", .integer(topology.gpusPerNode)),
        ])
      ),
      ("plan", .object([("file", .string(plan.file)), ("sha256", .string(plan.sha256))])),
      ("slot_to_expert", .object(rows.map { ("\($0.key)", JSONText($0.value)) })),
      (
        "header_bytes",
        .object(headerBytes.sorted { $0.key < $1.key }.map { ($0.key, .integer($0.value)) })
      ),
      ("tool", .string("colocate \(ToolVersion.current)")),
    ])
  }

  /// Reads the note of a checkpoint.
  /// - Throws: `FormatError` where there is none, or it is not one of ours.
  init(folder: String) throws(FormatError) {
    let path = folder + "/" + Self.fileName
    let document = JSONNode(try JSONDocument.read(path))
    do throws(JSONProblem) {
      let format = try document.member("format").string()
      guard format == Self.formatName else {
        throw JSONProblem(message: "format '\(format)', expected '\(Self.formatName)'")
      }
      let version = try document.member("version").integer()
      guard version == Self.formatVersion else {
        throw JSONProblem(message: "version \(version), expected \(Self.formatVersion)")
      }
      family = try document.member("model_type").oneOf(MoEFamily.allCases)
      let machines = try document.member("topology")
      let (nodes, perNode) = (
        try machines.member("nodes").integer(), try machines.member("gpus_per_node").integer()
      )
      guard (1...1_000_000).contains(nodes), (1...1_000_000).contains(perNode) else {
        throw JSONProblem(message: "\(nodes) nodes × \(perNode) GPUs: expected 1 or more of each")
      }
      let trace = try document.member("plan")
      plan = PlanFile.Trace(
        file: try trace.member("file").string(), sha256: try trace.member("sha256").string())
      let experts = try document.member("experts").integer()
      var rows = [Int: [Int]]()
      for (key, row) in try document.member("slot_to_expert").members() {
        guard let layer = Int(key), layer >= 0, key == String(layer) else {
          throw JSONProblem(message: "'slot_to_expert.\(key)': expected the number of a layer")
        }
        rows[layer] = try row.integers()
      }
      for (file, bytes) in try document.member("header_bytes").members() {
        headerBytes[file] = try bytes.integer()
      }
      (topology, renumbering) = try Self.checked(nodes, perNode, experts, rows)
    } catch {
      throw FormatError(path, error.message)
    }
  }

  private static func checked(
    _ nodes: Int, _ perNode: Int, _ experts: Int, _ rows: [Int: [Int]]
  ) throws(JSONProblem) -> (Topology, ExpertRenumbering) {
    guard (1...1 << 24).contains(experts) else {
      throw JSONProblem(message: "'experts' is \(experts), expected 1 or more")
    }
    do throws(ModelError) {
      return (
        try Topology(gpus: nodes * perNode, nodes: nodes),
        try ExpertRenumbering(experts: experts, slotToExpert: rows)
      )
    } catch {
      throw JSONProblem(message: "slot_to_expert: \(error.description)")
    }
  }

  init(family: MoEFamily, renumbering: ExpertRenumbering, topology: Topology, plan: PlanFile.Trace)
  {
    self.family = family
    self.renumbering = renumbering
    self.topology = topology
    self.plan = plan
  }
}
