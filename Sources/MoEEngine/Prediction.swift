import Colocate

/// What the formulas of Exchange.swift and the solver's objective say a run must send, from its
/// routes and its placement alone.
///
/// Per token, with `R_l` the ranks of its experts in layer l, `a_l` where it is and P ranks:
///
///     home:      a_l = home of its sequence
///                dispatch |R_l \ {a_l}|, combine |R_l \ {a_l}|
///     coherent:  a_0 = home, a_{l+1} = rank of e_l (strongest)
///                dispatch |R_l \ {a_l}|, combine |R_l \ {a_{l+1}}|, context P − 1
///
/// Home mode once per node sends out to a relay and back, and spreads from there: NodeRelay.swift.
/// What home mode's objective counts are the distinct ranks, |R_l|, whether the home is among them
/// or not: rows dispatched to others and rows that stay, `destinations` of the routes' token sets.
///
/// The move a_l → a_{l+1} of the layers l ≥ 1 is what the solver counts: `W_{l-1}[e_{l-1}, e_l]`
/// with its experts on different ranks. Layer 0's has no boundary in the objective (a token starts
/// on its sequence's home rank) and stands apart. With several experts per token the objective that
/// counts moves is that of the strongest experts alone (`--top-k first`); the copies besides are in
/// the formulas.
struct Prediction {
  let mode: Mode
  /// With the nodes that count.
  let placement: Placement
  let expertsPerToken: Int
  /// `[collective, layer, distance]`: rows of dispatch, combine and context.
  private(set) var rows: [[[Int]]]
  /// `[L-1, E, E]`: strongest expert to strongest expert.
  private(set) var weights: [Int]
  /// `[distance]`: layer 0's moves, and next tokens told to other ranks.
  private var start = [0, 0, 0]
  private var told = [0, 0, 0]
  private let distinctRanks: DistinctRanks
  private let distinctNodes: DistinctRanks
  private let route: ExchangeRoute
  private let memory = Memory()

  init(
    mode: Mode, placement: Placement, expertsPerToken: Int, route: ExchangeRoute = .direct
  ) throws(EngineError) {
    self.route = route
    self.mode = mode
    self.placement = placement
    self.expertsPerToken = expertsPerToken
    distinctRanks = try DistinctRanks(ranks: placement.topology.gpus, memory: memory)
    distinctNodes = try DistinctRanks(ranks: placement.topology.nodes, memory: memory)
    rows = [[[Int]]](
      repeating: [[Int]](repeating: [0, 0, 0], count: placement.layers),
      count: Collective.allCases.count)
    weights = [Int](
      repeating: 0, count: max(0, placement.layers - 1) * placement.experts * placement.experts)
  }

  private func distance(_ from: Int, _ to: Int) -> Int {
    let topology = placement.topology
    let sameNode = topology.node(of: from) == topology.node(of: to)
    return (from == to ? Distance.same : sameNode ? .sameNode : .otherNode).rawValue
  }

  /// Adds a token that started on rank `home`; `route`: `[L, k]`.
  ///
  /// - Parameter choosesToken: whether its logits choose the sequence's next token.
  mutating func add(route: UnsafePointer<Int32>, home: Int, choosesToken: Bool) {
    let (k, experts, ranks) = (expertsPerToken, placement.experts, placement.topology.gpus)
    var at = home
    for l in 0..<placement.layers {
      let strongest = Int(route[l * k])
      let next = mode == .home ? home : placement[layer: l, expert: strongest]
      addRows(route + l * k, layer: l, from: at, to: next)
      if mode == .coherent {
        for rank in 0..<ranks where rank != at {
          rows[Collective.context.rawValue][l][distance(at, rank)] += 1
        }
      }
      if l == 0 { start[distance(at, next)] += 1 }
      if l > 0 {
        let before = Int(route[(l - 1) * k])
        weights[((l - 1) * experts + before) * experts + strongest] += 1
      }
      at = next
    }
    if mode == .coherent, choosesToken {
      for rank in 0..<ranks where rank != at { told[distance(at, rank)] += 1 }
    }
  }

  /// Rows of dispatch and combine of a token in one layer.
  /// - Parameters:
  ///   - at: where it is; `next`: where its sums go.
  private mutating func addRows(
    _ experts: UnsafePointer<Int32>, layer l: Int, from at: Int, to next: Int
  ) {
    let (k, topology) = (expertsPerToken, placement.topology)
    let (place, placement) = (at % topology.gpusPerNode, placement)
    var found = [(Collective, Int)]()
    if route == .node {
      distinctNodes.forEach(
        of: experts, count: k, rankOf: { topology.node(of: placement[layer: l, expert: $0]) }
      ) { node, _ in
        guard node != topology.node(of: at) else { return }
        // Out to the relay, and back.
        let relay = node * topology.gpusPerNode + place
        found += [(.dispatch, distance(at, relay)), (.combine, distance(relay, at))]
      }
    }
    distinctRanks.forEach(
      of: experts, count: k, rankOf: { placement[layer: l, expert: $0] }
    ) { rank, _ in
      let from = route == .node ? topology.node(of: rank) * topology.gpusPerNode + place : at
      found.append((.dispatch, distance(from, rank)))
      let to = route == .node ? from : next
      if mode == .home || k > 1 { found.append((.combine, distance(rank, to))) }
    }
    for (collective, distance) in found { rows[collective.rawValue][l][distance] += 1 }
  }

  /// Tokens that leave their sequence's rank for layer 0's expert.
  var startedElsewhere: Int { Distance.leaving.reduce(0) { $0 + start[$1.rawValue] } }

  /// Next tokens told to ranks at this distance.
  func nextTokens(_ distance: Distance) -> Int { told[distance.rawValue] }

  /// Rows of one collective that go as far as `distance`, in one layer or in all.
  func count(_ collective: Collective, layer: Int? = nil, _ distance: Distance) -> Int {
    if let layer { return rows[collective.rawValue][layer][distance.rawValue] }
    return rows[collective.rawValue].reduce(0) { $0 + $1[distance.rawValue] }
  }

  /// What the solver would be given for these routes.
  func counts() throws(ModelError) -> TransitionCounts {
    try TransitionCounts(layers: placement.layers, experts: placement.experts, weights: weights)
  }
}
