import Colocate
import ColocateCertificate
import TestSupport
import Testing

/// Windows of the co-location relaxation and their trees, against brute force.
@Suite struct WindowTests {
  static func relaxation(
    _ problem: GroupingProblem, iterations: Int
  ) -> ColocationRelaxation {
    let relaxation = ColocationRelaxation(problem: problem, control: SearchControl())
    relaxation.parameters.maxIterations = iterations
    relaxation.parameters.fixes = false
    relaxation.run()
    return relaxation
  }

  static func search(
    _ problem: GroupingProblem, iterations: Int, threads: Int = 1,
    _ change: (inout WindowSearch.Parameters) -> Void = { _ in }
  ) -> (search: WindowSearch, kept: Int)? {
    guard problem.groups > 1, problem.total > 0, let best = problem.bruteForce() else { return nil }
    var parameters = WindowSearch.Parameters()
    (parameters.rootIterations, parameters.nodeIterations) = (60, 30)
    change(&parameters)
    let search = WindowSearch.atMultipliers(
      of: relaxation(problem, iterations: iterations), incumbent: best.labels,
      parameters: parameters, control: SearchControl(threads: threads))
    return search.map { ($0, best.kept) }
  }

  /// What a placement keeps is the sum of what it keeps in the windows, whatever the shares.
  @Test func windowsAddUp() {
    for seed in 1...200 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed)
      let problem = random.problem
      var generator = SeededGenerator(seed: seed)
      let bits = generator.next(below: 8)
      let shares = (1..<max(1, problem.layers - 1)).map { _ in
        var block = [Int](repeating: 0, count: problem.experts * problem.experts)
        for i in 0..<problem.experts {
          for j in 0..<i {
            block[i * problem.experts + j] = generator.next(below: 2001) - 1000
            block[j * problem.experts + i] = block[i * problem.experts + j]
          }
        }
        return block
      }
      let split = WindowSplit(problem: problem, fractionBits: bits, shares: shares)
      guard let labels = ColocationCutTests.randomLabels(problem, &generator) else { continue }
      var values = [Int]()
      for w in 0..<(problem.layers - 1) {
        let window = split.windows[w]
        #expect(!window.problem.coactivation.contains { $0 < 0 }, "\(random)")
        #expect(window.problem.isFeasible(split.labels(labels, window: w)), "\(random)")
        values.append(window.problem.kept(split.labels(labels, window: w)))
      }
      #expect(split.keptBound(values) == problem.kept(labels), "\(random)")
    }
  }

  /// At a relaxation's multipliers the windows' relaxed bounds add up to its bound, and a window's
  /// relaxation that goes on from it starts near there: it goes on from the last state, which need
  /// not be the best, and rounds anew.
  @Test func windowsGoOnWhereTheWholeStopped() throws {
    var seen = 0
    for seed in 1...80 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8])
      let problem = random.problem
      guard problem.groups > 1, problem.total > 100 else { continue }
      let whole = Self.relaxation(problem, iterations: 100)
      guard let multipliers = whole.multipliers,
        let split = WindowSplit(problem: problem, multipliers: multipliers)
      else { continue }
      let bounds = (0..<(problem.layers - 1)).map { w in
        let window = split.windows[w]
        let part = ColocationRelaxation(problem: window.problem, control: SearchControl())
        part.parameters.fixes = false
        part.parameters.maxIterations = 0
        part.start(fromBoundary: w, of: whole, window: window, fractionBits: split.fractionBits)
        part.run()
        return part.keptBound
      }
      let sum = split.keptBound(bounds)
      let scale = 8 + Double(problem.total) * 0.05
      #expect(Double(abs(sum - whole.keptBound)) <= scale, "\(random): \(sum), \(whole.keptBound)")
      seen += 1
    }
    #expect(seen > 20)
  }

  /// So do the search's own: cuts of load caps have coefficients of millions, and multipliers that
  /// must not be rounded away.
  @Test func windowsOfCappedProblemsStartThereToo() throws {
    var seen = 0
    for seed in 1...200 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [6, 8])
      let problem = random.enlarged(toBits: 22)
      guard problem.groups > 1, problem.caps != nil, problem.total > 0,
        let best = problem.bruteForce()
      else { continue }
      let whole = Self.relaxation(problem, iterations: 100)
      var parameters = WindowSearch.Parameters()
      (parameters.rootIterations, parameters.nodeLimit) = (0, problem.layers - 1)
      (parameters.searchStates, parameters.roundSize) = (0, 1)
      guard
        let search = WindowSearch.atMultipliers(
          of: whole, incumbent: best.labels, parameters: parameters, control: SearchControl())
      else { continue }
      search.run { _ in true }
      guard search.solved == problem.layers - 1 else { continue }
      let above = Double(search.keptBound - whole.keptBound) / Double(problem.total)
      #expect(above < 0.01, "\(random): \(search.keptBound), \(whole.keptBound)")
      seen += 1
    }
    #expect(seen > 20, "\(seen)")
  }

  /// Searched to the end, each window's bound is its maximum by brute force; stopped anywhere, the
  /// sum is no less than the optimum.
  @Test func treesFindTheWindowsMaxima() throws {
    var (branched, ended) = (0, 0)
    for seed in 1...120 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8], maxLayers: 4)
      guard
        let (search, kept) = Self.search(
          random.problem, iterations: 60,
          {
            if seed % 2 == 0 { $0.searchStates = 0 }
            if seed % 3 == 0 { $0.nodeLimit = 20 }
            // Without their parents' states nodes are slower, and no less right.
            if seed % 5 == 0 { $0.mostBytes = 0 }
          })
      else { continue }
      search.run { search in
        #expect(search.keptBound >= kept, "\(random)")
        return true
      }
      if search.solved > random.problem.layers - 1 { branched += 1 }
      guard search.openCount == 0, seed % 3 != 0 else { continue }
      ended += 1
      let maxima = (0..<(random.problem.layers - 1)).compactMap {
        search.split.windows[$0].problem.bruteForce()?.kept
      }
      // Where all pairs are fixed there is nothing to branch on, and only the search on losses sees
      // what the one placement that is left keeps.
      let most = search.split.keptBound(maxima)
      #expect(search.keptBound >= most, "\(random)")
      if seed % 2 != 0 { #expect(search.keptBound == most, "\(random)") }
    }
    #expect(branched > 10 && ended > 20, "\(branched) branched, \(ended) ended")
  }

  @Test func threadsChangeNothing() throws {
    for seed in 200...230 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [6, 8])
      let found = [1, 2, 3].compactMap { threads -> [Int]? in
        guard
          let (search, _) = Self.search(
            random.problem, iterations: 40, threads: threads, { $0.searchStates = 0 })
        else { return nil }
        var bounds = [Int]()
        search.run {
          bounds.append($0.keptBound)
          return bounds.count < 4
        }
        return bounds + [search.solved, search.iterations]
      }
      #expect(Set(found).count <= 1, "\(random): \(found)")
    }
  }

  /// Certificates of windows are accepted with the bound that the search proved, and not with a
  /// better one than what some placement keeps.
  @Test func evidence() throws {
    var (trees, accepted) = (0, 0)
    for seed in 300...420 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6], maxLayers: 4)
      let problem = random.problem
      guard
        let (search, kept) = Self.search(
          problem, iterations: 60,
          {
            $0.keepsEvidence = true
            if seed % 2 == 0 { $0.searchStates = 0 }
            if seed % 3 == 0 { $0.nodeLimit = 6 }
          })
      else { continue }
      search.run { _ in true }
      let windows = CertificateWindows(search.proof)
      let certified = try CertifiedProblem(problem)
      let bound = try windows.bound(of: certified, effort: CertificateEffort())
      #expect(bound >= kept, "\(random)")
      #expect(abs(bound - search.keptBound) <= 1, "\(random): \(bound), \(search.keptBound)")
      accepted += 1
      if windows.trees.contains(where: { $0.nodes.count > 1 }) { trees += 1 }
      // A tree that leaves out a child, or a leaf without evidence, proves no more.
      var wrong = windows
      wrong.trees[0].nodes = []
      #expect(throws: CertificateError.self, "\(random)") {
        try wrong.bound(of: certified, effort: CertificateEffort())
      }
      wrong = windows
      wrong.trees[0].nodes = [.init(kind: .branch(first: 0, second: 1, together: 1, apart: 1))]
      #expect(throws: CertificateError.self, "\(random)") {
        try wrong.bound(of: certified, effort: CertificateEffort())
      }
      wrong = windows
      wrong.trees[0].best = -1
      let without = try? wrong.bound(of: certified, effort: CertificateEffort())
      #expect(without ?? kept >= kept, "\(random)")
    }
    #expect(accepted > 30 && trees > 10, "\(accepted) accepted, \(trees) with branches")
  }
}
