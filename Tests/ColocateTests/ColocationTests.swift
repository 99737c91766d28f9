import Colocate
import TestSupport
import Testing

@Suite struct ColocationTests {
  /// A random labelling that the caps allow, or nil.
  static func randomLabels(_ problem: GroupingProblem, _ random: inout SeededGenerator) -> [Int]? {
    for _ in 0..<50 {
      var labels = [Int]()
      for _ in 0..<problem.layers {
        labels += (0..<problem.experts).map { $0 % problem.groups }.shuffled(using: &random)
      }
      if problem.isFeasible(labels) { return labels }
    }
    return nil
  }

  static func randomCut(_ problem: GroupingProblem, _ random: inout SeededGenerator)
    -> ColocationCut
  {
    let nodes = (0..<(2 * problem.experts)).shuffled(using: &random)
    let boundary = random.next(below: problem.layers - 1)
    let shape: ColocationCut.Shape
    switch random.next(below: problem.caps == nil ? 3 : 6) {
    case 0:
      let first = 1 + random.next(below: min(3, nodes.count - 1))
      let second = 1 + random.next(below: min(4, nodes.count - first))
      shape = .partition(Array(nodes[..<first]), Array(nodes[first..<(first + second)]))
    case 1: shape = .crowd(Array(nodes[..<(1 + random.next(below: nodes.count))]))
    case 2:
      let half = random.next(below: 2)
      var members = [[Int](), [Int](), [Int]()]
      for j in 0..<problem.experts {
        let node = half * problem.experts + j
        if node != nodes[0] && node != nodes[1] { members[random.next(below: 3)].append(node) }
      }
      shape = .company(nodes[0], nodes[1], half: half, first: members[0], second: members[1])
    case 3:
      shape = .loadPair(
        nodes[0], nodes[1], half: random.next(below: 2),
        relation: ColocationCut.PairRelation.allCases[random.next(below: 3)])
    case 4:
      shape = .load(
        node: nodes[0], half: random.next(below: 2), atMost: random.next(below: 2) == 0)
    default:
      let first = random.next(below: 2)
      shape = .loadProduct(
        first: first, second: first == 1 ? 1 : random.next(below: 2),
        atMost: random.next(below: 2) == 0)
    }
    return ColocationCut(boundary: boundary, shape: shape, multiplier: random.next(below: 5000))
  }

  @Test func everyCutHoldsForEveryPlacement() throws {
    for seed in 1...400 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed)
      let problem = random.problem
      var generator = SeededGenerator(seed: seed)
      guard let labels = Self.randomLabels(problem, &generator) else { continue }
      let context = ColocationCut.Context(problem: problem)
      var x = [Int](repeating: 0, count: context.layout.count)
      for l in 0..<problem.layers {
        for i in 0..<problem.experts {
          let group = labels[l * problem.experts + i]
          for j in 0..<problem.experts {
            if i < j {
              x[context.layout.inside(l, i, j)] =
                labels[l * problem.experts + j] == group ? 1 : 0
            }
            if l + 1 < problem.layers {
              x[context.layout.between(l, i, j)] =
                labels[(l + 1) * problem.experts + j] == group ? 1 : 0
            }
          }
        }
      }
      for place in context.apart { #expect(x[place] == 0, "\(random)") }
      for _ in 0..<40 {
        let cut = Self.randomCut(problem, &generator)
        let row = try #require(cut.expanded(context), "\(random) \(cut)")
        let left = row.terms.reduce(0) { $0 + $1.coefficient * x[$1.index] }
        #expect(left <= row.limit, "\(random) \(cut)")
      }
    }
  }

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
      let cuts = (0..<generator.next(below: 30)).map { _ in Self.randomCut(problem, &generator) }
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
