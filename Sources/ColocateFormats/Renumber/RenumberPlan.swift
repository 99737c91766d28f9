import Colocate

/// A plan as a renumbering needs it, checked against the model.
struct RenumberPlan {
  let renumbering: ExpertRenumbering
  let topology: Topology

  /// - Throws: `FormatError` where the plan has other sizes than the model, or tears the groups of
  ///   its router apart.
  init(
    _ path: String, _ model: RenumberedModel, _ tensors: ModelTensors
  ) throws(FormatError) {
    let (placement, counted) = try Self.read(
      path, layers: tensors.layers.count, experts: model.experts)
    let all = tensors.layers + tensors.furtherLayers
    guard placement.experts == model.experts,
      [tensors.layers.count, all.count].contains(placement.layers)
    else {
      throw FormatError(
        path,
        "a plan for \(placement.layers) layers × \(placement.experts) experts; the model has "
          + "\(tensors.layers.count) MoE layers × \(model.experts)")
    }
    let layers = placement.layers == all.count ? all : tensors.layers
    if let counted, counted != layers {
      throw FormatError(
        path,
        "a plan for the layers \(Remark.list(counted)) of its traces; the model's MoE layers are "
          + Remark.list(layers))
    }
    topology = placement.topology
    do throws(ModelError) {
      renumbering = try ExpertRenumbering(
        placement, modelLayers: layers, groups: model.groups)
    } catch {
      throw FormatError(path, error.description)
    }
  }

  /// JSON or ExFlow's table, by what the file holds; and the traces' layers that were counted.
  private static func read(
    _ path: String, layers: Int, experts: Int
  ) throws(FormatError) -> (Placement, counted: [Int]?) {
    let file = try PositionedFile(path)
    let start = try file.bytes(0..<min(file.size, 64))
    // Behind blanks and a byte order mark.
    let first = start.first { ![0x20, 0x09, 0x0A, 0x0D, 0xEF, 0xBB, 0xBF].contains($0) }
    guard first == UInt8(ascii: "{") else {
      return (try ExFlowCSV.read(path, layers: layers, experts: experts), nil)
    }
    let plan = try PlanFile.read(path)
    return (plan.placement, plan.moeLayers)
  }
}
