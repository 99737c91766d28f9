import Foundation
import MoEEngine
import Testing

/// Every setting that is accepted, one after the other, against the logits that Hugging Face
/// transformers computes from the same folder. The checkpoints are as its `save_pretrained` writes
/// them, with the experts apart and fused; see reference/settings_matrix.py.
struct SettingsTests {
  struct Case: Decodable {
    let name: String
    let remove: [String]
  }

  static let checkpoints = [
    "mixtral-5", "mixtral-5-fused", "qwen3-moe-5", "qwen3-moe-5-fused", "olmoe-5", "olmoe-5-fused",
  ]

  @Test(arguments: checkpoints)
  func acceptedSettingsGiveTheReferencesLogits(name: String) throws {
    let folder = "settings/\(name)"
    let list = try Data(contentsOf: URL(fileURLWithPath: "\(Fixture.folder)/\(folder)/cases.json"))
    let cases = try JSONDecoder().decode([Case].self, from: list)
    let changes = try #require(JSONSerialization.jsonObject(with: list) as? [[String: Any]])
    let reference = try Fixture.floats(folder, "logits.npy")
    let communicator = try Communicator(ranksPerNode: nil, process: MPIProcess())
    #expect(cases.count > 60 && reference.count % cases.count == 0)
    let size = reference.count / cases.count
    for (i, one) in cases.enumerated() {
      let copy = try ChangedConfig(
        folder, set: try #require(changes[i]["set"] as? [String: Any]), remove: one.remove)
      let model = try Model(folder: copy.folder.path, communicator: communicator)
      let tokens = try Tokens(
        "\(Fixture.folder)/\(folder)/ids.npy", vocabulary: model.config.vocabulary, window: nil)
      let logits = try model.logits(tokens, placement: model.contiguous, mode: .home)
      let expected = reference[(i * size)..<((i + 1) * size)]
      #expect(logits.count == size, "\(one.name)")
      let scale = expected.reduce(0) { max($0, abs($1)) }
      let largest = zip(logits, expected).reduce(0) { max($0, abs($1.0 - $1.1)) }
      #expect(largest <= 1e-4 * scale, "\(one.name): difference \(largest), scale \(scale)")
    }
  }

  /// A setting that is not honoured must change the logits, or the test above could not see it.
  @Test(arguments: [
    ("olmoe-5", "clip_qkv"), ("olmoe-5", "rms_norm_eps"), ("mixtral-5", "rope_theta"),
    ("qwen3-moe-5", "norm_topk_prob"),
  ])
  func theReferenceTellsSettingsApart(name: String, setting: String) throws {
    let folder = "settings/\(name)"
    let list = try Data(contentsOf: URL(fileURLWithPath: "\(Fixture.folder)/\(folder)/cases.json"))
    let cases = try JSONDecoder().decode([Case].self, from: list)
    let reference = try Fixture.floats(folder, "logits.npy")
    let size = reference.count / cases.count
    let distinct = Set(
      cases.indices.filter { cases[$0].name.contains(setting) }.map {
        Array(reference[($0 * size)..<(($0 + 1) * size)])
      })
    #expect(distinct.count >= 2, "\(distinct.count)")
  }
}

/// A stored checkpoint's weights beside a config.json with some settings changed.
final class ChangedConfig {
  let folder: URL

  /// - Parameter remove: settings that are taken out.
  init(_ name: String, set: [String: Any], remove: [String] = []) throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let source = URL(fileURLWithPath: Fixture.checkpoint(name))
    let data = try Data(contentsOf: source.appendingPathComponent("config.json"))
    var settings = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
    for (name, value) in set { settings[name] = value }
    for name in remove { settings[name] = nil }
    try JSONSerialization.data(withJSONObject: settings).write(
      to: folder.appendingPathComponent("config.json"))
    try FileManager.default.createSymbolicLink(
      at: folder.appendingPathComponent("model.safetensors"),
      withDestinationURL: source.appendingPathComponent("model.safetensors"))
  }

  deinit { try? FileManager.default.removeItem(at: folder) }
}
