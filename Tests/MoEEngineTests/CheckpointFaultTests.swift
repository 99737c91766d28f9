import Foundation
import MoEEngine
import Testing

/// Damaged, lying and contradictory checkpoints end in one line that says what is wrong, before any
/// weight is used.
struct CheckpointFaultTests {
  /// A copy of a stored checkpoint whose header and file can be changed.
  struct Copy {
    let folder: URL
    var header: [String: Any]
    var data: Data
    var file: URL { folder.appendingPathComponent("model.safetensors") }

    init(_ name: String) throws {
      folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
      try FileManager.default.copyItem(
        at: URL(fileURLWithPath: Fixture.checkpoint(name)), to: folder)
      let bytes = try Data(contentsOf: folder.appendingPathComponent("model.safetensors"))
      let length = bytes.withUnsafeBytes { Int($0.loadUnaligned(as: UInt64.self)) }
      header = try #require(
        JSONSerialization.jsonObject(with: bytes[8..<(8 + length)]) as? [String: Any])
      data = bytes.dropFirst(8 + length)
    }

    func write() throws {
      let text = try JSONSerialization.data(withJSONObject: header)
      var bytes = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Data($0) }
      bytes.append(text)
      bytes.append(data)
      try bytes.write(to: file)
    }

    mutating func change(_ tensor: String, _ key: String, _ value: Any) throws {
      var entry = try #require(header[tensor] as? [String: Any])
      entry[key] = value
      header[tensor] = entry
    }

    func offsets(_ tensor: String) throws -> [Int] {
      let entry = try #require(header[tensor] as? [String: Any])
      return try #require(entry["data_offsets"] as? [Int])
    }

    /// Loads the whole model and runs a token, which must fail.
    func error() throws -> String {
      defer { try? FileManager.default.removeItem(at: folder) }
      let error = try #require(throws: EngineError.self) {
        let communicator = try Communicator(ranksPerNode: nil, process: MPIProcess())
        let model = try Model(folder: folder.path, communicator: communicator)
        _ = try model.trace(
          try Tokens(sequences: 1, positions: 2, ids: [1, 2]), placement: model.contiguous,
          mode: .home)
      }
      #expect(!error.description.contains("\n"))
      #expect(error.description.hasPrefix(folder.path))
      return error.description
    }
  }

  static let name = "random-mixtral"
  static let query = "model.layers.1.self_attn.q_proj.weight"
  static let gate = "model.layers.0.block_sparse_moe.experts.3.w1.weight"

  @Test func anUnchangedCopyLoads() throws {
    let copy = try Copy(Self.name)
    try copy.write()
    let communicator = try Communicator(ranksPerNode: nil, process: MPIProcess())
    let model = try Model(folder: copy.folder.path, communicator: communicator)
    _ = try model.trace(
      try Tokens(sequences: 1, positions: 2, ids: [1, 2]), placement: model.contiguous, mode: .home)
    try FileManager.default.removeItem(at: copy.folder)
  }

  @Test(arguments: [0, 4, 8, 100, 5000, -1, -1000])
  func truncated(length: Int) throws {
    let copy = try Copy(Self.name)
    let bytes = try Data(contentsOf: copy.file)
    try bytes.prefix(length < 0 ? bytes.count + length : length).write(to: copy.file)
    let error = try copy.error()
    #expect(error.contains("model.safetensors"), "\(error)")
  }

  @Test(arguments: [UInt64.max, 1 << 40, 1 << 62, 0, 1])
  func headerLengthLies(length: UInt64) throws {
    let copy = try Copy(Self.name)
    var bytes = try Data(contentsOf: copy.file)
    withUnsafeBytes(of: length.littleEndian) { bytes.replaceSubrange(0..<8, with: $0) }
    try bytes.write(to: copy.file)
    #expect(try copy.error().contains("header"))
  }

  @Test func headerIsNoJSON() throws {
    var bytes = withUnsafeBytes(of: UInt64(16).littleEndian) { Data($0) }
    bytes.append(Data(repeating: 0xFF, count: 64))
    let copy = try Copy(Self.name)
    try bytes.write(to: copy.file)
    #expect(try copy.error().contains("header"))
  }

  @Test func offsetsPastTheEnd() throws {
    var copy = try Copy(Self.name)
    let size = copy.data.count
    try copy.change(Self.query, "data_offsets", [size, size + 4608])
    try copy.write()
    #expect(try copy.error().contains(Self.query))
  }

  @Test func offsetsBackwards() throws {
    var copy = try Copy(Self.name)
    try copy.change(Self.query, "data_offsets", Array(try copy.offsets(Self.query).reversed()))
    try copy.write()
    #expect(try copy.error().contains(Self.query))
  }

  @Test func offsetsHuge() throws {
    var copy = try Copy(Self.name)
    try copy.change(Self.query, "data_offsets", [Int.max - 1, Int.max])
    try copy.write()
    #expect(try copy.error().contains(Self.query))
  }

  @Test func overlapping() throws {
    var copy = try Copy(Self.name)
    // Gate and up have one size: up now lies where gate lies.
    let up = Self.gate.replacingOccurrences(of: "w1", with: "w3")
    try copy.change(up, "data_offsets", try copy.offsets(Self.gate))
    try copy.write()
    #expect(try copy.error().contains("overlaps"))
  }

  @Test func bytesThatBelongToNoTensor() throws {
    var copy = try Copy(Self.name)
    copy.data.append(Data(count: 10))
    try copy.write()
    #expect(try copy.error().contains("10 bytes"))
  }

  @Test(arguments: ["I16", "F8_E4M3", "F32", "NONSENSE"])
  func wrongType(type: String) throws {
    var copy = try Copy(Self.name)
    try copy.change(Self.query, "dtype", type)
    try copy.write()
    let error = try copy.error()
    #expect(
      error.contains(Self.query) && (error.contains(type) || error.contains("bytes")), "\(error)")
  }

  @Test func shapeThatOverflows() throws {
    var copy = try Copy(Self.name)
    try copy.change(Self.query, "shape", [1 << 40, 1 << 40])
    try copy.write()
    #expect(try copy.error().contains("shape"))
  }

  @Test func shapeNegative() throws {
    var copy = try Copy(Self.name)
    try copy.change(Self.query, "shape", [-96, -48])
    try copy.write()
    #expect(try copy.error().contains("shape"))
  }

  @Test func missingTensor() throws {
    var copy = try Copy(Self.name)
    // Renamed, so that the bytes stay somebody's.
    copy.header["model.layers.1.self_attn.z_proj.weight"] = copy.header[Self.query]
    copy.header[Self.query] = nil
    try copy.write()
    #expect(try copy.error().contains(Self.query))
  }

  @Test func aTensorTooMany() throws {
    var copy = try Copy(Self.name)
    let size = copy.data.count
    copy.header["model.layers.1.self_attn.q_proj.bias"] = [
      "dtype": "F32", "shape": [2], "data_offsets": [size, size + 8],
    ]
    copy.data.append(Data(count: 8))
    try copy.write()
    #expect(try copy.error().contains("q_proj.bias"))
  }

  @Test func aTensorThatIsThereTwice() throws {
    let copy = try Copy(Self.name)
    let text = String(
      decoding: try JSONSerialization.data(withJSONObject: copy.header), as: UTF8.self)
    let entry = "\"\(Self.query)\":{\"dtype\":\"BF16\",\"shape\":[0],\"data_offsets\":[0,0]},"
    let header = Data(("{" + entry + text.dropFirst()).utf8)
    var bytes = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Data($0) }
    bytes.append(header)
    bytes.append(copy.data)
    try bytes.write(to: copy.file)
    #expect(try copy.error().contains(Self.query))
  }

  @Test(arguments: [Self.query, gate, "model.norm.weight", "model.embed_tokens.weight"])
  func aWeightThatIsNoNumber(tensor: String) throws {
    var copy = try Copy(Self.name)
    // The third number of the tensor; 0x7FC0 is NaN in bfloat16.
    let at = try copy.data.startIndex + copy.offsets(tensor)[0] + 4
    copy.data.replaceSubrange(at..<(at + 2), with: [0xC0, 0x7F])
    try copy.write()
    let error = try copy.error()
    #expect(error.contains(tensor) && error.contains("column 2"), "\(error)")
  }

  @Test func truncatedWhileItIsInUse() throws {
    let copy = try Copy(Self.name)
    defer { try? FileManager.default.removeItem(at: copy.folder) }
    let communicator = try Communicator(ranksPerNode: nil, process: MPIProcess())
    let model = try Model(folder: copy.folder.path, communicator: communicator)
    let handle = try FileHandle(forWritingTo: copy.file)
    try handle.truncate(atOffset: 100_000)
    try handle.close()
    let error = try #require(throws: EngineError.self) {
      _ = try model.trace(
        try Tokens(sequences: 1, positions: 2, ids: [1, 2]), placement: model.contiguous,
        mode: .home)
    }
    #expect(error.description.contains("model.safetensors: ends before byte"), "\(error)")
  }

  /// Which of the two counts, versions of transformers do not agree on.
  @Test func aTiedHeadThatDiffersIsRefusedAndAnEqualOneAccepted() throws {
    var copy = try Copy("random-qwen3-moe-tied")
    let embedding = try copy.offsets("model.embed_tokens.weight")
    let (start, size) = (copy.data.startIndex, copy.data.count)
    let numbers = Data(copy.data[(start + embedding[0])..<(start + embedding[1])])
    var entry = try #require(copy.header["model.embed_tokens.weight"] as? [String: Any])
    entry["data_offsets"] = [size, size + numbers.count]
    copy.header["lm_head.weight"] = entry
    copy.data.append(numbers)
    try copy.write()
    let communicator = try Communicator(ranksPerNode: nil, process: MPIProcess())
    let tokens = try Tokens(sequences: 1, positions: 2, ids: [1, 2])
    let equal = try Model(folder: copy.folder.path, communicator: communicator)
    _ = try equal.trace(tokens, placement: equal.contiguous, mode: .home)
    copy.data[copy.data.index(before: copy.data.endIndex)] ^= 0x80
    try copy.write()
    #expect(try copy.error().contains("lm_head.weight"))
  }

  struct Contradiction: Sendable, CustomTestStringConvertible {
    let setting: String
    let value: Int
    let names: String
    var testDescription: String { "\(setting) = \(value)" }
  }

  @Test(arguments: [
    Contradiction(setting: "num_local_experts", value: 16, names: "gate.weight"),
    Contradiction(setting: "num_local_experts", value: 4, names: "gate.weight"),
    Contradiction(setting: "num_hidden_layers", value: 4, names: "layers.3"),
    Contradiction(setting: "num_hidden_layers", value: 2, names: "layers.2"),
    Contradiction(setting: "intermediate_size", value: 40, names: "w1.weight"),
    Contradiction(setting: "vocab_size", value: 100, names: "embed_tokens"),
    Contradiction(setting: "head_dim", value: 8, names: "q_proj"),
  ])
  func configContradictsTheWeights(_ contradiction: Contradiction) throws {
    let copy = try Copy(Self.name)
    let path = copy.folder.appendingPathComponent("config.json")
    let stored =
      try JSONSerialization.jsonObject(with: try Data(contentsOf: path)) as? [String: Any]
    var settings = try #require(stored)
    #expect(settings[contradiction.setting] as? Int != contradiction.value)
    settings[contradiction.setting] = contradiction.value
    try JSONSerialization.data(withJSONObject: settings).write(to: path)
    let error = try copy.error()
    #expect(error.contains(contradiction.names), "\(error)")
  }

  @Test func indexThatLies() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.copyItem(
      at: URL(fileURLWithPath: Fixture.checkpoint("random-olmoe-sharded")), to: folder)
    let path = folder.appendingPathComponent("model.safetensors.index.json")
    let original =
      try JSONSerialization.jsonObject(with: try Data(contentsOf: path)) as? [String: Any]
    let map = try #require(original?["weight_map"] as? [String: String])
    let communicator = try Communicator(ranksPerNode: nil, process: MPIProcess())
    let name = map.keys.sorted()[0]
    let other = try #require(Set(map.values).sorted().first { $0 != map[name] })
    for wrong in [other, "../model.safetensors", "missing.safetensors", "/etc/passwd"] {
      var changed = map
      changed[name] = wrong
      try JSONSerialization.data(withJSONObject: ["weight_map": changed]).write(to: path)
      let error = try #require(throws: EngineError.self) {
        _ = try Model(folder: folder.path, communicator: communicator)
      }
      #expect(error.description.contains(name) || error.description.contains(wrong), "\(error)")
    }
  }
}
