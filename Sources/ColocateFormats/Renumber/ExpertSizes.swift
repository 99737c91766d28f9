import ColocateModel

/// What an expert of each MoE layer weighs in a checkpoint: the bytes that a move copies.
///
/// Read from the headers alone. Fused tensors are shared out evenly, as they are stored; what is
/// stored apart must be alike for all experts of a layer (`ModelTensors` checks it).
public struct ExpertSizes: Sendable {
  /// `model_type` of the model.
  public let modelType: String
  /// MoE layers of the model, ascending.
  public let layers: [Int]
  /// `E`.
  public let experts: Int
  /// Bytes of one expert, for each of `layers`.
  public let bytes: [Int]

  /// - Parameter folder: a Hugging Face checkpoint with safetensors weights.
  /// - Throws: `FormatError` where it is not whole, or its names are not known.
  public init(model folder: String) throws(FormatError) {
    let model = try RenumberedModel(folder: folder)
    let checkpoint = try StoredCheckpoint(folder: folder)
    let tensors = try ModelTensors(checkpoint, model)
    var sums = [Int: Int]()
    for file in checkpoint.files {
      for (name, tensor) in file.tensors {
        switch tensors.roles[name] {
        case .fused(let layer, _), .expert(let layer, _):
          sums[layer, default: 0] += tensor.range.count
        case .router, .other, nil: break
        }
      }
    }
    modelType = model.family.rawValue
    experts = model.experts
    layers = tensors.layers
    bytes = tensors.layers.map { (sums[$0] ?? 0) / model.experts }
  }

  /// Bytes that a migration copies, and those of them that go between nodes.
  /// - Parameters:
  /// - moeLayers: the model's layers that the plan's layers are; nil takes its MoE layers in their
  ///     order.
  ///   - file: the model's name, for messages.
  /// - Throws: `FormatError` where the plan is for other layers or experts.
  public func bytes(
    of migration: Migration, experts: Int, moeLayers: [Int]?, file: String
  ) throws(FormatError) -> (copied: Int, betweenNodes: Int) {
    let count = migration.copiesPerLayer.count
    let numbers = moeLayers ?? (count == layers.count ? layers : [])
    let sizes = numbers.compactMap { number in
      layers.firstIndex(of: number).map { bytes[$0] }
    }
    guard sizes.count == count, experts == self.experts else {
      throw FormatError(
        file,
        "\(modelType) has \(self.experts) experts in the layers \(Remark.list(layers)), expected "
          + "\(experts) in \(moeLayers.map { Remark.list($0) } ?? "\(count) layers") as in the plan"
      )
    }
    func sum(_ copies: [Int]) -> Int { zip(copies, sizes).reduce(0) { $0 + $1.0 * $1.1 } }
    return (sum(migration.copiesPerLayer), sum(migration.nodeCopiesPerLayer))
  }
}
