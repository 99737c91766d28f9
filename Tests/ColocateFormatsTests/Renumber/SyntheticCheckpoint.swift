import Colocate
import ColocateFormats
import Foundation

/// A checkpoint made by hand: seeded random bytes under the names that a family publishes, with
/// what a renumbering must do to each tensor written beside it, so that the program's own table of
/// names is not tested against itself.
struct SyntheticCheckpoint {
  /// What happens to a tensor.
  enum Fate {
    /// Nothing.
    case stays
    /// Its parts along the first axis change places.
    case rows
    /// It is one expert's; `*` in its name stands for the number.
    case expert
  }

  struct Tensor {
    let name: String
    let type: String
    let shape: [Int]
    let fate: Fate
    init(_ name: String, _ type: String, _ shape: [Int], _ fate: Fate = .stays) {
      (self.name, self.type, self.shape, self.fate) = (name, type, shape, fate)
    }
  }

  var modelType: String
  var experts = 8
  var layers = 3
  /// Model layers with experts, those behind the last one included.
  var moeLayers: [Int]
  /// Tensors of a MoE layer, behind "model.layers.N.".
  var layer: [Tensor]
  /// Tensors of a layer without experts.
  var dense: [Tensor] = []
  /// The key of the number of experts.
  var expertsKey = "num_experts"
  var settings: [String: Any] = [:]
  /// Shards; 1 means one file without an index.
  var shards = 1
  static let hidden = 6

  /// Name → type, shape, layer and fate, in the order of writing; experts by number.
  var tensors: [(name: String, tensor: Tensor, layer: Int?)] {
    var all: [(String, Tensor, Int?)] = [
      ("model.embed_tokens.weight", Tensor("", "BF16", [11, Self.hidden]), nil)
    ]
    for l in 0..<max(layers, (moeLayers.max() ?? 0) + 1) {
      let norm = Tensor("input_layernorm.weight", "F32", [Self.hidden])
      let content = [norm] + (moeLayers.contains(l) ? layer : dense)
      for tensor in content {
        let name = "model.layers.\(l).\(tensor.name)"
        guard tensor.fate == .expert else {
          all.append((name, tensor, l))
          continue
        }
        for e in 0..<experts {
          all.append((name.replacingOccurrences(of: "*", with: "\(e)"), tensor, l))
        }
      }
    }
    all.append(("lm_head.weight", Tensor("", "BF16", [11, Self.hidden]), nil))
    return all
  }

  /// Writes the checkpoint and returns each tensor's bytes.
  @discardableResult
  func write(to folder: String, seed: UInt64) throws -> [String: [UInt8]] {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    var random = SeededGenerator(seed: seed)
    var config: [String: Any] = [
      "model_type": modelType, expertsKey: experts, "hidden_size": Self.hidden,
      "num_hidden_layers": layers,
    ]
    config.merge(settings) { $1 }
    try JSONSerialization.data(withJSONObject: config).write(to: url(folder, "config.json"))
    try Data("{\"tokens\": []}".utf8).write(to: url(folder, "tokenizer.json"))
    var contents = [String: [UInt8]]()
    var map = [(String, String)]()
    let all = tensors
    for shard in 0..<shards {
      let file =
        shards == 1
        ? "model.safetensors" : "model-0000\(shard + 1)-of-0000\(shards).safetensors"
      var (entries, data) = (["\"__metadata__\":{\"format\":\"pt\"}"], [UInt8]())
      for (name, tensor, _) in all[
        (shard * all.count / shards)..<((shard + 1) * all.count / shards)]
      {
        let size = SafetensorsHeader.elementBytes[tensor.type] ?? 0
        let count = tensor.shape.reduce(size, *)
        let bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let shape = tensor.shape.map(String.init).joined(separator: ",")
        entries.append(
          "\"\(name)\":{\"dtype\":\"\(tensor.type)\",\"shape\":[\(shape)],"
            + "\"data_offsets\":[\(data.count),\(data.count + count)]}")
        data += bytes
        contents[name] = bytes
        map.append((name, file))
      }
      var header = Array("{\(entries.joined(separator: ","))}".utf8)
      while header.count % 8 != 0 { header.append(0x20) }
      let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
      try Data(length + header + data).write(to: url(folder, file))
    }
    if shards > 1 {
      let rows = map.sorted { $0 < $1 }.map { "    \"\($0)\": \"\($1)\"" }
      try Data(
        """
        {
          "metadata": {
            "total_size": \(contents.values.reduce(0) { $0 + $1.count })
          },
          "weight_map": {
        \(rows.joined(separator: ",\n"))
          }
        }

        """.utf8
      ).write(to: url(folder, "model.safetensors.index.json"))
    }
    return contents
  }

  private func url(_ folder: String, _ name: String) -> URL {
    URL(fileURLWithPath: folder + "/" + name)
  }

  /// Every tensor of a folder by its name, found through the index where there is one.
  static func read(_ folder: String) throws -> [String: [UInt8]] {
    let index = folder + "/model.safetensors.index.json"
    var files: [String: [String]?] = ["model.safetensors": nil]
    if FileManager.default.fileExists(atPath: index) {
      let object = try JSONSerialization.jsonObject(
        with: Data(contentsOf: URL(fileURLWithPath: index)))
      let map = (object as? [String: Any])?["weight_map"] as? [String: String] ?? [:]
      files = Dictionary(grouping: map, by: \.value).mapValues { $0.map(\.key) }
    }
    var tensors = [String: [UInt8]]()
    for (name, expected) in files {
      let file = try PositionedFile(folder + "/" + name)
      let header = try SafetensorsHeader(file)
      for name in expected ?? Array(header.tensors.keys) {
        guard let tensor = header.tensors[name] else { continue }
        tensors[name] = try file.bytes(tensor.range)
      }
    }
    return tensors
  }

  /// Seeded permutations, one a layer, that map groups onto groups: `[L][E]`, the old number of
  /// each new one.
  func permutations(layers: Int, groups: Int = 1, seed: UInt64) -> [[Int]] {
    var random = SeededGenerator(seed: seed)
    let size = experts / groups
    return (0..<layers).map { _ in
      (0..<groups).shuffled(using: &random).flatMap { group in
        (group * size..<(group + 1) * size).shuffled(using: &random)
      }
    }
  }

  /// A plan that these permutations make contiguous.
  static func writePlan(_ orders: [[Int]], gpus: Int, to path: String) throws {
    let experts = orders.first?.count ?? 0
    let assignment = orders.map { order in
      var row = [Int](repeating: 0, count: experts)
      for (slot, expert) in order.enumerated() { row[expert] = slot / (experts / gpus) }
      return row
    }
    let plan: [String: Any] = [
      "format": "colocate-plan", "version": 1, "layers": orders.count, "experts": experts,
      "topology": ["nodes": 1, "gpus_per_node": gpus], "assignment": assignment,
    ]
    try JSONSerialization.data(withJSONObject: plan).write(to: URL(fileURLWithPath: path))
  }
}
