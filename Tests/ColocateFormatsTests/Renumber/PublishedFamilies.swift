import Foundation

/// The families as they are published, small: what each calls its tensors, and what must happen to
/// them.
extension SyntheticCheckpoint {
  private static let d = hidden
  private static let f = 4

  /// Three matrices of each expert.
  private static func apart(
    _ block: String, _ names: (String, String, String) = ("gate_proj", "up_proj", "down_proj"),
    _ type: String = "BF16", kind: String = "weight"
  ) -> [Tensor] {
    [
      Tensor("\(block).experts.*.\(names.0).\(kind)", type, [f, d], .expert),
      Tensor("\(block).experts.*.\(names.1).\(kind)", type, [f, d], .expert),
      Tensor("\(block).experts.*.\(names.2).\(kind)", type, [d, f], .expert),
    ]
  }

  private static func router(_ name: String, _ e: Int = 8, _ type: String = "BF16") -> Tensor {
    Tensor(name, type, [e, d], .rows)
  }

  private static func fused(_ block: String, _ e: Int = 8) -> [Tensor] {
    [
      Tensor("\(block).experts.gate_up_proj", "BF16", [e, 2 * f, d], .rows),
      Tensor("\(block).experts.down_proj", "BF16", [e, d, f], .rows),
    ]
  }

  private static let denseMLP = ["gate_proj", "up_proj", "down_proj"].map {
    Tensor("mlp.\($0).weight", "BF16", [f, d])
  }

  private static func shared(_ name: String) -> [Tensor] {
    ["gate_proj", "up_proj", "down_proj"].map { Tensor("mlp.\(name).\($0).weight", "F16", [f, d]) }
  }

  /// DeepSeek-V3 in FP8 with its scales, correction bias, a dense layer and one behind the last.
  static func deepseekV3(groups: Int, chosen: Int) -> SyntheticCheckpoint {
    SyntheticCheckpoint(
      modelType: "deepseek_v3", experts: 16, layers: 3, moeLayers: [1, 2, 3],
      layer: [
        router("mlp.gate.weight", 16),
        Tensor("mlp.gate.e_score_correction_bias", "F32", [16], .rows),
      ] + apart("mlp", ("gate_proj", "up_proj", "down_proj"), "F8_E4M3")
        + ["gate_proj", "up_proj", "down_proj"].map {
          Tensor("mlp.experts.*.\($0).weight_scale_inv", "F32", [1, 1], .expert)
        } + shared("shared_experts"),
      dense: denseMLP, expertsKey: "n_routed_experts",
      settings: ["n_group": groups, "topk_group": chosen, "topk_method": "noaux_tc"], shards: 3)
  }

