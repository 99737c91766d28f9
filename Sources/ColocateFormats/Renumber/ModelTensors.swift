/// Every tensor of a checkpoint by what it is to a renumbering, checked before a byte is written:
/// each MoE layer has its router, all of its experts, and shapes that agree with `config.json`.
struct ModelTensors {
  /// Tensor → its role; those that stay as they are are left out.
  let roles: [String: TensorRole]
  /// MoE layers of the model proper, ascending.
  let layers: [Int]
  /// MoE layers behind the model's last: they predict further tokens (DeepSeek-V3, GLM-4.x).
  let furtherLayers: [Int]

  /// - Throws: `FormatError` with the file and the tensor that is unknown, missing or of another
  ///   shape.
  init(_ checkpoint: StoredCheckpoint, _ model: RenumberedModel) throws(FormatError) {
    var roles = [String: TensorRole]()
    var found = [Int: Layer]()
    for file in checkpoint.files {
      for (name, tensor) in file.tensors.sorted(by: { $0.key < $1.key }) {
        do throws(JSONProblem) {
          let role = try TensorRole(name, family: model.family)
          guard let layer = role.layer else { continue }
          roles[name] = role
          try found[layer, default: Layer()].add(role, tensor, name: name, model)
        } catch {
          throw FormatError(file.path, "tensor \(name) \(error.message)")
        }
      }
    }
    for (layer, content) in found.sorted(by: { $0.key < $1.key }) {
      if let fault = content.fault(model) {
        throw FormatError(checkpoint.folder, "layer \(layer) \(fault)")
      }
    }
    guard !found.isEmpty else {
      throw FormatError(
        checkpoint.folder, "no layer has experts: there is nothing to renumber")
    }
    self.roles = roles
    layers = found.keys.filter { $0 < model.layers }.sorted()
    furtherLayers = found.keys.filter { $0 >= model.layers }.sorted()
    if let layer = furtherLayers.first, !model.family.predictsFurtherTokens {
      throw FormatError(
        checkpoint.folder,
        "layer \(layer) has experts, expected none behind the \(model.layers) layers of config.json"
      )
    }
  }

  /// What has been found of a layer.
  private struct Layer {
    /// Experts' tensors by what they share: shape and type of the first, and the experts.
    private var experts: [String: (tensor: SafetensorsHeader.Tensor, numbers: Set<Int>)] = [:]
    private var matrices = Set<String>()
    private var parts = Set<TensorRole.Part>()
    private var hasRouter = false

    mutating func add(
      _ role: TensorRole, _ tensor: SafetensorsHeader.Tensor, name: String,
      _ model: RenumberedModel
    ) throws(JSONProblem) {
      switch role {
      case .router:
        let isMatrix = name.hasSuffix(".weight")
        if isMatrix {
          guard !hasRouter else { throw JSONProblem(message: "is a second router of its layer") }
          hasRouter = true
        }
        try Self.check(tensor, isMatrix ? [model.experts, model.hidden] : [model.experts])
      case .fused(_, let part):
        // Weights have 3 axes, biases and scales fewer or as many, MXFP4 blocks 4.
        guard tensor.shape.count >= 2, tensor.shape[0] == model.experts else {
          throw JSONProblem(
            message: "has the shape \(tensor.shape), expected \(model.experts) experts first")
        }
        if model.family.names.fused.isWeight(name), Self.isPlain(tensor) {
          guard tensor.shape.count == 3, tensor.shape.dropFirst().contains(model.hidden) else {
            throw JSONProblem(
              message: "has the shape \(tensor.shape), expected [\(model.experts), …] with an "
                + "axis of hidden_size = \(model.hidden)")
          }
        }
        parts.insert(part)
      case .expert(_, let expert):
        guard expert.number < model.experts else {
          throw JSONProblem(
            message: "is of expert \(expert.number), expected 0 to \(model.experts - 1) by "
              + "config.json")
        }
        try add(expert, tensor, model)
      case .other: break
      }
    }

    private mutating func add(
      _ expert: TensorRole.Expert, _ tensor: SafetensorsHeader.Tensor, _ model: RenumberedModel
    ) throws(JSONProblem) {
      let names = model.family.names.matrices
      if expert.kind == "weight", Self.isPlain(tensor) {
        let axis = expert.matrix == names.down ? 0 : 1
        guard tensor.shape.count == 2, tensor.shape[axis] == model.hidden else {
          throw JSONProblem(
            message: "has the shape \(tensor.shape), expected hidden_size = \(model.hidden) as its "
              + (axis == 0 ? "first axis" : "second of two axes"))
        }
      }
      matrices.insert(expert.matrix)
      let first = experts[expert.stem]?.tensor ?? tensor
      guard first.shape == tensor.shape, first.type == tensor.type else {
        throw JSONProblem(
          message: "is \(tensor.type) \(tensor.shape), another expert's is \(first.type) "
            + "\(first.shape): expected the same of all experts of a layer")
      }
      experts[expert.stem, default: (tensor, [])].numbers.insert(expert.number)
    }

    private static func isPlain(_ tensor: SafetensorsHeader.Tensor) -> Bool {
      ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"].contains(tensor.type)
    }

    private static func check(
      _ tensor: SafetensorsHeader.Tensor, _ shape: [Int]
    ) throws(JSONProblem) {
      guard tensor.shape == shape else {
        throw JSONProblem(
          message: "has the shape \(tensor.shape), expected \(shape) by config.json")
      }
    }

    /// What the layer lacks; nil where it is whole.
    func fault(_ model: RenumberedModel) -> String? {
      guard hasRouter else { return "has experts and no router" }
      guard experts.isEmpty || parts.isEmpty else {
        return "has experts both apart and fused, expected one of the two"
      }
      if experts.isEmpty {
        return parts == [.gateUp, .down] ? nil : "has a router and not all matrices of its experts"
      }
      guard matrices.count == 3 else {
        return "has experts with \(matrices.count) matrices, expected "
          + model.family.names.matrices.all.joined(separator: ", ")
      }
      for (stem, entry) in experts.sorted(by: { $0.key < $1.key }) {
        let missing = (0..<model.experts).first { !entry.numbers.contains($0) }
        if let missing { return "has no \(stem) of expert \(missing)" }
      }
      return nil
    }
  }
}

extension TensorRole {
  /// The layer of a router or an expert; nil for what stays as it is.
  var layer: Int? {
    switch self {
    case .router(let layer), .fused(let layer, _), .expert(let layer, _): return layer
    case .other: return nil
    }
  }
}
