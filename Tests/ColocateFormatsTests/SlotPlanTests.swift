import Colocate
import ColocateFormats
import Foundation
import Testing

/// The tool's own plan where experts have copies.
@Suite struct SlotPlanTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// 2 layers × 3 experts in 4 slots on 2 nodes × 1 GPU.
  private func file() throws -> SlotPlanFile {
    var file = try SlotPlanFile(
      SlotPlan(
        topology: Topology(gpus: 2, nodes: 2), experts: 3, slots: [[0, 1, 0, 2], [1, 2, 0, 1]]))
    let layers = try [[[0, 1], [0, 2], [0]], [[1, 2], [1, 2], [0]]].map { sets in
      try TokenSets.Layer(experts: 3, sets: sets)
    }
    file.objective = .joint(interNode: 4, intraNode: 1)
    file.dispatch = .uniform
    file.loadCap = try LoadCap(1.5)
    file.stopReason = .time
    file.destinations = try TokenSets(experts: 3, layers: layers).destinations(
      of: file.plan, rule: .uniform)
    file.traces = [.init(file: "a.npy", sha256: "00ff")]
    file.moeLayers = [1, 3]
    file.options = [("redundant", 1)]
    file.tool = "colocate 0"
    return file
  }

  static let golden = #"""
    {
      "format": "colocate-slots",
      "version": 1,
      "layers": 2,
      "experts": 3,
      "topology": {
        "nodes": 2,
        "gpus_per_node": 1
      },
      "objective": {
        "mode": "home",
        "name": "joint",
        "inter_node": 4,
        "intra_node": 1
      },
      "dispatch": "uniform",
      "load_cap": {
        "numerator": 15,
        "denominator": 10,
        "relaxed_to_feasible": false
      },
      "status": "feasible",
      "stop_reason": "time",
      "value": 32.0,
      "bound": null,
      "destinations": {
        "tokens": 6,
        "gpus": 8.0,
        "nodes": 8.0,
        "rows": 4.0,
        "gpus_per_token": 1.3333333333333333,
        "nodes_per_token": 1.3333333333333333,
        "rows_per_token": 0.6666666666666666,
        "gpus_per_layer": [4.0, 4.0],
        "nodes_per_layer": [4.0, 4.0],
        "rows_per_layer": [2.0, 2.0]
      },
      "load": {
        "max_over_mean": 1.2,
        "per_layer": [
          [2.5, 2.5],
          [3.0, 2.0]
        ]
      },
      "traces": [
        {
          "file": "a.npy",
          "sha256": "00ff"
        }
      ],
      "moe_layers": [1, 3],
      "options": {
        "redundant": 1
      },
      "slots": [
        [0, 1, 0, 2],
        [1, 2, 0, 1]
      ],
      "tool": "colocate 0"
    }

    """#

  @Test func writtenPlanIsGoldenAndReadsBack() throws {
    let file = try file()
    let path = scratch.file("slots.json")
    try file.write(to: path)
    #expect(try String(contentsOfFile: path, encoding: .utf8) == Self.golden)
    let read = try SlotPlanFile.read(path)
    #expect(read.plan == file.plan && read.objective == file.objective)
    #expect(read.dispatch == .uniform && read.loadCap == file.loadCap && read.stopReason == .time)
    #expect(read.traces == file.traces && read.moeLayers == [1, 3] && read.tool == file.tool)
    #expect(SlotPlanFile.isNamed(by: path) && scratch.contents == ["slots.json"])
  }

  @Test(arguments: 0..<40) func roundTrips(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let placement = try PlacementFormatTests.random(&random, replicas: true)
    let path = scratch.file("p.json")
    try PlacementWriter.write(placement, as: .colocate, to: path)
    let read = try PlacementReader.read(path).placement
    #expect(read.modelLayers == placement.modelLayers, "seed \(seed)")
    if placement.plan.redundant > 0 {
      #expect(read.plan == placement.plan && SlotPlanFile.isNamed(by: path), "seed \(seed)")
      #expect(throws: FormatError.self) { try PlanFile.read(path) }
    } else {
      #expect(try read.plan.placement() == placement.plan.placement(), "seed \(seed)")
      #expect(try PlanFile.read(path).placement == placement.plan.placement(), "seed \(seed)")
    }
  }

  @Test func badPlansAreRefusedWithTheirPlace() throws {
    for (find, replacement, reason) in [
      ("\"colocate-slots\"", "\"other\"", "format 'other', expected 'colocate-slots'"),
      ("\"version\": 1", "\"version\": 2", "version 2, expected 1"),
      ("\"layers\": 2", "\"layers\": 3", "slots with 2 rows, expected 3 layers"),
      ("[0, 1, 0, 2]", "[0, 1, 0]", "3 slots do not spread evenly over 2 GPUs"),
      ("[1, 2, 0, 1]", "[1, 2, 0]", "layer 1: 3 slots, expected 4 as in layer 0"),
      ("[0, 1, 0, 2]", "[0, 1, 0, 1]", "layer 0: no slot holds expert 2"),
      ("[0, 1, 0, 2]", "[0, 1, 3, 2]", "layer 0, slot 2: expert 3, expected 0 to 2"),
      ("[0, 1, 0, 2]", "[0, 0, 1, 2]", "layer 0: GPU 0 holds expert 0 twice"),
      ("[0, 1, 0, 2]", "[0, 1, 0, \"x\"]", "'slots[0][3]' is \"x\", expected an integer"),
      ("[0, 1, 0, 2]", "7", "'slots[0]' is 7, expected an array"),
      ("\"experts\": 3", "\"experts\": 5", "4 slots for 5 experts"),
      ("\"nodes\": 2", "\"nodes\": 0", "0 nodes"),
      ("\"slots\": [", "\"slot\": [", "key 'slots' is missing"),
      ("\"uniform\"", "\"best\"", "'dispatch' is \"best\", expected one of vllm, sglang"),
      ("\"joint\"", "\"rows\"", "objective 'rows' in mode 'home'"),
      ("\"intra_node\": 1", "\"intra_node\": 1, \"crossing_weight\": 2", "destinations alone"),
      ("[1, 3]", "[3, 1]", "'moe_layers' is [3, 1], expected 2 ascending"),
      ("\"numerator\": 15", "\"numerator\": 5", "a load cap of 5/10"),
    ] {
      let text = Self.golden.replacingOccurrences(of: find, with: replacement)
      #expect(text != Self.golden)
      let path = try scratch.write(Array(text.utf8), "bad.json")
      do throws(FormatError) {
        _ = try SlotPlanFile.read(path)
        Issue.record("\(replacement) is read")
      } catch {
        #expect(error.file == path && error.message.contains(reason), "\(replacement): \(error)")
        #expect(!error.description.contains("\n"))
      }
    }
    #expect(throws: ModelError.self, "an expert twice on a GPU") {
      try PlacementWriter.text(PlacementFormatTests.replicated(), as: .colocate)
    }
  }

  /// What knows one slot for each expert says that it has met copies.
  @Test func readersOfPlacementsSayWhatItIs() throws {
    let path = try scratch.write(Array(Self.golden.utf8), "slots.json")
    do throws(FormatError) {
      _ = try PlanFile.read(path)
      Issue.record("read as a placement")
    } catch {
      #expect(error.message.contains("'colocate-slots', a plan with copies of experts"))
    }
    let stack = try PlacementReader.read(path).placement
    for format in [PlacementFormat.exflow, .lmdeploy] {
      do throws(ModelError) {
        _ = try PlacementWriter.text(stack, as: format)
        Issue.record("\(format) is written")
      } catch {
        let text = "1 redundant slots, expected none: \(format.rawValue) has one place"
        #expect(error.description.contains(text), "\(error)")
      }
    }
    for format in PlacementFormat.allCases where format.hasReplicas {
      let file = scratch.file("x.json")
      try PlacementWriter.write(stack, as: format, to: file)
      let read = try PlacementReader.read(file, as: format, PlacementFormatTests.reading(stack))
      #expect(read.placement.plan.slots == stack.plan.slots, "\(format)")
    }
  }
}
