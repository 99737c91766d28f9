import Colocate
import ColocateFormats
import Foundation
import Testing

/// The stacks' placement files: golden texts, round trips, refusals.
@Suite struct PlacementFormatTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// 2 MoE layers (1 and 3 of 4) × 4 experts on 2 GPUs.
  static func small() throws -> StackPlacement {
    try StackPlacement(
      plan: SlotPlan(
        topology: Topology(gpus: 2), experts: 4, slots: [[2, 0, 1, 3], [3, 1, 0, 2]]),
      modelLayers: [1, 3], hiddenLayers: 4)
  }

  /// The same with replicas; GPU 1 has expert 3 of the first layer twice.
  static func replicated() throws -> StackPlacement {
    try StackPlacement(
      plan: SlotPlan(
        topology: Topology(gpus: 2), experts: 4,
        slots: [[2, 0, 3, 3, 1, 3], [3, 1, 0, 0, 3, 2]]),
      modelLayers: [1, 3], hiddenLayers: 4)
  }

  static let golden: [(PlacementFormat, String)] = [
    (
      .sglang,
      """
      {
        "physical_to_logical_map": [
          [0, 1, 2, 3],
          [2, 0, 1, 3],
          [0, 1, 2, 3],
          [3, 1, 0, 2]
        ]
      }

      """
    ),
    (
      .tensorRTLLM,
      """
      num_slots: 4
      initial_global_assignments:
        1: [2, 0, 1, 3]
        3: [3, 1, 0, 2]
      layer_updates_per_iter: 0

      """
    ),
    (
      .vllm,
      #"{"record_type":"eplb_initial_mapping","version":1,"num_redundant_experts":0,"#
        + #""num_slots":4,"initial_global_assignments":{"0":[2,0,1,3],"1":[3,1,0,2]}}"# + "\n"
    ),
    (.vllmMap, "[\n  [2, 0, 1, 3],\n  [3, 1, 0, 2]\n]\n"),
    (.exflow, "Expert,Node\n0,0\n1,1\n2,0\n3,1\n4,1\n5,0\n6,1\n7,0\n"),
    (
      .lmdeploy,
      """
      [
        [8, 7, 6, 5],
        [5, 7, 8, 6],
        [8, 7, 6, 5],
        [7, 5, 6, 8]
      ]

      """
    ),
  ]

  @Test func goldenFiles() throws {
    let small = try Self.small()
    for (format, text) in Self.golden {
      #expect(try PlacementWriter.text(small, as: format) == text, "\(format)")
    }
    // As a program reads it, not as text.
    let ascend = try JSONSerialization.jsonObject(
      with: Data(try PlacementWriter.text(small, as: .vllmAscend).utf8))
    let device = { (id: Int, held: [Int]) -> [String: Any] in
      ["device_id": id, "device_expert": held]
    }
    let layer = { (id: Int, devices: [[String: Any]]) -> [String: Any] in
      ["layer_id": id, "device_count": 2, "device_list": devices]
    }
    let expected: [String: Any] = [
      "moe_layer_count": 2,
      "layer_list": [
        layer(0, [device(0, [2, 0]), device(1, [1, 3])]),
        layer(1, [device(0, [3, 1]), device(1, [0, 2])]),
      ],
    ]
    #expect((ascend as? NSDictionary) == (expected as NSDictionary))
  }

  /// What a reader must be told to get `placement` back.
  static func reading(_ placement: StackPlacement) -> PlacementReading {
    var reading = PlacementReading()
    reading.gpus = placement.plan.topology.gpus
    reading.experts = placement.plan.experts
    reading.moeLayers = placement.modelLayers
    reading.hiddenLayers = placement.hiddenLayers
    return reading
  }

  /// A random placement of random sizes.
  static func random(_ random: inout SeededGenerator, replicas: Bool) throws -> StackPlacement {
    let gpus = 1 + random.next(below: 4)
    let experts = gpus * (2 + random.next(below: 4))
    let redundant = replicas && gpus > 1 ? gpus * random.next(below: 3) : 0
    let hidden = 2 + random.next(below: 5)
    let layers = (0..<hidden).shuffled(using: &random).prefix(1 + random.next(below: hidden))
    let slots = layers.map { _ -> [Int] in
      // Replicas of different experts, none beside its expert: vLLM-Ascend takes no others.
      let gpuOf = Array(0..<experts).shuffled(using: &random)
      let perGPU = experts / gpus
      return (0..<gpus).flatMap { gpu -> [Int] in
        let own = Array(gpuOf[(gpu * perGPU)..<((gpu + 1) * perGPU)])
        let others = gpuOf.filter { !own.contains($0) }.shuffled(using: &random)
        return (own + others.prefix(redundant / gpus)).shuffled(using: &random)
      }
    }
    return try StackPlacement(
      plan: SlotPlan(topology: Topology(gpus: gpus), experts: experts, slots: slots),
      modelLayers: layers.sorted(), hiddenLayers: hidden)
  }

  @Test func roundTripsOfEveryFormat() throws {
    for seed in 0..<60 {
      var random = SeededGenerator(seed: UInt64(seed))
      for format in PlacementFormat.allCases {
        let placement = try Self.random(&random, replicas: format.hasReplicas)
        let name = format == .vllm ? "p.jsonl" : "p.json"
        let path = scratch.file(name)
        try PlacementWriter.write(placement, as: format, to: path)
        let read = try PlacementReader.read(path, as: format, Self.reading(placement)).placement
        #expect(read.modelLayers == placement.modelLayers, "seed \(seed), \(format)")
        #expect(read.hiddenLayers == placement.hiddenLayers, "seed \(seed), \(format)")
        // One slot for each expert is a placement there, which has no order on a GPU.
        if format == .exflow || format == .colocate && placement.plan.redundant == 0 {
          #expect(
            try read.plan.placement() == placement.plan.placement(), "seed \(seed), \(format)")
        } else {
          #expect(read.plan == placement.plan, "seed \(seed), \(format)")
        }
      }
    }
  }

  @Test func contentTellsTheFormat() throws {
    let small = try Self.small()
    for format in PlacementFormat.allCases {
      let path = scratch.file("x.json")
      try PlacementWriter.write(small, as: format, to: path)
      let read = try PlacementReader.read(path, Self.reading(small))
      #expect(read.format == format)
      #expect(try read.placement.plan.placement() == small.plan.placement(), "\(format)")
    }
  }

  @Test func otherWritingsOfTheSame() throws {
    let expected = try Self.small().plan
    var reading = PlacementReading()
    reading.gpus = 2
    for (format, text) in [
      // As PyYAML writes it, and by hand.
      (
        PlacementFormat.tensorRTLLM,
        "initial_global_assignments:\n  1:\n  - 2\n  - 0\n  - 1\n  - 3\n  3:\n  - 3\n  - 1\n"
          + "  - 0\n  - 2\nlayer_updates_per_iter: 0\nnum_slots: 4\n"
      ),
      (
        .tensorRTLLM,
        "# a plan\r\n---\nnum_slots: 4 # slots\ninitial_global_assignments: {3: [3, 1,\n"
          + "   0, 2], 1: [2, 0, 1, 3,]}\n"
      ),
      (
        .vllm,
        #"{"record_type":"other"}"# + "\n\n"
          + #"{"version":1,"record_type":"eplb_initial_mapping","num_redundant_experts":0,"#
          + #""num_slots":4,"initial_global_assignments":{"1":[3,1,0,2],"0":[2,0,1,3]}}"#
      ),
    ] {
      let path = try scratch.write(Array(text.utf8), "y.txt")
      let read = try PlacementReader.read(path, reading)
      #expect(read.format == format && read.placement.plan == expected, "\(text)")
    }
  }

  @Test func replicasAreSlotsAndNoPlacement() throws {
    let replicated = try Self.replicated()
    #expect(replicated.plan.redundant == 2 && replicated.plan.gpu(ofSlot: 3) == 1)
    let useless = try #require(replicated.plan.uselessReplica)
    #expect(useless.layer == 0 && useless.gpu == 1 && useless.expert == 3)
    for format in PlacementFormat.allCases where !format.hasReplicas {
      #expect(throws: ModelError.self, "\(format)") {
        try PlacementWriter.text(replicated, as: format)
      }
    }
    for format in [PlacementFormat.vllmAscend, .colocate] {
      #expect(throws: ModelError.self, "an expert twice on a GPU, \(format)") {
        try PlacementWriter.text(replicated, as: format)
      }
    }
    let text = try PlacementWriter.text(replicated, as: .sglang)
    #expect(text.contains("[0, 1, 2, 3, 0, 1]"), "dense layers count through the experts")
  }

  @Test func lmDeployWithOneExpertAGPUOnlyInItsOwnOrder() throws {
    func placement(_ row: [Int]) throws -> StackPlacement {
      try StackPlacement(
        plan: SlotPlan(topology: Topology(gpus: 4), experts: 4, slots: [row]))
    }
    #expect(throws: ModelError.self) {
      try PlacementWriter.text(placement([1, 0, 2, 3]), as: .lmdeploy)
    }
    _ = try PlacementWriter.text(placement([0, 1, 2, 3]), as: .lmdeploy)
  }

  @Test func badFilesAreRefusedWithTheirPlace() throws {
    let sglang = { (rows: String) in "{\"physical_to_logical_map\": \(rows)}" }
    let ascend = { (devices: String) in
      "{\"moe_layer_count\":1,\"layer_list\":[{\"layer_id\":0,\"device_count\":2,"
        + "\"device_list\":[\(devices)]}]}"
    }
    let cases: [(PlacementFormat, String, String)] = [
      (.sglang, sglang("[[0, 1, 2, 2]]"), "3 experts"),
      (.sglang, sglang("[[0, 1, 1, 3]]"), "layer 0: no slot holds expert 2"),
      (.sglang, sglang("[[0, 1, 2, 3], [0, 1, 2]]"), "layer 1: 3 slots, expected 4"),
      (.sglang, sglang("[[0, 1, 2]]"), "3 slots do not spread evenly over 2 GPUs"),
      (.sglang, sglang("[[0, 1, 2, -1]]"), "slot 3: expert -1"),
      (.sglang, sglang("[[0, 1, 2, 9000000000]]"), "slot 3: expert 9000000000"),
      (.sglang, sglang("[]"), "no layer"), (.sglang, sglang("[[]]"), "0 slots"),
      (.sglang, "{\"physical_to_logical_map\": [[0, 1]], \"x\": 1}", "unknown key 'x'"),
      (.sglang, "[[0, 1]]", "is an array of 1, expected an object"),
      (.vllmMap, "[[0, 1.5]]", "'[0][1]' is 1.5"), (.vllmMap, "[0]", "'[0]' is 0"),
      (
        .tensorRTLLM, "num_slots: 3\ninitial_global_assignments:\n  0: [0, 1]\n",
        "layer 0: 2 slots, expected 3"
      ),
      (
        .tensorRTLLM,
        "num_slots: 2\nlayer_updates_per_iter: 1\ninitial_global_assignments:\n  0: [0, 1]\n",
        "the placement changes as it runs"
      ),
      (.tensorRTLLM, "num_slots: 2\nep_size: 2\n", "unknown key 'ep_size'"),
      (.tensorRTLLM, "num_slots: 2\nnum_slots: 2\n", "each key of a mapping once"),
      (.tensorRTLLM, "a: &x 1\n", "no anchors"), (.tensorRTLLM, "a: [1, 2\n", "expected ']'"),
      (.tensorRTLLM, "a: 1\n   b: 2\n", "expected the indentation"),
      (.tensorRTLLM, "a:\n\t- 1\n", "found a tab"), (.tensorRTLLM, "# x\n", "nothing in it"),
      (
        .tensorRTLLM, "num_slots: 2\ninitial_global_assignments:\n  -1: [0, 1]\n",
        "layer '-1', expected a number"
      ),
      (.vllm, "{\"record_type\":\"x\"}", "no record 'eplb_initial_mapping'"),
      (.vllm, "{}\n{}\n", "0 records"),
      (
        .vllm,
        "{\"record_type\":\"eplb_initial_mapping\",\"version\":2}", "version 2, expected 1"
      ),
      (
        .vllm,
        "{\"record_type\":\"eplb_initial_mapping\",\"version\":1,\"num_redundant_experts\":0,"
          + "\"num_slots\":2,\"initial_global_assignments\":{\"0\":[0,1],\"2\":[0,1]}}",
        "layer '2', expected 0 to 1"
      ),
      (
        .vllmAscend,
        ascend(
          "{\"device_id\":0,\"device_expert\":[0,1]},{\"device_id\":1,\"device_expert\":[2]}"),
        "device 1: 1 experts, expected 2"
      ),
      (
        .vllmAscend,
        ascend("{\"device_id\":1,\"device_expert\":[0]},{\"device_id\":0,\"device_expert\":[1]}"),
        "'device_id' 1 at position 0"
      ),
      (.vllmAscend, ascend("{\"device_id\":0,\"device_expert\":[0]}"), "1 devices, expected 2"),
      (.lmdeploy, "[[1, 2, 3]]", "3 experts do not spread evenly"),
      (.lmdeploy, "[[1, 2, 2, 3]]", "experts 1 and 2 have the same load"),
      (.lmdeploy, "[[1, 2], [1]]", "row 1 with 1 loads"),
      (.lmdeploy, "[[1, -2]]", "a load of -2.0"), (.lmdeploy, "[]", "an empty table"),
      (.exflow, "Expert,Node\n0,0\n", "--experts"),
    ]
    for (format, text, reason) in cases {
      let path = try scratch.write(Array(text.utf8), "bad.json")
      var reading = PlacementReading()
      reading.gpus = 2
      do throws(FormatError) {
        let read = try PlacementReader.read(path, as: format, reading)
        #expect(text == cases[0].1, "\(format) read: \(text)")
        #expect("\(read.placement.plan.experts) experts" == reason)
      } catch {
        #expect(error.message.contains(reason), "\(error)")
        #expect(!error.description.contains("\n"))
      }
    }
  }

  @Test func whatTheFileDoesNotSayIsAskedFor() throws {
    let small = try Self.small()
    for format in PlacementFormat.allCases {
      let path = scratch.file("z.json")
      try PlacementWriter.write(small, as: format, to: path)
      var reading = PlacementReading()
      if format == .exflow { reading.experts = 4 }
      let knows = [.colocate, .exflow, .vllmAscend].contains(format)
      do throws(FormatError) {
        _ = try PlacementReader.read(path, as: format, reading)
        #expect(knows, "\(format)")
      } catch { #expect(!knows && error.message.hasSuffix("--gpus"), "\(format): \(error)") }
      reading.gpus = 2
      for (experts, hidden, layers) in [(5, nil, nil), (nil, 3, [1, 2, 3]), (nil, nil, [0])]
        as [(Int?, Int?, [Int]?)]
      {
        var other = reading
        if let experts { other.experts = experts }
        (other.hiddenLayers, other.moeLayers) = (hidden, layers)
        // One row of SGLang's, chosen, is a plan of one layer.
        if layers == [0], format.hasDenseLayers { continue }
        #expect(throws: FormatError.self, "\(format) \(other)") {
          try PlacementReader.read(path, as: format, other)
        }
      }
    }
    #expect(throws: FormatError.self) {
      try PlacementWriter.checkName("plan.txt", for: .vllmAscend)
    }
  }
}
