import Colocate
import TestSupport
import Testing

/// What more nodes of windows' trees are expected to bring, and trees that are left and gone on
/// with.
@Suite struct TreeForecastTests {
  /// Each level takes a quarter of the way from 100 to 20, and no level goes below the floor.
  @Test func levelsTakeEqualParts() {
    var forecast = TreeForecast(windows: 10, floor: 20)
    forecast.add(nodes: 5, bound: 1_000)
    #expect(forecast.bound(after: 20) == nil)
    forecast.add(nodes: 10, bound: 100)
    #expect(forecast.bound(after: 20) == nil)
    forecast.add(nodes: 20, bound: 80)
    #expect(!forecast.isSettled)
    forecast.add(nodes: 40, bound: 60)
    for (nodes, bound) in [(40, 60.0), (80, 40), (120, 30), (160, 20), (10_240, 20)] {
      let found = forecast.bound(after: nodes) ?? .nan
      #expect(abs(found - bound) < 1e-9, "\(nodes): \(found)")
    }
    #expect(forecast.bound(after: 39) == nil)
    #expect(!forecast.isSettled)
    forecast.add(nodes: 160, bound: 20)
    #expect(forecast.isSettled)
  }

  /// Trees that have not moved are expected to stay where they are.
  @Test func nothingComesOfNothing() {
    var forecast = TreeForecast(windows: 3, floor: 50)
    forecast.add(nodes: 3, bound: 50)
    forecast.add(nodes: 12, bound: 50)
    #expect(forecast.bound(after: 1_000) == 50)
  }

  /// Trees of which levels take less and less are stalled, and the forecast goes by the last nodes;
  /// not while four levels are not there, and not where levels take the same.
  @Test func treesStall() {
    var (slower, steady) = (TreeForecast(windows: 1, floor: 0), TreeForecast(windows: 1, floor: 0))
    for nodes in 1...32 {
      slower.add(nodes: nodes, bound: nodes <= 12 ? 1_000 - 20 * nodes : 760)
      steady.add(nodes: nodes, bound: 1_000 - 10 * nodes)
      #expect(slower.isStalled == (nodes >= 16), "\(nodes)")
      #expect(!steady.isStalled, "\(nodes)")
    }
    #expect(slower.bound(after: 1_000) == 760)
    #expect((steady.bound(after: 64) ?? .nan) < 680)
  }

  /// Trees that took twice as much as others did with as many nodes are expected to go on so: where
  /// the others have been, and from there on by their rate.
  @Test func treesGoTheWayOfOthers() {
    var (first, later) = (TreeForecast(windows: 1, floor: 0), TreeForecast(windows: 1, floor: 500))
    for (nodes, bound) in [(1, 1_000), (2, 990), (4, 970), (8, 930), (15, 850)] {
      first.add(nodes: nodes, bound: bound)
    }
    #expect(later.bound(after: 8, like: first) == nil)
    later.add(nodes: 1, bound: 1_100)
    #expect(later.bound(after: 8, like: first) == nil)
    later.add(nodes: 4, bound: 1_040)
    for (nodes, bound) in [(4, 1_040.0), (8, 960), (12, 960), (15, 800), (1_000_000, 500)] {
      #expect(later.bound(after: nodes, like: first) == bound, "\(nodes)")
    }
    #expect(later.bound(after: 8) == 1_010)
    let rate = 1_000 - (first.bound(after: 30) ?? .nan)
    #expect(abs((later.bound(after: 30, like: first) ?? .nan) - (1_100 - 2 * rate)) < 1e-9)
  }

  /// A search that is left after each round and gone on with solves the same nodes.
  @Test func treesGoOn() throws {
    var seen = 0
    for seed in 1...60 as ClosedRange<UInt64> {
      let random = RandomProblem(seed: seed, experts: [4, 6, 8])
      func search() -> WindowSearch? {
        WindowTests.search(random.problem, iterations: 20) { parameters in
          (parameters.rootIterations, parameters.nodeIterations) = (4, 4)
          parameters.roundSize = 3
          parameters.searchStates = 0
        }?.search
      }
      guard let whole = search(), let parts = search() else { continue }
      whole.run { $0.solved < 40 }
      var rounds = 0
      while parts.solved < whole.solved {
        let before = parts.solved
        parts.run { _ in false }
        rounds += 1
        guard parts.solved > before else { break }
      }
      #expect(parts.solved == whole.solved, "\(random)")
      #expect(parts.keptBound == whole.keptBound, "\(random)")
      #expect(parts.openCount == whole.openCount, "\(random)")
      #expect(parts.iterations == whole.iterations, "\(random)")
      if rounds > 3 { seen += 1 }
    }
    #expect(seen > 10, "\(seen)")
  }
}
