import ColocateModel

/// Reads a placement in any `PlacementFormat`, and checks what the stacks themselves do not: that
/// every expert has a slot, that rows and slots are as many as they should be.
public enum PlacementReader {
  /// Bytes that no placement has.
  private static let mostBytes = 1 << 28

  /// A placement, the format that it was in, and what its user should know.
  public struct Result: Sendable {
    public let placement: StackPlacement
    public let format: PlacementFormat
    public let remarks: [Remark]
  }

  /// - Parameters:
  ///   - path: a regular file.
  ///   - format: nil recognises the format by the content.
  ///   - reading: what the file does not say itself.
  /// - Throws: `FormatError` with the place of what is wrong.
  public static func read(
    _ path: String, as format: PlacementFormat? = nil, _ reading: PlacementReading = .init()
  ) throws(FormatError) -> Result {
    let file = try PositionedFile(path)
    guard file.size <= mostBytes else {
      throw FormatError(path, "\(file.size) bytes, expected a placement of at most 256 MiB")
    }
    let bytes = try file.bytes(0..<file.size)
    guard let format = format ?? recognise(bytes) else {
      let known = PlacementFormat.allCases.map(\.rawValue).joined(separator: ", ")
      throw Container(try file.head(), file: path)?.error(path, expected: "a placement (\(known))")
        ?? FormatError(path, "no placement that is known here: \(known)")
    }
    var placement: StackPlacement
    switch format {
    case .colocate:
      placement =
        (try? JSONReader.read(bytes)).map(SlotPlanFile.isNamed) == true
        ? try slots(path, reading) : try colocate(path, reading)
    case .exflow: placement = try exflow(path, bytes, reading)
    default: placement = try stack(path, bytes, format, reading)
    }
    do throws(ModelError) {
      placement = try named(placement, reading)
    } catch {
      throw FormatError(path, error.description)
    }
    return Result(
      placement: placement, format: format,
      remarks: remarks(placement, format, reading))
  }

  /// The stack's format that a file is in; nil for the tool's own, and for what is none.
  /// - Throws: `FormatError` where the file cannot be read.
  public static func format(of path: String) throws(FormatError) -> PlacementFormat? {
    let file = try PositionedFile(path)
    guard file.size <= mostBytes else { return nil }
    let found = recognise(try file.bytes(0..<file.size))
    return found == .colocate ? nil : found
  }

  /// The format that a file's content says it has.
  ///
  /// A table of integers is a map where every row holds each id from 0 to the largest; LMDeploy's
  /// loads do so by the rarest chance, and never where `PlacementWriter` wrote them.
  static func recognise(_ bytes: [UInt8]) -> PlacementFormat? {
    let start = bytes.drop { $0 <= 0x20 }
    if start.starts(with: ExFlowCSV.header.utf8) { return .exflow }
    guard start.first == UInt8(ascii: "{") || start.first == UInt8(ascii: "[") else {
      guard let document = try? YAMLReader.read(bytes), let keys = try? document.keys() else {
        return nil
      }
      return TensorRTPlacement.isNamed(by: keys) ? .tensorRTLLM : nil
    }
    guard let document = try? JSONReader.read(bytes) else {
      let isMapping = (try? VLLMPlacement.records(bytes).count) ?? 0 > 0
      return isMapping ? .vllm : nil
    }
    guard let keys = try? document.keys() else {
      if let rows = try? document.table(), VLLMPlacement.isMap(rows) { return .vllmMap }
      return (try? LMDeployPlacement.loads(document)) == nil ? nil : .lmdeploy
    }
    if keys.contains("physical_to_logical_map") { return .sglang }
    if keys.contains("record_type") { return .vllm }
    if keys.contains("moe_layer_count") { return .vllmAscend }
    if keys.contains("assignment"), keys.contains("topology") { return .colocate }
    if SlotPlanFile.isNamed(by: document) { return .colocate }
    return TensorRTPlacement.isNamed(by: keys) ? .tensorRTLLM : nil
  }

