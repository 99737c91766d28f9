import Colocate
import ColocateFormats
import Foundation
import Testing

/// Input that is not what it should be: one clear line, and nothing left behind.
struct RenumberFaultTests {
  let scratch: Scratch
  let model: String
  let plan: String

  init() throws {
    scratch = try Scratch()
    (model, plan) = (scratch.file("in"), scratch.file("plan.json"))
  }

  /// A checkpoint and a plan that fit, before something is done to them.
  private func prepare(
    _ family: String, experts: Int? = nil, layers: Int? = nil,
    change: (inout SyntheticCheckpoint) -> Void = { _ in }
  ) throws {
    var checkpoint = try #require(SyntheticCheckpoint.all[family])
    let planned = checkpoint.moeLayers.count { $0 < checkpoint.layers }
    var planFor = checkpoint
    planFor.experts = experts ?? checkpoint.experts
    change(&checkpoint)
    try? FileManager.default.removeItem(atPath: model)
    try checkpoint.write(to: model, seed: 1)
    try SyntheticCheckpoint.writePlan(
      planFor.permutations(layers: layers ?? planned, seed: 1), gpus: 4, to: plan)
  }

  private func refuses(
    _ reason: String, at location: SourceLocation = #_sourceLocation
  ) throws {
    let before = try names()
    do {
      try CheckpointRenumbering(model: model, plan: plan)
        .write(to: scratch.file("out")) { _, _ in true }
      Issue.record("accepted, expected '\(reason)'", sourceLocation: location)
    } catch let error as FormatError {
      #expect(error.description.contains(reason), "\(error)", sourceLocation: location)
      #expect(!error.description.contains("\n"), sourceLocation: location)
    }
    #expect(try names() == before, sourceLocation: location)
  }

