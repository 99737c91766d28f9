import Colocate

extension FuzzCase {
  /// What is drawn.
  package struct Kind: Sendable {
    /// Counts add up to less than two to this power.
    package var bits = 51
    /// States of a layer that the reference may list.
    package var states = 320
    package init() {}
  }

  /// The case of a seed.
  package init(seed: UInt64, kind: Kind = Kind()) {
    self.init()
    var random = SeededGenerator(seed: seed)
    drawOptions(&random)
    drawSizes(&random, kind)
    drawCounts(&random)
    scale(&random, kind)
    drawCap(&random)
  }

  // MARK: Sizes

  private mutating func drawSizes(_ random: inout SeededGenerator, _ kind: Kind) {
    layers = [2, 2, 3, 3, 4, 5, 7][random.next(below: options.methods.path ? 7 : 5)]
    var shapes = Self.shapes(states: kind.states)
    let methods = options.methods
    if !methods.dolls || methods.dollStates < 3 {
      // What a small tree can close.
      layers = [2, 2, 3][random.next(below: 3)]
      shapes = shapes.filter { $0.2 * $0.1 < $0.0 && $0.2 > 1 && (4...8).contains($0.0) }
    } else if !methods.path, random.nextUnit() < 0.7 {
      // Where the co-location bound is tight.
      shapes = shapes.filter { $0.2 == 2 && $0.1 == 1 && $0.0 > 2 }
    }
    (experts, nodes, gpusPerNode) = shapes[random.next(below: shapes.count)]
    if nodes == 1 {
      // Several nodes change nothing where the objective is flat.
      let divisors = (1...gpusPerNode).filter { gpusPerNode % $0 == 0 }
      nodes = divisors[random.next(below: divisors.count)]
      gpusPerNode /= nodes
      objective = .flat
    } else if random.nextUnit() < 0.5 {
      objective = .staged
    } else {
      let intra = random.next(below: 4)
      objective = .joint(interNode: intra + random.next(below: 10), intraNode: intra)
    }
    if case .staged = objective, random.nextUnit() < 0.5 {
      let intra = random.next(below: 4)
      options.jointWeights = JointWeights(
        interNode: intra + random.next(below: 10), intraNode: intra)
    }
  }

  /// Sizes whose partitions the reference can list: one level (flat objectives) three times, so
  /// that most cases are flat; then two levels.
  private static func shapes(states: Int) -> [(Int, Int, Int)] {
    var shapes = [(Int, Int, Int)]()
    for experts in [1, 2, 3, 4, 5, 6, 8, 9, 10] {
      for gpus in 1...experts where experts % gpus == 0 {
        // Large groups and one group alone come less often than what has to be searched.
        let weight = gpus == 1 ? 1 : gpus == experts ? 3 : 48
        if partitions(experts, nodes: 1, per: gpus) <= states {
          shapes += Array(repeating: (experts, 1, gpus), count: weight)
        }
        for nodes in 2..<max(gpus, 2) where gpus % nodes == 0 && gpus / nodes >= 2 {
          // Two levels are listed several times over.
          guard partitions(experts, nodes: nodes, per: gpus / nodes) <= states / 3 else { continue }
          shapes += Array(repeating: (experts, nodes, gpus / nodes), count: 6)
        }
      }
    }
    return shapes
  }

  /// `E! / (c!^P · G!^N · N!)`.
  static func partitions(_ experts: Int, nodes: Int, per: Int) -> Int {
    func factorial(_ n: Int) -> Int { n < 2 ? 1 : (2...n).reduce(1, *) }
    let gpus = nodes * per
    var count = factorial(experts) / factorial(nodes)
    for _ in 0..<gpus { count /= factorial(experts / gpus) }
    for _ in 0..<nodes { count /= factorial(per) }
    return count
  }

  // MARK: Counts

  private mutating func drawCounts(_ random: inout SeededGenerator) {
    let square = experts * experts
    weights = [Int](repeating: 0, count: (layers - 1) * square)
    switch random.next(below: 10) {
    case 0, 1: drawTokens(&random)
    case 2, 3: drawHiddenPlacement(&random)
    default:
      let largest = [1, 2, 5, 50, 1000, 100_000][random.next(below: 6)]
      let density = [0.2, 0.5, 1.0, 1.0][random.next(below: 4)]
      for index in weights.indices where random.nextUnit() < density {
        weights[index] = 1 + random.next(below: largest)
      }
    }
    if random.nextUnit() < 0.25 { emptyRows(&random) }
    if random.nextUnit() < 0.02 { weights = weights.map { _ in 0 } }
    if coactivation.isEmpty, random.nextUnit() < 0.2 { drawCoactivation(&random) }
    if random.nextUnit() < 0.15 {
      loads = (0..<(layers * experts)).map { _ in random.next(below: 30) }
    }
  }

