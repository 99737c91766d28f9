import Foundation
import Testing

/// `colocate renumber` as its users run it.
struct RenumberCommandTests {
  let runner: CommandRunner
  let model = CommandRunner.instances + "/models/tiny-olmoe-16x8"

  init() throws { runner = try CommandRunner() }

  private func writePlan(experts: Int) throws -> String {
    // Expert e of every layer on GPU e mod 4.
    let row = (0..<experts).map { $0 % 4 }
    let plan: [String: Any] = [
      "format": "colocate-plan", "version": 1, "layers": 8, "experts": experts,
      "topology": ["nodes": 1, "gpus_per_node": 4],
      "assignment": [[Int]](repeating: row, count: 8),
    ]
    return try runner.write(
      Array(try JSONSerialization.data(withJSONObject: plan)), "plan\(experts).json")
  }

  @Test func thereAndBack() throws {
    let plan = try writePlan(experts: 16)
    let there = try runner.run(["renumber", "--model", model, "--plan", plan, "-o", "placed"])
    #expect(there.code == 0, "\(there.errors)")
    // 0, 4, 8, 12 go to the front: only 0, 5, 10 and 15 keep their numbers.
    #expect(there.output.contains("olmoe, 8 MoE layers × 16 experts: 96 of 128 experts have a new"))
    let note = try JSONSerialization.jsonObject(
      with: Data(contentsOf: URL(fileURLWithPath: runner.file("placed/colocate.json"))))
    let rows = (note as? [String: Any])?["slot_to_expert"] as? [String: [Int]]
    #expect(rows?["7"] == [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15])
    let back = try runner.run(["renumber", "--undo", "--model", "placed", "-o", "again"])
    #expect(back.code == 0, "\(back.errors)")
    #expect(
      FileManager.default.contentsEqual(
        atPath: model + "/model.safetensors", andPath: runner.file("again/model.safetensors")))
    #expect(try runner.leftovers.isEmpty)
  }

  @Test func refusesInOneLine() throws {
    let (plan, other) = (try writePlan(experts: 16), try writePlan(experts: 32))
    try runner.refuses(
      ["renumber", "--model", model, "-o", "x"], "expected --plan PLAN, or --undo")
    try runner.refuses(
      ["renumber", "--undo", "--plan", plan, "--model", model, "-o", "x"], "expected one of them")
    try runner.refuses(
      ["renumber", "--model", model, "--plan", other, "-o", "x"], "a plan for 8 layers × 32")
    try runner.refuses(
      ["renumber", "--model", "absent", "--plan", plan, "-o", "x"], "absent/config.json: no such")
    try runner.refuses(
      ["renumber", "--model", model, "--plan", plan, "-o", runner.folder], "exists already")
    try runner.refuses(
      ["renumber", "--undo", "--model", model, "-o", "x"], "colocate.json: no such")
  }

  /// A file that may not grow, and a disk that is full: nothing is left behind.
  @Test func nothingIsLeftOfACopyThatFails() throws {
    let plan = try writePlan(experts: 16)
    let result = try runner.shell(
      "ulimit -f 1000; colocate renumber --model '\(model)' --plan '\(plan)' -o placed")
    #expect(result.code == 2)
    #expect(result.errors == "colocate: error: placed/model.safetensors: file too large\n")
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: runner.folder) == ["plan16.json"])
  }
}
