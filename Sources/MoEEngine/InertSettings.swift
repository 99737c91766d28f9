import ColocateFormats

/// Settings of public `config.json` files that change nothing in what a model computes from given
/// weights and tokens: of training, of generation, of other programs, and whatever is switched off.
///
/// transformers ignores every name that a model's class does not read. The engine does not go as
/// far: a name that nobody knows may stand for something that another program computes, so it is
/// refused unless its value says "off" or the name belongs to one of the groups below.
enum InertSettings {
  /// Whether a setting that the model's class does not read can be left out of account.
  static func areInert(_ name: String, _ value: JSONText) -> Bool {
    if let neutral = neutralValues[name] { return isOne(of: neutral, value) }
    return isOff(value) || name.hasPrefix("_") || names.contains(name)
      || name.split(separator: "_").contains { words.contains(String($0)) }
      || name.hasSuffix("_token_id") || name.hasSuffix("_token_ids")
  }

  /// null, false, 0, and what is empty.
  private static func isOff(_ value: JSONText) -> Bool {
    switch value {
    case .null: true
    case .bool(let value): !value
    case .integer(let value): value == 0
    case .number(let value): value == 0
    case .string(let value): value.isEmpty
    case .array(let values): values.isEmpty
    case .object(let members): members.isEmpty
    }
  }

  private static func isOne(of neutral: [String], _ value: JSONText) -> Bool {
    switch value {
    case .null: true
    case .bool(let value): neutral.contains("\(value)")
    case .integer(let value): neutral.contains("\(value)")
    case .number(let value):
      neutral.contains("\(value)") || neutral.contains("\(Int(exactly: value) ?? -1)")
    case .string(let value): neutral.contains(value)
    case .array, .object: false
    }
  }

  /// Settings of other families that say, with this value, what the engine computes anyway.
  private static let neutralValues: [String: [String]] = [
    "scoring_func": ["softmax"], "topk_method": ["greedy"], "routed_scaling_factor": ["1"],
    "n_group": ["1"], "topk_group": ["1"], "moe_layer_freq": ["1"],
    "interleave_moe_layer_step": ["1"],
    "first_k_dense_replace": ["0"], "logit_scale": ["1"], "logits_scaling": ["1"],
    "embedding_multiplier": ["1"], "residual_multiplier": ["1"], "scale_emb": ["1"],
    "rope_interleave": ["false"], "rope_interleaved": ["false"],
    "position_embedding_type": ["rope", "rotary"], "hidden_activation": ["silu", "swish"],
    "is_causal": ["true"], "causal": ["true"], "use_rope": ["true"], "use_rms_norm": ["true"],
    "pre_norm": ["true"], "norm_before_gate": ["false"], "is_encoder_decoder": ["false"],
    "add_cross_attention": ["false"],
  ]

  /// A word of a name that makes it one of training or of another program: "router_z_loss_coef".
  private static let words: Set<String> = [
    "author", "balance", "checkpointing", "coef", "coeff", "date", "dropout", "dtype", "flash",
    "implementation", "init", "initializer", "jitter", "license", "loss", "lr", "noise", "pdrop",
    "tokenizer", "training", "unsloth", "version",
  ]

  /// The rest, by name.
  private static let names: Set<String> = [
    // Of every configuration in transformers, this version or an earlier one.
    "architectures", "chunk_size_feed_forward", "finetuning_task", "id2label", "is_decoder",
    "label2id", "model_type", "name_or_path", "num_labels", "output_attentions",
    "output_hidden_states", "output_router_logits", "prefix", "problem_type", "return_dict",
    "task_specific_params", "tie_encoder_decoder", "tie_last_hidden_states", "torchscript",
    "transformers_weights", "use_cache", "use_return_dict", "use_bfloat16",
    "original_max_position_embeddings", "pretraining_tp",
    // Of generation.
    "begin_suppress_tokens", "bad_words_ids", "diversity_penalty", "do_sample", "early_stopping",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "length_penalty",
    "max_length", "max_new_tokens", "min_length", "min_new_tokens", "no_repeat_ngram_size",
    "num_beam_groups", "num_beams", "num_return_sequences", "output_scores",
    "remove_invalid_values", "repetition_penalty", "return_dict_in_generate", "suppress_tokens",
    "temperature", "top_k", "top_p", "typical_p",
    // Of training and of other programs.
    "auto_map", "bos_token", "device_map", "eos_token", "max_window_layers", "model_max_length",
    "model_name", "pad_token", "seq_length", "transformers.js_config", "unk_token",
    "use_grouped_mm",
  ]
}
