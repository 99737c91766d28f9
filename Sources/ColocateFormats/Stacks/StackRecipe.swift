import ColocateModel

/// How a stack is made to follow a placement file: the flags, how to see that it was loaded, what
/// it ignores without a word, and how to undo it. Facts of the versions named, read from their code
/// or seen when it ran.
public struct StackRecipe: Hashable, Sendable {
  /// What to start the stack with.
  public let start: String
  /// How to see that the file was loaded; empty where nothing shows it.
  public let proof: String
  /// What the stack ignores silently, and what to mind.
  public let warnings: [String]
  /// How to undo it.
  public let undo: String

  /// - Returns: nil for files that no serving stack reads.
  public init?(
    for format: PlacementFormat, _ placement: StackPlacement, path: String
  ) {
    let plan = placement.plan
    let (gpus, redundant) = (plan.topology.gpus, plan.redundant)
    switch format {
    case .colocate, .exflow: return nil
    case .sglang:
      self.init(
        start: "python -m sglang.launch_server --model-path MODEL --tp-size \(gpus) "
          + "--ep-size \(gpus) --init-expert-location \(path) "
          + "--ep-num-redundant-experts \(redundant)",
        proof: "the log says 'init_expert_location from init_by_mapping'",
        warnings: [
          "models without get_model_config_for_expert_location (Mixtral, Llama-4, OLMoE, ERNIE, "
            + "Hunyuan) ignore --init-expert-location without a word",
          "the file has \(placement.rows.count) rows, which must be all layers of the model, dense "
            + "ones too: SGLang does not check (--hidden-layers, --moe-layers)",
        ], undo: "leave --init-expert-location out")
    case .tensorRTLLM:
      self.init(
        start: "enable_attention_dp: true and moe_config: {load_balancer: \(path)} in the file of "
          + "--extra_llm_api_options, --tp_size \(gpus) --ep_size \(gpus)",
        proof: "",
        warnings: [
          "with EP = 1, without attention DP, or for architectures that TensorRT-LLM does not "
            + "list, the file is ignored without a word"
        ], undo: "leave load_balancer out")
    case .vllm, .vllmMap:
      self.init(
        start: "COLOCATE_PLAN=\(path) vllm serve MODEL --enable-expert-parallel --enable-eplb "
          + "--eplb-config '{\"window_size\":1,\"step_interval\":4,"
          + "\"num_redundant_experts\":\(redundant)}'",
        proof: "the plugin logs the plan's size once vLLM has asked it for the placement",
        warnings: [
          "vLLM 0.33.0 reads no placement file: without the plugin in "
            + "Benchmarks/consumers/vllm_plugin the file has no effect",
          "the experts move after a quarter of step_interval steps, not at the start",
        ], undo: "unset COLOCATE_PLAN, leave --enable-eplb out")
    case .vllmAscend:
      self.init(
        start: "vllm serve MODEL --enable-expert-parallel --additional-config "
          + "'{\"eplb_config\":{\"expert_map_path\":\"\(path)\"}}'",
        proof: "",
        warnings: [
          "only Model Runner V1 reads an expert map; its removal is announced for 0.25.1"
        ], undo: "leave expert_map_path out")
    case .lmdeploy:
      self.init(
        start: "LMDEPLOY_EPLB_EXPERTS_STATISTIC_FILE=\(path) "
          + "LMDEPLOY_EPLB_NUM_REDUNDANT_EXPERTS=0 LMDEPLOY_EPLB_NUM_GROUPS=1 "
          + "LMDEPLOY_EPLB_RANKS_PER_NODE=\(gpus + 1) lmdeploy serve api_server MODEL "
          + "--ep \(gpus) --enable-eplb",
        proof: "",
        warnings: [
          "the file holds loads that LMDeploy packs into the plan; with other values of these "
            + "variables it packs them into something else without a word",
          "the file has \(placement.rows.count) rows, which must be all layers of the model, dense "
            + "ones too (--hidden-layers, --moe-layers)",
        ], undo: "leave --enable-eplb out")
    }
  }

  private init(start: String, proof: String, warnings: [String], undo: String) {
    self.start = start
    self.proof = proof
    self.warnings = warnings
    self.undo = undo
  }
}
