import Colocate
import TestSupport
import Testing

/// What a load cap means, and what is said of the smallest one.
@Suite struct LoadCapTests {
  /// A layer whose loads can be dealt out evenly: `groups` groups of `size` with one sum, dealt in
  /// random order.
  static func planted(seed: UInt64, groups: Int, size: Int, largest: Int) -> (
    loads: [Int], groupOf: [Int]
  ) {
    var random = SeededGenerator(seed: seed)
    let sum = largest * size / 2
    var items = [(load: Int, group: Int)]()
    for group in 0..<groups {
      while true {
        let loads = (0..<(size - 1)).map { _ in random.next(below: largest) }
        let last = sum - loads.reduce(0, +)
        guard (0..<largest).contains(last) else { continue }
        items += (loads + [last]).map { ($0, group) }
        break
      }
    }
    items.shuffle(using: &random)
    return (items.map(\.load), items.map(\.group))
  }

  /// Two layers with these loads.
  static func counts(_ loads: [Int]) throws -> TransitionCounts {
    let experts = loads.count
    var weights = [Int](repeating: 0, count: experts * experts)
    for e in 0..<experts { weights[e * experts + e] = loads[e] }
    return try TransitionCounts(layers: 2, experts: experts, weights: weights)
  }

  /// Even packings that are known to exist are found, or what is said leaves room for them; and a
  /// plan that meets the cap is taken.
  @Test(arguments: [(8, 8, 1000), (16, 3, 1000), (16, 3, 30), (4, 16, 100_000), (8, 8, 1 << 30)])
  func plantedPackings(groups: Int, size: Int, largest: Int) throws {
    for seed in 0..<2 {
      let (loads, groupOf) = Self.planted(
        seed: UInt64(seed), groups: groups, size: size, largest: largest)
      let mean = loads.reduce(0, +) / groups
      let packing = BalancedPacking(loads: loads, groups: groups)
      #expect(packing.lowerBound <= mean && packing.maximum >= mean, "seed \(seed)")
      var sums = [Int](repeating: 0, count: groups)
      for (e, group) in packing.groupOf.enumerated() { sums[group] += loads[e] }
      #expect(sums.max() == packing.maximum, "seed \(seed)")
      if largest <= 1000 { #expect(packing.maximum == mean, "seed \(seed)") }
      let counts = try Self.counts(loads)
      let topology = try Topology(gpus: groups)
      let even = try LoadCap(1)
      let placement = try Placement(
        topology: topology, layers: 2, experts: loads.count, assignment: groupOf + groupOf)
      let known = try Instance(
        counts: counts, topology: topology, loadCap: even, known: placement)
      #expect(known.gpuProblem.isFeasible(placement.assignment), "seed \(seed)")
      var options = SolverOptions()
      options.workLimit = 50_000
      options.proves = false
      options.warmStart = placement
      let outcome = try Solver(options).solve(known)
      let found = try #require(outcome.placement)
      #expect(known.gpuProblem.isFeasible(found.assignment), "seed \(seed)")
      do {
        _ = try Instance(counts: counts, topology: topology, loadCap: even)
      } catch {
        #expect("\(error)".contains("was found"), "seed \(seed): \(error)")
        #expect(!"\(error)".contains("needs at least"), "seed \(seed): \(error)")
      }
    }
  }

  /// The search against a plain enumeration, where skew, ties and zeros make the bounds differ from
  /// the answer.
  @Test(arguments: 0..<80) func packingsAreOptimal(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed) + 5000)
    let (groups, size) = [(2, 5), (3, 3), (4, 2), (5, 2), (3, 4)][seed % 5]
    let largest = [3, 40, 1_000_000_000][seed / 5 % 3]
    let loads = (0..<(groups * size)).map { _ in
      let load = random.next(below: largest)
      return random.next(below: 4) == 0 ? load * 3 : load
    }
    var best = Int.max
    var sums = [Int](repeating: 0, count: groups)
    var sizes = sums
    func assign(_ item: Int) {
      guard item < loads.count else {
        best = min(best, sums.max() ?? 0)
        return
      }
      for g in 0..<groups where sizes[g] < size {
        sums[g] += loads[item]
        sizes[g] += 1
        assign(item + 1)
        sums[g] -= loads[item]
        sizes[g] -= 1
        if sizes[g] == 0 { break }
      }
    }
    assign(0)
    let packing = BalancedPacking(loads: loads, groups: groups)
    #expect(packing.maximum == best && packing.lowerBound == best, "seed \(seed)")
    // A goal that can be met is met, one that cannot is known to be impossible.
    #expect(
      BalancedPacking(loads: loads, groups: groups, goal: best + 1).maximum <= best + 1)
    let below = BalancedPacking(loads: loads, groups: groups, goal: best - 1)
    #expect(below.lowerBound > best - 1 && below.maximum == best, "seed \(seed)")
  }

  /// Loads 10011 and 9989 on two GPUs: 1.0011 is the least cap, not 1.0012.
  @Test func theLeastCapIsPrintedAsItIs() throws {
    let counts = try TransitionCounts(layers: 2, experts: 2, weights: [10011, 0, 0, 9989])
    let topology = try Topology(gpus: 2)
    let least = LeastCap(counts: counts, gpus: 2)
    #expect(least.isExact && least.upper.decimal(digits: 4, up: true) == "1.0011")
    #expect(throws: Never.self) {
      try Instance(counts: counts, topology: topology, loadCap: LoadCap(decimal: "1.0011"))
    }
    let error = #expect(throws: ModelError.self) {
      try Instance(counts: counts, topology: topology, loadCap: LoadCap(decimal: "1.00109"))
    }
    let text = "\(try #require(error))"
    #expect(text.contains("needs at least 1.0011 "), "\(text)")
    #expect(text.contains("1.0011 works in every layer"), "\(text)")
  }

  /// What is printed of the least cap, at any number of digits, is met when it is typed in; below
  /// "at least" nothing is.
  @Test(arguments: 0..<15) func whatIsPrintedWorks(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed) + 77)
    let (experts, gpus) = [(6, 2), (6, 3), (8, 4), (8, 2), (9, 3)][seed % 5]
    let largest = [9, 1000, 1 << 40][seed % 3]
    let counts = try TransitionCounts(
      layers: 3, experts: experts,
      weights: (0..<(2 * experts * experts)).map { _ in random.next(below: largest) })
    let topology = try Topology(gpus: gpus)
    let least = LeastCap(counts: counts, gpus: gpus)
    #expect(least.isExact, "seed \(seed)")
    func works(_ text: String) -> Bool {
      guard let cap = try? LoadCap(decimal: text) else { return false }
      return (try? Instance(counts: counts, topology: topology, loadCap: cap)) != nil
    }
    for digits in [1, 2, 4, 9] {
      let up = least.upper.decimal(digits: digits, up: true)
      let down = least.lower.decimal(digits: digits, up: false)
      #expect(works(up), "seed \(seed): \(up)")
      if up != down { #expect(!works(down), "seed \(seed): \(down)") }
    }
    // Typed as a double, as the command line does.
    let typed = try #require(Double(least.upper.decimal(digits: 9, up: true)))
    #expect(throws: Never.self) {
      try Instance(counts: counts, topology: topology, loadCap: LoadCap(typed))
    }
    // The message's figure works too.
    guard least.lower > .one else { return }
    let error = #expect(throws: ModelError.self) {
      try Instance(counts: counts, topology: topology, loadCap: LoadCap(1))
    }
    let words = "\(try #require(error))".split(separator: " ").map(String.init)
    let end = try #require(words.firstIndex(of: "works"))
    #expect(works(words[end - 1]), "seed \(seed): \(words)")
  }

  @Test func decimalsAreExact() throws {
    func fraction(_ text: String) throws -> [Int] {
      let cap = try LoadCap(decimal: text)
      return [cap.numerator, cap.denominator]
    }
    #expect(try fraction("1.2") == [12, 10])
    #expect(try fraction("1.200") == [12, 10])
    #expect(try fraction("2") == [2, 1])
    #expect(try fraction("1.000000000000001") == [1_000_000_000_000_001, 1_000_000_000_000_000])
    #expect(try fraction("1000") == [1000, 1])
    for text in [
      "", ".", "0.9", "1000.1", "1,2", "1.2.3", "-1", "+1", "1e1", "1.0000000000000001", " 1",
      "99999",
    ] {
      #expect(throws: ModelError.self, "\(text)") { try LoadCap(decimal: text) }
    }
    #expect(try LoadCap(1.0000000000000002).numerator >= 1)
    // No cap at all, and the largest numbers there are.
    let loose = try LoadCap(1000)
    #expect(loose.tokens(of: 1 << 55, groups: 1) == Int.max)
    #expect(try LoadCap(decimal: "1.5").tokens(of: 1 << 55, groups: 2) == 3 << 53)
  }
}