  static var all: [String: SyntheticCheckpoint] {
    [
      "olmoe": SyntheticCheckpoint(
        modelType: "olmoe", moeLayers: [0, 1, 2],
        layer: [router("mlp.gate.weight", 8, "F32")] + apart("mlp")),
      "olmoe fused": SyntheticCheckpoint(
        modelType: "olmoe", moeLayers: [0, 1, 2],
        layer: [router("mlp.gate.weight")] + fused("mlp")),
      "mixtral": SyntheticCheckpoint(
        modelType: "mixtral", moeLayers: [0, 1, 2],
        layer: [router("block_sparse_moe.gate.weight")]
          + apart("block_sparse_moe", ("w1", "w3", "w2")),
        expertsKey: "num_local_experts", shards: 2),
      "mixtral fused": SyntheticCheckpoint(
        modelType: "mixtral", moeLayers: [0, 1, 2],
        layer: [router("mlp.gate.weight")] + fused("mlp"),
        expertsKey: "num_local_experts"),
      "qwen2-moe with a dense layer": SyntheticCheckpoint(
        modelType: "qwen2_moe", moeLayers: [0, 2],
        layer: [
          router("mlp.gate.weight"), Tensor("mlp.shared_expert_gate.weight", "BF16", [1, d]),
        ]
          + apart("mlp") + shared("shared_expert"),
        dense: denseMLP, shards: 4),
      "qwen3-moe GPTQ": SyntheticCheckpoint(
        modelType: "qwen3_moe", moeLayers: [0, 1, 2],
        layer: [router("mlp.gate.weight", 8, "F16")]
          + [("qweight", "I32"), ("qzeros", "I32"), ("scales", "F16"), ("g_idx", "I32")].flatMap {
            apart("mlp", ("gate_proj", "up_proj", "down_proj"), $0.1, kind: $0.0)
          }),
      "qwen3-moe fused in FP8": SyntheticCheckpoint(
        modelType: "qwen3_moe", moeLayers: [0, 1, 2],
        layer: [
          router("mlp.gate.weight"),
          Tensor("mlp.experts.gate_up_proj", "F8_E4M3", [8, 2 * f, d], .rows),
          Tensor("mlp.experts.gate_up_proj_scale_inv", "F32", [8, 2, 1], .rows),
          Tensor("mlp.experts.down_proj", "F8_E4M3", [8, d, f], .rows),
          Tensor("mlp.experts.down_proj_scale_inv", "F32", [8, 1, 1], .rows),
        ]),
      "qwen3-moe of 128 experts": SyntheticCheckpoint(
        modelType: "qwen3_moe", experts: 128, layers: 2, moeLayers: [0, 1],
        layer: [router("mlp.gate.weight", 128)] + apart("mlp"), shards: 7),
      "deepseek-v2": SyntheticCheckpoint(
        modelType: "deepseek_v2", moeLayers: [1, 2],
        layer: [router("mlp.gate.weight")] + apart("mlp") + shared("shared_experts"),
        dense: denseMLP, expertsKey: "n_routed_experts",
        settings: ["n_group": 1, "topk_group": 1, "topk_method": "greedy"]),
      "deepseek-v3 without a choice of groups": deepseekV3(groups: 4, chosen: 4),
      "glm4-moe": SyntheticCheckpoint(
        modelType: "glm4_moe", moeLayers: [1, 2, 3],
        layer: [
          router("mlp.gate.weight", 8, "F32"),
          Tensor("mlp.gate.e_score_correction_bias", "F32", [8], .rows),
        ] + apart("mlp") + shared("shared_experts"),
        dense: denseMLP, expertsKey: "n_routed_experts", settings: ["n_group": 1, "topk_group": 1],
        shards: 2),
      "gpt-oss MXFP4": SyntheticCheckpoint(
        modelType: "gpt_oss", moeLayers: [0, 1, 2],
        layer: [
          router("mlp.router.weight"), Tensor("mlp.router.bias", "BF16", [8], .rows),
          Tensor("mlp.experts.gate_up_proj_blocks", "U8", [8, 2 * f, 3, 16], .rows),
          Tensor("mlp.experts.gate_up_proj_scales", "U8", [8, 2 * f, 3], .rows),
          Tensor("mlp.experts.gate_up_proj_bias", "BF16", [8, 2 * f], .rows),
          Tensor("mlp.experts.down_proj_blocks", "U8", [8, d, 2, 16], .rows),
          Tensor("mlp.experts.down_proj_scales", "U8", [8, d, 2], .rows),
          Tensor("mlp.experts.down_proj_bias", "BF16", [8, d], .rows),
          Tensor("self_attn.sinks", "BF16", [4]),
        ], expertsKey: "num_local_experts",
        settings: [
          "quantization_config": [
            "modules_to_not_convert": ["model.layers.*.mlp.router", "lm_head"]
          ]
        ], shards: 2),
      // 12 MiB in a tensor: part by part and not in memory.
      "gpt-oss, large": SyntheticCheckpoint(
        modelType: "gpt_oss", experts: 4, layers: 1, moeLayers: [0],
        layer: [
          router("mlp.router.weight", 4), Tensor("mlp.router.bias", "BF16", [4], .rows),
          Tensor("mlp.experts.gate_up_proj", "BF16", [4, d, 1 << 18], .rows),
          Tensor("mlp.experts.gate_up_proj_bias", "BF16", [4, 1 << 18], .rows),
          Tensor("mlp.experts.down_proj", "BF16", [4, 1 << 17, d], .rows),
          Tensor("mlp.experts.down_proj_bias", "BF16", [4, d], .rows),
        ], expertsKey: "num_local_experts"),
      "granite": SyntheticCheckpoint(
        modelType: "granitemoe", moeLayers: [0, 1, 2],
        layer: [
          router("block_sparse_moe.router.layer.weight"),
          Tensor("block_sparse_moe.input_linear.weight", "BF16", [8, 2 * f, d], .rows),
          Tensor("block_sparse_moe.output_linear.weight", "BF16", [8, d, f], .rows),
        ], expertsKey: "num_local_experts", shards: 2),
      "granite hybrid": SyntheticCheckpoint(
        modelType: "granitemoehybrid", moeLayers: [0, 1, 2],
        layer: [
          router("block_sparse_moe.router.weight"), Tensor("mamba.in_proj.weight", "BF16", [9, d]),
          Tensor("shared_mlp.input_linear.weight", "BF16", [8, d]),
          Tensor("shared_mlp.output_linear.weight", "BF16", [d, 4]),
        ] + fused("block_sparse_moe"), expertsKey: "num_local_experts"),
    ]
  }
}
