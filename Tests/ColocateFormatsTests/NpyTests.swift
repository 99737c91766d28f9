import Colocate
import ColocateFormats
import Foundation
import Testing

@Suite struct NpyTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  static let types = [
    "|i1", "|u1", "<i2", "<u2", ">i2", ">u2", "<i4", ">i4", "<u4", ">u4", "<i8", ">i8", "<u8",
    ">u8",
  ]

  @Test(arguments: types, [UInt8(1), 2, 3]) func everyIntegerTypeAndVersion(
    type: String, version: UInt8
  ) throws {
    let ids = [0, 1, 2, 2, 1, 0, 1, 1, 1, 2, 0, 2]  // [4, 3]
    let path = try scratch.write(
      npy(type, shape: "(4, 3)", data: bytes(ids, type), version: version), "t.npy")
    let trace = try TraceFile(path)
    #expect(trace.kind == .trace && trace.tokens == 4 && trace.choices == 1)
    #expect(trace.counts.layers == 3 && trace.counts.experts == 3 && trace.expertsInferred)
    #expect(trace.counts.weights == [0, 1, 0, 0, 1, 0, 1, 1, 0] + [0, 0, 1, 1, 1, 1, 0, 0, 0])
  }

  @Test(arguments: types) func fortranOrder(type: String) throws {
    // [3, 2, 2] top-2: the same array in both orders.
    let c = [0, 1, 2, 3, 1, 2, 3, 0, 2, 3, 0, 1]
    var f = [Int]()
    for k in 0..<2 {
      for l in 0..<2 { for t in 0..<3 { f.append(c[(t * 2 + l) * 2 + k]) } }
    }
    var reading = TraceFile.Reading()
    reading.kind = .trace  // two axes of 2 look like counts
    let first = try TraceFile(
      try scratch.write(npy(type, shape: "(3, 2, 2)", data: bytes(c, type)), "c.npy"), reading)
    let second = try TraceFile(
      try scratch.write(
        npy(type, fortran: true, shape: "(3, 2, 2)", data: bytes(f, type)), "f.npy"),
      reading)
    #expect(first.counts == second.counts && first.counts.total == 12)
    // And as counts.
    reading.kind = .counts
    let counts = try TraceFile(
      try scratch.write(
        npy(type, fortran: true, shape: "(3, 2, 2)", data: bytes(f, type)), "f.npy"), reading)
    #expect(counts.kind == .counts && counts.counts.weights == c && counts.counts.layers == 4)
  }

  @Test func longTracesComeInBlocks() throws {
    var random = SeededGenerator(seed: 5)
    let (tokens, layers) = (400_000, 3)  // more than a block of a million ids
    let ids = (0..<(tokens * layers)).map { _ in random.next(below: 7) }
    let fortran = (0..<layers).flatMap { l in (0..<tokens).map { ids[$0 * layers + l] } }
    let one = try TraceFile(
      try scratch.write(npy("|u1", shape: "(\(tokens), 3)", data: bytes(ids, "|u1")), "c.npy"))
    let two = try TraceFile(
      try scratch.write(
        npy(">i4", fortran: true, shape: "(\(tokens), 3)", data: bytes(fortran, ">i4")), "f.npy"))
    #expect(one.counts == two.counts && one.counts.total == 2 * tokens)
    #expect(one.sha256 != two.sha256 && one.sha256.count == 64)
  }

  /// Rows of arrays of any shape, type and order, against a plain second reading.
  @Test(arguments: 0..<200) func rowsOfAnyShape(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let shape = (0..<(1 + random.next(below: 4))).map { _ in 1 + random.next(below: 7) }
    let type = Self.types[random.next(below: Self.types.count)]
    let values = (0..<shape.reduce(1, *)).map { _ in random.next(below: 120) }
    let text = "(" + shape.map { "\($0)," }.joined(separator: " ") + ")"
    let file = npy(
      type, fortran: random.next(below: 2) == 0, shape: text, data: bytes(values, type))
    let array = try IntegerArray(npy: try scratch.write(file, "a.npy"))
    let plain = try #require(PlainReading.npy(file))
    #expect(try array.shape == plain.shape && array.integers() == plain.values, "seed \(seed)")
    let width = shape.dropFirst().reduce(1, *)
    let first = random.next(below: shape[0])
    let rows = first..<(first + 1 + random.next(below: shape[0] - first))
    let wanted = plain.values[(rows.lowerBound * width)..<(rows.upperBound * width)]
    #expect(try array.integers(rows: rows) == Array(wanted), "seed \(seed), \(rows)")
  }

  @Test func digestIsSHA256() throws {
    // FIPS 180-2, appendix B.1.
    let path = try scratch.write(Array("abc".utf8), "abc")
    #expect(
      try Digest.sha256(ofFile: path)
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }

  private func message(_ bytes: [UInt8], _ reading: TraceFile.Reading = .init()) throws -> String {
    let path = try scratch.write(bytes, "bad.npy")
    do throws(FormatError) {
      _ = try TraceFile(path, reading)
      return "read"
    } catch {
      #expect(error.description.hasPrefix(path + ": "))
      #expect(!error.description.contains("\n"))
      return error.message
    }
  }

  @Test func badHeadersAreRefusedWithTheirPlace() throws {
    let good = npy("|u1", shape: "(2, 3)", data: [0, 1, 2, 2, 1, 0])
    #expect(try message(good) == "read")
    // Every truncation is refused, whatever is missing.
    for length in 0..<good.count {
      #expect(try message(Array(good.prefix(length))) != "read", "length \(length)")
    }
    #expect(try message(good + [0]).contains("7 bytes of data, expected 6"))
    #expect(
      try message(Array("hello world, this is text".utf8)).contains(
        "expected a .npy or .safetensors file"))
    var lying = good
    lying[8] = 0xFF
    lying[9] = 0xFF
    #expect(try message(lying).contains("header of 65535 bytes at byte 10, but the file ends"))
    lying = good
    lying[6] = 9
    #expect(try message(lying).contains("version 9.0, expected 1, 2 or 3"))
    func shape(_ text: String, _ type: String = "|u1") throws -> String {
      try message(npy(type, shape: text, data: [0, 1, 2, 2, 1, 0]))
    }
    // None of these allocates anything of the size it claims.
    #expect(try shape("(4000000000, 4000000000)").contains("expected more than 2^63"))
    #expect(try shape("(3000000, 3000000)").contains("expected 9000000000000 for shape"))
    #expect(try shape("(99999999999999999999, 1)").contains("more than 2^63"))
    #expect(try shape("(-2, 3)").contains("expected a length"))
    #expect(try shape("(2, 'x')").contains("expected a length"))
    #expect(try shape("6").contains("shape is not a tuple"))
    #expect(try shape("(6,)").contains("expected [tokens, layers]"))
    #expect(try shape("(1, 2, 3, 1)").contains("expected [tokens, layers]"))
    #expect(try shape("(2, 3").contains("expected a length"))
    #expect(try shape("(6, 1)").contains("1 MoE layer"))
    #expect(try message(npy("|u1", shape: "(0, 3)", data: [])).contains("0 tokens"))
    #expect(
      try message(npy("<f4", shape: "(1, 2)", data: [UInt8](repeating: 0, count: 8)))
        .contains("holds floating-point numbers ('<f4'), expected integers"))
    #expect(
      try message(npy("|b1", shape: "(2, 3)", data: [0, 1, 1, 0, 1, 0])).contains("truth values"))
    #expect(try message(npy("<i3", shape: "(1, 2)", data: [0, 1, 1, 0, 1, 0])).contains("'<i3'"))
    #expect(
      try message(npy("|O", shape: "(2, 3)", data: [0, 1, 1, 0, 1, 0])).contains("Python objects"))
    var broken = good
    broken[11] = UInt8(ascii: "X")
    #expect(try message(broken).contains("byte 11: found 'X', expected a quoted key"))
  }

  @Test func badIDsAndCountsAreRefused() throws {
    #expect(
      try message(npy("|i1", shape: "(2, 2)", data: bytes([0, 1, -3, 0], "|i1")))
        .contains("token 1, layer 0: expert id -3"))
    var reading = TraceFile.Reading()
    reading.experts = 2
    #expect(
      try message(npy("|u1", shape: "(2, 2)", data: [0, 1, 1, 2]), reading)
        == "token 1, layer 1: expert id 2, expected 0 to 1")
    #expect(
      try message(npy("<i4", shape: "(1, 2, 2)", data: bytes([1, 2, -5, 0], "<i4")))
        .contains("negative count -5 at [0, 1, 0]"))
    #expect(
      try message(npy("<u8", shape: "(1, 1, 1)", data: [UInt8](repeating: 0xFF, count: 8)))
        .contains("18446744073709551615 at entry [0, 0, 0]"))
    #expect(
      try message(npy("<i4", shape: "(1, 2, 2)", data: bytes([0, 0, 0, 0], "<i4")))
        .contains("every count is 0"))
    reading = .init()
    reading.kind = .counts
    #expect(
      try message(npy("|u1", shape: "(2, 3)", data: [0, 1, 2, 2, 1, 0]), reading)
        .contains("read as counts, expected [layers - 1, experts, experts]"))
    do throws(FormatError) {
      _ = try TraceFile(scratch.path)
      Issue.record("a folder was read")
    } catch { #expect(error.message.hasPrefix("a folder without recordings")) }
    do throws(FormatError) {
      _ = try TraceFile(scratch.file("absent.npy"))
      Issue.record("an absent file was read")
    } catch { #expect(error.message == "no such file or directory") }
  }

  @Test(arguments: 0..<300) func damagedFilesNeverCrash(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    var file = npy(
      "<i2", shape: "(3, 2, 2)", data: bytes([0, 1, 2, 3, 1, 2, 3, 0, 2, 3, 0, 1], "<i2"))
    for _ in 0...random.next(below: 4) {
      switch random.next(below: 3) {
      case 0: file[random.next(below: file.count)] = UInt8(random.next(below: 256))
      case 1: file.remove(at: random.next(below: file.count))
      default: file.insert(UInt8(random.next(below: 128)), at: random.next(below: file.count))
      }
    }
    // Read or refused, both are fine; a trap fails the run.
    let result = try message(file)
    #expect(!result.isEmpty, "seed \(seed)")
  }

  @Test func writtenFilesAreGolden() throws {
    let counts = try TransitionCounts(layers: 2, experts: 2, weights: [1, 300, 3, 4])
    let path = scratch.file("counts.npy")
    try NpyWriter.write(counts, to: path)
    var expected: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0]
    let text = "{'descr': '<u2', 'fortran_order': False, 'shape': (1, 2, 2), }"
    expected += Array(text.utf8) + [UInt8](repeating: 0x20, count: 117 - text.utf8.count) + [0x0A]
    expected += [1, 0, 0x2C, 1, 3, 0, 4, 0]
    #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: path))) == expected)
    #expect(try TraceFile(path).counts == counts)
    let trace = try SyntheticTrace(layers: 3, experts: 300, tokens: 500, choices: 2)
    try NpyWriter.write(trace: trace.ids(), layers: 3, choices: 2, to: scratch.file("trace.npy"))
    let read = try TraceFile(scratch.file("trace.npy"))
    #expect(read.shape == [500, 3, 2] && read.choices == 2 && read.elementType == "<u2")
    var reading = TraceFile.Reading()
    reading.experts = 300
    #expect(try TraceFile(scratch.file("trace.npy"), reading).counts == trace.counts())
  }

  @Test func safetensors() throws {
    func file(_ header: String, _ data: [UInt8]) throws -> String {
      let length = (0..<8).map { UInt8(header.utf8.count >> (8 * $0) & 0xFF) }
      return try scratch.write(length + header.utf8 + data, "t.safetensors")
    }
    let trace = try TraceFile(
      file(
        #"{"__metadata__":{"by":"x"},"trace":{"dtype":"U8","shape":[2,3],"data_offsets":[0,6]}}"#,
        [0, 1, 2, 2, 1, 0]))
    #expect(trace.kind == .trace && trace.counts.experts == 3 && trace.tokens == 2)
    let counts = try TraceFile(
      file(
        #"{"counts":{"dtype":"I16","shape":[1,2,2],"data_offsets":[4,12]},"#
          + #""loads":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}}"#,
        [9, 8, 7, 6] + bytes([1, 2, 3, 4], "<i2")))
    #expect(counts.counts.weights == [1, 2, 3, 4] && counts.counts.loads == [9, 8, 7, 6])
    for (header, reason) in [
      (#"{"other":{"dtype":"U8","shape":[2,3],"data_offsets":[0,6]}}"#, "0 of the tensors"),
      (#"{"trace":{"dtype":"F16","shape":[3],"data_offsets":[0,6]}}"#, "holds F16"),
      (#"{"trace":{"dtype":"U8","shape":[2,3],"data_offsets":[0,7]}}"#, "outside"),
      (#"{"trace":{"dtype":"U8","shape":[2,4],"data_offsets":[0,6]}}"#, "expected 8 for shape"),
      (#"{"trace":{"dtype":"U8","shape":[2,3]}}"#, "data_offsets' is missing"),
      (#"{"trace":"#, "line 1, column"),
    ] {
      let path = try file(header, [0, 1, 2, 2, 1, 0])
      do throws(FormatError) {
        _ = try TraceFile(path)
        Issue.record("read: \(header)")
      } catch { #expect(error.message.contains(reason), "\(error)") }
    }
  }

  @Test func destinationsAreCountedByHand() throws {
    // Two tokens, two layers, top-2; experts {0,1} on GPU 0, {2,3} on GPU 1.
    let ids = [0, 1, 0, 2, 3, -1, 1, 3]
    var reading = TraceFile.Reading()
    reading.experts = 4
    reading.kind = .trace
    let trace = try TraceFile(
      try scratch.write(npy("|i1", shape: "(2, 2, 2)", data: bytes(ids, "|i1")), "k.npy"), reading)
    let placement = try Placement(
      topology: Topology(gpus: 2, nodes: 2), layers: 2, experts: 4,
      assignment: [0, 0, 1, 1, 0, 0, 1, 1])
    let sets = try #require(try TraceFile.tokenSets(of: [trace]))
    let sums = try sets.destinations(of: placement)
    #expect(sums.gpu == 1 + 2 + 1 + 2 && sums.node == 6 && sums.tokens == 4)
    #expect(sums.gpuPerLayer == [2, 4] && sums.gpusPerToken == 1.5)
  }
}