  private static func colocate(
    _ path: String, _ reading: PlacementReading
  ) throws(FormatError) -> StackPlacement {
    let plan = try PlanFile.read(path)
    let placement = plan.placement
    if let gpus = reading.gpus, gpus != placement.topology.gpus {
      throw FormatError(path, "a plan for \(placement.topology.gpus) GPUs, expected \(gpus)")
    }
    if let experts = reading.experts, experts != placement.experts {
      throw FormatError(path, "a plan for \(placement.experts) experts, expected \(experts)")
    }
    do throws(ModelError) {
      var slots = SlotPlan(placement)
      if let nodes = reading.nodes { slots = try slots.on(nodes: nodes) }
      return try StackPlacement(plan: slots, modelLayers: plan.moeLayers)
    } catch {
      throw FormatError(path, error.description)
    }
  }

  /// The tool's own plan where experts have copies.
  private static func slots(
    _ path: String, _ reading: PlacementReading
  ) throws(FormatError) -> StackPlacement {
    let file = try SlotPlanFile.read(path)
    let plan = file.plan
    if let gpus = reading.gpus, gpus != plan.topology.gpus {
      throw FormatError(path, "a plan for \(plan.topology.gpus) GPUs, expected \(gpus)")
    }
    if let experts = reading.experts, experts != plan.experts {
      throw FormatError(path, "a plan for \(plan.experts) experts, expected \(experts)")
    }
    do throws(ModelError) {
      let spread = try reading.nodes.map { nodes throws(ModelError) in try plan.on(nodes: nodes) }
      return try StackPlacement(plan: spread ?? plan, modelLayers: file.moeLayers)
    } catch {
      throw FormatError(path, error.description)
    }
  }

  /// A table has no sizes but the number of its lines.
  private static func exflow(
    _ path: String, _ bytes: [UInt8], _ reading: PlacementReading
  ) throws(FormatError) -> StackPlacement {
    guard let experts = reading.experts, experts >= 1 else {
      throw FormatError(path, "ExFlow's table does not say how many experts a layer has: --experts")
    }
    let lines = bytes.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }).count {
      $0.contains { $0 > 0x20 }
    }
    let count = lines - 1
    guard count >= experts, count % experts == 0 else {
      throw FormatError(path, "\(count) experts, expected a multiple of the \(experts) of a layer")
    }
    let placement = try ExFlowCSV.read(
      path, layers: count / experts, experts: experts, gpus: reading.gpus,
      nodes: reading.nodes ?? 1)
    do throws(ModelError) {
      return try StackPlacement(plan: SlotPlan(placement))
    } catch {
      throw FormatError(path, error.description)
    }
  }

  /// A stack's own file: rows of slots, cut to the MoE layers, put on the GPUs.
  private static func stack(
    _ path: String, _ bytes: [UInt8], _ format: PlacementFormat, _ reading: PlacementReading
  ) throws(FormatError) -> StackPlacement {
    do throws(JSONProblem) {
      var rows: SlotRows
      switch format {
      case .sglang: rows = try SGLangPlacement.rows(try JSONReader.read(bytes))
      case .tensorRTLLM: rows = try TensorRTPlacement.rows(try YAMLReader.read(bytes))
      case .vllm: rows = try VLLMPlacement.rows(bytes)
      case .vllmMap: rows = SlotRows(slots: try JSONReader.read(bytes).table())
      case .vllmAscend: rows = try AscendPlacement.rows(try JSONReader.read(bytes))
      case .lmdeploy:
        guard let gpus = reading.gpus else { throw SlotRows.needsGPUs }
        rows = try LMDeployPlacement.rows(try JSONReader.read(bytes), gpus: gpus)
      case .colocate, .exflow: throw JSONProblem(message: "a plan of another kind")
      }
      if format.hasDenseLayers { try rows.keep(reading.moeLayers, of: reading.hiddenLayers) }
      return try rows.placement(reading)
    } catch {
      throw FormatError(path, error.message)
    }
  }

  /// The placement with the layer numbers that the command line gives.
  private static func named(
    _ placement: StackPlacement, _ reading: PlacementReading
  ) throws(ModelError) -> StackPlacement {
    let given = reading.moeLayers
    if let given, let found = placement.modelLayers, given != found {
      throw .placement(
        "MoE layers \(Remark.list(found)), expected \(Remark.list(given)) (--moe-layers)")
    }
    return try StackPlacement(
      plan: placement.plan, modelLayers: given ?? placement.modelLayers,
      hiddenLayers: reading.hiddenLayers ?? placement.hiddenLayers)
  }

  private static func remarks(
    _ placement: StackPlacement, _ format: PlacementFormat, _ reading: PlacementReading
  ) -> [Remark] {
    var remarks = [Remark]()
    if let useless = placement.plan.uselessReplica {
      remarks.append(
        .warning(
          "layer \(useless.layer): GPU \(useless.gpu) has expert \(useless.expert) twice, where "
            + "once would do"))
    }
    if format.hasDenseLayers, reading.moeLayers == nil {
      let identity = placement.plan.slots.indices.filter { layer in
        let row = placement.plan.slots[layer]
        return row.indices.allSatisfy { row[$0] == $0 % placement.plan.experts }
      }
      if !identity.isEmpty, identity.count < placement.plan.layers {
        remarks.append(
          .warning(
            "layers \(Remark.list(identity)) are in their first order: if they are dense, "
              + "--moe-layers names the others"))
      }
    }
    return remarks
  }
}

