import Foundation
import MoEEngine
import Testing

/// Settings that the engine cannot honour are refused by name; those it can are read as the families spell them.
struct ConfigTests {
  /// The settings of a stored checkpoint with some changed; nil removes one.
  static func config(_ name: String, _ changes: [String: Any?]) throws -> ModelConfig {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let data = try Data(contentsOf: URL(fileURLWithPath: Fixture.checkpoint(name) + "/config.json"))
    var settings = try JSONSerialization.jsonObject(with: data) as! [String: Any]
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
    Refusal(checkpoint: "random-mixtral", setting: "sliding_window", value: "4096"),
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
}
