import Foundation
import MoEEngine
import Testing

/// Settings that the engine cannot honour are refused by name; those it can are read as the
/// families spell them.
struct ConfigTests {
  /// The settings of a stored checkpoint with some changed; nil removes one.
  static func config(_ name: String, _ changes: [String: Any?]) throws -> ModelConfig {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let data = try Data(contentsOf: URL(fileURLWithPath: Fixture.checkpoint(name) + "/config.json"))
    var settings = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
    for (name, value) in changes { settings[name] = value }
    try JSONSerialization.data(withJSONObject: settings).write(
      to: folder.appendingPathComponent("config.json"))
    return try ModelConfig(folder: folder.path)
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    let checkpoint: String
    let setting: String
    let value: String  // JSON
    var testDescription: String { "\(checkpoint): \(setting) = \(value)" }
  }

  @Test(arguments: [
    Refusal(checkpoint: "random-mixtral", setting: "sliding_window", value: "255"),
    Refusal(checkpoint: "random-qwen3-moe", setting: "use_sliding_window", value: "true"),
    Refusal(
      checkpoint: "random-qwen3-moe", setting: "shared_expert_intermediate_size", value: "64"),
    Refusal(checkpoint: "random-qwen3-moe", setting: "mlp_only_layers", value: "[0]"),
    Refusal(checkpoint: "random-qwen3-moe", setting: "decoder_sparse_step", value: "2"),
    Refusal(checkpoint: "random-qwen3-moe", setting: "attention_bias", value: "true"),
    Refusal(checkpoint: "random-mixtral", setting: "quantization_config", value: #"{"bits": 4}"#),
    Refusal(checkpoint: "random-mixtral", setting: "hidden_act", value: "\"gelu\""),
    Refusal(
      checkpoint: "random-mixtral", setting: "rope_scaling",
      value: #"{"rope_type": "yarn", "factor": 4}"#),
    Refusal(checkpoint: "random-mixtral", setting: "model_type", value: "\"llama\""),
    Refusal(checkpoint: "random-mixtral", setting: "num_local_experts", value: "0"),
    Refusal(checkpoint: "random-mixtral", setting: "num_local_experts", value: "8.5"),
    Refusal(checkpoint: "random-mixtral", setting: "num_experts_per_tok", value: "9"),
    Refusal(checkpoint: "random-mixtral", setting: "num_key_value_heads", value: "4"),
    Refusal(checkpoint: "random-mixtral", setting: "hidden_size", value: "\"48\""),
    Refusal(checkpoint: "random-mixtral", setting: "vocab_size", value: "true"),
    Refusal(checkpoint: "tiny-olmoe-16x8", setting: "clip_qkv", value: "-1"),
    Refusal(checkpoint: "tiny-olmoe-16x8", setting: "something_new", value: "1"),
    Refusal(checkpoint: "tiny-olmoe-16x8", setting: "head_dim", value: "2"),
    Refusal(checkpoint: "tiny-olmoe-16x8", setting: "attention_bias", value: "true"),
    Refusal(checkpoint: "random-qwen3-moe", setting: "qkv_bias", value: "true"),
    Refusal(checkpoint: "random-qwen3-moe", setting: "use_qk_norm", value: "false"),
    Refusal(checkpoint: "random-mixtral", setting: "use_qk_norm", value: "true"),
    Refusal(checkpoint: "random-qwen3-moe", setting: "num_shared_experts", value: "1"),
    Refusal(checkpoint: "random-qwen3-moe", setting: "scoring_func", value: "\"sigmoid\""),
    Refusal(checkpoint: "random-qwen3-moe", setting: "routed_scaling_factor", value: "2.5"),
    Refusal(checkpoint: "random-qwen3-moe", setting: "final_logit_softcapping", value: "30.0"),
    Refusal(checkpoint: "random-qwen3-moe", setting: "num_local_experts", value: "4"),
    Refusal(checkpoint: "random-mixtral", setting: "num_experts", value: "4"),
    Refusal(checkpoint: "random-mixtral", setting: "layer_types", value: #"["full_attention"]"#),
    Refusal(
      checkpoint: "random-mixtral", setting: "layer_types",
      value: #"["full_attention", "sliding_attention", "full_attention"]"#),
    Refusal(checkpoint: "random-mixtral", setting: "partial_rotary_factor", value: "0.5"),
    Refusal(
      checkpoint: "random-mixtral", setting: "rope_scaling",
      value: #"{"type": "linear", "factor": 2}"#),
    Refusal(
      checkpoint: "random-mixtral", setting: "rope_parameters",
      value: #"{"full_attention": {"rope_theta": 5}}"#),
    Refusal(
      checkpoint: "random-mixtral", setting: "per_layer_config",
      value: #"{"0": {"num_experts_per_tok": 1}}"#),
    Refusal(checkpoint: "random-mixtral", setting: "is_causal", value: "false"),
    Refusal(checkpoint: "random-mixtral", setting: "num_experts_per_token", value: "4"),
  ])
  func refusesByName(_ refusal: Refusal) throws {
    let value = try JSONSerialization.jsonObject(
      with: Data(refusal.value.utf8), options: .fragmentsAllowed)
    let error = try #require(throws: EngineError.self) {
      _ = try Self.config(refusal.checkpoint, [refusal.setting: value])
    }
    #expect(error.description.contains(refusal.setting), "\(error)")
    #expect(!error.description.contains("\n"))
  }

  @Test func readsBothSpellingsOfRope() throws {
    let old = try Self.config("random-mixtral", ["rope_theta": 5000.0])
    let new = try Self.config(
      "random-mixtral",
      ["rope_theta": nil, "rope_parameters": ["rope_theta": 5000.0, "rope_type": "default"]])
    #expect(old.ropeTheta == 5000)
    #expect(old == new)
    let error = try #require(throws: EngineError.self) {
      _ = try Self.config(
        "random-mixtral", ["rope_theta": 5000.0, "rope_parameters": ["rope_theta": 6000.0]])
    }
    #expect(error.description.contains("rope_theta"))
  }

  @Test func familiesDifferInVisibleSettings() throws {
    let olmoe = try Self.config("tiny-olmoe-16x8", [:])
    let mixtral = try Self.config("random-mixtral", [:])
    let qwen = try Self.config("random-qwen3-moe", [:])
    #expect(
      olmoe.queryKeyNorm == .wholeWidth && mixtral.queryKeyNorm == .none
        && qwen.queryKeyNorm == .perHead)
    #expect(!olmoe.normalisesTopK && mixtral.normalisesTopK && qwen.normalisesTopK)
    #expect(mixtral.headWidth * mixtral.queryHeads != mixtral.hidden)
    #expect(try Self.config("tiny-olmoe-16x8", ["clip_qkv": 8.0]).clip == 8)
  }

  @Test func nullIsAbsent() throws {
    let mixtral = try Self.config("random-mixtral-top1", ["head_dim": NSNull()])
    #expect(mixtral == (try Self.config("random-mixtral-top1", [:])))
    for name in ["rms_norm_eps", "sliding_window", "tie_word_embeddings", "rope_scaling"] {
      #expect(
        try Self.config("random-qwen3-moe", [name: NSNull()])
          == Self.config("random-qwen3-moe", [name: nil]), "\(name)")
    }
  }

  @Test(arguments: ["random-mixtral", "random-qwen3-moe", "tiny-olmoe-16x8"])
  func bothNamesOfTheExperts(name: String) throws {
    let plain = try Self.config(name, [:])
    for names in [["num_experts"], ["num_local_experts"], ["num_experts", "num_local_experts"]] {
      var changes: [String: Any?] = ["num_experts": Any?.none, "num_local_experts": Any?.none]
      for one in names { changes[one] = plain.experts }
      #expect(try Self.config(name, changes) == plain, "\(names)")
    }
  }

  /// The values of transformers' configuration classes.
  @Test func whatIsAbsentIsWhatTransformersTakes() throws {
    let absent: [String: Any?] = [
      "rms_norm_eps": nil, "rope_theta": nil, "rope_parameters": nil,
      "max_position_embeddings": nil, "norm_topk_prob": nil, "tie_word_embeddings": nil,
    ]
    let mixtral = try Self.config("random-mixtral", absent)
    #expect(mixtral.normEpsilon == 1e-5 && mixtral.ropeTheta == 1e6)
    #expect(mixtral.maxPositions == 131_072 && mixtral.normalisesTopK && !mixtral.tiedHead)
    let qwen = try Self.config("random-qwen3-moe", absent)
    #expect(qwen.normEpsilon == 1e-6 && qwen.ropeTheta == 1e4)
    #expect(qwen.maxPositions == 32768 && !qwen.normalisesTopK && !qwen.tiedHead)
    let olmoe = try Self.config("tiny-olmoe-16x8", absent)
    #expect(olmoe.normEpsilon == 1e-5 && olmoe.ropeTheta == 1e4)
    #expect(olmoe.maxPositions == 4096 && !olmoe.normalisesTopK && !olmoe.tiedHead)
    // Absent and null differ here: a number of its own, and as many as query heads.
    #expect(
      try Self.config(
        "random-mixtral", ["num_key_value_heads": nil, "num_attention_heads": 16]
      ).keyValueHeads == 8)
    #expect(
      try Self.config(
        "random-mixtral", ["num_key_value_heads": NSNull(), "num_attention_heads": 16]
      ).keyValueHeads == 16)
  }

  @Test func aWindowBeyondThePositionsChangesNothing() throws {
    #expect(
      try Self.config("random-mixtral", ["sliding_window": 256])
        == Self.config("random-mixtral", [:]))
    #expect(
      try Self.config("random-qwen3-moe", ["sliding_window": 2, "use_sliding_window": false])
        == Self.config("random-qwen3-moe", [:]))
  }

  @Test func onlyOlmoeClips() throws {
    #expect(try Self.config("random-mixtral", ["clip_qkv": 0.5]).clip == nil)
    #expect(try Self.config("random-qwen3-moe", ["clip_qkv": 0.5]).clip == nil)
    #expect(try Self.config("tiny-olmoe-16x8", ["clip_qkv": 0.5]).clip == 0.5)
  }

  @Test func aSettingThatIsThereTwiceIsRefused() throws {
    let folder = try Scratch()
    let path = Fixture.checkpoint("random-mixtral") + "/config.json"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let twice = text.replacingOccurrences(
      of: "\"hidden_size\"", with: "\"rms_norm_eps\": 0.1, \"hidden_size\"")
    #expect(twice != text)
    try twice.write(toFile: folder.path("config.json"), atomically: true, encoding: .utf8)
    let error = try #require(throws: EngineError.self) {
      _ = try ModelConfig(folder: folder.folder.path)
    }
    #expect(error.description.contains("rms_norm_eps"), "\(error)")
  }

  @Test func aFileThatIsNoJSONSaysWhere() throws {
    let folder = try Scratch()
    try "{\n  \"model_type\": oops\n}".write(
      toFile: folder.path("config.json"), atomically: true, encoding: .utf8)
    let error = try #require(throws: EngineError.self) {
      _ = try ModelConfig(folder: folder.folder.path)
    }
    #expect(error.description.contains("line 2"), "\(error)")
  }
}
