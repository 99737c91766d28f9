import Colocate
import ColocateFormats
import Foundation
import TestSupport
import Testing

/// The exported program has the problem's optimum: both files are parsed here and every labelled
/// placement is put into them.
@Suite struct IntegerProgramTests {
  let scratch: Scratch
  init() throws { scratch = try Scratch() }

  /// A program as a solver sees it.
  private struct Program {
    var cost = [String: Int]()
    /// Row → sense, coefficients, right-hand side.
    var rows = [String: (sense: String, terms: [String: Int], right: Int)]()
    var binaries = Set<String>()

    init() {}

    /// Free MPS.
    static func mps(_ text: String) -> Program {
      var program = Program()
      var section = ""
      var isInteger = false
      for line in text.split(separator: "\n") where !line.hasPrefix("*") {
        let words = line.split(separator: " ").map(String.init)
        if !line.hasPrefix(" ") {
          section = words[0]
          continue
        }
        switch section {
        case "ROWS": if words[0] != "N" { program.rows[words[1]] = (words[0], [:], 0) }
        case "COLUMNS":
          if words.contains("'MARKER'") {
            isInteger = words[2] == "'INTORG'"
            continue
          }
          if isInteger { program.binaries.insert(words[0]) }
          if words[1] == "crossings" {
            program.cost[words[0]] = Int(words[2])
          } else {
            program.rows[words[1]]?.terms[words[0]] = Int(words[2])
          }
        case "RHS": program.rows[words[1]]?.right = Int(words[2]) ?? .min
        default: break
        }
      }
      return program
    }

    /// LP.
    static func lp(_ text: String) -> Program {
      var program = Program()
      let senses = ["=": "E", "<=": "L", ">=": "G"]
      var section = ""
      var row = ""
      var sign = 1
      var factor = 1
      for line in text.split(separator: "\n") where !line.hasPrefix("\\") {
        if !line.hasPrefix(" ") {
          section = String(line)
          continue
        }
        var isRight = false
        for word in line.split(separator: " ").map(String.init) {
          if section == "Bounds" { break }
          if section == "Binaries" {
            program.binaries.insert(word)
          } else if word.hasSuffix(":") {
            row = String(word.dropLast())
            program.rows[row] = ("", [:], 0)
            (sign, factor) = (1, 1)
          } else if word == "+" || word == "-" {
            sign = word == "+" ? 1 : -1
          } else if let sense = senses[word] {
            program.rows[row]?.sense = sense
            isRight = true
          } else if let number = Int(word) {
            if isRight { program.rows[row]?.right = number } else { factor = number }
          } else {
            program.rows[row]?.terms[word, default: 0] += sign * factor
            (sign, factor) = (1, 1)
          }
        }
      }
      program.cost = program.rows.removeValue(forKey: "crossings")?.terms ?? [:]
      return program
    }

    /// The least cost with the `x` of a placement, or nil where a row forbids it. Pair variables
    /// take the least value that their rows allow.
    func cost(_ placement: Placement) -> Int? {
      func x(_ name: String) -> Int {
        let parts = name.split(separator: "_").dropFirst().compactMap { Int($0) }
        return placement[layer: parts[0], expert: parts[1]] == parts[2] ? 1 : 0
      }
      var least = [String: Int]()
      for row in rows.values {
        var sum = 0
        var pair: String?
        for (name, factor) in row.terms {
          if name.hasPrefix("x") { sum += factor * x(name) } else { pair = name }
        }
        if let pair {
          least[pair] = max(least[pair] ?? 0, row.right - sum)
        } else {
          switch row.sense {
          case "E": if sum != row.right { return nil }
          case "L": if sum > row.right { return nil }
          default: if sum < row.right { return nil }
          }
        }
      }
      return cost.reduce(0) { $0 + $1.value * (least[$1.key] ?? 0) }
    }
  }

