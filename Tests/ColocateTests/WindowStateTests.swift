import Colocate
import TestSupport
import Testing

/// What open nodes of windows' trees wait with.
@Suite struct WindowStateTests {
  /// A relaxation goes on from what is kept of another as from the other itself, up to single
  /// precision: the cuts are the same, and the bound is.
  @Test func relaxationsGoOnFromWhatIsKept() {
    var (seen, cuts) = (0, 0)
    for seed in 1...80 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8])
      guard random.problem.groups > 1, random.problem.total > 100 else { continue }
      let whole = WindowTests.relaxation(random.problem, iterations: 40)
      guard let multipliers = whole.multipliers,
        let split = WindowSplit(problem: random.problem, multipliers: multipliers)
      else { continue }
      let problem = split.windows[0].problem
      let first = WindowTests.relaxation(problem, iterations: 60)
      let state = ColocationState(of: first)
      func goOn(_ start: (ColocationRelaxation) -> Void) -> ColocationRelaxation {
        let next = ColocationRelaxation(problem: problem, control: SearchControl())
        next.parameters.fixes = false
        next.parameters.maxIterations = 10
        start(next)
        next.run()
        return next
      }
      let (exact, kept) = (goOn { $0.start(from: first) }, goOn { $0.start(from: state) })
      let scale = 2 + Double(problem.total) * 1e-3
      #expect(Double(abs(exact.keptBound - kept.keptBound)) <= scale, "\(random)")
      #expect(state.bytes > 0, "\(random)")
      cuts += first.cutCount
      seen += 1
    }
    #expect(seen > 20 && cuts > 100, "\(seen) seen, \(cuts) cuts")
  }

  /// Open nodes never hold more than they may, and where none is open nothing is held; with little
  /// to hold, or nothing, trees come to the same maxima.
  @Test func openNodesHoldWhatTheyMay() {
    var (ended, held, full) = (0, 0, 0)
    for seed in 1...60 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8])
      var bounds = [Int]()
      for most in [Int.max, 20_000, 0] {
        guard
          let (search, _) = WindowTests.search(
            random.problem, iterations: 10,
            {
              ($0.rootIterations, $0.nodeIterations, $0.mostBytes) = (5, 5, most)
              $0.roundSize = 4
              $0.nodeLimit = 500
            })
        else { continue }
        search.run { search in
          #expect((0...most).contains(search.bytes), "\(random): \(search.bytes) of \(most)")
          if search.bytes > 0 { held += 1 }
          if most == 20_000, search.bytes > 10_000 { full += 1 }
          return true
        }
        guard search.openCount == 0 else { continue }
        #expect(search.bytes == 0, "\(random): \(search.bytes) left of \(most)")
        bounds.append(search.keptBound)
        ended += 1
      }
      #expect(Set(bounds).count <= 1, "\(random): \(bounds)")
    }
    #expect(ended > 60 && held > 20 && full > 0, "\(ended) ended, \(held) held, \(full) full")
  }
}
