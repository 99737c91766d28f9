import Colocate
import ColocateFormats
import Foundation
import Testing

/// Files whose format the user names: read as what they are said to be, whatever else they look
/// like, and refused by their own reader where they are not.
@Suite struct TraceFormatTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  private func reading(_ format: TraceFormat?) -> TraceFile.Reading {
    var reading = TraceFile.Reading()
    reading.recording.format = format
    return reading
  }

  private func message(_ path: String, _ format: TraceFormat?) -> String {
    do throws(FormatError) {
      _ = try TraceFile(path, reading(format))
      return "read"
    } catch { return error.message }
  }

  private func text(_ name: String) throws -> String {
    String(decoding: try RecordingSupport.bytes(name), as: UTF8.self)
  }

  /// Every kind of file, by every name: its own reads what the content tells, the others refuse it
  /// with a line.
  @Test func onlyTheRightNameReads() throws {
    let tensors = try scratch.write(
      safetensors([("trace", [4, 3], [0, 1, 2, 1, 2, 0, 2, 0, 1, 0, 0, 1])]), "t.safetensors")
    let array = try scratch.write(try RecordingSupport.bytes("trace-npz.npy"), "t.npy")
    for (path, own) in [
      (array, TraceFormat.npy), (RecordingSupport.fixture("trace-deflated.npz"), .npz),
      (tensors, .safetensors), (RecordingSupport.fixture("vllm.jsonl"), .vllm),
      (RecordingSupport.fixture("sglang.jsonl"), .sglang),
      (RecordingSupport.fixture("per_token.pt"), .sglangRecorder),
    ] {
      let expected = try TraceFile(path)
      for format in TraceFormat.allCases {
        do throws(FormatError) {
          let found = try TraceFile(path, reading(format))
          #expect(format == own, "\(path) read as \(format)")
          #expect(found.counts == expected.counts && found.tokens == expected.tokens)
          #expect(found.sha256 == expected.sha256)
        } catch {
          #expect(format != own, "\(error)")
          #expect(error.description.hasPrefix(path + ": ") && !error.message.contains("\n"))
        }
      }
    }
  }

  /// A first response that failed, as logs have it, hides the others from recognition.
  @Test func responsesAfterOneWithoutRows() throws {
    let failure = "{\"error\": {\"message\": \"no room\", \"code\": 503}}\n"
    for (name, format, other) in [
      ("vllm.jsonl", TraceFormat.vllm, TraceFormat.sglang), ("sglang.jsonl", .sglang, .vllm),
    ] {
      let path = try scratch.write(Array((failure + text(name)).utf8), "late-\(name)")
      let unknown = message(path, nil)
      #expect(unknown.contains("expected a .npy or .safetensors file, or --from vllm or sglang"))
      let expected = try TraceFile(RecordingSupport.fixture(name)).counts
      #expect(try TraceFile(path, reading(format)).counts == expected, "\(name)")
      #expect(message(path, other).contains("no response has routed experts"), "\(name)")
    }
  }

  /// One line that answers in both languages: each name takes its own entry.
  @Test func responsesOfTwoLanguages() throws {
    let sglang = try text("sglang.jsonl").split(separator: "\n")
    let vllm = try text("vllm.jsonl").split(separator: "\n")
    let both = zip(sglang, vllm).map { "\($0.dropLast()), \($1.dropFirst())" }
    let path = try scratch.write(Array(both.joined(separator: "\n").utf8), "both.jsonl")
    func counts(_ lines: ArraySlice<Substring>) throws -> TransitionCounts {
      try TraceFile(scratch.write(Array(lines.joined(separator: "\n").utf8), "one.jsonl")).counts
    }
    let (first, second) = (
      try counts(sglang.prefix(both.count)), try counts(vllm.prefix(both.count))
    )
    #expect(first != second)
    #expect(try TraceFile(path, reading(.sglang)).counts == first)
    #expect(try TraceFile(path, reading(.vllm)).counts == second)
  }

  /// A folder in which several tools left their files.
  @Test func foldersOfSeveralKinds() throws {
    _ = try scratch.write(try RecordingSupport.bytes("per_token.pt"), "rank_0.pt")
    _ = try scratch.write(try RecordingSupport.bytes("vllm.jsonl"), "answers.jsonl")
    #expect(message(scratch.path, nil) != "read")
    for (format, name) in [
      (TraceFormat.sglangRecorder, "per_token.pt"), (.vllm, "vllm.jsonl"),
    ] {
      let found = try TraceFile(scratch.path, reading(format))
      #expect(try found.counts == TraceFile(RecordingSupport.fixture(name)).counts)
    }
    // The files of that ending have to be what the name says.
    #expect(message(scratch.path, .sglang).contains("no response has routed experts"))
    #expect(message(scratch.path, .tensorRTLLM) == "no such file or directory")
    for format in [TraceFormat.npy, .npz, .safetensors] {
      #expect(
        message(scratch.path, format) == "a folder, expected a file (--from \(format.rawValue))")
    }
    #expect(message(RecordingSupport.fixture("trtllm"), .tensorRTLLM) == ExpertLoads.sayLittle)
    try FileManager.default.removeItem(atPath: scratch.file("answers.jsonl"))
    #expect(
      message(scratch.path, .vllm)
        == "a folder without recordings, expected files that end in .json, .jsonl")
  }

  /// What is wrong with a damaged file is said by the reader that was named, not by a guess.
  @Test func damagedFilesAreNamedByTheirReader() throws {
    let whole = try RecordingSupport.bytes("per_token.pt")
    let cut = try scratch.write(Array(whole.prefix(whole.count / 2)), "cut.pt")
    #expect(message(cut, .sglangRecorder).contains("it has no directory"))
    #expect(message(cut, .npz).contains("it has no directory"))
    #expect(message(cut, .npy) != "read" && message(cut, .safetensors) != "read")
    let empty = try scratch.write([], "empty")
    for format in TraceFormat.allCases { #expect(message(empty, format) != "read", "\(format)") }
  }

  /// Damage of every kind under every name.
  @Test(arguments: TraceFormat.allCases) func damagedFiles(format: TraceFormat) throws {
    let name =
      switch format {
      case .npy: "trace-npz.npy"
      case .npz: "trace-deflated.npz"
      case .vllm: "vllm.jsonl"
      case .sglang: "sglang.jsonl"
      case .sglangRecorder: "per_token.pt"
      case .safetensors, .tensorRTLLM: "trtllm/rank0.safetensors"
      }
    let good =
      format == .safetensors
      ? safetensors([("trace", [6, 3], (0..<18).map { $0 % 4 })])
      : try RecordingSupport.bytes(name)
    let expected =
      format == .sglangRecorder || format == .npz
      ? try TraceFile(scratch.write(good, "good"), reading(format)).counts : nil
    for seed in 0..<PlacementFuzzTests.count {
      var random = SeededGenerator(seed: UInt64(seed))
      let words = ["PK", "\"routed_experts\":", "\"trace\"", "{", "]", "'shape'", "null"]
      let path = try scratch.write(Mutation.damage(good, words, &random), "d")
      do throws(FormatError) {
        let found = try TraceFile(path, reading(format))
        // An archive's checksums guard every byte that counts.
        if let expected { #expect(found.counts == expected, "seed \(seed)") }
      } catch {
        #expect(error.description.hasPrefix(path + ": "), "seed \(seed): \(error)")
        #expect(!error.description.contains("\n"), "seed \(seed)")
      }
    }
  }
}