/// Rows of slots as a stack's file has them, before anything is checked.
struct SlotRows {
  var slots: [[Int]]
  /// `E`, where the file says.
  var experts: Int?
  /// `P`, where the file says.
  var gpus: Int?
  /// The model's layers that the rows are, where the file says.
  var modelLayers: [Int]?
  /// `H`, where the file has a row for every hidden layer.
  var hiddenLayers: Int?

  init(
    slots: [[Int]], experts: Int? = nil, gpus: Int? = nil, modelLayers: [Int]? = nil
  ) {
    self.slots = slots
    self.experts = experts
    self.gpus = gpus
    self.modelLayers = modelLayers
  }

  static let needsGPUs = JSONProblem(
    message: "the file does not say for how many GPUs it is: --gpus")

  /// Keeps the MoE layers of a file with a row for every hidden layer.
  mutating func keep(_ moeLayers: [Int]?, of hiddenLayers: Int?) throws(JSONProblem) {
    if let hiddenLayers, hiddenLayers != slots.count {
      throw JSONProblem(message: "\(slots.count) rows, expected \(hiddenLayers) hidden layers")
    }
    self.hiddenLayers = slots.count
    guard let moeLayers else { return }
    guard let last = moeLayers.last, last < slots.count, moeLayers[0] >= 0 else {
      throw JSONProblem(
        message: "\(slots.count) rows, expected one for each layer up to "
          + "\(moeLayers.last ?? 0) (--moe-layers)")
    }
    slots = moeLayers.map { slots[$0] }
    modelLayers = moeLayers
  }

  /// The checked placement.
  func placement(_ reading: PlacementReading) throws(JSONProblem) -> StackPlacement {
    guard let gpus = gpus ?? reading.gpus else { throw Self.needsGPUs }
    if let wanted = reading.gpus, wanted != gpus {
      throw JSONProblem(message: "a placement on \(gpus) GPUs, expected \(wanted)")
    }
    if let wanted = reading.experts, let experts, wanted != experts {
      throw JSONProblem(message: "a placement of \(experts) experts, expected \(wanted)")
    }
    let largest = slots.lazy.compactMap { $0.max() }.max() ?? -1
    // An id beyond the slots is refused as such, not taken for the number of experts.
    let width = slots.first?.count ?? 1
    let experts = experts ?? reading.experts ?? min(max(largest, 0), max(width, 1) - 1) + 1
    do throws(ModelError) {
      return try StackPlacement(
        plan: SlotPlan(
          topology: Topology(gpus: gpus, nodes: reading.nodes ?? 1), experts: experts,
          slots: slots, layerNumbers: modelLayers),
        modelLayers: modelLayers, hiddenLayers: hiddenLayers)
    } catch {
      throw JSONProblem(message: error.description)
    }
  }
}
