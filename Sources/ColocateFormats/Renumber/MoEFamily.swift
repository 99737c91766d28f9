/// What the families of Mixture-of-Experts models call routers and experts in a Hugging Face
/// checkpoint: the one table behind `colocate renumber`.
///
/// A layer's tensors are called `model.layers.N.BLOCK.…`. Within the block
///
///     router   `gate.weight`, `router.weight`, `router.layer.weight`   [E, d]
///              `gate.e_score_correction_bias`, `router.bias`           [E]
///     apart    `experts.E.MATRIX.KIND`    one tensor for each expert, matrix and kind
///     fused    `experts.gate_up_proj`, `input_linear.weight`, …        [E, …]
///     beside   shared experts and the dense layers' matrices: no expert of the router
///
/// and nothing else: a name that the table does not have is refused, because a tensor that
/// belongs to an expert and stays where it is would spoil the model without a word. The raw value
/// is `model_type` of `config.json`.
///
/// Sources: the published checkpoints' indices and transformers' own conversion tables
/// (`conversion_mapping.py`), which name both layouts.
package enum MoEFamily: String, CaseIterable, Sendable {
  case olmoe
  case mixtral
  case qwen2MoE = "qwen2_moe"
  case qwen3MoE = "qwen3_moe"
  case deepseekV2 = "deepseek_v2"
  case deepseekV3 = "deepseek_v3"
  case deepseekV32 = "deepseek_v32"
  case kimiK2 = "kimi_k2"
  case gptOSS = "gpt_oss"
  case glm4MoE = "glm4_moe"
  case glm4MoELite = "glm4_moe_lite"
  case glmMoEDSA = "glm_moe_dsa"
  case graniteMoE = "granitemoe"
  case graniteMoEShared = "granitemoeshared"
  case graniteMoEHybrid = "granitemoehybrid"

  /// The names that a family uses within a layer.
  struct Names {
    /// Blocks that hold router and experts; transformers calls Mixtral's `mlp` where it fuses.
    var blocks = ["mlp"]
    /// Router tensors, with an entry or a row for each expert along their first axis.
    var router = ["gate.weight"]
    /// Matrices of an expert that is stored apart: gate, up, down.
    var matrices = Matrices(gate: "gate_proj", up: "up_proj", down: "down_proj")
    /// Tensors with all experts along their first axis: gate and up together, and down.
    var fused = FusedNames.transformers
    /// First parts of names in the block that belong to no expert of the router.
    var beside = ["gate_proj", "up_proj", "down_proj"]
  }

  /// What an expert's three matrices are called.
  struct Matrices {
    let gate: String
    let up: String
    let down: String
    var all: [String] { [gate, up, down] }
  }

  /// What the tensors with all experts of a layer are called.
  struct FusedNames {
    let gateUp: [String]
    let down: [String]

    /// The two tensors as transformers names them, and what belongs to them: biases (gpt-oss),
    /// MXFP4 blocks and their scales, FP8 scales.
    static let transformers = FusedNames(
      gateUp: kinds.map { "experts.gate_up_proj" + $0 },
      down: kinds.map { "experts.down_proj" + $0 })
    /// Granite as it is published.
    static let granite = FusedNames(
      gateUp: ["input_linear.weight"] + transformers.gateUp,
      down: ["output_linear.weight"] + transformers.down)

    private static let kinds = ["", "_bias", "_blocks", "_scales", "_scale_inv"]

    /// Whether a fused tensor is a weight itself, and nothing that belongs to one.
    func isWeight(_ name: String) -> Bool {
      !Self.kinds.dropFirst().contains { name.hasSuffix($0) }
    }
  }

  /// What may stand behind a matrix's name: plain weights, FP8 (DeepSeek), GPTQ and AWQ,
  /// compressed-tensors, ModelOpt.
  static let kinds: Set = [
    "weight", "bias", "weight_scale_inv", "weight_scale", "weight_scale_2", "input_scale",
    "weight_packed", "weight_shape", "weight_zero_point", "weight_g_idx", "weight_global_scale",
    "input_global_scale", "qweight", "qzeros", "scales", "g_idx",
  ]

  var names: Names {
    var names = Names()
    switch self {
    case .olmoe, .qwen3MoE: break
    case .mixtral:
      names.blocks = ["block_sparse_moe", "mlp"]
      names.matrices = Matrices(gate: "w1", up: "w3", down: "w2")
      names.beside = []
    case .qwen2MoE: names.beside += ["shared_expert", "shared_expert_gate"]
    case .deepseekV2: names.beside += ["shared_experts"]
    case .deepseekV3, .deepseekV32, .kimiK2, .glm4MoE, .glm4MoELite, .glmMoEDSA:
      names.router += ["gate.e_score_correction_bias"]
      names.beside += ["shared_experts"]
    case .gptOSS:
      names.router = ["router.weight", "router.bias"]
      names.beside = []
    case .graniteMoE, .graniteMoEShared, .graniteMoEHybrid:
      names.blocks = ["block_sparse_moe"]
      names.router = ["router.layer.weight", "router.weight"]
      names.fused = .granite
      names.beside = []
    }
    return names
  }

  /// Whether experts are ever stored apart.
  var hasSeparateExperts: Bool {
    switch self {
    case .gptOSS, .graniteMoE, .graniteMoEShared, .graniteMoEHybrid: return false
    default: return true
    }
  }

  /// Whether a checkpoint may have layers behind the model's last, which predict further tokens.
  var predictsFurtherTokens: Bool {
    switch self {
    case .deepseekV3, .deepseekV32, .kimiK2, .glm4MoE, .glm4MoELite, .glmMoEDSA: return true
    default: return false
    }
  }
}