  private func names() throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: scratch.path).sorted()
  }

  @Test func plansForOtherModels() throws {
    try prepare("olmoe", experts: 16)
    try refuses("plan.json: a plan for 3 layers × 16 experts; the model has 3 MoE layers × 8")
    try prepare("olmoe", layers: 2)
    try refuses("plan.json: a plan for 2 layers × 8 experts; the model has 3 MoE layers × 8")
    try prepare("qwen2-moe with a dense layer")
    var text = try String(contentsOfFile: plan, encoding: .utf8)
    text.removeLast()
    for (counted, isRight) in [("[0, 2]", true), ("[0, 1]", false), ("[1, 2]", false)] {
      try Data("\(text),\"moe_layers\":\(counted)}".utf8).write(to: URL(fileURLWithPath: plan))
      guard !isRight else {
        #expect(try CheckpointRenumbering(model: model, plan: plan).layers == [0, 2])
        continue
      }
      try refuses("model's MoE layers are 0, 2")
    }
    try Data("{}".utf8).write(to: URL(fileURLWithPath: plan))
    try refuses("plan.json: key 'format' is missing")
    try FileManager.default.removeItem(atPath: plan)
    try refuses("plan.json: no such file or directory")
  }

  @Test func plansThatTearGroupsApart() throws {
    let checkpoint = SyntheticCheckpoint.deepseekV3(groups: 4, chosen: 2)
    try checkpoint.write(to: model, seed: 1)
    var orders = checkpoint.permutations(layers: 2, groups: 4, seed: 1)
    // One expert of each of two groups change places.
    orders[1].swapAt(3, 4)
    try SyntheticCheckpoint.writePlan(orders, gpus: 4, to: plan)
    try refuses("layer 2: the router chooses among 4 groups of 4 neighbouring experts")
  }

  @Test func modelsThatAreNotKnown() throws {
    try prepare("olmoe") { $0.modelType = "llama" }
    try refuses("config.json: model_type 'llama': the names of its experts are not known")
    for name in [
      "mlp.gate.scale", "mlp.experts.0.gate_proj.absmax", "mlp.experts.0.extra.weight",
      "mlp.experts.01.gate_proj.weight", "mlp.experts.gate_proj", "mlp.router.weight",
      "mlp.hash_table", "block_sparse_moe.gate.weight", "other.experts.weight",
    ] {
      try prepare("olmoe") { $0.layer.append(.init(name, "F32", [8, 6])) }
      try refuses("tensor model.layers.0.\(name) is not known of model_type 'olmoe'")
    }
    try prepare("olmoe") {
      $0.settings = [
        "quantization_config": ["ignore": ["model.layers.0.mlp.experts.3.down_proj"]]
      ]
    }
    try refuses("'model.layers.0.mlp.experts.3.down_proj' names an expert by its number")
  }

  @Test func settingsThatDoNotFit() throws {
    for (settings, reason) in [
      (["num_local_experts": 4], "'num_experts' is 8, 'num_local_experts' is 4"),
      (["num_experts": 4], "model.layers.0.mlp.experts.4.down_proj.weight is of expert 4"),
      (["num_experts": 16], "shape [8, 6], expected [16, 6] by config.json"),
      (["hidden_size": 5], "expected hidden_size = 5"), (["hidden_size": 0], "expected 1 or more"),
      (["n_group": 3], "'n_group' is 3, expected a number that divides 8 experts"),
      (["num_hidden_layers": 2], "layer 2 has experts, expected none behind the 2 layers"),
    ] as [([String: Any], String)] {
      // Three layers with experts are written, whatever the settings say.
      try prepare("olmoe") { $0.settings = settings }
      try refuses(reason)
    }
  }

  @Test func tensorsThatAreMissingOrOfOtherShapes() throws {
    func change(_ family: String, _ name: String, _ shape: [Int]?, _ reason: String) throws {
      try prepare(family) { checkpoint in
        checkpoint.layer = checkpoint.layer.compactMap { tensor in
          guard tensor.name == name else { return tensor }
          return shape.map { .init(name, tensor.type, $0, tensor.fate) }
        }
      }
      try refuses(reason)
    }
    try change("olmoe", "mlp.gate.weight", nil, "layer 0 has experts and no router")
    try change("olmoe", "mlp.gate.weight", [8, 7], "shape [8, 7], expected [8, 6]")
    try change("olmoe", "mlp.experts.*.up_proj.weight", nil, "experts with 2 matrices")
    try change("olmoe", "mlp.experts.*.up_proj.weight", [4, 7], "expected hidden_size = 6")
    try change("olmoe fused", "mlp.experts.down_proj", nil, "not all matrices of its experts")
    try change("olmoe fused", "mlp.experts.down_proj", [7, 6, 4], "expected 8 experts first")
    try change("olmoe fused", "mlp.experts.down_proj", [8, 7, 4], "an axis of hidden_size = 6")
    try change("gpt-oss MXFP4", "mlp.router.bias", [9], "shape [9], expected [8]")
    // One expert of one layer is missing, or another type.
    try prepare("olmoe") { checkpoint in
      checkpoint.layer.removeAll { $0.name == "mlp.experts.*.up_proj.weight" }
      for e in 0..<8 where e != 5 {
        checkpoint.layer.append(.init("mlp.experts.\(e).up_proj.weight", "BF16", [4, 6]))
      }
    }
    try refuses("layer 0 has no model.layers.0.mlp.experts.*.up_proj.weight of expert 5")
    try prepare("olmoe") { checkpoint in
      checkpoint.layer.removeAll { $0.name == "mlp.experts.*.up_proj.weight" }
      for e in 0..<8 {
        checkpoint.layer.append(
          .init("mlp.experts.\(e).up_proj.weight", e == 5 ? "F16" : "BF16", [4, 6]))
      }
    }
    try refuses("expected the same of all experts of a layer")
  }

  @Test func filesThatAreMissingOrDamaged() throws {
    let manager = FileManager.default
    func fresh() throws {
      try prepare("mixtral")
    }
    let (first, index) = (
      model + "/model-00001-of-00002.safetensors", model + "/model.safetensors.index.json"
    )
    try fresh()
    try manager.removeItem(atPath: first)
    try refuses("index.json: names the file model-00001-of-00002.safetensors, which is not there")
    try fresh()
    let whole = try Data(contentsOf: URL(fileURLWithPath: first))
    try whole.dropLast().write(to: URL(fileURLWithPath: first))
    try refuses("model-00001-of-00002.safetensors: header: tensor")
    try whole.prefix(50).write(to: URL(fileURLWithPath: first))
    try refuses("model-00001-of-00002.safetensors: a header of")
    try fresh()
    var text = try String(contentsOfFile: index, encoding: .utf8)
    try Data(text.replacingOccurrences(of: "\"lm_head", with: "\"lm_hand").utf8)
      .write(to: URL(fileURLWithPath: index))
    try refuses("has a tensor lm_head.weight that the index does not place there")
    text = text.replacingOccurrences(
      of: "\"weight_map\": {",
      with: "\"weight_map\": { \"x\": \"model-00001-of-00002.safetensors\",")
    try Data(text.utf8).write(to: URL(fileURLWithPath: index))
    try refuses("tensor x is not in model-00001-of-00002.safetensors, where the index says it is")
    try Data(text.replacingOccurrences(of: "model-00001", with: "../model-00001").utf8)
      .write(to: URL(fileURLWithPath: index))
    try refuses("expected a .safetensors file of the same folder")
    try fresh()
    try Data(whole).write(to: URL(fileURLWithPath: model + "/model.safetensors"))
    try refuses("engines differ in which they read")
    try fresh()
    for name in [first, index, first.replacingOccurrences(of: "-00001-", with: "-00002-")] {
      try manager.removeItem(atPath: name)
    }
    try refuses("neither model.safetensors nor model.safetensors.index.json")
  }

  @Test func outputsThatAreThere() throws {
    try prepare("olmoe")
    let output = scratch.file("out")
    func attempt(_ path: String) throws {
      try CheckpointRenumbering(model: model, plan: plan).write(to: path) { _, _ in true }
    }
    for make in [
      { try Data().write(to: URL(fileURLWithPath: output)) },
      {
        try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: false)
      },
      { try FileManager.default.createSymbolicLink(atPath: output, withDestinationPath: "no") },
    ] {
      try make()
      let before = try names()
      #expect(throws: FormatError.self) { try attempt(output) }
      #expect(throws: FormatError.self) { try attempt(output + "/") }
      #expect(try names() == before)
      try FileManager.default.removeItem(atPath: output)
    }
    let before = try names()
    for path in ["", "/", ".", "..", scratch.file("absent/out"), model, model + "/inside"] {
      #expect(throws: FormatError.self, "\(path)") { try attempt(path) }
    }
    #expect(try names() == before)
  }

  @Test func endsWhereAskedTo() throws {
    try prepare("gpt-oss, large")
    let work = try CheckpointRenumbering(model: model, plan: plan)
    let before = try names()
    for share in [0.0, 0.3, 0.9] {
      #expect(throws: CancellationError.self) {
        try work.write(to: scratch.file("out")) { done, total in
          Double(done) < share * Double(total)
        }
      }
      #expect(try names() == before)
    }
    // A file that shrinks after it was looked at.
    let path = model + "/model.safetensors"
    #expect(truncate(path, 5_000_000) == 0)
    #expect(throws: FormatError.self) {
      try work.write(to: scratch.file("out")) { _, _ in true }
    }
    #expect(try names() == before)
  }

  @Test func onlyWhatIsRenumberedIsUndoneAndOnlyOnce() throws {
    try prepare("olmoe")
    #expect(throws: FormatError.self) { try CheckpointRenumbering(undoing: model) }
    let output = scratch.file("out")
    try CheckpointRenumbering(model: model, plan: plan).write(to: output) { _, _ in true }
    do {
      _ = try CheckpointRenumbering(model: output, plan: plan)
      Issue.record("renumbered twice")
    } catch { #expect(error.description.contains("renumbered already")) }
    // The note of another model.
    let other = scratch.file("other")
    try SyntheticCheckpoint.all["mixtral"]?.write(to: other, seed: 1)
    try FileManager.default.copyItem(
      atPath: output + "/colocate.json", toPath: other + "/colocate.json")
    do {
      _ = try CheckpointRenumbering(undoing: other)
      Issue.record("undone by another model's note")
    } catch { #expect(error.description.contains("which this model is not")) }
  }

  /// 10,000 damaged notes, indices and settings: refused, or the outcome is a checkpoint with the
  /// same tensors under other names.
  @Test func damagedTextsAreRefusedOrHarmless() throws {
    var checkpoint = try #require(SyntheticCheckpoint.all["mixtral"])
    checkpoint.layers = 1
    checkpoint.moeLayers = [0]
    try checkpoint.write(to: model, seed: 1)
    try SyntheticCheckpoint.writePlan(
      checkpoint.permutations(layers: 1, seed: 1), gpus: 4, to: plan)
    let renumbered = scratch.file("renumbered")
    try CheckpointRenumbering(model: model, plan: plan).write(to: renumbered) { _, _ in true }
    let before = try SyntheticCheckpoint.read(renumbered)
    let names = ["colocate.json", "model.safetensors.index.json", "config.json"]
    let originals = try names.map {
      Array(try Data(contentsOf: URL(fileURLWithPath: renumbered + "/" + $0)))
    }
    var accepted = 0
    for seed in 0..<10_000 {
      var random = SeededGenerator(seed: UInt64(seed))
      let which = random.next(below: names.count)
      var text = originals[which]
      for _ in 0...random.next(below: 4) {
        let byte =
          random.next(below: 3) == 0
          ? UInt8(random.next(below: 256))
          : Array("0123456789-\",:[]{}e.".utf8).randomElement(using: &random) ?? 0
        let place = random.next(below: text.count)
        switch random.next(below: 3) {
        case 0: text[place] = byte
        case 1: text.remove(at: place)
        default: text.insert(byte, at: place)
        }
      }
      let path = renumbered + "/" + names[which]
      try replace(path, text)
      defer { try? replace(path, originals[which]) }
      guard let work = try? CheckpointRenumbering(undoing: renumbered) else { continue }
      accepted += 1
      guard accepted % 100 == 0 else { continue }
      let output = scratch.file("out-\(seed)")
      try work.write(to: output) { _, _ in true }
      let after = try SyntheticCheckpoint.read(output)
      #expect(Set(after.keys) == Set(before.keys), "seed \(seed)")
      // The router's rows may be in another order, experts under another name: all are there.
      #expect(
        after.values.map { $0.sorted() }.sorted { $0.lexicographicallyPrecedes($1) }
          == before.values.map { $0.sorted() }.sorted { $0.lexicographicallyPrecedes($1) },
        "seed \(seed)")
      try FileManager.default.removeItem(atPath: output)
    }
    #expect(accepted > 100, "\(accepted)")
  }

  /// A new file under an old name: file systems flush one that is cut to nothing and filled again.
  private func replace(_ path: String, _ bytes: [UInt8]) throws {
    unlink(path)
    try Data(bytes).write(to: URL(fileURLWithPath: path))
  }
}
