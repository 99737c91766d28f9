/// What a layer's router and experts are called in a checkpoint.
///
/// transformers writes one tensor for each expert and matrix, as the models were published, or on
/// request (`save_original_format=False`) all experts of a layer in two tensors, and calls
/// Mixtral's block `mlp` then.
struct ExpertNames {
  enum Layout {
    /// Names of the tensors with gate and up, and with down.
    case fused(gateUp: String, down: String)
    /// What stands before an expert's number, and what behind it.
    case separate(prefix: String, gate: String, up: String, down: String)
  }

  let router: String
  let layout: Layout

  /// - Parameter layer: what the names of the layer's tensors begin with.
  init(_ checkpoint: Checkpoint, _ family: ModelConfig.Family, layer: String) {
    let published = layer + (family == .mixtral ? "block_sparse_moe." : "mlp.")
    let block = checkpoint.has(published + "gate.weight") ? published : layer + "mlp."
    router = (checkpoint.has(block + "gate.weight") ? block : published) + "gate.weight"
    let fused = [block, published].first { checkpoint.has($0 + "experts.gate_up_proj") }
    if let fused {
      layout = .fused(
        gateUp: fused + "experts.gate_up_proj", down: fused + "experts.down_proj")
    } else if family == .mixtral {
      layout = .separate(
        prefix: published + "experts.", gate: "w1.weight", up: "w3.weight", down: "w2.weight")
    } else {
      layout = .separate(
        prefix: published + "experts.", gate: "gate_proj.weight", up: "up_proj.weight",
        down: "down_proj.weight")
    }
  }
}
