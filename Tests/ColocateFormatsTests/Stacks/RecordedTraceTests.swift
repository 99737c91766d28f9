import Colocate
import ColocateFormats
import Foundation
import Testing

/// Recordings where a trace is asked for: dense layers are found, dropped and remembered.
@Suite struct RecordedTraceTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// `W` of ids `[tokens, L, 4]` by its definition.
  private func transitions(_ ids: [Int], layers: Int) -> [Int] {
    var weights = [Int](repeating: 0, count: (layers - 1) * 16 * 16)
    for start in stride(from: 0, to: ids.count, by: layers * 4) {
      for boundary in 0..<(layers - 1) {
        let at = start + boundary * 4
        for i in ids[at..<(at + 4)] {
          for j in ids[(at + 4)..<(at + 8)] { weights[(boundary * 16 + i) * 16 + j] += 1 }
        }
      }
    }
    return weights
  }

  private func truth(_ name: String) throws -> [Int] {
    try #require(PlainReading.npy(try RecordingSupport.bytes(name))).values
  }

  @Test func samplesAreCountedToTheirTruth() throws {
    let all = [1, 2, 4, 5]
    for (name, moe, ids) in [
      ("per_token.pt", [1, 2, 3, 4, 5], try truth("recorder-logical.npy")),
      ("vllm.jsonl", all, try truth("vllm.npy")),
      (
        "sglang.jsonl", all,
        RecordingSupport.layers(all, of: try truth("sglang.npy"), layers: 6, choices: 4)
      ),
    ] {
      let trace = try TraceFile(RecordingSupport.fixture(name))
      #expect(trace.kind == .trace && trace.choices == 4 && trace.moeLayers == moe, "\(name)")
      #expect(trace.tokens == ids.count / 4 / moe.count, "\(name)")
      #expect(trace.counts.experts == 16, "\(name)")
      #expect(trace.counts.weights == transitions(ids, layers: moe.count), "\(name)")
      #expect(trace.remarks.contains { $0.text.contains("dense") }, "\(name)")
      var named = TraceFile.Reading()
      named.moeLayers = Array(moe.prefix(2))
      let two = try TraceFile(RecordingSupport.fixture(name), named)
      #expect(two.moeLayers == named.moeLayers && two.counts.layers == 2, "\(name)")
      #expect(try two.sha256 == Digest.sha256(ofFile: RecordingSupport.fixture(name)))
    }
  }

  @Test func archivesOfNumpyAreTraces() throws {
    let path = try scratch.write(try RecordingSupport.bytes("trace-npz.npy"), "t.npy")
    let expected = try TraceFile(path).counts
    for name in ["trace-stored.npz", "trace-deflated.npz"] {
      #expect(try TraceFile(RecordingSupport.fixture(name)).counts == expected, "\(name)")
    }
    let (one, other) = (try RecordingSupport.bytes("trace-npz.npy"), "counts.npy")
    let single = try scratch.write(RecordingSupport.zip([("x.npy", one)]), "one.npz")
    #expect(try TraceFile(single).counts == expected)
    for (members, reason) in [
      ([("x.npy", one), ("y.npy", one)], "0 of the arrays 'trace' and 'counts'"),
      ([("trace.npy", one), (other, one)], "2 of the arrays 'trace' and 'counts'"),
    ] {
      let path = try scratch.write(RecordingSupport.zip(members), "bad.npz")
      do throws(FormatError) {
        _ = try TraceFile(path)
        Issue.record("read, expected: \(reason)")
      } catch { #expect(error.message.contains(reason), "\(error)") }
    }
  }

  /// Counts with loads beside them.
  @Test func archivesOfCounts() throws {
    let counts = npy(
      "<i8", shape: "(1, 2, 2)", data: bytes([3, 1, 0, 2], "<i8"))
    let loads = npy("<i8", shape: "(2, 2)", data: bytes([4, 2, 3, 3], "<i8"))
    let path = try scratch.write(
      RecordingSupport.zip([("counts.npy", counts), ("loads.npy", loads)]), "c.npz")
    let read = try TraceFile(path)
    #expect(read.kind == .counts && read.counts.weights == [3, 1, 0, 2])
    #expect(read.counts.loads == [4, 2, 3, 3])
  }

  @Test func whatARecordingCannotVouchForIsRefused() throws {
    for name in ["per_pass.pt", "stat.pt", "trtllm"] {
      do throws(FormatError) {
        _ = try TraceFile(RecordingSupport.fixture(name))
        Issue.record("loads were read as a trace: \(name)")
      } catch { #expect(error.message.contains("which expert follows which"), "\(error)") }
    }
    var first = TraceFile.Reading()
    first.counting = .first
    var counts = TraceFile.Reading()
    counts.kind = .counts
    for name in ["per_token.pt", "vllm.jsonl", "sglang.jsonl"] {
      for (reading, reason) in [(first, "best expert first"), (counts, "read as counts")] {
        do throws(FormatError) {
          _ = try TraceFile(RecordingSupport.fixture(name), reading)
          Issue.record("read: \(name)")
        } catch { #expect(error.message.contains(reason), "\(error)") }
      }
    }
  }

  @Test func foldersAreTracesOfAllTheirFiles() throws {
    let bytes = try RecordingSupport.bytes("per_token.pt")
    for rank in 0..<3 { _ = try scratch.write(bytes, "rank_\(rank).pt") }
    let all = try TraceFile(scratch.path)
    let one = try TraceFile(RecordingSupport.fixture("per_token.pt"))
    #expect(all.counts.weights == one.counts.weights.map { 3 * $0 })
    #expect(all.tokens == 240 && all.sha256 != one.sha256)
    _ = try scratch.write(Array("{}".utf8), "other.json")
    #expect(throws: FormatError.self) { try TraceFile(scratch.path) }
  }
}
