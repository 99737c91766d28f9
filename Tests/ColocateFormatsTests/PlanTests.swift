import Colocate
import ColocateFormats
import Foundation
import Testing

@Suite struct PlanTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// 2 layers × 4 experts on 2 nodes × 1 GPU, worked out by hand.
  private func plan() throws -> PlanFile {
    let counts = try TransitionCounts(
      layers: 2, experts: 4, weights: [5, 0, 0, 1, 0, 2, 0, 0, 0, 3, 4, 0, 0, 0, 0, 6])
    let placement = try Placement(
      topology: Topology(gpus: 2, nodes: 2), layers: 2, experts: 4,
      assignment: [0, 0, 1, 1, 0, 0, 1, 1])
    var plan = try PlanFile(
      placement: placement, on: counts, objective: .joint(interNode: 4, intraNode: 1))
    plan.loadCap = try LoadCap(1.5, relaxedToFeasible: true)
    plan.status = .feasible
    plan.stopReason = .time
    plan.bound = 12
    plan.traces = [.init(file: "a \"b\"\n.npy", sha256: "00ff")]
    plan.options = [("seed", 7), ("time_limit", nil), ("gap", .number(0.25)), ("proof", true)]
    plan.tool = "colocate 0"
    return plan
  }

  static let golden = #"""
    {
      "format": "colocate-plan",
      "version": 1,
      "layers": 2,
      "experts": 4,
      "topology": {
        "nodes": 2,
        "gpus_per_node": 1
      },
      "objective": {
        "name": "joint",
        "inter_node": 4,
        "intra_node": 1
      },
      "load_cap": {
        "numerator": 15,
        "denominator": 10,
        "relaxed_to_feasible": true
      },
      "status": "feasible",
      "stop_reason": "time",
      "value": 16,
      "bound": 12,
      "gap": 0.25,
      "crossings": {
        "total": 21,
        "gpu": 4,
        "gpu_share": 0.19047619047619047,
        "node": 4,
        "node_share": 0.19047619047619047,
        "gpu_per_boundary": [4],
        "node_per_boundary": [4]
      },
      "load": {
        "max_over_mean": 1.2380952380952381,
        "per_layer": [
          [8, 13],
          [10, 11]
        ]
      },
      "traces": [
        {
          "file": "a \"b\"\n.npy",
          "sha256": "00ff"
        }
      ],
      "options": {
        "seed": 7,
        "time_limit": null,
        "gap": 0.25,
        "proof": true
      },
      "assignment": [
        [0, 0, 1, 1],
        [0, 0, 1, 1]
      ],
      "tool": "colocate 0"
    }

    """#

  @Test func writtenPlanIsGoldenAndReadsBack() throws {
    let plan = try plan()
    let path = scratch.file("plan.json")
    try plan.write(to: path)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == Self.golden)
    let read = try PlanFile.read(path)
    #expect(read.placement == plan.placement && read.objective == plan.objective)
    #expect(read.loadCap == plan.loadCap && read.status == .feasible && read.stopReason == .time)
    #expect(read.value == 16 && read.bound == 12 && read.traces == plan.traces)
    #expect(read.tool == plan.tool && scratch.contents == ["plan.json"])
  }

  @Test func unknownBoundsAreNullAndRecordsAreRead() throws {
    var plan = try plan()
    plan.bound = nil
    plan.options = [("top_k", "first"), ("coactivation", true)]
    let path = scratch.file("plan.json")
    try plan.write(to: path)
    let text = try String(contentsOfFile: path, encoding: .utf8)
    #expect(text.contains("  \"value\": 16,\n  \"bound\": null,\n  \"gap\": null,\n"))
    let read = try PlanFile.read(path)
    #expect(read.value == 16 && read.bound == nil && read.gap == nil)
    #expect(read.counting == .first && read.coactivation == true)
    // As 0.1.0 wrote it: no bound at all.
    let old = text.replacingOccurrences(of: "  \"bound\": null,\n  \"gap\": null,\n", with: "")
    #expect(try PlanFile.read(try scratch.write(Array(old.utf8), "old.json")).bound == nil)
    // And its word for the limit on tree nodes.
    let limited = text.replacingOccurrences(
      of: "\"stop_reason\": \"time\"", with: "\"stop_reason\": \"nodes\"")
    #expect(limited != text)
    let stopped = try PlanFile.read(try scratch.write(Array(limited.utf8), "limited.json"))
    #expect(stopped.stopReason == .treeNodes)
  }

  @Test func badPlansAreRefusedWithTheirPlace() throws {
    let good = Self.golden
    for (find, replacement, reason) in [
      ("\"colocate-plan\"", "\"other\"", "format 'other', expected 'colocate-plan'"),
      ("\"version\": 1", "\"version\": 2", "version 2, expected 1"),
      ("\"layers\": 2", "\"layers\": 3", "assignment with 2 rows, expected 3 layers"),
      ("[0, 0, 1, 1],", "[0, 0, 1],", "assignment[0] has 3 entries, expected 4 experts"),
      ("[0, 0, 1, 1],", "[0, 0, 1, 2],", "layer 0, expert 3 is on GPU 2"),
      ("[0, 0, 1, 1],", "[0, 0, 1, 0],", "layer 0: GPU 0 holds 3 experts, expected 2"),
      ("[0, 0, 1, 1],", "[0, 0, 1, \"x\"],", "'assignment[0][3]' is \"x\", expected an integer"),
      ("[0, 0, 1, 1],", "[0, 0, 1, 0.5],", "'assignment[0][3]' is 0.5, expected an integer"),
      ("\"nodes\": 2", "\"nodes\": 0", "0 nodes"),
      ("\"nodes\": 2", "\"nodes\": 9000000000000000000", "9000000000000000000 nodes"),
      ("\"topology\"", "\"typology\"", "key 'topology' is missing"),
      ("\"joint\"", "\"best\"", "'objective.name' is \"best\", expected one of flat"),
      ("\"nodes\": 2", "\"nodes\": 4611686018427387905", "expected 1 to 1000000 of each"),
      ("\"intra_node\": 1", "\"intra_node\": 5", "joint weights 4 (between nodes) and 5"),
      ("\"intra_node\": 1", "\"intranode\": 1", "unknown key 'objective.intranode'"),
      ("\"relaxed_to_feasible\": ", "\"relaxed\": ", "unknown key 'load_cap.relaxed'"),
      ("\"numerator\": 15", "\"numerator\": 5", "a load cap of 5/10"),
      ("\"inter_node\": 4", "\"inter_node\": 4000000000000", "joint weights 4000000000000"),
      ("\"bound\": 12", "\"bound\": -12", "'bound' is -12, expected 0 or more"),
      ("\"stop_reason\": \"time\"", "\"stop_reason\": \"luck\"", "'stop_reason' is \"luck\""),
      (
        "\"feasible\"", "\"fine\"",
        "'status' is \"fine\", expected one of optimal, feasible, infeasible"
      ),
      (
        "\"assignment\": [", "\"assignment\": ",
        "column 5: found '[0, 0, 1, 1]', expected a quoted key"
      ),
      ("0, 1, 1]", "0, 01x, 1]", "found '01x"),
      ("colocate 0", "colocate \\q", "expected an escape"),
      ("colocate 0", "a\u{0}", "no control character"),
    ] {
      let path = try scratch.write(
        Array(good.replacingOccurrences(of: find, with: replacement).utf8), "bad.json")
      do throws(FormatError) {
        _ = try PlanFile.read(path)
        Issue.record("read with \(replacement)")
      } catch {
        #expect(error.message.contains(reason), "\(error)")
        #expect(!error.description.contains("\n"))
      }
    }
  }

  @Test func exFlowTable() throws {
    let placement = try Placement(
      topology: Topology(gpus: 2), layers: 2, experts: 2, assignment: [1, 0, 0, 1])
    let path = scratch.file("plan.csv")
    try ExFlowCSV.write(placement, to: path)
    #expect(
      try String(contentsOfFile: path, encoding: .utf8) == "Expert,Node\n0,1\n1,0\n2,0\n3,1\n")
    #expect(try ExFlowCSV.read(path, layers: 2, experts: 2) == placement)
    // Any order of lines, Windows line ends, blanks.
    let other = try scratch.write(
      Array("Expert,Node\r\n3, 1\r\n0,1\r\n2,0\r\n1,0\r\n".utf8), "other.csv")
    #expect(try ExFlowCSV.read(other, layers: 2, experts: 2) == placement)
    for (text, reason) in [
      ("", "expected 'Expert,Node'"), ("Expert;Node\n", "line 1"),
      ("Expert,Node\n0,1\n1,0\n2,0\n", "no line for expert 3 (layer 1, expert 1)"),
      ("Expert,Node\n0,1\n0,1\n", "line 3: expert 0 a second time"),
      ("Expert,Node\n0,1\n4,1\n", "line 3: expert 4, expected 0 to 3"),
      ("Expert,Node\n0,7\n", "line 2: GPU 7, expected 0 to 1"),
      ("Expert,Node\n0\n", "line 2: found '0', expected two integers"),
      ("Expert,Node\n0,1\n1,1\n2,0\n3,0\n", "layer 0: GPU 0 holds 0 experts"),
    ] {
      let bad = try scratch.write(Array(text.utf8), "bad.csv")
      do throws(FormatError) {
        _ = try ExFlowCSV.read(bad, layers: 2, experts: 2)
        Issue.record("read: \(text)")
      } catch { #expect(error.message.contains(reason), "\(error)") }
    }
  }
}
