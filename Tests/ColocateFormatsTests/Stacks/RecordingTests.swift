import Colocate
import ColocateFormats
import Foundation
import Testing

/// Genuine recordings, read to the truth beside them (Fixtures/README.md).
@Suite struct RecordingTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  private func truth(_ name: String) throws -> PlainReading {
    try #require(PlainReading.npy(try RecordingSupport.bytes(name)))
  }

  @Test func sglangRecorderOfTokens() throws {
    let source = try RecordingSupport.source(RecordingSupport.fixture("per_token.pt"))
    #expect(source.layers == 6 && source.choices == 4 && !source.isBestFirst)
    let ids = try RecordingSupport.ids(source)
    let expected = try truth("recorder-logical.npy")
    #expect(expected.shape == [80, 5, 4])
    let moe = RecordingSupport.layers([1, 2, 3, 4, 5], of: ids, layers: 6, choices: 4)
    #expect(moe == expected.values)
    let dense = RecordingSupport.layers([0], of: ids, layers: 6, choices: 4)
    #expect(dense.allSatisfy { $0 == -1 } && dense.count == 80 * 4)
  }

  @Test(arguments: ["per_pass.pt", "stat.pt"])
  func sglangRecorderOfLoads(name: String) throws {
    let loads = try RecordingSupport.loads(RecordingSupport.fixture(name))
    #expect(loads.layers == [1, 2, 3, 4, 5] && loads.experts == 16)
    #expect(loads.loads == (try truth("recorder-counts.npy").values))
  }

  @Test func sglangResponses() throws {
    let source = try RecordingSupport.source(RecordingSupport.fixture("sglang.jsonl"))
    #expect(source.layers == 6 && source.choices == 4)
    let expected = try truth("sglang.npy")
    #expect(expected.shape == [79, 6, 4])
    #expect(try RecordingSupport.ids(source) == expected.values)
    var reading = RecordingReading()
    (reading.hiddenLayers, reading.choices) = (6, 4)
    let told = try RecordingSupport.source(RecordingSupport.fixture("sglang.jsonl"), reading)
    #expect(try RecordingSupport.ids(told) == expected.values)
  }

  @Test func vLLMResponses() throws {
    let source = try RecordingSupport.source(RecordingSupport.fixture("vllm.jsonl"))
    #expect(source.layers == 6 && source.choices == 4 && !source.isBestFirst)
    let ids = try RecordingSupport.ids(source)
    let expected = try truth("vllm.npy")
    let moe = RecordingSupport.layers([1, 2, 4, 5], of: ids, layers: 6, choices: 4)
    #expect(moe.count == expected.values.count)
    func sets(_ ids: [Int]) -> [Set<Int>] {
      stride(from: 0, to: ids.count, by: 4).map { Set(ids[$0..<($0 + 4)]) }
    }
    #expect(sets(moe) == sets(expected.values))
    let dense = RecordingSupport.layers([0, 3], of: ids, layers: 6, choices: 4)
    #expect(dense.allSatisfy { $0 == 0 })
  }

  @Test func tensorRTLLMLoads() throws {
    let loads = try RecordingSupport.loads(RecordingSupport.fixture("trtllm"))
    #expect(loads.layers == [1, 2, 4, 5] && loads.experts == 16)
    var expected = [Int](repeating: 0, count: 4 * 16)
    for rank in ["trtllm/rank0.safetensors", "trtllm/rank1.safetensors"] {
      let bytes = try RecordingSupport.bytes(rank)
      for iteration in 100...102 {
        for (row, layer) in [1, 2, 4, 5].enumerated() {
          let tensor = try #require(PlainReading.tensor("\(iteration)_\(layer)", bytes))
          for (expert, load) in tensor.values.enumerated() { expected[row * 16 + expert] += load }
        }
      }
    }
    #expect(loads.loads == expected)
  }

  @Test func tensorRTLLMTokens() throws {
    _ = try scratch.write(
      Array(#"{"num_experts": 8, "num_experts_per_token": 2}"#.utf8), "meta_info.json")
    _ = try scratch.write(
      safetensors([
        ("7_3", [2, 2], [0, 1, 2, 3]), ("7_1", [2, 2], [4, 5, 6, 7]),
        ("10_1", [1, 2], [1, 0]), ("10_3", [1, 2], [3, -1]),
      ]), "token_selected_experts_rank0.safetensors")
    _ = try scratch.write(
      safetensors([("7_1", [1, 2], [2, 1]), ("7_3", [1, 2], [5, 6])]),
      "token_selected_experts_rank10.safetensors")
    let source = try RecordingSupport.source(scratch.path)
    #expect(source.layers == 4 && source.choices == 2)
    let ids = try RecordingSupport.ids(source)
    #expect(
      RecordingSupport.layers([1, 3], of: ids, layers: 4, choices: 2)
        == [4, 5, 0, 1, 6, 7, 2, 3, 1, 0, 3, -1, 2, 1, 5, 6])
    let rest = RecordingSupport.layers([0, 2], of: ids, layers: 4, choices: 2)
    #expect(rest.allSatisfy { $0 == -1 })
  }

  @Test func foldersOfRankFilesAreOneAfterTheOther() throws {
    let bytes = try RecordingSupport.bytes("per_token.pt")
    _ = try scratch.write(bytes, "expert_distribution_recorder_1_0.pt")
    _ = try scratch.write(bytes, "expert_distribution_recorder_1_1.pt")
    let one = try RecordingSupport.ids(
      RecordingSupport.source(RecordingSupport.fixture("per_token.pt")))
    #expect(try RecordingSupport.ids(RecordingSupport.source(scratch.path)) == one + one)
    _ = try scratch.write(try RecordingSupport.bytes("stat.pt"), "stat.pt")
    do throws(FormatError) {
      _ = try RecordingReader.open(scratch.path)
      Issue.record("ids and loads in one folder")
    } catch { #expect(error.message.contains("which expert follows which"), "\(error)") }
  }

  /// An accumulator fed by a source counts what it counts of the ids themselves.
  @Test func transitionsOfTheMoELayers() throws {
    let source = try RecordingSupport.source(RecordingSupport.fixture("sglang.jsonl"))
    let moe = [1, 2, 4, 5]
    var accumulator = try TransitionAccumulator(layers: 4, choices: 4, experts: 16)
    try source.count(into: &accumulator, moeLayers: moe)
    let ids = RecordingSupport.layers(
      moe, of: try truth("sglang.npy").values, layers: 6, choices: 4)
    var weights = [Int](repeating: 0, count: 3 * 16 * 16)
    for token in 0..<79 {
      for boundary in 0..<3 {
        let at = (token * 4 + boundary) * 4
        for i in ids[at..<(at + 4)] {
          for j in ids[(at + 4)..<(at + 8)] { weights[(boundary * 16 + i) * 16 + j] += 1 }
        }
      }
    }
    let counts = try accumulator.counts()
    #expect(counts.weights == weights && accumulator.tokens == 79)
    #expect(throws: FormatError.self) {
      var other = try TransitionAccumulator(layers: 3, choices: 4)
      try source.count(into: &other, moeLayers: moe)
    }
  }

  @Test func olderVLLMResponsesHaveThePromptApart() throws {
    let text = #"""
      { "id": "x",
        "prompt_routed_experts": [[[0, 1], [2, 3]], [[4, 5], [6, 7]]],
        "choices": [ {"routed_experts": [[[1, 2], [3, 4]]]},
                     {"routed_experts": [[[5, 6], [7, 0]]]} ]
      }
      """#
    let path = try scratch.write(Array(text.utf8), "old.json")
    let source = try RecordingSupport.source(path)
    #expect(source.layers == 2 && source.choices == 2)
    #expect(
      try RecordingSupport.ids(source)
        == [0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 0])
  }

  /// A prompt of 2 tokens with 2 answers of 1 and 2 tokens: rows of all but the last token.
  @Test func aPromptWithTwoAnswersCountsOnce() throws {
    func array(_ ids: [Int]) -> String {
      let shape = "(\(ids.count / 4), 2, 2)"
      return Data(npy("|u1", shape: shape, data: ids.map { UInt8($0) })).base64EncodedString()
    }
    let (first, second) = (
      array([0, 1, 2, 3, 4, 5, 6, 7]), array([0, 1, 2, 3, 4, 5, 6, 7, 3, 2, 1, 0])
    )
    let text =
      "{\"usage\":{\"prompt_tokens\":2},\"choices\":[{\"routed_experts\":\"\(first)\"},"
      + "{\"routed_experts\":\"\(second)\"},{\"routed_experts\":null}]}\n\n"
    let path = try scratch.write(Array(text.utf8), "two.jsonl")
    #expect(
      try RecordingSupport.ids(RecordingSupport.source(path))
        == [0, 1, 2, 3, 4, 5, 6, 7, 3, 2, 1, 0])
  }

  /// SGLang's responses do not say how many of a token's ids are one layer's.
  @Test func choicesAreFoundFromTheIDsOrAskedFor() throws {
    func response(_ ids: [Int], tokens: Int) throws -> String {
      let text = Data(bytes(ids, "<i4")).base64EncodedString()
      let json =
        "{\"meta_info\":{\"prompt_tokens\":\(tokens),\"completion_tokens\":1,"
        + "\"routed_experts\":\"\(text)\"}}"
      return try scratch.write(Array(json.utf8), "r.json")
    }
    for seed in 0..<20 {
      var random = SeededGenerator(seed: UInt64(seed))
      let (layers, choices) = (2 + random.next(below: 6), 1 + random.next(below: 6))
      let experts = choices + 2 + random.next(below: 10)
      let ids = (0..<(600 * layers)).flatMap { row in
        row % layers == 1
          ? [Int](repeating: 0, count: choices)
          : Array((0..<experts).shuffled(using: &random).prefix(choices))
      }
      let source = try RecordingSupport.source(response(ids, tokens: 600))
      #expect(source.choices == choices && source.layers == layers, "seed \(seed)")
      #expect(try RecordingSupport.ids(source) == ids, "seed \(seed)")
    }
    // Zeros in every second place, 1 choice: 2 choices are as possible, however many tokens.
    let alternating = (0..<800).flatMap { [0, 1 + $0 % 7, 0, 1 + $0 % 5] }
    #expect(throws: FormatError.self) {
      try RecordingSupport.source(response(alternating, tokens: 800))
    }
    // One token of 4 different ids: 2 layers of 2, or 4 of 1.
    let short = try response([0, 1, 2, 3], tokens: 1)
    do {
      _ = try RecordingSupport.source(short)
      Issue.record("guessed from one token")
    } catch { #expect("\(error)".contains("expected the number of hidden layers"), "\(error)") }
    var reading = RecordingReading()
    reading.hiddenLayers = 4
    let source = try RecordingSupport.source(short, reading)
    #expect(source.choices == 1)
  }

  @Test func inflateAllKindsOfBlocks() throws {
    let lines = String(decoding: try RecordingSupport.bytes("deflate.txt"), as: UTF8.self)
      .split(separator: "\n")
    #expect(lines.count == 48)
    for line in lines {
      let parts = line.split(separator: " ", omittingEmptySubsequences: false)
      let packed = [UInt8](try #require(Data(base64Encoded: String(parts[0]))))
      let plain = [UInt8](try #require(Data(base64Encoded: String(parts[1]))))
      #expect(try Inflate.inflated(packed[...], size: plain.count).get() == plain)
      #expect(throws: InflateProblem.self) {
        try Inflate.inflated(packed[...], size: plain.count + 1).get()
      }
      #expect(throws: InflateProblem.self) {
        try Inflate.inflated(packed.dropLast(max(1, packed.count / 3)), size: plain.count).get()
      }
    }
  }

  /// Repeats far back in a result that is handed on in pieces: a block of the fixed code, written
  /// bit by bit.
  @Test(arguments: [1, 7, 32_768]) func inflateBeyondAPiece(distance: Int) throws {
    var (stream, used) = ([UInt8](), 0)
    func put(_ value: Int, _ count: Int, highFirst: Bool = false) {
      for bit in 0..<count {
        if used % 8 == 0 { stream.append(0) }
        let one = value >> (highFirst ? count - 1 - bit : bit) & 1
        stream[stream.count - 1] |= UInt8(one << (used % 8))
        used += 1
      }
    }
    var plain = [UInt8]()
    var random = SeededGenerator(seed: UInt64(distance))
    put(1, 1)
    put(1, 2)
    for _ in 0..<distance {
      plain.append(UInt8(random.next(below: 144)))
      put(0x30 + Int(plain[plain.count - 1]), 8, highFirst: true)
    }
    while plain.count < 5 << 20 {
      // Length 258, and the distance by its code and the bits behind it.
      put(0b1100_0101, 8, highFirst: true)
      let (code, base, bits) =
        distance == 1 ? (0, 1, 0) : distance == 7 ? (5, 7, 1) : (29, 24_577, 13)
      put(code, 5, highFirst: true)
      put(distance - base, bits)
      for _ in 0..<258 { plain.append(plain[plain.count - distance]) }
    }
    put(0, 7)
    #expect(try Inflate.inflated(stream[...], size: plain.count).get() == plain)
    #expect(throws: InflateProblem.self) {
      try Inflate.inflated(stream[...], size: plain.count - 1).get()
    }
  }

  @Test(arguments: ["trace-stored.npz", "trace-deflated.npz"])
  func archivesOfNumpy(name: String) throws {
    let archive = try ZipArchive(PositionedFile(RecordingSupport.fixture(name)))
    let member = try #require(archive.members.first)
    #expect(member.name == "trace.npy" && archive.members.count == 1)
    #expect(try archive.bytes(of: member) == RecordingSupport.bytes("trace-npz.npy"))
  }
}
