import Colocate
import ColocateFormats
import Foundation
import Testing

/// Counting as a map and a reduce: files of counts, added up in any grouping.
@Suite struct CountsFileTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// A trace of `tokens` tokens whose ids are below `experts`.
  private func trace(
    _ name: String, tokens: Int, layers: Int = 4, choices: Int, experts: Int,
    _ random: inout SeededGenerator
  ) throws -> String {
    let ids = (0..<(tokens * layers)).flatMap { _ in
      Array((0..<experts).shuffled(using: &random).prefix(choices))
    }
    let shape =
      choices == 1 ? "(\(tokens), \(layers))" : "(\(tokens), \(layers), \(choices))"
    return try scratch.write(npy("<i2", shape: shape, data: bytes(ids, "<i2")), name)
  }

  private func counted(
    _ paths: [String], experts: Int? = nil, counting: TopKCounting = .pairs
  ) throws -> CountsFile {
    var reading = TraceFile.Reading()
    (reading.kind, reading.coactivation) = (.trace, true)
    (reading.experts, reading.counting) = (experts, counting)
    var sum = try CountsFile(TraceFile(paths[0], reading))
    for path in paths.dropFirst() {
      try sum.add(CountsFile(TraceFile(path, reading)), file: path)
    }
    return sum
  }

  private func written(_ file: CountsFile, _ name: String) throws -> Data {
    try file.write(to: scratch.file(name))
    return try Data(contentsOf: URL(fileURLWithPath: scratch.file(name)))
  }

  /// Traces that use different numbers of experts, grouped in every way that two cuts make.
  @Test(arguments: 0..<20) func anyGroupingWritesTheSameBytes(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let choices = 1 + random.next(below: 3)
    let paths = try (0..<4).map { index in
      try trace(
        "t\(index).npy", tokens: 1 + random.next(below: 40), choices: choices,
        experts: choices + 2 + random.next(below: 20), &random)
    }
    let whole = try written(try counted(paths), "whole.safetensors")
    for first in 1..<4 {
      for second in first...3 {
        let groups = [0..<first, first..<second, second..<4].filter { !$0.isEmpty }
        let parts = try groups.enumerated().map { index, group in
          let name = "part\(index).safetensors"
          _ = try written(try counted(Array(paths[group])), name)
          return scratch.file(name)
        }
        var sum = try CountsFile.read(parts[0])
        for part in parts.dropFirst() { try sum.add(CountsFile.read(part), file: part) }
        #expect(try written(sum, "sum.safetensors") == whole, "seed \(seed), \(groups)")
      }
    }
  }

  /// What is counted is what the definition says, and what is read is what was counted.
  @Test(arguments: 0..<10) func countsAreTheTraces(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let path = try trace("t.npy", tokens: 60, choices: 2, experts: 6, &random)
    let file = try counted([path], experts: 6)
    let array = try #require(
      PlainReading.npy([UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))))
    var (weights, together) = (
      [Int](repeating: 0, count: 3 * 36), [Int](repeating: 0, count: 4 * 36)
    )
    for token in 0..<60 {
      let rows = (0..<4).map { layer in
        let start = (token * 4 + layer) * 2
        return Array(array.values[start..<(start + 2)])
      }
      for layer in 0..<4 {
        let (a, b) = (rows[layer][0], rows[layer][1])
        together[layer * 36 + a * 6 + b] += 1
        together[layer * 36 + b * 6 + a] += 1
        guard layer < 3 else { continue }
        for i in rows[layer] { for j in rows[layer + 1] { weights[layer * 36 + i * 6 + j] += 1 } }
      }
    }
    #expect(file.counts.weights == weights && file.counts.coactivation == together)
    _ = try written(file, "c.safetensors")
    // The tensors by a reading that shares no code.
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: scratch.file("c.safetensors"))))
    #expect(PlainReading.tensor("counts", bytes)?.values == weights)
    #expect(PlainReading.tensor("coactivation", bytes)?.values == together)
    let read = try CountsFile.read(scratch.file("c.safetensors"))
    #expect(read.counts.weights == weights && read.record.sources == file.record.sources)
    #expect(read.record.tokens == 60 && read.record.counting == .pairs)
  }

  /// Dense layers are remembered, and co-activation is used where it is asked for.
  @Test func whatTheRecordSaysIsRead() throws {
    let ids = (0..<50).flatMap { [0, 0, $0 % 4, ($0 + 1) % 4, 0, 0, ($0 + 2) % 4, $0 % 4] }
    let path = try scratch.write(
      npy("<i2", shape: "(50, 4, 2)", data: bytes(ids, "<i2")), "dense.npy")
    _ = try written(try counted([path]), "c.safetensors")
    var reading = TraceFile.Reading()
    let plain = try TraceFile(scratch.file("c.safetensors"), reading)
    #expect(plain.moeLayers == [1, 3] && plain.tokens == 50 && plain.choices == 2)
    #expect(plain.counts.coactivation.isEmpty && plain.topK == .pairs)
    reading.coactivation = true
    #expect(try !TraceFile(scratch.file("c.safetensors"), reading).counts.coactivation.isEmpty)
    reading.experts = 8
    let wide = try TraceFile(scratch.file("c.safetensors"), reading)
    #expect(wide.counts.experts == 8 && wide.counts.total == plain.counts.total)
    _ = try written(try counted([path], experts: 4), "given.safetensors")
    #expect(throws: FormatError.self) { try TraceFile(scratch.file("given.safetensors"), reading) }
  }

  @Test func whatDoesNotBelongTogetherIsRefused() throws {
    var random = SeededGenerator(seed: 7)
    let two = try trace("two.npy", tokens: 9, choices: 2, experts: 6, &random)
    let three = try trace("three.npy", tokens: 9, choices: 3, experts: 6, &random)
    let layers = try trace("layers.npy", tokens: 9, layers: 5, choices: 2, experts: 6, &random)
    let wide = try trace("wide.npy", tokens: 90, choices: 2, experts: 12, &random)
    func refused(_ a: CountsFile, _ b: CountsFile, _ reason: String) throws {
      var sum = a
      do throws(FormatError) {
        try sum.add(b, file: "b")
        Issue.record("added, expected: \(reason)")
      } catch {
        #expect(error.description.hasPrefix("b: ") && error.message.contains(reason), "\(error)")
      }
    }
    let base = try counted([two], experts: 6)
    try refused(base, counted([three], experts: 6), "3 experts a token")
    try refused(base, counted([two], experts: 6, counting: .first), "--top-k first")
    try refused(base, counted([layers], experts: 6), "5 layers")
    try refused(base, counted([wide]), "12 experts, expected 6")
    let plain = try scratch.write(
      safetensors([("counts", [1, 2, 2], [1, 2, 3, 4])]), "plain.safetensors")
    do throws(FormatError) {
      _ = try CountsFile.read(plain)
      Issue.record("read counts without a record")
    } catch { #expect(error.message.contains("no record of traces"), "\(error)") }
  }

  /// Damaged files: refused with one line, or all that counts is as it was.
  @Test func damagedFiles() throws {
    var random = SeededGenerator(seed: 11)
    let path = try trace("t.npy", tokens: 30, choices: 2, experts: 5, &random)
    let good = try counted([path], experts: 5)
    let file = [UInt8](try written(good, "good.safetensors"))
    let dataStart = 8 + file.prefix(8).enumerated().reduce(0) { $0 + Int($1.1) << (8 * $1.0) }
    let words = ["\"choices\":\"3\"", "source_1", "inferred", "first", "1,2", "{", "}", ",", "I64"]
    var read = 0
    for seed in 0..<PlacementFuzzTests.count {
      var random = SeededGenerator(seed: UInt64(seed))
      var damaged = file
      if seed % 8 == 0 {
        // A letter of the trace's name, or any other byte of the header.
        damaged[8 + random.next(below: dataStart - 8)] = UInt8(ascii: "x")
      } else {
        damaged = Mutation.damage(file, words, &random)
      }
      let place = try scratch.write(damaged, "d.safetensors")
      do throws(FormatError) {
        let found = try CountsFile.read(place)
        read += 1
        #expect(found.counts == good.counts, "seed \(seed)")
      } catch {
        #expect(error.description.hasPrefix(place + ": "), "seed \(seed): \(error)")
        #expect(!error.description.contains("\n"), "seed \(seed)")
      }
    }
    #expect(read > PlacementFuzzTests.count / 200, "\(read)")
  }
}
