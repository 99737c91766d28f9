import Colocate
import ColocateFormats
import Foundation
import MoEEngine
import Testing

/// A renumbered checkpoint is the same model: the engine computes the same logits and tokens, and
/// its routes are the old ones under the new numbers.
struct RenumberTests {
  /// The experts apart and fused, one file and shards.
  static let checkpoints =
    ReferenceTests.checkpoints
    + [
      "mixtral-5", "mixtral-5-fused", "olmoe-5", "olmoe-5-fused", "qwen3-moe-5",
      "qwen3-moe-5-fused",
    ]
    .map { "settings/" + $0 }

  @Test(arguments: checkpoints) func theModelStaysTheSame(name: String) throws {
    let scratch = try Scratch()
    let (before, tokens) = try Fixture.open(name)
    let gpus = before.config.experts / 2
    let plan = scratch.path("plan.json")
    try FileManager.default.createDirectory(
      atPath: scratch.path("settings"), withIntermediateDirectories: false)
    let random = try scratch.randomPlan(name, ranks: gpus, seed: 11)
    try FileManager.default.moveItem(atPath: random, toPath: plan)
    let (output, back) = (scratch.path("renumbered"), scratch.path("back"))
    let source = Fixture.checkpoint(name)
    try CheckpointRenumbering(model: source, plan: plan).write(to: output) { _, _ in true }
    let communicator = try Communicator(ranksPerNode: nil, process: MPIProcess())
    let after = try Model(folder: output, communicator: communicator)

    let old = try before.logits(tokens, placement: before.contiguous, mode: .home)
    let new = try after.logits(tokens, placement: after.contiguous, mode: .home)
    let scale = old.reduce(0) { max($0, abs($1)) }
    let largest = zip(old, new).reduce(0) { max($0, abs($1.0 - $1.1)) }
    #expect(old.count == new.count && scale > 0)
    #expect(largest <= 1e-5 * scale, "largest difference \(largest), scale \(scale)")

    let (oldTokens, newTokens) = (
      try before.generate(tokens, new: 24, placement: before.contiguous, mode: .home).tokens,
      try after.generate(tokens, new: 24, placement: after.contiguous, mode: .home).tokens
    )
    #expect(oldTokens == newTokens)

    // e' = σ⁻¹(e) in every token, layer and rank of choice; and the plan is contiguous now.
    let placement = try PlanFile.read(plan).placement
    let renumbering = try ExpertRenumbering(
      placement, modelLayers: Array(0..<placement.layers), groups: 1)
    let k = before.config.expertsPerToken
    let (oldRoutes, newRoutes) = (
      try before.trace(tokens, placement: before.contiguous, mode: .home),
      try after.trace(tokens, placement: after.contiguous, mode: .home)
    )
    #expect(oldRoutes.count == newRoutes.count)
    let numbers = renumbering.expertToSlot
    var wrong = 0
    for (i, expert) in oldRoutes.enumerated() {
      let layer = i / k % placement.layers
      let slot = numbers[layer]?[Int(expert)] ?? -1
      if slot != Int(newRoutes[i]) || placement[layer: layer, expert: Int(expert)] != slot / 2 {
        wrong += 1
      }
    }
    #expect(wrong == 0, "\(wrong) of \(oldRoutes.count)")

    // Back to the published bytes.
    try CheckpointRenumbering(undoing: output).write(to: back) { _, _ in true }
    for file in try FileManager.default.contentsOfDirectory(atPath: back) {
      #expect(
        FileManager.default.contentsEqual(atPath: "\(back)/\(file)", andPath: "\(source)/\(file)"),
        "\(file)")
    }
  }
}
