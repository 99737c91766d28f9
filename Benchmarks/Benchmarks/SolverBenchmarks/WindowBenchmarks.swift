import Benchmark
import Colocate

/// Nodes of a window's tree on one thread: the root, and eight nodes with it.
func windowBenchmarks() {
  for nodes in [1, 9] {
    let name = nodes == 1 ? "the root" : "\(nodes) nodes"
    Benchmark("window of 64 vertices, 8 groups, \(name)", configuration: timed(seconds: 6)) {
      (_, window: OpenWindow) in
      window.solve(nodes: nodes)
    } setup: {
      try OpenWindow()
    }
  }
}

/// A window that stays open for more nodes than are solved here.
private struct OpenWindow {
  private let whole: ColocationRelaxation
  private let split: WindowSplit
  private let best: Int

  init() throws {
    let problem = try flatProblem(layers: 2, experts: 32, gpus: 8, affinity: 0.5)
    let control = SearchControl()
    let incumbent = Incumbent()
    LocalSearch(
      problem: problem, seed: 1, control: control, incumbent: incumbent,
      pool: PartitionPool(problem: problem)
    ).run(rounds: 6)
    whole = ColocationRelaxation(problem: problem, control: control)
    whole.parameters.maxIterations = 100
    whole.run()
    guard let labels = incumbent.entry?.labels, let multipliers = whole.multipliers,
      let split = WindowSplit(problem: problem, multipliers: multipliers)
    else { fatalError("no window") }
    self.split = split
    best = split.windows[0].problem.kept(split.labels(labels, window: 0))
  }

  func solve(nodes: Int) {
    var parameters = WindowSearch.Parameters()
    parameters.nodeLimit = nodes
    let search = WindowSearch(
      whole: whole, split: split, bests: [best], parameters: parameters, control: SearchControl())
    search.run { _ in true }
    guard search.solved == nodes else { fatalError("closed after \(search.solved) nodes") }
  }
}
