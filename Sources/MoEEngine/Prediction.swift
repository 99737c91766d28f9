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
/// What home mode's objective counts are the distinct ranks, |R_l|, whether the home is among them
/// or not: rows dispatched to others and rows that stay, `destinations` of these routes' token sets.
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
  private let memory = Memory()

  init(mode: Mode, placement: Placement, expertsPerToken: Int) throws(EngineError) {
    self.mode = mode
    self.placement = placement
    self.expertsPerToken = expertsPerToken
    distinctRanks = try DistinctRanks(ranks: placement.topology.gpus, memory: memory)
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
      distinctRanks.forEach(
        of: route + l * k, count: k, rankOf: { placement[layer: l, expert: $0] }
      ) { rank, _ in
        rows[Collective.dispatch.rawValue][l][distance(at, rank)] += 1
        if mode == .home || k > 1 {
          rows[Collective.combine.rawValue][l][distance(rank, next)] += 1
        }
      }
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