  /// Tokens that use k experts in every layer: pairs of neighbouring layers, pairs of one layer,
  /// loads.
  private mutating func drawTokens(_ random: inout SeededGenerator) {
    let k = 1 + random.next(below: min(3, experts))
    let favour = random.next(below: 3)
    var served = [Int](repeating: 0, count: layers * experts)
    var together = [Int](repeating: 0, count: layers * experts * experts)
    for _ in 0..<(1 + random.next(below: 60)) {
      var before = [Int]()
      for l in 0..<layers {
        var used = Set<Int>()
        while used.count < k {
          // Popular experts have low numbers: the least of a few draws.
          used.insert((0...favour).map { _ in random.next(below: experts) }.min() ?? 0)
        }
        let chosen = used.sorted()
        for j in chosen {
          served[l * experts + j] += 1
          for i in before { weights[((l - 1) * experts + i) * experts + j] += 1 }
          for i in chosen where i != j { together[(l * experts + i) * experts + j] += 1 }
        }
        before = chosen
      }
    }
    loads = served
    if random.nextUnit() < 0.5 { coactivation = together }
  }

  /// A placement with much inside its GPUs, and noise: what real routing looks like.
  private mutating func drawHiddenPlacement(_ random: inout SeededGenerator) {
    let size = experts / gpus
    let groups = (0..<layers).map { _ in
      (0..<experts).map { $0 / size }.shuffled(using: &random)
    }
    for l in 0..<(layers - 1) {
      for i in 0..<experts {
        for j in 0..<experts {
          let inside = groups[l][i] == groups[l + 1][j]
          weights[(l * experts + i) * experts + j] = random.next(below: inside ? 60 : 20)
        }
      }
    }
  }

  private mutating func emptyRows(_ random: inout SeededGenerator) {
    for row in 0..<((layers - 1) * experts) where random.nextUnit() < 0.4 {
      for j in 0..<experts { weights[row * experts + j] = 0 }
    }
  }

  private mutating func drawCoactivation(_ random: inout SeededGenerator) {
    let largest = [1, 20, 1000][random.next(below: 3)]
    coactivation = [Int](repeating: 0, count: layers * experts * experts)
    for l in 0..<layers {
      for i in 0..<experts {
        for j in 0..<i where random.nextUnit() < 0.6 {
          let value = random.next(below: largest + 1)
          coactivation[(l * experts + i) * experts + j] = value
          coactivation[(l * experts + j) * experts + i] = value
        }
      }
    }
  }

  /// One case in four has large counts: all times one factor, or each moved a little besides.
  private mutating func scale(_ random: inout SeededGenerator, _ kind: Kind) {
    guard random.nextUnit() < 0.25 else { return }
    let total = weights.reduce(1, +) + coactivation.reduce(0, +)
    let room = kind.bits - (Int.bitWidth - total.leadingZeroBitCount)
    guard room > 0 else { return }
    let factor = 1 << random.next(below: room + 1)
    let jitter = random.nextUnit() < 0.5 && factor > 1
    for index in weights.indices where weights[index] > 0 {
      weights[index] = weights[index] * factor - (jitter ? random.next(below: factor) : 0)
    }
    // Symmetric: one factor for all.
    coactivation = coactivation.map { $0 * factor }
    let most = (loads ?? []).reduce(1, +)
    loads = loads.map { $0.map { $0 * min(factor, (1 << kind.bits) / most) } }
  }

  // MARK: Load caps

  private mutating func drawCap(_ random: inout SeededGenerator) {
    guard random.nextUnit() < 0.4 else { return }
    let kind = random.next(below: 4)
    if kind < 2 {
      // Any ratio: often one that cannot be met.
      let permille = 1000 + random.next(below: [60, 400, 1500][random.next(below: 3)])
      cap = Cap(numerator: permille, denominator: 1000, isRelaxed: kind == 1)
      return
    }
    // What a random placement needs, exactly or nearly.
    guard let counts = try? counts() else { return }
    let labels = Self.randomLabels(self, &random)
    var (numerator, denominator) = (1, 1)
    for l in 0..<layers {
      var load = [Int](repeating: 0, count: gpus)
      for e in 0..<experts {
        load[labels[l * experts + e]] += counts.load(layer: l, expert: e)
      }
      let (most, all) = ((load.max() ?? 0) * gpus, load.reduce(0, +))
      guard all > 0, all <= 1_000_000_000, most > 0 else { continue }
      if most * denominator > numerator * all { (numerator, denominator) = (most, all) }
    }
    guard numerator >= denominator else { return }
    cap = Cap(numerator: numerator, denominator: denominator, isRelaxed: random.next(below: 4) == 0)
  }

