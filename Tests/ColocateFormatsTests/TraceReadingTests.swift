import Colocate
import ColocateFormats
import Testing

/// That what is read is what was meant: dense layers, padding in all its spellings, shared experts,
/// arrays that are no traces.
@Suite struct TraceReadingTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// Random routing `[tokens, layers, k]`, k different experts of E in each row.
  static func routing(
    tokens: Int, layers: Int, choices: Int = 1, experts: Int, seed: UInt64 = 1
  ) -> [Int] {
    var random = SeededGenerator(seed: seed)
    var ids = [Int]()
    for _ in 0..<(tokens * layers) {
      var row = [Int]()
      while row.count < choices {
        let id = random.next(below: experts)
        if !row.contains(id) { row.append(id) }
      }
      ids += row
    }
    return ids
  }

  private func file(_ ids: [Int], _ shape: [Int], _ type: String = "<i2") throws -> String {
    let text = "(" + shape.map(String.init).joined(separator: ", ") + ")"
    // Each file a name of its own: one that is read may be looked at again.
    return try scratch.write(
      npy(type, shape: text, data: bytes(ids, type)), "t\(scratch.contents.count).npy")
  }

  private func read(
    _ ids: [Int], _ shape: [Int], _ type: String = "<i2", _ reading: TraceFile.Reading = .init()
  ) throws -> TraceFile {
    try TraceFile(file(ids, shape, type), reading)
  }

  private func refusal(
    _ ids: [Int], _ shape: [Int], _ type: String = "<i2", _ reading: TraceFile.Reading = .init()
  ) throws -> String {
    let path = try file(ids, shape, type)
    do throws(FormatError) {
      _ = try TraceFile(path, reading)
      return "read"
    } catch {
      return error.message
    }
  }

  /// Rows of `ids` in layers of twice as many, each row after one that repeats `filler`.
  private func withDenseLayers(_ ids: [Int], choices: Int, _ filler: Int) -> [Int] {
    stride(from: 0, to: ids.count, by: choices).flatMap {
      [Int](repeating: filler, count: choices) + ids[$0..<($0 + choices)]
    }
  }

  // MARK: Dense layers

  @Test(arguments: [(-1, "<i2"), (0, "|u1"), (255, "|u1"), (65535, "<u2"), (9, ">i4")])
  func denseLayersAreJoinedOver(filler: Int, type: String) throws {
    let ids = Self.routing(tokens: 150, layers: 4, choices: 3, experts: 9)
    var reading = TraceFile.Reading()
    reading.coactivation = true
    let plain = try read(ids, [150, 4, 3], type, reading)
    let dense = try read(
      withDenseLayers(ids, choices: 3, filler), [150, 8, 3], type, reading)
    #expect(dense.counts == plain.counts && dense.counts.layers == 4)
    #expect(dense.moeLayers == [1, 3, 5, 7] && plain.moeLayers == nil)
    let remark = try #require(dense.remarks.last)
    #expect(remark.text.contains("4 of 8 layers are dense (0, 2, 4, 6)"))
    #expect(plain.remarks.isEmpty)
    // The second look at the file leaves the same layers out.
    let (a, b) = (
      try TraceFile.tokenSets(of: [plain]), try TraceFile.tokenSets(of: [dense])
    )
    #expect(a == b && a?.layerSets.map(\.tokens) == [150, 150, 150, 150])
  }

  @Test func denseLayersOfTopOneTraces() throws {
    let ids = Self.routing(tokens: 90, layers: 4, experts: 9)
    let plain = try read(ids, [90, 4])
    #expect(try read(withDenseLayers(ids, choices: 1, -1), [90, 8]).counts == plain.counts)
    // Zeros can be an expert's id: a warning that names the cure, and the cure.
    let zeros = withDenseLayers(ids, choices: 1, 0)
    let odd = try read(zeros, [90, 8])
    #expect(odd.counts.layers == 8 && odd.remarks.count == 1 && odd.remarks[0].isWarning)
    #expect(odd.remarks[0].text.contains("--moe-layers 1,3,5,7"))
    var reading = TraceFile.Reading()
    reading.moeLayers = [1, 3, 5, 7]
    #expect(try read(zeros, [90, 8], "<i2", reading).counts == plain.counts)
    reading.moeLayers = [1, 8]
    #expect(try refusal(zeros, [90, 8], "<i2", reading).contains("expected MoE layers of 0 to 7"))
    // A place in a message is that of the file.
    var bad = withDenseLayers(ids, choices: 1, -1)
    bad[5 * 8 + 3] = 11
    reading.moeLayers = nil
    reading.experts = 9
    #expect(
      try refusal(bad, [90, 8], "<i2", reading) == "token 5, layer 3: expert id 11, expected 0 to 8"
    )
  }

  @Test func nothingIsProvedAboutNothing() throws {
    #expect(
      try refusal([Int](repeating: -1, count: 60), [10, 3, 2])
        == "10 tokens, and every id is padding")
    #expect(
      try refusal([Int](repeating: 0, count: 60), [10, 3, 2])
        .contains("every token repeats one id in each layer"))
    // Every token in one layer only.
    let alternating = (0..<20).flatMap { $0 % 2 == 0 ? [3, -1] : [-1, 2] }
    #expect(try refusal(alternating, [20, 2]).contains("no transitions"))
    let one = (0..<20).flatMap { [-1, $0 % 5, -1] }
    #expect(try refusal(one, [20, 3]).contains("1 MoE layer, 1, of 3: at least 2"))
    // Nothing joins layers 1 and 2.
    let cut = (0..<40).flatMap { $0 % 2 == 0 ? [3, $0 % 4, -1, -1] : [-1, -1, 2, 1] }
    let trace = try read(cut, [40, 4])
    #expect(
      trace.remarks.contains { $0.isWarning && $0.text.contains("from layer 1 to its next") })
  }

  // MARK: Padding

  @Test(arguments: [1, 2]) func tokensWithoutAnExpertInALayer(choices: Int) throws {
    var ids = Self.routing(tokens: 30, layers: 4, choices: choices, experts: 7)
    for token in 3..<8 {
      for choice in 0..<choices { ids[(token * 4 + 2) * choices + choice] = -1 }
    }
    for index in (28 * 4 * choices)..<ids.count { ids[index] = -1 }
    let trace = try read(ids, choices == 1 ? [30, 4] : [30, 4, choices])
    // Two steps of five tokens, of three of 28; two tokens are blank.
    let texts = trace.remarks.map(\.text)
    #expect(texts.contains { $0.hasPrefix("10 of 84 steps") }, "\(texts)")
    #expect(texts.contains { $0.hasPrefix("2 of 30 tokens") }, "\(texts)")
    #expect(trace.counts.total == (84 - 10) * choices * choices)
    #expect(
      trace.counts.load(layer: 2) == 23 * choices && trace.counts.load(layer: 1) == 28 * choices)
  }

  @Test(
    arguments: ["|i1", "<i8", "|u1", "<u2", ">u4", "<u8"], [[40, 5], [40, 5, 1], [20, 5, 2]])
  func minusOneInEveryType(type: String, shape: [Int]) throws {
    let choices = shape.count == 3 ? shape[2] : 1
    var ids = Self.routing(tokens: shape[0], layers: 5, choices: choices, experts: 8)
    let half = Array(ids[..<(ids.count / 2)])
    for index in half.count..<ids.count { ids[index] = -1 }
    let trace = try read(ids, shape, type)
    #expect(trace.counts == (try read(half, [shape[0] / 2] + shape.dropFirst(), type).counts))
    #expect(trace.remarks.contains { $0.text.contains("padding") })
  }

  @Test func oneByteOf255IsPaddingOnlyWhereItIsNoExpert() throws {
    // 256 experts, all used: 255 is one of them.
    var ids = Self.routing(tokens: 2000, layers: 4, experts: 256)
    #expect(try read(ids, [2000, 4], "|u1").counts.experts == 256)
    // Ten tokens of it in every layer: 256⁻⁴ each, or padding. Nothing but the user can tell.
    for index in 0..<40 { ids[index] = 255 }
    for experts in [nil, 256] {
      var reading = TraceFile.Reading()
      reading.experts = experts
      let message = try refusal(ids, [2000, 4], "|u1", reading)
      #expect(message.hasPrefix("10 tokens with id 255 in every layer: -1 stored in a byte"))
      #expect(message.contains("astype('int16')") && message.contains("--as trace if 255 is"))
      reading.kind = .trace
      let odd = try read(ids, [2000, 4], "|u1", reading)
      #expect(odd.counts.experts == 256 && odd.remarks.map(\.isWarning) == [true])
    }
    // One such token of two layers is what chance makes of 20,000.
    ids = Self.routing(tokens: 20_000, layers: 2, experts: 256)
    (ids[0], ids[1]) = (255, 255)
    #expect(try read(ids, [20_000, 2], "|u1").remarks.isEmpty)
    for index in 0..<80 { ids[index] = 255 }
    #expect(try refusal(ids, [20_000, 2], "|u1").hasPrefix("4"))
    // Tokens that keep to their expert do so with 255 too.
    let kept = (0..<2560).flatMap { token in [Int](repeating: token % 256, count: 6) }
    #expect(try read(kept, [2560, 6], "|u1").counts.experts == 256)
    // 64 given experts: it cannot be.
    ids = Self.routing(tokens: 200, layers: 4, choices: 2, experts: 64)
    for index in 0..<100 { ids[2 * index + 1] = 255 }
    var reading = TraceFile.Reading()
    reading.experts = 64
    let padded = try read(ids, [200, 4, 2], "|u1", reading)
    #expect(padded.counts.load(layer: 0) == 375 && padded.counts.experts == 64)
    #expect(padded.remarks[0].text.hasPrefix("100 ids of 255, beyond the 64 experts"))
  }

  @Test func rowsThatRepeatAnIDAreRefusedWithTheirPlace() throws {
    var ids = Self.routing(tokens: 50, layers: 3, choices: 2, experts: 8)
    ids[(7 * 3 + 1) * 2] = 4
    ids[(7 * 3 + 1) * 2 + 1] = 4
    #expect(try refusal(ids, [50, 3, 2]).hasPrefix("token 7, layer 1: one id 2 times"))
    // A token that repeats an id in all layers was not recorded.
    for index in (40 * 6)..<ids.count { ids[index] = 0 }
    ids[(7 * 3 + 1) * 2] = 3
    let trace = try read(ids, [50, 3, 2])
    #expect(trace.counts.load(layer: 0) == 80)
    #expect(trace.remarks.contains { $0.text.hasPrefix("10 of 50 tokens have no expert") })
  }

  // MARK: Shared experts

  @Test func sharedExpertsAreNamedAndLeftOut() throws {
    let ids = Self.routing(tokens: 60, layers: 3, choices: 3, experts: 16)
    let fused = stride(from: 0, to: ids.count, by: 3).flatMap { ids[$0..<($0 + 3)] + [16, 17] }
    let odd = try read(fused, [60, 3, 5])
    #expect(odd.counts.experts == 18 && odd.firstShared == 16)
    #expect(
      odd.remarks[0].isWarning && odd.remarks[0].text.contains("--experts 16 leaves them out"))
    var reading = TraceFile.Reading()
    reading.experts = 16
    let cured = try read(fused, [60, 3, 5], "<i2", reading)
    #expect(cured.counts == (try read(ids, [60, 3, 3], "<i2", reading).counts))
    #expect(cured.remarks.map(\.isWarning) == [false])
    // Ids beyond E that are not in every row stay an error.
    var other = fused
    other[3] = 5
    other[0...2] = [1, 2, 3]
    #expect(
      try refusal(other, [60, 3, 5], "<i2", reading).contains("expert id 16, expected 0 to 15"))
    // All experts used by every token: nothing is shared.
    let all = Self.routing(tokens: 60, layers: 3, choices: 4, experts: 4)
    #expect(try read(all, [60, 3, 4]).remarks.isEmpty)
  }

  // MARK: Numbering

  @Test func idsThatAreNumberedOtherwise() throws {
    let ids = Self.routing(tokens: 150, layers: 4, experts: 8)
    let through = ids.enumerated().map { $0.offset % 4 * 8 + $0.element }
    #expect(
      try refusal(through, [150, 4])
        .contains("layer 0 has ids 0 to 7, layer 1 8 to 15, and so on: numbered through"))
    var reading = TraceFile.Reading()
    reading.kind = .trace
    #expect(try read(through, [150, 4], "<i2", reading).counts.experts == 32)
    let odd = try read(ids.map { $0 + 1 }, [150, 4])
    #expect(odd.counts.experts == 9 && odd.remarks.map(\.isWarning) == [true])
    #expect(odd.remarks[0].text.contains("if the ids start at 1, subtract 1"))
    reading.experts = 9
    #expect(try read(ids.map { $0 + 1 }, [150, 4], "<i2", reading).remarks.isEmpty)
  }

  // MARK: Progress

  @Test func progressReachesItsEnd() throws {
    let path = try file(Self.routing(tokens: 500_000, layers: 3, experts: 5), [500_000, 3], "|u1")
    var seen = [Int]()
    var total = 0
    _ = try TraceFile(path) { done, of in
      seen.append(done)
      total = of
    }
    let last = try #require(seen.last)
    #expect(seen.count >= 2 && seen == seen.sorted() && last <= total)
    #expect(total - last < 1000, "the header alone is not counted")
  }
}
