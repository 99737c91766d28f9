import Colocate
import TestSupport
import Testing

/// Row potentials, by their definition.
@Suite struct RowPotentialsTests {
  /// Row potentials leave Q U Q as it was and lower the rest of the bound, but for the rounding of
  /// their whole numbers. Both by definition, for random multipliers.
  @Test func rowPotentialsDoNotMakeABoundWorse() {
    let bits = 10
    var (better, tried) = (0, 0)
    for seed in 1...200 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8], maxLayers: 2)
      let problem = random.problem
      guard problem.groups > 1, problem.total > 0 else { continue }
      let experts = problem.experts
      let context = ColocationCut.Context(problem: problem)
      var generator = SeededGenerator(seed: seed)
      for block in ColocationLayout.Block.allCases {
        let given = Self.randomBlock(problem, block, bits: bits, &generator)
        func coefficient(_ i: Int, _ j: Int, _ dual: [Int]) -> Double {
          let layer = block.rowHalf
          let weight =
            block == .between ? problem.weight(0, i, j) : problem.coactivation(layer, i, j)
          return Double((weight << bits) - 2 * dual[i * experts + j])
        }
        // What is fixed: by the cap, and here and there at random, at 0 or 1.
        var fixed = [Int?](repeating: nil, count: experts * experts)
        for i in 0..<experts {
          for j in 0..<experts where block == .between || i < j {
            var value = generator.nextUnit() < 0.15 ? generator.next(below: 2) : nil
            if block != .between,
              context.apart.contains(context.layout.inside(block.rowHalf, i, j))
            {
              value = 0
            }
            fixed[i * experts + j] = value
            if block != .between { fixed[j * experts + i] = value }
          }
        }
        /// (ΣU)/P - tr U + Σ of the most that C·x can be, as far as this block is concerned.
        func value(_ dual: [Int]) -> Double {
          let sum = Double(dual.reduce(0, +)) / Double(problem.groups)
          var value = block == .between ? 2 * sum : sum
          for i in 0..<experts {
            if block != .between { value -= Double(dual[i * experts + i]) }
            for j in 0..<experts where block == .between || i < j {
              let coefficient = coefficient(i, j, dual)
              let state = fixed[i * experts + j]
              value += state.map { Double($0) * coefficient } ?? max(0, coefficient)
            }
          }
          return value
        }
        var potentials = RowPotentials(experts: experts, control: SearchControl(), dual: given) {
          coefficient($0, $1, given)
        }
        for (place, value) in fixed.enumerated() {
          if let value { potentials.fix(place / experts, place % experts, at: value) }
        }
        if block == .between {
          potentials.tightenRowsAndColumns(sum: problem.groupSize)
        } else {
          potentials.tightenSymmetric(sum: problem.groupSize)
        }
        let (before, after) = (value(given), value(potentials.dual))
        #expect(after <= before + Double(8 * experts * experts), "\(random) \(block)")
        let (old, new) = (
          Self.centered(given, experts), Self.centered(potentials.dual, experts)
        )
        #expect(zip(old, new).allSatisfy { abs($0 - $1) < 1e-3 }, "\(random) \(block)")
        tried += 1
        if after < before { better += 1 }
      }
    }
    #expect(2 * better > tried, "\(better) of \(tried) better")
  }

  /// A block of U of about the size of the weights, symmetric where it must be.
  static func randomBlock(
    _ problem: GroupingProblem, _ block: ColocationLayout.Block, bits: Int,
    _ random: inout SeededGenerator
  ) -> [Int] {
    let experts = problem.experts
    let largest = (problem.total << bits) / (experts * experts) + 1
    var dual = [Int](repeating: 0, count: experts * experts)
    for i in 0..<experts {
      for j in 0..<experts where block == .between || i <= j {
        let value = random.next(below: 2 * largest) - largest
        dual[i * experts + j] = value
        if block != .between { dual[j * experts + i] = value }
      }
    }
    return dual
  }

  /// A block less the means of its rows and columns.
  static func centered(_ block: [Int], _ experts: Int) -> [Double] {
    let mean = { (places: [Int]) in
      Double(places.reduce(0) { $0 + block[$1] }) / Double(places.count)
    }
    let rows = (0..<experts).map { i in mean((0..<experts).map { i * experts + $0 }) }
    let columns = (0..<experts).map { j in mean((0..<experts).map { $0 * experts + j }) }
    let all = mean(Array(block.indices))
    return block.indices.map {
      Double(block[$0]) - rows[$0 / experts] - columns[$0 % experts] + all
    }
  }
}