  /// A small instance with everything that a program can have.
  private func randomInstance(_ random: inout SeededGenerator) throws -> Instance {
    let (layers, experts) = (2 + random.next(below: 2), 4)
    let gpus = [2, 4][random.next(below: 2)]
    let nodes = [1, 2][random.next(below: 2)]
    let weights = (0..<((layers - 1) * 16)).map { _ in
      random.nextUnit() < 0.6 ? random.next(below: 20) : 0
    }
    var together = [Int]()
    if random.nextUnit() < 0.4 {
      together = [Int](repeating: 0, count: layers * 16)
      for l in 0..<layers {
        for (i, j) in [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)] {
          let value = random.next(below: 9)
          together[(l * 4 + i) * 4 + j] = value
          together[(l * 4 + j) * 4 + i] = value
        }
      }
    }
    let counts = try TransitionCounts(
      layers: layers, experts: experts, weights: weights, coactivation: together)
    let objective: Objective =
      nodes == 2 && random.nextUnit() < 0.7
      ? .joint(interNode: 3 + random.next(below: 3), intraNode: random.next(below: 3)) : .flat
    return try Instance(
      counts: counts, topology: Topology(gpus: gpus, nodes: nodes), objective: objective,
      loadCap: random.nextUnit() < 0.5 ? LoadCap(1.3, relaxedToFeasible: true) : nil)
  }

  /// All labelled placements, or about a thousand of them, evenly.
  private func placements(layers: Int, experts: Int, gpus: Int) -> [[Int]] {
    var ofLayer = [[Int]()]
    for _ in 0..<experts {
      ofLayer = ofLayer.flatMap { labels in
        (0..<gpus).filter { g in labels.count { $0 == g } < experts / gpus }.map { labels + [$0] }
      }
    }
    var all = [[Int]()]
    for _ in 0..<layers { all = all.flatMap { labels in ofLayer.map { labels + $0 } } }
    return stride(from: 0, to: all.count, by: max(1, all.count / 1000)).map { all[$0] }
  }

  /// The program read back from both formats, which must say the same.
  private func program(
    _ instance: Instance, breaksSymmetry: Bool, seed: Int
  ) throws -> Program {
    let (mps, lp) = (scratch.file("m.mps"), scratch.file("m.lp"))
    let program = try IntegerProgram(instance, breaksSymmetry: breaksSymmetry)
    try program.writeMPS(to: mps)
    try program.writeLP(to: lp)
    let first = Program.mps(try String(contentsOfFile: mps, encoding: .utf8))
    let second = Program.lp(try String(contentsOfFile: lp, encoding: .utf8))
    #expect(first.cost == second.cost && first.binaries == second.binaries, "seed \(seed)")
    #expect(first.rows.keys == second.rows.keys, "seed \(seed)")
    for (name, row) in first.rows {
      let other = try #require(second.rows[name])
      let terms = other.terms.filter { $0.value != 0 }
      #expect(
        row.sense == other.sense && row.terms == terms && row.right == other.right,
        "seed \(seed): \(name)")
    }
    return first
  }

  @Test(arguments: 0..<40) func optimumIsTheTrueOne(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let instance = try randomInstance(&random)
    let (counts, topology) = (instance.counts, instance.topology)
    let (layers, experts, gpus) = (counts.layers, counts.experts, topology.gpus)
    let free = try program(instance, breaksSymmetry: false, seed: seed)
    let ordered = try program(instance, breaksSymmetry: true, seed: seed)
    #expect(free.binaries.count == layers * experts * gpus && !free.rows.isEmpty)
    for labels in placements(layers: layers, experts: experts, gpus: gpus) {
      let placement = try Placement(
        topology: topology, layers: layers, experts: experts, assignment: labels)
      let value = instance.objective.value(of: try counts.crossings(of: placement))
      let loads = try counts.gpuLoads(of: placement)
      let fits =
        instance.capPerLayer.map { caps in loads.indices.allSatisfy { loads[$0] <= caps[$0 / gpus] }
        }
        ?? true
      #expect(free.cost(placement) == (fits ? value : nil), "seed \(seed): \(labels)")
      // One form of each placement remains.
      let canonical = try Placement(
        topology: instance.objective == .flat ? Topology(gpus: gpus) : topology, layers: layers,
        experts: experts, assignment: labels
      ).canonical()
      #expect(
        (ordered.cost(placement) != nil) == (fits && canonical.assignment == labels),
        "seed \(seed): \(labels)")
    }
  }

  @Test func goldenFiles() throws {
    let counts = try TransitionCounts(layers: 2, experts: 2, weights: [3, 0, 1, 2])
    let instance = try Instance(
      counts: counts, topology: Topology(gpus: 2), loadCap: LoadCap(1.5))
    let program = try IntegerProgram(instance, breaksSymmetry: true)
    try program.writeLP(to: scratch.file("m.lp"))
    #expect(
      try String(contentsOfFile: scratch.file("m.lp"), encoding: .utf8) == """
        \\ expert placement: 2 layers, 2 experts, 2 GPUs on 1 nodes, 6 transitions
        Minimize
         crossings: + 3 y_0_0_0 + 1 y_0_1_0 + 2 y_0_1_1
        Subject To
         one_0_0: + x_0_0_0 + x_0_0_1 = 1
         one_0_1: + x_0_1_0 + x_0_1_1 = 1
         size_0_0: + x_0_0_0 + x_0_1_0 = 1
         size_0_1: + x_0_0_1 + x_0_1_1 = 1
         load_0_0: + 3 x_0_0_0 + 3 x_0_1_0 <= 4
         load_0_1: + 3 x_0_0_1 + 3 x_0_1_1 <= 4
         one_1_0: + x_1_0_0 + x_1_0_1 = 1
         one_1_1: + x_1_1_0 + x_1_1_1 = 1
         size_1_0: + x_1_0_0 + x_1_1_0 = 1
         size_1_1: + x_1_0_1 + x_1_1_1 = 1
         load_1_0: + 4 x_1_0_0 + 2 x_1_1_0 <= 4
         load_1_1: + 4 x_1_0_1 + 2 x_1_1_1 <= 4
         y_0_0_0_0: y_0_0_0 - x_0_0_0 + x_1_0_0 >= 0
         y_0_0_0_1: y_0_0_0 - x_0_0_1 + x_1_0_1 >= 0
         y_0_1_0_0: y_0_1_0 - x_0_1_0 + x_1_0_0 >= 0
         y_0_1_0_1: y_0_1_0 - x_0_1_1 + x_1_0_1 >= 0
         y_0_1_1_0: y_0_1_1 - x_0_1_0 + x_1_1_0 >= 0
         y_0_1_1_1: y_0_1_1 - x_0_1_1 + x_1_1_1 >= 0
         order_0_1: x_0_0_1 <= 0
         order_1_1: x_0_1_1 - x_0_0_0 <= 0
        Bounds
         0 <= y_0_0_0 <= 1
         0 <= y_0_1_0 <= 1
         0 <= y_0_1_1 <= 1
        Binaries
         x_0_0_0 x_0_0_1
         x_0_1_0 x_0_1_1
         x_1_0_0 x_1_0_1
         x_1_1_0 x_1_1_1
        End

        """)
    #expect(throws: ModelError.self) {
      try IntegerProgram(
        Instance(counts: counts, topology: Topology(gpus: 2, nodes: 2), objective: .staged))
    }
  }
}