  /// GPUs `[L, E]`, each with its number of experts, at random.
  static func randomLabels(_ fuzz: FuzzCase, _ random: inout SeededGenerator) -> [Int] {
    let size = fuzz.experts / fuzz.gpus
    return (0..<fuzz.layers).flatMap { _ in
      (0..<fuzz.experts).map { $0 / size }.shuffled(using: &random)
    }
  }

  // MARK: Options

  private mutating func drawOptions(_ random: inout SeededGenerator) {
    // Work ends every run, so that nothing depends on the clock; small budgets end it on the way.
    options.timeLimit = nil
    options.workLimit = 600_000
    options.threads = 1
    options.seed = random.next() >> 40
    options.methods.localRounds = 1
    options.methods.colocationIterations = 250
    options.keepsCertificate = random.nextUnit() < 0.5
    plants = random.nextUnit() < 0.6
    drawProfile(&random)
    for option in OptionDescription.table where option.isAdvanced && random.nextUnit() < 0.04 {
      try? option.set(Self.value(of: option, &random), in: &options)
    }
    switch random.next(below: 12) {
    case 0: options.workLimit = 1 << random.next(below: 22)
    case 1: options.timeLimit = random.nextUnit() * 0.004
    case 2: options.gapLimit = random.nextUnit() * 0.2
    case 3: options.treeNodeLimit = 1 + random.next(below: 8)
    case 4: options.proves = random.nextUnit() < 0.5
    case 5: cancels = random.nextUnit() < 0.3
    case 6, 7: options.threads = 1 + random.next(below: 4)
    default: break
    }
    if random.nextUnit() < 0.1 { warmStart = random.next() >> 40 }
    repeats = options.timeLimit == nil && !cancels && random.nextUnit() < 0.1
    let threads = 1 + random.next(below: 3)
    if repeats { repeatThreads = threads }
  }

  /// Which of the methods is to end the run: the first that is left on. Dolls and tree come where
  /// little was done for the prices before them.
  private mutating func drawProfile(_ random: inout SeededGenerator) {
    options.methods.localSearch = random.nextUnit() < 0.25
    let profile = random.next(below: 40)
    guard profile >= 1 else { return }
    options.methods.chain = false
    if random.nextUnit() < 0.5 { options.methods.assignment = false }
    switch profile {
    case 1..<10: break
    case 10..<11:
      options.methods.pathEvaluations = [0, 0, 1, 2, 4][random.next(below: 5)]
      options.methods.pathCutRounds = 0
      options.methods.pathDeletion = random.nextUnit() < 0.5
    case 11..<30:
      options.methods.pathEvaluations = 0
      options.methods.pathCutRounds = random.next(below: 2)
      options.methods.pathDeletion = random.nextUnit() < 0.3
      if random.nextUnit() < 0.92 {
        options.methods.dolls = false
        options.treeNodeLimit = 120
      } else {
        options.methods.dollStates = random.next(below: 3)
        options.methods.treeStates = random.next(below: 40)
      }
    default:
      options.methods.path = false
      options.methods.localSearch = true
      if random.nextUnit() < 0.6 { options.methods.colocationStates = 0 }
      guard random.nextUnit() < 0.15 else { return }
      // Windows come where pairs are not fixed, and where the relaxation has left something open.
      options.methods.colocationFixing = false
      options.methods.colocationIterations = 40
      options.methods.windows = true
      options.methods.windowIterations = 30
      options.treeNodeLimit = 60
    }
  }

  /// Any value in the option's range that a small case can bear.
  private static func value(of option: OptionDescription, _ random: inout SeededGenerator) -> String
  {
    func count(_ range: ClosedRange<Int>) -> String {
      let most = min(range.upperBound, 4_000)
      let magnitude = random.next(below: 13)
      return "\(min(most, range.lowerBound + random.next(below: 1 << magnitude)))"
    }
    switch option.access {
    case .flag: return random.nextUnit() < 0.5 ? "on" : "off"
    case .count(_, let range): return count(range)
    case .limit(_, let range): return count(range)
    case .number(_, let range): return "\(range.lowerBound + random.nextUnit())"
    case .seconds(_, let range): return "\(range.lowerBound + random.nextUnit())"
    case .seed: return "\(random.next())"
    }
  }
}
