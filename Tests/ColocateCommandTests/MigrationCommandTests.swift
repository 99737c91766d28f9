import Foundation
import Testing

/// `colocate solve --current`: a new plan near the one in use.
@Suite struct MigrationCommandTests {
  let runner: CommandRunner
  init() throws { runner = try CommandRunner() }

  private func document(_ path: String) throws -> [String: Any] {
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  private func plan(_ assignment: [[Int]], _ name: String) throws -> String {
    let rows = assignment.map { "[" + $0.map(String.init).joined(separator: ", ") + "]" }
    return try runner.write(
      Array(
        ("{\"format\": \"colocate-plan\", \"version\": 1, \"layers\": \(assignment.count), "
          + "\"experts\": 8, \"topology\": {\"nodes\": 1, \"gpus_per_node\": 4}, "
          + "\"assignment\": [\(rows.joined(separator: ", "))]}").utf8), name)
  }

  private func moves(_ a: [[Int]], _ b: [[Int]]) -> [Int] {
    zip(a, b).map { row, other in zip(row, other).count { $0 != $1 } }
  }

  @Test func fewMovesAndALimit() throws {
    let trace = runner.instance("synthetic-8-95-24.npy")
    let (first, second) = (runner.file("first.json"), runner.file("second.json"))
    let solve = ["solve", trace, "--gpus", "4", "--time-limit", "20", "--quiet"]
    #expect(try runner.run(solve + ["-o", first]).code == 0)
    let old = try #require(try document(first)["assignment"] as? [[Int]])
    // The same machines under other names: nothing moves, though each expert's GPU has another one.
    let turned = old.map { row in row.map { ($0 + 1) % 4 } }
    let current = try plan(turned, "current.json")
    let result = try runner.run(solve + ["--current", current, "-o", second])
    #expect(result.code == 0, "\(result.errors)")
    let migration = try #require(try document(second)["migration"] as? [String: Any])
    #expect(try document(second)["value"] as? Int == document(first)["value"] as? Int)
    let new = try #require(try document(second)["assignment"] as? [[Int]])
    #expect(migration["copies"] as? Int == moves(turned, new).reduce(0, +))
    #expect(migration["copies_per_layer"] as? [Int] == moves(turned, new))
    #expect(migration["copies"] as? Int == 0, "an optimum of the same cost moved experts")
    // From a contiguous plan, at most 6.
    let home = [[Int]](repeating: [0, 0, 1, 1, 2, 2, 3, 3], count: old.count)
    let contiguous = try plan(home, "contiguous.json")
    let third = runner.file("third.json")
    let limited = try runner.run([
      "solve", trace, "--gpus", "4", "--time-limit", "20", "--current", contiguous,
      "--max-moves", "6", "-o", third,
    ])
    #expect(limited.code == 0, "\(limited.errors)")
    #expect(limited.errors.contains("(at most 6)"), "\(limited.errors)")
    let near = try #require(try document(third)["assignment"] as? [[Int]])
    #expect((1...6).contains(moves(home, near).reduce(0, +)))
    let (value, bound) = (
      try #require(try document(third)["value"] as? Int),
      try #require(try document(third)["bound"] as? Int)
    )
    #expect(bound <= value)
    #expect(value > (try document(first)["value"] as? Int ?? .max))
  }

  @Test func refusals() throws {
    let trace = runner.instance("synthetic-8-95-24.npy")
    let output = ["-o", runner.file("o.json")]
    let solve = ["solve", trace, "--gpus", "4", "--time-limit", "1"]
    try runner.refuses(solve + output + ["--max-moves", "3"], "--max-moves without --current")
    let short = try plan([[0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 1, 2, 2, 3, 3]], "short.json")
    try runner.refuses(solve + output + ["--current", short], "expected 24 × 8")
    #expect(try runner.leftovers.isEmpty)
  }
}
