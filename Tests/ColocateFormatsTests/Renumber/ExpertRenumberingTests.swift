import Colocate
import ColocateFormats
import Testing

/// The permutation against its definition.
struct ExpertRenumberingTests {
  /// All placements of 4 or 6 experts, for all numbers of GPUs and groups: a permutation is found
  /// exactly where one of the E! is contiguous under the plan and maps groups onto groups.
  @Test(arguments: [4, 6]) func foundExactlyWhereOneExists(experts: Int) throws {
    let permutations = Self.permutations(experts)
    let divisors = (1...experts).filter { experts % $0 == 0 }
    var (feasible, infeasible) = (0, 0)
    for gpus in divisors {
      let (topology, each) = (try Topology(gpus: gpus), experts / gpus)
      // Each row of GPUs once: those that some permutation makes contiguous.
      let rows = Set(
        permutations.map { order in
          (0..<experts).map { e in (order.firstIndex(of: e) ?? 0) / each }
        })
      for groups in divisors {
        let size = experts / groups
        let keeping = permutations.filter { order in
          order.indices.allSatisfy { order[$0] / size == order[$0 / size * size] / size }
        }
        for row in rows {
          let placement = try Placement(
            topology: topology, layers: 1, experts: experts, assignment: row)
          let exists = keeping.contains { order in
            order.indices.allSatisfy { row[order[$0]] == $0 / each }
          }
          guard
            let found = try? ExpertRenumbering(placement, modelLayers: [5], groups: groups)
          else {
            #expect(!exists, "\(row), \(groups) groups")
            infeasible += 1
            continue
          }
          let order = try #require(found.slotToExpert[5])
          #expect(keeping.contains(order), "\(row), \(groups) groups: \(order)")
          #expect(order.indices.allSatisfy { row[order[$0]] == $0 / each }, "\(row): \(order)")
          feasible += 1
        }
      }
    }
    #expect(feasible > 20 && infeasible > 10, "\(feasible), \(infeasible)")
  }

  @Test func inverseTakesBack() throws {
    var random = SeededGenerator(seed: 3)
    for _ in 0..<100 {
      let row = (0..<12).shuffled(using: &random)
      let renumbering = try ExpertRenumbering(experts: 12, slotToExpert: [2: row])
      let back = try #require(renumbering.inverse.slotToExpert[2])
      #expect(row.map { back[$0] } == Array(0..<12) && renumbering.inverse.inverse == renumbering)
      #expect(renumbering.changed == row.indices.count { row[$0] != $0 })
    }
  }

  @Test(arguments: [[0, 1, 1], [0, 1], [0, 1, 3], [0, 1, 2, 3]])
  func whatIsNoPermutationIsRefused(row: [Int]) {
    #expect(throws: ModelError.self) {
      try ExpertRenumbering(experts: 3, slotToExpert: [0: row])
    }
  }

  private static func permutations(_ n: Int) -> [[Int]] {
    guard n > 0 else { return [[]] }
    return permutations(n - 1).flatMap { shorter in
      (0...shorter.count).map { place in
        var longer = shorter
        longer.insert(n - 1, at: place)
        return longer
      }
    }
  }
}

/// Keys are exchanged and no other byte is touched.
struct KeyRenamingTests {
  private func rename(_ text: String, in path: [String] = []) throws -> String {
    String(
      decoding: try KeyRenaming.rename(Array(text.utf8), in: path) { name throws(JSONProblem) in
        "<\(name)>"
      }, as: UTF8.self)
  }

  @Test func onlyTheKeysOfTheObject() throws {
    #expect(
      try rename(#" {"a" : {"b":["c",{"d":1}]},"e":2 } "#)
        == #" {"<a>" : {"b":["c",{"d":1}]},"<e>":2 } "#)
    #expect(
      try rename(#"{"m":{"m":{"x":"y"},"z":[{"m":0}]},"w":{"m":{"q":1}},"n":"m"}"#, in: ["m"])
        == #"{"m":{"<m>":{"x":"y"},"<z>":[{"m":0}]},"w":{"m":{"q":1}},"n":"m"}"#)
    #expect(try rename(#"{"k":"a\"b\\","l":"}{"}"#) == #"{"<k>":"a\"b\\","<l>":"}{"}"#)
    #expect(try rename("{}") == "{}")
    #expect(throws: JSONProblem.self) { try rename(#"{"a\u0062":1}"#) }
  }

  /// What `--preserve-groups` solves is what a renumbering can follow.
  @Test(arguments: [(2, 1), (4, 2), (8, 2)])
  func solvedPlansKeepTheGroups(gpus: Int, nodes: Int) throws {
    var random = SeededGenerator(seed: UInt64(gpus))
    let counts = try TransitionCounts(
      layers: 3, experts: 16, weights: (0..<512).map { _ in random.next(below: 50) })
    let instance = try Instance(counts: counts, topology: Topology(gpus: gpus, nodes: nodes))
    var options = SolverOptions()
    (options.timeLimit, options.threads) = (10, 1)
    let outcome = try PreservedGroups(instance, groups: 4).solve(options)
    let placement = try #require(outcome.placement?.canonical())
    _ = try ExpertRenumbering(placement, modelLayers: [1, 2, 4], groups: 4)
    // Without the option groups are torn, so that the check means something.
    let free = try #require(try Solver(options).solve(instance).placement?.canonical())
    #expect(throws: ModelError.self) {
      try ExpertRenumbering(free, modelLayers: [1, 2, 4], groups: 4)
    }
  }
}
