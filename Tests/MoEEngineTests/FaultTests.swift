import Foundation
import Testing

// One at a time with the other tests that start several processes.
extension RankTests {
  /// `verify` with one message damaged on its way (see Faults/faults.c): it must never agree.
  ///
  /// The checkpoint is random-qwen3-moe, 3 layers, top-3, on 2 ranks (4 where messages change
  /// places), each a node. Each step has 6 MPI_Alltoallv (dispatch and combine of each layer), each
  /// run 3 steps (the prompt, two decoded tokens), so the runs begin at calls 0, 18 and 36: home,
  /// coherent, greedy. The contexts are gathered 6 times a coherent run: 4 in prefill, then once a
  /// step.
  @Suite struct FaultTests {
    static let name = "random-qwen3-moe"
    static let hidden = 32
    /// Words of a dispatched row: the hidden state, three ids and gates, and a coherent row's id.
    static let homeRow = hidden + 6
    static let coherentRow = hidden + 7

    struct Fault: CustomStringConvertible {
      var kind: String
      var collective = "alltoallv"
      var call: Int
      var ranks = 2
      var rank = 1
      var word = 0
      var row = coherentRow
      /// What a disagreement, or the error, must say; empty where MPI itself ends the job.
      var says: String
      /// Whether the logits must be found different as well.
      var changesLogits = true
      var description: String { "\(kind) in \(collective) \(call), word \(word)" }
    }

    /// Builds the library; `mpicc` comes with Open MPI's headers.
    private func library(_ scratch: Scratch) throws -> String {
      let path = scratch.path("faults.so")
      let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Faults/faults.c").path
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["mpicc", "-shared", "-fPIC", "-O1", "-Wall", "-o", path, source]
      try process.run()
      process.waitUntilExit()
      try #require(process.terminationStatus == 0)
      return path
    }

    private func verify(_ fault: Fault, _ library: String) throws -> Program.Result {
      try Program.run(
        fault.ranks,
        [
          "verify", "--model", Fixture.checkpoint(Self.name), "--tokens",
          "\(Fixture.folder)/\(Self.name)/ids.npy", "--new", "3", "--ranks-per-node", "1", "--json",
        ],
        exports: [
          "LD_PRELOAD": library, "FAULT_ROW": "\(fault.row)", "FAULT_WIDTH": "\(Self.hidden)",
          "FAULT": "\(fault.kind) \(fault.collective) \(fault.call) \(fault.rank) \(fault.word)",
        ])
    }

    static let faults = [
      // The baseline itself, in the prompt and in the first decoded token.
      Fault(kind: "zero", call: 2, row: homeRow, says: "dispatch"),
      Fault(kind: "drop", call: 6, row: homeRow, says: "dispatch"),
      // Partial sums of coherent runs, read and decoded.
      Fault(kind: "droprow", call: 25, row: hidden, says: "combine"),
      Fault(kind: "misroute", call: 39, ranks: 4, row: hidden, says: "combine"),
      Fault(kind: "nan", call: 21, row: hidden, says: "not a finite number"),
      // The lowest bit of one number: less than any comparison of logits can tell from rounding.
      Fault(kind: "flip", call: 20, says: "dispatch", changesLogits: false),
      // A whole row comes twice, a gate is another.
      Fault(kind: "duplicate", call: 18, says: "dispatch"),
      Fault(kind: "high", call: 20, word: hidden + 5, says: "dispatch"),
      // All of a layer's context.
      Fault(kind: "drop", collective: "allgatherv", call: 1, says: "context"),
      // One row less is announced than comes.
      Fault(kind: "less", collective: "alltoall", call: 9, says: ""),
    ]

    @Test func noDamagedMessagePasses() throws {
      let scratch = try Scratch()
      let library = try library(scratch)
      for fault in Self.faults {
        let run = try verify(fault, library)
        #expect(run.errors.contains("fault: done"), "\(fault): it did not take place")
        #expect(run.code != 0, "\(fault): \(run.output)")
        guard run.code == 5 else {
          #expect(
            fault.says.isEmpty || run.errors.contains(fault.says), "\(fault): \(run.errors)")
          continue
        }
        let lines = try VerificationReport(run.output).runs.flatMap(\.disagreements)
        #expect(lines.contains { $0.contains(fault.says) }, "\(fault): \(lines)")
        guard fault.changesLogits else { continue }
        let logits = ["a logit differs", "a logit is not a finite number"]
        #expect(
          lines.contains { line in logits.contains { line.contains($0) } }, "\(fault): \(lines)")
      }
    }

    @Test func messagesOfLowerPrecisionAreSeenInTheLogits() throws {
      let scratch = try Scratch()
      let library = try library(scratch)
      // The library alone changes nothing.
      let sound = try verify(Fault(kind: "none", call: -1, ranks: 4, rank: -1, says: ""), library)
      #expect(sound.code == 0, "\(sound.output) \(sound.errors)")
      #expect(!sound.errors.contains("fault: done"))
      // Every hidden state and partial sum of every run: each run must differ from the baseline.
      let run = try verify(Fault(kind: "bfloat16", call: -1, ranks: 4, rank: -1, says: ""), library)
      try #require(run.code == 5, "\(run.output) \(run.errors)")
      let report = try VerificationReport(run.output)
      for run in report.runs.dropFirst() {
        #expect(
          run.disagreements.contains { $0.contains("a logit differs") }, "\(run.disagreements)")
        let largest = try #require(run.largestLogitDifference)
        #expect(largest > 10 * report.logitTolerance)
      }
    }

    @Test func logitsThatAreNotNumbers() throws {
      // The last number of the file, in a copy of a checkpoint, is the largest that there is: every
      // run has the same infinite logits. (A weight that is no number is refused by the reader.)
      let scratch = try Scratch()
      let name = "random-mixtral-top1"
      for file in ["config.json", "model.safetensors"] {
        try FileManager.default.copyItem(
          atPath: "\(Fixture.checkpoint(name))/\(file)", toPath: scratch.path(file))
      }
      var data = try Data(contentsOf: URL(fileURLWithPath: scratch.path("model.safetensors")))
      data.replaceSubrange(data.count - 4..<data.count, with: [0xFF, 0xFF, 0x7F, 0x7F])
      try data.write(to: URL(fileURLWithPath: scratch.path("model.safetensors")))
      let run = try Program.run(
        1,
        [
          "verify", "--model", scratch.folder.path, "--tokens", "\(Fixture.folder)/\(name)/ids.npy",
          "--new", "2",
        ])
      #expect(run.code == 5, "\(run.output) \(run.errors)")
      #expect(run.output.contains("not a finite number"), "\(run.output)")
      #expect(run.output.contains("NOT everything agrees."))
    }
  }
}
