import Colocate
import TestSupport
import Testing

/// Bounds of the co-location relaxation, against brute force.
@Suite struct ColocationTests {
  @Test func anyMultipliersBoundTheOptimum() throws {
    let control = SearchControl()
    for seed in 1...300 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed)
      let problem = random.problem
      guard let optimum = problem.bruteForce() else { continue }
      var generator = SeededGenerator(seed: seed &* 77)
      let bits = generator.next(below: 12)
      let largest = (problem.weights.max()! + 1) << bits
      var dual = [Int]()
      for _ in 0..<(problem.layers - 1) {
        for kind in 0..<3 {
          var block = [Int](repeating: 0, count: problem.experts * problem.experts)
          for i in 0..<problem.experts {
            for j in 0..<problem.experts where kind == 1 || j <= i {
              let value = generator.next(below: 2 * largest) - largest
              block[i * problem.experts + j] = value
              if kind != 1 { block[j * problem.experts + i] = value }
            }
          }
          dual += block
        }
      }
      let cuts = (0..<generator.next(below: 30)).map { _ in
        ColocationCutTests.randomCut(problem, &generator)
      }
      let multipliers = ColocationMultipliers(
        layers: problem.layers, experts: problem.experts, groups: problem.groups,
        fractionBits: bits, dual: dual, cuts: cuts)
      let bound = try #require(multipliers.keptBound(for: problem, control: control), "\(random)")
      #expect(bound >= optimum.kept, "\(random)")
    }
  }

  @Test func relaxationBoundsTheOptimumAndItsMultipliersProveIt() {
    for seed in 1...150 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed)
      let problem = random.problem
      guard let optimum = problem.bruteForce() else { continue }
      let control = SearchControl(threads: Int(seed % 3) + 1)
      let relaxation = ColocationRelaxation(problem: problem, control: control)
      relaxation.parameters.maxIterations = 80
      var last = problem.total + 1
      relaxation.run(targetKept: optimum.kept) { bound in
        #expect(bound < last, "\(random)")
        last = bound
        return true
      }
      #expect(relaxation.keptBound >= optimum.kept, "\(random)")
      if let multipliers = relaxation.multipliers {
        #expect(
          multipliers.keptBound(for: problem, control: control) == relaxation.keptBound,
          "\(random)")
      } else {
        #expect(relaxation.keptBound == problem.total, "\(random)")
      }
    }
  }

  /// Where every expert hands on to one partner only and there are as many groups as fit, the bound
  /// is the optimum.
  @Test func closesTwoGroupsOfAHiddenPartition() {
    var generator = SeededGenerator(seed: 5)
    let (layers, experts) = (4, 8)
    let hidden = (0..<(layers * experts)).map { _ in 0 }.enumerated().map { $0.offset % 2 }
    var weights = [Int]()
    for l in 0..<(layers - 1) {
      for i in 0..<experts {
        for j in 0..<experts {
          let together = hidden[l * experts + i] == hidden[(l + 1) * experts + j]
          weights.append((together ? 100 : 0) + generator.next(below: 10))
        }
      }
    }
    let problem = GroupingProblem(
      layers: layers, experts: experts, groups: 2, weights: weights,
      loads: [Int](repeating: 1, count: layers * experts))
    let relaxation = ColocationRelaxation(problem: problem, control: SearchControl())
    relaxation.parameters.maxIterations = 400
    relaxation.run(targetKept: problem.kept(hidden))
    #expect(relaxation.keptBound == problem.kept(hidden))
  }

  @Test func threadsDoNotChangeTheBound() {
    let problem = RandomProblem(seed: 21, experts: [8], maxLayers: 6).problem
    let bounds = [1, 2, 4].map { threads in
      let relaxation = ColocationRelaxation(
        problem: problem, control: SearchControl(threads: threads))
      relaxation.parameters.maxIterations = 200
      relaxation.run()
      return relaxation.multipliers?.dual.hashValue ?? 0
    }
    #expect(Set(bounds).count == 1)
  }

  @Test func malformedMultipliersProveNothing() {
    let problem = RandomProblem(seed: 2, experts: [4]).problem
    let zeros = [Int](repeating: 0, count: (problem.layers - 1) * 3 * 16)
    let control = SearchControl()
    func bound(_ dual: [Int], _ cuts: [ColocationCut]) -> Int? {
      ColocationMultipliers(
        layers: problem.layers, experts: 4, groups: problem.groups, fractionBits: 4, dual: dual,
        cuts: cuts
      ).keptBound(for: problem, control: control)
    }
    #expect(bound(zeros, []) == problem.total)
    #expect(bound(Array(zeros.dropLast()), []) == nil)
    var lopsided = zeros
    lopsided[1] = 3
    #expect(bound(lopsided, []) == nil)
    var huge = zeros
    huge[0] = ColocationMultipliers.limit
    #expect(bound(huge, []) == nil)
    func cut(_ shape: ColocationCut.Shape, _ multiplier: Int = 1, at boundary: Int = 0)
      -> ColocationCut
    {
      ColocationCut(boundary: boundary, shape: shape, multiplier: multiplier)
    }
    #expect(bound(zeros, [cut(.partition([0], [1, 2]), -1)]) == nil)
    #expect(bound(zeros, [cut(.partition([0], [0, 2]))]) == nil)
    #expect(bound(zeros, [cut(.partition([0], [1, 8]))]) == nil)
    #expect(bound(zeros, [cut(.partition([0], [1, 2]), at: problem.layers)]) == nil)
    #expect(bound(zeros, [cut(.crowd([1, 1, 2]))]) == nil)
  }
}
