import Colocate
import ColocateFormats
import Foundation
import Testing

/// Every family, each tensor against a plain permutation.
struct RenumberTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// Runs the renumbering and checks the whole outcome against the definition.
  private func check(
    _ checkpoint: SyntheticCheckpoint, planned: [Int], groups: Int = 1, gpus: Int, seed: UInt64
  ) throws {
    let (model, output, plan) = (
      scratch.file("in-\(seed)"), scratch.file("out-\(seed)"), scratch.file("plan-\(seed).json")
    )
    let before = try checkpoint.write(to: model, seed: seed)
    let orders = checkpoint.permutations(layers: planned.count, groups: groups, seed: seed)
    try SyntheticCheckpoint.writePlan(orders, gpus: gpus, to: plan)
    let work = try CheckpointRenumbering(model: model, plan: plan)
    #expect(work.layers == planned && work.experts == checkpoint.experts)
    var last = (0, 0)
    try work.write(to: output) { done, total in
      #expect(done >= last.0 && total == work.totalBytes)
      last = (done, total)
      return true
    }
    #expect(last.0 == last.1, "progress ends at \(last), seed \(seed)")

    // What the note says is a permutation that makes the plan contiguous.
    let note = try JSONSerialization.jsonObject(
      with: Data(contentsOf: URL(fileURLWithPath: output + "/colocate.json")))
    let rows = try #require((note as? [String: Any])?["slot_to_expert"] as? [String: [Int]])
    #expect(Set(rows.keys) == Set(planned.map(String.init)))
    let (each, size) = (checkpoint.experts / gpus, checkpoint.experts / groups)
    for (layer, order) in zip(planned, orders) {
      let row = try #require(rows["\(layer)"])
      #expect(row.sorted() == Array(0..<checkpoint.experts))
      for slot in row.indices {
        let gpu = (order.firstIndex(of: row[slot]) ?? -1) / each
        #expect(gpu == slot / each, "layer \(layer), slot \(slot), seed \(seed)")
        // Slots of one group hold experts of one group.
        #expect(row[slot] / size == row[slot / size * size] / size, "seed \(seed)")
      }
    }

    // Each tensor is where the permutation puts it, byte for byte, and there is no other.
    let after = try SyntheticCheckpoint.read(output)
    #expect(Set(after.keys) == Set(before.keys))
    for (name, tensor, layer) in checkpoint.tensors {
      let old = before[name] ?? []
      let row = layer.flatMap { rows["\($0)"] } ?? Array(0..<checkpoint.experts)
      switch tensor.fate {
      case .stays: #expect(after[name] == old, "\(name), seed \(seed)")
      case .rows:
        let part = old.count / checkpoint.experts
        let expected = row.flatMap { old[($0 * part)..<(($0 + 1) * part)] }
        #expect(after[name] == expected, "\(name), seed \(seed)")
      case .expert:
        let pieces = "model.layers.\(layer ?? 0).\(tensor.name)".components(separatedBy: "*")
        let number = Int(name.dropFirst(pieces[0].count).prefix { $0.isNumber }) ?? -1
        let new = "\(pieces[0])\(row.firstIndex(of: number) ?? -1)\(pieces[1])"
        #expect(after[new] == old, "\(name) → \(new), seed \(seed)")
      }
    }
    #expect(contents(output + "/tokenizer.json") == contents(model + "/tokenizer.json"))
    #expect(contents(output + "/config.json") == contents(model + "/config.json"))

    // And back: the same files, byte for byte.
    let again = scratch.file("again-\(seed)")
    try CheckpointRenumbering(undoing: output).write(to: again) { _, _ in true }
    let names = try FileManager.default.contentsOfDirectory(atPath: model).sorted()
    #expect(try FileManager.default.contentsOfDirectory(atPath: again).sorted() == names)
    for name in names {
      #expect(contents("\(again)/\(name)") == contents("\(model)/\(name)"), "\(name), seed \(seed)")
    }
  }

  private func contents(_ path: String) -> Data? { FileManager.default.contents(atPath: path) }

  @Test(arguments: SyntheticCheckpoint.all.keys.sorted())
  func everyTensorFollowsThePermutation(family: String) throws {
    let checkpoint = try #require(SyntheticCheckpoint.all[family])
    let planned = checkpoint.moeLayers.filter { $0 < checkpoint.layers }
    for (seed, gpus) in [(1, 4), (2, 2), (3, checkpoint.experts)] as [(UInt64, Int)] {
      try check(
        checkpoint, planned: planned, gpus: min(gpus, checkpoint.experts), seed: seed)
    }
  }

  /// GPUs that hold several groups, one, half of one, and one expert.
  @Test(arguments: [2, 4, 8, 16]) func groupsStayTogether(gpus: Int) throws {
    try check(
      SyntheticCheckpoint.deepseekV3(groups: 4, chosen: 2), planned: [1, 2], groups: 4, gpus: gpus,
      seed: UInt64(gpus))
  }

  /// A plan that has the layer behind the last renumbers that too.
  @Test func layersForFurtherTokensFollowAPlanThatHasThem() throws {
    let checkpoint = try #require(SyntheticCheckpoint.all["glm4-moe"])
    try check(checkpoint, planned: [1, 2, 3], gpus: 4, seed: 5)
  }

  @Test func otherFilesComeAlongAndOtherWeightsDoNot() throws {
    let checkpoint = try #require(SyntheticCheckpoint.all["olmoe"])
    let (model, output) = (scratch.file("in"), scratch.file("out"))
    try checkpoint.write(to: model, seed: 1)
    let manager = FileManager.default
    for folder in ["original", "code/deep", ".git"] {
      try manager.createDirectory(
        atPath: model + "/" + folder, withIntermediateDirectories: true)
    }
    let carried = ["LICENSE", "code/deep/model.py", "original/params.json", ".gitattributes"]
    let left = [
      "pytorch_model.bin", "pytorch_model.bin.index.json", "original/model.safetensors",
      "consolidated.00.pth", "model-Q4.gguf", ".git/HEAD",
    ]
    for name in carried + left {
      try Data(name.utf8).write(to: URL(fileURLWithPath: model + "/" + name))
    }
    // As in a download cache: the file is a link.
    try manager.moveItem(atPath: model + "/tokenizer.json", toPath: scratch.file("blob"))
    try manager.createSymbolicLink(
      atPath: model + "/tokenizer.json", withDestinationPath: "../blob")
    let plan = scratch.file("plan.json")
    try SyntheticCheckpoint.writePlan(
      checkpoint.permutations(layers: 3, seed: 1), gpus: 4, to: plan)
    let work = try CheckpointRenumbering(model: model, plan: plan)
    try work.write(to: output) { _, _ in true }
    for name in carried { #expect(contents("\(output)/\(name)") == Data(name.utf8), "\(name)") }
    for name in left { #expect(contents("\(output)/\(name)") == nil, "\(name)") }
    #expect(work.remarks.contains { $0.text.contains("model-Q4.gguf") })
    #expect(contents(output + "/tokenizer.json") == contents(scratch.file("blob")))
    #expect((try? manager.destinationOfSymbolicLink(atPath: output + "/tokenizer.json")) == nil)
  }

  /// A contiguous plan changes no tensor.
  @Test func theContiguousPlanChangesNothing() throws {
    let checkpoint = try #require(SyntheticCheckpoint.all["gpt-oss MXFP4"])
    let (model, plan) = (scratch.file("in"), scratch.file("plan.json"))
    let before = try checkpoint.write(to: model, seed: 1)
    try SyntheticCheckpoint.writePlan(
      [[Int]](repeating: Array(0..<8), count: 3), gpus: 4, to: plan)
    let work = try CheckpointRenumbering(model: model, plan: plan)
    #expect(work.changedExperts == 0)
    try work.write(to: scratch.file("out")) { _, _ in true }
    #expect(try SyntheticCheckpoint.read(scratch.file("out")) == before)
  }
}
