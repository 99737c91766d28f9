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
        sparse.separate(m, context: context, threshold: 0.05, limit: .max, control: SearchControl())
        for shape in sparse.shapes { #expect(try violation(l, shape) > 0.04, "\(random) \(shape)") }
      }
    }
  }

  /// M is in the spectral set, and no placement's matrix makes an acute angle with what is left of
  /// the target: so none is nearer, nor is anything between them.
  @Test func projectionIsTheNearestOfItsSet() {
    for seed in 1...120 as ClosedRange<UInt64> {
      var random = SeededGenerator(seed: seed)
      let experts = 2 + random.next(below: 9)
      let divisors = (2...experts).filter { experts % $0 == 0 }
      let groups = divisors[random.next(below: divisors.count)]
      let (size, width, order) = (experts / groups, (experts + 3) & ~3, 2 * experts)
      let projection = SpectralProjection(
        experts: experts, groups: groups, width: width, control: SearchControl())
      var target = [Double](repeating: 0, count: order * order)
      let x = AlignedRows(rows: experts, stride: width)
      let dual = AlignedRows(rows: experts, stride: width)
      func place(_ block: ColocationLayout.Block, _ i: Int, _ j: Int) -> (Int, Int) {
        (block.rowHalf * experts + i, block.columnHalf * experts + j)
      }
      for block in ColocationLayout.Block.allCases {
        for i in 0..<experts {
          for j in 0..<experts {
            let mirrored = block != .between && j < i
            x[i, j] = mirrored ? x[j, i] : random.nextUnit() * 2 - 0.5
            dual[i, j] = mirrored ? dual[j, i] : random.nextUnit() * 4 - 2
            let (a, b) = place(block, i, j)
            target[a * order + b] = min(max(x[i, j], 0), 1) + dual[i, j]
            target[b * order + a] = target[a * order + b]
          }
        }
        projection.setTarget(block, x: x.base, dual: dual.base)
      }
      #expect(projection.decompose())
      var m = [Double](repeating: 0, count: order * order)
      for block in ColocationLayout.Block.allCases {
        projection.write(block, to: x.base)
        for i in 0..<experts {
          for j in 0..<experts {
            let (a, b) = place(block, i, j)
            (m[a * order + b], m[b * order + a]) = (x[i, j], x[i, j])
          }
        }
      }
      let note: Comment = "seed \(seed), E=\(experts) P=\(groups)"
      for a in 0..<order {
        for half in 0..<2 {
          let sum = (0..<experts).reduce(0.0) { $0 + m[a * order + half * experts + $1] }
          #expect(abs(sum - Double(size)) < 1e-9, note)
        }
      }
      let trace = (0..<order).reduce(0.0) { $0 + m[$1 * order + $1] }
      #expect(abs(trace - Double(2 * experts)) < 1e-9, note)
      let largest = EigenvalueSum(order: order, count: 1)
      #expect(largest.upperBound(m, stride: order) < Double(2 * size) + 1e-6, note)
      #expect(largest.upperBound(m.map { -$0 }, stride: order) < 1e-6, note)
      for _ in 0..<30 {
        let labels = (0..<2).flatMap { _ in
          (0..<experts).map { $0 % groups }.shuffled(using: &random)
        }
        var product = 0.0
        for a in 0..<order {
          for b in 0..<order {
            let other = labels[a] == labels[b] ? 1.0 : 0
            product += (target[a * order + b] - m[a * order + b]) * (other - m[a * order + b])
          }
        }
        #expect(product < 1e-7 * Double(order * order), note)
      }
    }
  }

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
        func isApart(_ i: Int, _ j: Int) -> Bool {
          i != j && context.apart.contains(context.layout.inside(block.rowHalf, i, j))
        }
        /// (ΣU)/P - tr U + Σ max(0, C), as far as this block is concerned.
        func value(_ dual: [Int]) -> Double {
          let sum = Double(dual.reduce(0, +)) / Double(problem.groups)
          var value = block == .between ? 2 * sum : sum
          for i in 0..<experts {
            if block != .between { value -= Double(dual[i * experts + i]) }
            for j in 0..<experts where block == .between || (i < j && !isApart(i, j)) {
              value += max(0, coefficient(i, j, dual))
            }
          }
          return value
        }
        var potentials = RowPotentials(experts: experts, control: SearchControl(), dual: given) {
          coefficient($0, $1, given)
        }
        if block == .between {
          potentials.tightenRowsAndColumns(sum: problem.groupSize)
        } else {
          for i in 0..<experts {
            for j in 0..<i where isApart(i, j) { potentials.fixAtZero(i, j) }
          }
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
