import ColocateModel

/// One layer under one objective: one level, two stages, or two levels at once.
struct LayerRun {
  private let run: DestinationRun
  private let l: Int
  private let sets: TokenSets.Layer
  private let cap: Int?
  private let control: SearchControl
  private let seed: UInt64
  private let before: DestinationRun.LayerState?

  /// - Parameter before: what an earlier pass found.
  init(
    _ run: DestinationRun, layer: Int, before: DestinationRun.LayerState?, control: SearchControl
  ) {
    self.before = before
    self.run = run
    l = layer
    sets = run.sets.layerSets[layer]
    cap = run.caps?[layer]
    self.control = control
    var mixer = SeededGenerator.stream(seed: run.options.seed, index: layer)
    seed = mixer.next()
  }

  func solve() -> DestinationRun.LayerState {
    let topology = run.topology
    guard topology.nodes > 1 else { return gpus() }
    switch run.objective {
    case .gpus: return gpus()
    case .nodes: return staged(provesInside: false)
    case .staged: return staged(provesInside: run.options.proves)
    case .joint(let inter, let intra): return joint(inter: inter, intra: intra)
    }
  }

  private func solver(proves: Bool) -> LevelSolver {
    // What an earlier pass found is annealed once more, and the time goes to the proof.
    LevelSolver(starts: before == nil ? run.options.starts : 2, proves: proves)
  }

  private var everyExpert: [Int] { Array(0..<run.sets.experts) }

  /// Placements within the cap to start from: the packing, and the warm start.
  private func known() -> [[Int]] {
    var all = [run.start(l)]
    if let warm = run.options.warmStart {
      let labels = (0..<run.sets.experts).map { warm[layer: l, expert: $0] }
      var loads = [Int](repeating: 0, count: run.topology.gpus)
      for e in labels.indices { loads[labels[e]] += sets.loads[e] }
      if loads.allSatisfy({ $0 <= cap ?? .max }) { all.insert(labels, at: 0) }
    }
    if let before { all.insert(before.groupOf, at: 0) }
    return all
  }

  private func state(
    _ labels: [Int], bound: Int?, isProved: Bool, prices: [DestinationPrices]
  ) -> DestinationRun.LayerState {
    DestinationRun.LayerState(
      groupOf: labels,
      outcome: DestinationLayerOutcome(
        value: run.value(l, labels), bound: bound, status: isProved ? .optimal : .feasible,
        seconds: control.elapsed, prices: prices))
  }

  private func solveGPUs() -> LevelSolver.Answer {
    let layer = DestinationLayer(sets, groups: run.topology.gpus, cap: cap)
    return solver(proves: run.options.proves).solve(
      layer, experts: everyExpert, known: known(), seed: seed, control: control)
  }

  private func gpus() -> DestinationRun.LayerState {
    let answer = solveGPUs()
    // On one node every token is there once.
    let bound =
      run.objective == .gpus || run.topology.nodes > 1
      ? answer.bound : run.objective.value(gpu: answer.bound, node: sets.tokens)
    return state(
      answer.groupOf, bound: run.options.proves ? bound : nil, isProved: answer.isProved,
      prices: answer.prices.map { [$0] } ?? [])
  }

  /// The best placement on nodes, with every GPU filled in.
  private func nodeStage() -> LevelSolver.Answer {
    let per = run.topology.gpusPerNode
    let nodeCap = cap.map { cap in
      let (all, overflow) = cap.multipliedReportingOverflow(by: per)
      return overflow ? Int.max : all
    }
    let layer = DestinationLayer(sets, groups: run.topology.nodes, cap: nodeCap)
    return solver(proves: run.options.proves).solve(
      layer, experts: everyExpert, known: known().map { $0.map(run.topology.node(of:)) },
      seed: seed, control: control)
  }

  private func staged(provesInside: Bool) -> DestinationRun.LayerState {
    let nodes = nodeStage()
    let inside = fill(nodes.groupOf, proves: provesInside)
    // Where the nodes' loads cannot be spread within the cap, a placement that can is kept.
    let filled = inside ?? fill(known()[0].map(run.topology.node(of:)), proves: provesInside)
    let labels = filled?.labels ?? known()[0]
    let isNodesProved = nodes.isProved && inside != nil
    if run.objective == .nodes {
      return state(
        labels, bound: run.options.proves ? nodes.bound : nil, isProved: isNodesProved,
        prices: nodes.prices.map { [$0] } ?? [])
    }
    let prices = (nodes.prices.map { [$0] } ?? []) + (filled?.prices ?? [])
    return state(
      labels, bound: run.options.proves ? filled?.bound : nil,
      isProved: isNodesProved && filled?.isProved == true, prices: prices)
  }

  /// Solves the inside of each node.
  /// - Returns: nil where a node has no placement within the cap as far as is known.
  private func fill(_ nodeOf: [Int], proves: Bool) -> (
    labels: [Int], bound: Int, isProved: Bool, prices: [DestinationPrices]
  )? {
    let (nodes, per) = (run.topology.nodes, run.topology.gpusPerNode)
    var labels = [Int](repeating: 0, count: run.sets.experts)
    var (bound, isProved, prices) = (0, true, [DestinationPrices]())
    for node in 0..<nodes {
      let inside = everyExpert.filter { nodeOf[$0] == node }
      var first = inside.indices.map { $0 / (inside.count / per) }
      let loads = inside.map { sets.loads[$0] }
      if let cap {
        let packing = BalancedPacking(loads: loads, groups: per, goal: cap, stepLimit: 200_000)
        guard packing.maximum <= cap else { return nil }
        first = packing.groupOf
      }
      let layer = DestinationLayer(sets, inside: inside, groups: per, cap: cap)
      let part = SearchControl(
        part: control.remaining / Double(nodes - node),
        work: control.workLimit == .max ? .max : control.workLeft / (nodes - node), of: control)
      let answer = solver(proves: proves).solve(
        layer, experts: inside, known: [first], seed: seed &+ UInt64(node + 1), control: part)
      for (index, e) in inside.enumerated() { labels[e] = node * per + answer.groupOf[index] }
      bound += answer.bound
      isProved = isProved && answer.isProved
      if let found = answer.prices { prices.append(found) }
    }
    return (labels, bound, isProved, prices)
  }

  /// Both levels at once: the two separate answers, then swaps under both.
  private func joint(inter: Int, intra: Int) -> DestinationRun.LayerState {
    let gpus = solveGPUs()
    let nodes = nodeStage()
    var candidates = known() + [gpus.groupOf]
    if let filled = fill(nodes.groupOf, proves: false) { candidates.append(filled.labels) }
    let search = JointDestinationSearch(
      sets, topology: run.topology, inter: inter, intra: intra, cap: cap)
    let best = search.run(candidates, seed: seed, control: control)
    // Each level by itself is bounded, and the objective weighs both from below.
    let bound = (inter - intra) * nodes.bound + intra * gpus.bound
    let value = run.value(l, best)
    return state(
      best, bound: run.options.proves ? min(bound, value) : nil, isProved: bound >= value,
      prices: [nodes.prices, gpus.prices].compactMap { $0 })
  }
}
