import Colocate
import ColocateFormats
import Foundation
import Testing

/// Recordings that are damaged, hostile or something else.
@Suite struct RecordingFaultTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  private func pickled(_ pickle: [UInt8], _ data: [(String, [UInt8])] = []) throws -> String {
    try scratch.write(
      RecordingSupport.zip(
        [("x/data.pkl", pickle), ("x/byteorder", Array("little".utf8))]
          + data.map { ("x/data/" + $0.0, $0.1) }), "x.pt")
  }

  /// A pickle may ask for any function: nothing but a recording's four names is even looked at.
  @Test func otherGlobalsAreRefused() throws {
    for name in ["os\nsystem", "builtins\neval", "torch\nFloatStorage", "collections\nCounter"] {
      let pickle: [UInt8] =
        [0x80, 2, 0x63] + Array(name.utf8) + [0x0A, 0x29, 0x52, 0x2E]
      do throws(FormatError) {
        _ = try RecordingReader.open(try path { try pickled(pickle) })
        Issue.record("read \(name)")
      } catch { #expect(error.message.contains("refused"), "\(error)") }
    }
  }

  private func path(_ make: () throws -> String) throws(FormatError) -> String {
    do { return try make() } catch { throw FormatError("", "\(error)") }
  }

  @Test func picklesThatAreNone() throws {
    let deep = [0x80, 2] + [UInt8](repeating: 0x28, count: 100_000) + [0x2E]
    var nested: [UInt8] = [0x80, 2]
    for _ in 0..<50_000 { nested += [0x5D] }
    nested += [UInt8](repeating: 0x61, count: 49_999) + [0x2E]
    let cases: [([UInt8], String)] = [
      ([UInt8](), "it ends early"), ([0x80, 4, 0x2E], "protocol 4"),
      ([0x80, 2, 0x95, 0x2E], "opcode 0x95"), ([0x80, 2, 0x2E], "0 values at the end"),
      ([0x80, 2, 0x65, 0x2E], "no mark"), ([0x80, 2, 0x68, 7, 0x2E], "nothing remembered at 7"),
      ([0x80, 2, 0x58, 0xFF, 0xFF, 0xFF, 0x7F, 0x2E], "it ends early"),
      ([0x80, 2, 0x4E, 0x4E, 0x52, 0x2E], "a call of no function"),
      (deep, "0 values at the end"), (nested, "no recording of SGLang's"),
      // A list that holds itself.
      ([0x80, 2, 0x5D, 0x71, 0, 0x68, 0, 0x61, 0x2E], "no recording of SGLang's"),
    ]
    for (pickle, reason) in cases {
      do throws(FormatError) {
        _ = try RecordingReader.open(try path { try pickled(pickle) })
        Issue.record("read, expected: \(reason)")
      } catch { #expect(error.message.contains(reason), "\(error)") }
    }
  }

  /// Sizes that a small file only claims cost neither memory nor time.
  @Test func sizesThatAreOnlyClaimed() throws {
    func text(_ text: String) -> [UInt8] { [0x58, UInt8(text.utf8.count), 0, 0, 0] + text.utf8 }
    func number(_ value: Int) -> [UInt8] {
      [0x8A, 8] + (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    func tuple(_ numbers: [Int]) -> [UInt8] { [0x28] + numbers.flatMap(number) + [0x74] }
    func tensor(_ shape: [Int], _ strides: [Int], stored: Int) -> [UInt8] {
      let storage =
        [0x28] + text("storage") + [0x63] + Array("torch\nLongStorage\n".utf8) + text("0")
        + text("cpu") + number(stored) + [0x74, 0x51]
      return [0x63] + Array("torch._utils\n_rebuild_tensor_v2\n".utf8) + [0x28] + storage
        + number(0) + tuple(shape) + tuple(strides) + [0x89, 0x4E, 0x74, 0x52]
    }
    func refused(_ body: [UInt8], _ data: [UInt8], _ reason: String) throws {
      let file = try pickled([0x80, 2, 0x7D] + body + [0x2E], [("0", data)])
      do throws(FormatError) {
        _ = try RecordingReader.open(file)
        Issue.record("read, expected: \(reason)")
      } catch { #expect(error.message.contains(reason), "\(error)") }
    }
    let empty =
      text("logical_count") + tensor([0, 1 << 40, 1 << 20], [1, 1, 1], stored: 0) + [0x73]
    try refused(empty, [], "loads of \(1 << 40) layers")
    let wide = text("logical_count") + tensor([0, 1, 1 << 40], [1, 1, 1], stored: 0) + [0x73]
    try refused(wide, [], "\(1 << 40) experts")
    let bytes = [UInt8](repeating: 0, count: 5000 * 8)
    let map = text("last_physical_to_logical_map")
    let pass = tensor([1, 2, 1], [2, 1, 1], stored: 2)
    let record = [0x7D] + text("topk_ids_of_layer") + pass + [0x73]
    // The same pass ten times: the second mention is a reference to the first.
    let records =
      text("records") + [0x5D] + record + [0x71, 1, 0x61]
      + [UInt8](repeating: 0, count: 10).flatMap { _ -> [UInt8] in [0x68, 1, 0x61] } + [0x73]
    try refused(
      records + map + tensor([5000, 1], [1, 1], stored: 5000) + [0x73], bytes, "of 5000 layers")
    try refused(
      records + map + tensor([1, 2], [2, 1], stored: 2) + [0x73], Array(bytes.prefix(16)),
      "one is there twice")
  }

  @Test func otherFilesAreNoRecordings() throws {
    for (name, text) in [
      ("a.json", "{\"format\": \"colocate-plan\"}"), ("b.json", "[[1, 2]]"), ("c.json", "{}"),
      ("d.txt", "hello"), ("e.json", "{\"choices\": []}"), ("f.json", ""),
    ] {
      #expect(try RecordingReader.open(scratch.write(Array(text.utf8), name)) == nil, "\(name)")
    }
    #expect(try RecordingReader.open(RecordingSupport.fixture("trace-stored.npz")) == nil)
    #expect(throws: FormatError.self) { try RecordingReader.open(scratch.file("missing")) }
  }

  @Test func badResponsesAreRefusedWithTheirLine() throws {
    let good = String(decoding: try RecordingSupport.bytes("vllm.jsonl"), as: UTF8.self)
    let first = good.split(separator: "\n")[0]
    let old = { (rows: String) in "{\"prompt_routed_experts\": \(rows)}" }
    let cases: [(Substring, String)] = [
      (first + "\n" + "{\"choices\": [{\"routed_experts\": \"AAAA\"}]}", "no .npy array"),
      (first + "\n" + "{\"choices\": [{\"routed_experts\": \"A*\"}]}", "expected base64"),
      (first + "\n{", "in line 2: line 1, column 2"),
      (first + "\n" + old("[[[0, 1]]]"), "1 layers of 2 experts"),
      (Substring(old("[[[0, 1], [2]]]")), "is not 2 layers of 2 experts"),
      (Substring(old("[[[0, 1], [2, 70000]]]")), "expert id 70000"),
      (Substring(old("[[[0, 1], [2, -2]]]")), "expert id -2"),
      (Substring(old("[]")), "no response has routed experts"),
      ("{\"meta_info\": {\"routed_experts\": null}}", "no response has routed experts"),
      ("{\"meta_info\": {\"routed_experts\": \"AAAA\"}}", "of 3 bytes"),
      ("{\"meta_info\": {\"routed_experts\": \"AAAAAA==\"}}", "of how many tokens"),
      (
        "{\"meta_info\": {\"prompt_tokens\": 2, \"completion_tokens\": 3, "
          + "\"routed_experts\": \"AAAAAA==\"}}", "1 routed experts of 4 tokens"
      ),
    ]
    for (text, reason) in cases {
      let path = try scratch.write(Array(text.utf8), "bad.jsonl")
      do {
        _ = try RecordingSupport.ids(RecordingSupport.source(path))
        Issue.record("read, expected: \(reason)")
      } catch {
        #expect("\(error)".contains(reason), "\(error)")
        #expect("\(error)".hasPrefix(path + ": "))
      }
    }
  }

  /// The archive's checksums guard every byte that counts: what is read of a damaged file is what
  /// was in the whole one.
  @Test(arguments: ["per_token.pt", "per_pass.pt", "stat.pt"])
  func damagedRecorderFiles(name: String) throws {
    let good = try RecordingSupport.bytes(name)
    let expected = try content(RecordingSupport.fixture(name))
    for seed in 0..<PlacementFuzzTests.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let file = Mutation.damage(good, ["data.pkl", "PK", "\u{1}\u{2}", "/data/0"], &random)
      let path = try scratch.write(file, "d.pt")
      do {
        if let found = try content(path) { #expect(found == expected, "seed \(seed)") }
      } catch { expectOneLine(error, path, seed) }
    }
  }

  /// Ids or loads.
  private func content(_ path: String) throws -> [Int]? {
    switch try RecordingReader.open(path) {
    case .routing(let source): try RecordingSupport.ids(source)
    case .loads(let loads): loads.loads
    case nil: nil
    }
  }

  private func expectOneLine(_ error: any Error, _ path: String, _ seed: Int) {
    let text = "\(error)"
    #expect(error is FormatError && text.hasPrefix(path), "seed \(seed): \(text)")
    #expect(!text.contains("\n"), "seed \(seed)")
  }

  /// The pickle itself, damaged, in an archive that is whole.
  @Test func damagedPickles() throws {
    let archive = try ZipArchive(PositionedFile(RecordingSupport.fixture("per_token.pt")))
    let members = try archive.members.map { ($0.name, try archive.bytes(of: $0)) }
    var read = 0
    for seed in 0..<PlacementFuzzTests.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let damaged = members.map { member in
        member.0.hasSuffix("data.pkl")
          ? (
            member.0, Mutation.damage(member.1, ["q\u{1}", "h\u{2}", "(", "t", "K\u{5}"], &random)
          )
          : member
      }
      let path = try scratch.write(RecordingSupport.zip(damaged), "d.pt")
      do {
        guard case .routing(let source)? = try RecordingReader.open(path) else { continue }
        let ids = try RecordingSupport.ids(source)
        #expect(ids.allSatisfy { (-1..<16).contains($0) }, "seed \(seed)")
        #expect(ids.count % (source.layers * source.choices) == 0, "seed \(seed)")
        read += 1
      } catch { expectOneLine(error, path, seed) }
    }
    #expect(read > PlacementFuzzTests.count / 100)
  }

  @Test(arguments: ["sglang.jsonl", "vllm.jsonl"])
  func damagedResponses(name: String) throws {
    let good = try RecordingSupport.bytes(name)
    var reading = RecordingReading()
    (reading.hiddenLayers, reading.choices) = (6, 4)
    var read = 0
    for seed in 0..<PlacementFuzzTests.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let words = ["\"routed_experts\":", "AAAA", "\n", "{", "}", "null", "\"choices\":[", "="]
      let file = Mutation.damage(good, words, &random)
      let path = try scratch.write(file, "d.jsonl")
      do {
        guard case .routing(let source)? = try RecordingReader.open(path, reading) else { continue }
        let ids = try RecordingSupport.ids(source)
        #expect(ids == plainIDs(file), "seed \(seed)")
        read += 1
      } catch { expectOneLine(error, path, seed) }
    }
    #expect(read > PlacementFuzzTests.count / 100)
  }

  /// The ids of responses by Foundation's JSON and the plain reading of `.npy`.
  private func plainIDs(_ file: [UInt8]) -> [Int]? {
    var ids = [Int]()
    for line in String(decoding: file, as: UTF8.self).split(separator: "\n") {
      // A line of blanks, as a file may end with, is no response.
      if line.utf8.allSatisfy({ $0 <= 0x20 }) { continue }
      guard let data = try? JSONSerialization.jsonObject(with: Data(line.utf8)),
        let response = data as? [String: Any]
      else { return nil }
      if let meta = response["meta_info"] as? [String: Any],
        let text = meta["routed_experts"] as? String, let data = Data(base64Encoded: text)
      {
        let bytes = [UInt8](data)
        ids += stride(from: 0, to: bytes.count, by: 4).map { place in
          Int(bytes[place]) + 256 * Int(bytes[place + 1])
        }
      }
      for choice in response["choices"] as? [[String: Any]] ?? [] {
        guard let text = choice["routed_experts"] as? String, let data = Data(base64Encoded: text)
        else { continue }
        guard let array = PlainReading.npy([UInt8](data)) else { return nil }
        ids += array.values
      }
    }
    return ids
  }

  @Test func damagedStatistics() throws {
    let good = try RecordingSupport.bytes("trtllm/rank0.safetensors")
    _ = try scratch.write(try RecordingSupport.bytes("trtllm/meta_info.json"), "meta_info.json")
    var read = 0
    for seed in 0..<PlacementFuzzTests.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let words = ["\"100_1\":", "[0,128]", "\"I64\"", "{", "}", ",", "_"]
      let file = Mutation.damage(good, words, &random)
      _ = try scratch.write(file, "rank0.safetensors")
      do {
        let loads = try RecordingSupport.loads(scratch.path)
        read += 1
        var plain = [Int: [Int]]()
        for (name, tensor) in plainTensors(file) {
          let layer = Int(name.split(separator: "_")[1]) ?? -1
          let sums = plain[layer] ?? [Int](repeating: 0, count: 16)
          plain[layer] = zip(sums, tensor).map { $0 + $1 }
        }
        plain = plain.filter { $0.value.contains { $0 > 0 } }
        #expect(loads.layers == plain.keys.sorted(), "seed \(seed)")
        #expect(loads.loads == loads.layers.flatMap { plain[$0] ?? [] }, "seed \(seed)")
      } catch { expectOneLine(error, scratch.path, seed) }
    }
    #expect(read > PlacementFuzzTests.count / 100)
  }

  /// TensorRT-LLM's chosen ids, against a plain reading: iteration by iteration, layer by layer.
  @Test func damagedIdsOfStatistics() throws {
    let meta = "{\"num_experts\": 6, \"num_experts_per_token\": 2}"
    _ = try scratch.write(Array(meta.utf8), "meta_info.json")
    var random = SeededGenerator(seed: 5)
    let tokens = [3, 2]
    let good = safetensors(
      [(9, 1), (9, 3), (10, 1), (10, 3)].map { iteration, layer in
        let shape = [tokens[iteration - 9], 2]
        let ids = (0..<(2 * shape[0])).map { _ in random.next(below: 6) }
        return ("\(iteration)_\(layer)", shape, ids)
      })
    var read = 0
    for seed in 0..<PlacementFuzzTests.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let words = ["\"9_2\":", "[0,48]", "\"I64\"", "{", "}", ",", "_", "0", "1"]
      let file =
        random.next(below: 3) == 0
        ? PlacementFuzzTests.exchanged(good, &random) : Mutation.damage(good, words, &random)
      _ = try scratch.write(file, "token_selected_experts_rank0.safetensors")
      do {
        let source = try RecordingSupport.source(scratch.path)
        let ids = try RecordingSupport.ids(source)
        read += 1
        var plain = [[Int]: [Int]]()
        for (name, values) in plainTensors(file) {
          let key = name.split(separator: "_").compactMap { Int($0) }
          #expect(plain[key] == nil, "seed \(seed): \(key) is there twice")
          plain[key] = values
        }
        let layers = (plain.keys.map { $0[1] }.max() ?? 0) + 1
        var expected = [Int]()
        for iteration in Set(plain.keys.map { $0[0] }).sorted() {
          let count = plain.first { $0.key[0] == iteration }.map { $0.value.count / 2 } ?? 0
          for token in 0..<count {
            for layer in 0..<layers {
              let row = plain[[iteration, layer]].map { Array($0[(2 * token)...].prefix(2)) }
              expected += row ?? [-1, -1]
            }
          }
        }
        #expect(source.layers == layers && ids == expected, "seed \(seed)")
      } catch { expectOneLine(error, scratch.path, seed) }
    }
    #expect(read > PlacementFuzzTests.count / 100)
  }

  private func plainTensors(_ file: [UInt8]) -> [(String, [Int])] {
    let length = file.prefix(8).enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
    guard 8 + length <= file.count,
      let header = try? JSONSerialization.jsonObject(with: Data(file[8..<(8 + length)])),
      let names = (header as? [String: Any])?.keys
    else { return [] }
    return names.filter { $0 != "__metadata__" }.compactMap { name in
      PlainReading.tensor(name, file).map { (name, $0.values) }
    }
  }
}
