/// Cover cuts: experts that are too heavy for one group together.
///
/// Let C be experts of one layer that no group within the cap holds: their loads and those of the
/// c - |C| lightest other experts, the lightest company that fills up the group, exceed the cap.
/// Then for every vertex a of the boundary, with E(C) = C ∪ {j : t_j ≥ max_C t} and m_aa = 1,
///
///     Σ_{j∈E(C)} m_aj  ≤  |C| - 1,
///
/// the extended cover inequality of the knapsack that a's group is (Balas, Math. Programming 8,
/// 1975), sharpened by the group's size; and
///
///     Σ_{pairs of C} m  ≤  (|C| - 1)(|C| - 2) / 2.
///
/// **Proof of the first.** If a's group G holds |C| experts D of E(C), it is heavier than the cap:
/// exchange D for C. Experts of D \ C are at least as heavy as any of C, so there is a one-to-one
/// map φ of C \ D onto D \ C with t_φ(x) ≥ t_x. Let R = G \ D. The set
///
///     G' = C ∪ (R \ C) ∪ φ(R ∩ C)
///
/// has c experts as G does, and weighs no more: without what both have, G' has C \ D and φ(R ∩ C),
/// G has D \ C = φ(C \ D) and R ∩ C; now R ∩ C is part of C \ D, so both hold R ∩ C and φ(R ∩ C),
/// and what remains of G' is the x of C \ D outside R against their φ(x) in G. G' holds C, so it
/// exceeds the cap by assumption, and so does G. ∎
///
/// **Proof of the second.** C is not in one group. If n_g of its members are in group g, Σ n_g =
/// |C| with each n_g < |C|, and Σ n_g(n_g - 1)/2 is convex in the n_g: it is largest at |C| - 1 and
/// 1. ∎
extension ColocationCut {
  /// E(C), ascending; nil where the members are none of that layer, or a group within the cap holds
  /// them.
  package func extendedCover(_ members: [Int], half: Int, in context: Context) -> [Int]? {
    guard half == 0 || half == 1, let caps = context.problem.caps,
      (2...max(2, context.problem.groupSize)).contains(members.count),
      context.areDistinctVertices(members),
      members.allSatisfy(context.layout.vertices(half: half).contains)
    else { return nil }
    let loads = context.problem.loads(layer: boundary + half)
    let experts = members.map { $0 - half * context.layout.experts }
    guard let weight = context.leastGroup(with: experts, layer: boundary + half),
      weight > caps[boundary + half], let heaviest = experts.map({ loads[$0] }).max()
    else { return nil }
    let inside = Set(experts)
    return loads.indices.filter { inside.contains($0) || loads[$0] >= heaviest }
      .map { context.layout.vertex(half, $0) }
  }

  func coverRow(_ vertex: Int, half: Int, members: [Int], in context: Context) -> Row? {
    guard context.areDistinctVertices([vertex]),
      let extended = extendedCover(members, half: half, in: context)
    else { return nil }
    var row = Row(limit: members.count - 1)
    for j in extended {
      if j == vertex {
        row.limit -= 1
      } else {
        row.add(context.layout.pair(boundary, vertex, j), 1)
      }
    }
    return row
  }

  func coverPairsRow(half: Int, members: [Int], in context: Context) -> Row? {
    guard extendedCover(members, half: half, in: context) != nil else { return nil }
    var row = Row(limit: (members.count - 1) * (members.count - 2) / 2)
    for (rank, a) in members.enumerated() {
      for b in members[..<rank] { row.add(context.layout.pair(boundary, a, b), 1) }
    }
    return row
  }
}

extension ColocationCut.Context {
  /// The least load of a group that holds these experts of layer l; nil where they are more than c.
  func leastGroup(with experts: [Int], layer l: Int) -> Int? {
    var seats = problem.groupSize - experts.count
    guard seats >= 0 else { return nil }
    let loads = problem.loads(layer: l)
    var sum = experts.reduce(0) { $0 + loads[$1] }
    for e in lightest[l] where seats > 0 && !experts.contains(e) {
      sum += loads[e]
      seats -= 1
    }
    return sum
  }
}
