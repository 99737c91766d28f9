import Colocate
import TestSupport
import Testing

/// Cuts of the co-location relaxation: valid for every placement, found where they are violated.
@Suite struct ColocationCutTests {
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
    let vertices = (0..<(2 * problem.experts)).shuffled(using: &random)
    let boundary = random.next(below: problem.layers - 1)
    let shape: ColocationCut.Shape
    switch random.next(below: problem.caps == nil ? 4 : 7) {
    case 0:
      let first = 1 + random.next(below: min(3, vertices.count - 1))
      let second = 1 + random.next(below: min(4, vertices.count - first))
      shape = .partition(Array(vertices[..<first]), Array(vertices[first..<(first + second)]))
    case 1: shape = .crowd(Array(vertices[..<(1 + random.next(below: vertices.count))]))
    case 2:
      let half = random.next(below: 2)
      var members = [[Int](), [Int](), [Int]()]
      for j in 0..<problem.experts {
        let vertex = half * problem.experts + j
        if vertex != vertices[0] && vertex != vertices[1] {
          members[random.next(below: 3)].append(vertex)
        }
      }
      shape = .company(vertices[0], vertices[1], half: half, first: members[0], second: members[1])
    case 3:
      let count = 2 + random.next(below: vertices.count - 1)
      shape = .hypermetric(
        Array(vertices[..<count]),
        (0..<count).map { _ in (1 + random.next(below: 3)) * (random.next(below: 2) == 0 ? 1 : -1) }
      )
    case 4:
      shape = .loadPair(
        vertices[0], vertices[1], half: random.next(below: 2),
        relation: ColocationCut.PairRelation.allCases[random.next(below: 3)])
    case 5:
      shape = .load(
        vertex: vertices[0], half: random.next(below: 2), atMost: random.next(below: 2) == 0)
    default:
      let first = random.next(below: 2)
      shape = .loadProduct(
        first: first, second: first == 1 ? 1 : random.next(below: 2),
        atMost: random.next(below: 2) == 0)
    }
    return ColocationCut(boundary: boundary, shape: shape, multiplier: random.next(below: 5000))
  }

  /// By the definition of the variables.
  static func variables(_ problem: GroupingProblem, _ labels: [Int], _ layout: ColocationLayout)
    -> [Int]
  {
    let labels = Labels(labels, experts: problem.experts)
    var x = [Int](repeating: 0, count: layout.count)
    for l in 0..<problem.layers {
      for i in 0..<problem.experts {
        for j in 0..<problem.experts {
          if i < j { x[layout.inside(l, i, j)] = labels[l, i] == labels[l, j] ? 1 : 0 }
          if l + 1 < problem.layers {
            x[layout.between(l, i, j)] = labels[l, i] == labels[l + 1, j] ? 1 : 0
          }
        }
      }
    }
    return x
  }

  @Test func everyCutHoldsForEveryPlacement() throws {
    for seed in 1...400 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed)
      let problem = random.problem
      var generator = SeededGenerator(seed: seed)
      guard let labels = Self.randomLabels(problem, &generator) else { continue }
      let context = ColocationCut.Context(problem: problem)
      let x = Self.variables(problem, labels, context.layout)
      for place in context.apart { #expect(x[place] == 0, "\(random)") }
      for _ in 0..<40 {
        let cut = Self.randomCut(problem, &generator)
        let row = try #require(cut.row(in: context), "\(random) \(cut)")
        let left = row.terms.reduce(0) { $0 + $1.coefficient * x[$1.index] }
        #expect(left <= row.limit, "\(random) \(cut)")
      }
    }
  }

  /// Pairs are apart exactly where no group of c experts that holds both is within the cap.
  @Test func pairsApartAreThoseThatNoGroupHolds() {
    for seed in 1...300 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8], maxLayers: 2)
      let problem = random.problem
      guard let caps = problem.caps, problem.groupSize >= 2 else { continue }
      let context = ColocationCut.Context(problem: problem)
      var expected = [Int]()
      for l in 0..<problem.layers {
        var possible = Set<Int>()
        for bits in 0..<(1 << problem.experts) where bits.nonzeroBitCount == problem.groupSize {
          let group = (0..<problem.experts).filter { bits >> $0 & 1 == 1 }
          guard group.reduce(0, { $0 + problem.load(l, $1) }) <= caps[l] else { continue }
          for i in group { for j in group where i < j { possible.insert(i * 8 + j) } }
        }
        for i in 0..<problem.experts {
          for j in 0..<problem.experts where i < j && !possible.contains(i * 8 + j) {
            expected.append(context.layout.inside(l, i, j))
          }
        }
      }
      #expect(context.apart == expected, "\(random)")
    }
  }

  /// Every triangle and triple that is violated is found, once, and every other cut that separation
  /// adds is violated: at random points, many of whose entries are 0 or 1.
  @Test func separationFindsWhatIsViolated() throws {
    for seed in 1...200 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8])
      let problem = random.problem
      guard problem.groups > 1 else { continue }
      var generator = SeededGenerator(seed: seed)
      let context = ColocationCut.Context(problem: problem)
      let layout = context.layout
      let values = (0..<layout.count).map { _ in generator.nextUnit() * 2 - 0.5 }
      func value(_ row: ColocationCut.Row) -> Double {
        row.terms.reduce(0) { $0 + Double($1.coefficient) * min(max(values[$1.index], 0), 1) }
          - Double(row.limit)
      }
      func violation(_ l: Int, _ shape: ColocationCut.Shape) throws -> Double {
        value(
          try #require(
            ColocationCut(boundary: l, shape: shape, multiplier: 0).row(in: context), "\(random)"))
      }
      for l in 0..<layout.boundaries {
        let m = BoundaryMarginals(boundary: l, values: values, layout: layout)
        let triples = TripleCuts(boundary: l)
        triples.separate(
          m, layout: layout, triples: problem.groups == 2, threshold: 0.02, limit: .max)
        var expected = Set<[Int]>()
        for i in 0..<m.vertices {
          for j in 0..<i {
            for k in 0..<m.vertices where k != i && k != j {
              if !m.ownsRight && min(i, j, k) >= m.experts { continue }
              if try violation(l, .partition([k], [j, i])) > 0.02 {
                expected.insert([k, j, i, 0])
              }
              guard problem.groups == 2, k < j else { continue }
              if try violation(l, .crowd([k, j, i])) > 0.02 { expected.insert([k, j, i, 1]) }
            }
          }
        }
        let found = triples.vertices.map { v in (0..<4).map { Int(v[$0]) } }
        #expect(found.count == Set(found).count, "\(random)")
        #expect(Set(found) == expected, "\(random)")
        let sparse = SparseCuts(boundary: l)
        sparse.separate(
          m, context: context, threshold: 0.05, limit: .max, covers: 0.05,
          hypermetric: HypermetricSearch.Limits(), control: SearchControl())
        for shape in sparse.shapes { #expect(try violation(l, shape) > 0.04, "\(random) \(shape)") }
      }
    }
  }
}
