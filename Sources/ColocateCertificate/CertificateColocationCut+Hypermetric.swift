/// The checker's own form of hypermetric inequalities (Deza and Laurent, Geometry of Cuts and
/// Metrics, 1997) and of covers of a group's load (Balas, Math. Programming 8, 1975).
extension CertificateColocationCut {
  /// The largest |b|.
  private static let mostWeight = 1 << 10

  /// For integer b the number β of a group, the sum of its members' b, is an integer, so with any
  /// integer k (β - k)(β - k - 1) ≥ 0. Over all groups
  ///
  ///     Σ b_i² + 2 Σ_{i<j} b_i b_j m_ij - (2k+1) Σ b_i + P·k(k+1) ≥ 0.
  ///
  /// Half of it is taken, since squares and numbers have the same parity; k = ⌊Σb / P⌋.
  func hypermetric(_ problem: CertifiedProblem, _ vertices: [Int], _ b: [Int]) -> Row? {
    guard vertices.count == b.count, vertices.count <= Self.mostVertices,
      b.allSatisfy({ -Self.mostWeight <= $0 && $0 <= Self.mostWeight && $0 != 0 }),
      areDistinct(vertices, problem)
    else { return nil }
    let groups = Int128(problem.groups)
    let weights = b.map { Int128($0) }
    let sum = weights.reduce(0, +)
    var k = sum / groups
    if k * groups > sum { k -= 1 }
    let squares = weights.reduce(0) { $0 + $1 * $1 }
    var row = Row(limit: (squares - (2 * k + 1) * sum + groups * k * (k + 1)) / 2)
    for i in vertices.indices {
      for j in 0..<i { row.add(vertices[i], vertices[j], -weights[i] * weights[j]) }
    }
    return row
  }

  /// Whether no group within the cap holds these experts of one layer: with the lightest others
  /// that fill it up they exceed it.
  private func isCover(
    _ problem: CertifiedProblem, _ loads: ColocationLoads, _ half: Int, _ members: [Int]
  ) -> Bool {
    guard half == 0 || half == 1, let caps = problem.caps, members.count <= problem.groupSize,
      members.count >= 2, areDistinct(members, problem),
      members.allSatisfy({ $0 / problem.experts == half })
    else { return false }
    let load = loads.of(boundary + half)
    let inside = Set(members.map { $0 - half * problem.experts })
    let others = load.indices.filter { !inside.contains($0) }.map { load[$0] }.sorted()
    let sum =
      inside.reduce(Int128(0)) { $0 + load[$1] }
      + others.prefix(problem.groupSize - members.count).reduce(0, +)
    return sum > Int128(caps[boundary + half])
  }

  /// A vertex's group holds at most |C| - 1 of C and of the experts at least as heavy as each of C:
  /// |C| of them weigh at least as much as C with the lightest company.
  ///
  /// Were D, |C| of these, in a group G with R = G \ D, put C in the place of D, and for each
  /// expert of C that R has already the one of D \ C that a pairing of C \ D with D \ C, none
  /// lighter, gives it: c experts with C among them, no heavier than G, but over the cap.
  func cover(
    _ problem: CertifiedProblem, _ loads: ColocationLoads, _ vertex: Int, _ half: Int,
    _ members: [Int]
  ) -> Row? {
    guard areDistinct([vertex], problem), isCover(problem, loads, half, members) else { return nil }
    let load = loads.of(boundary + half)
    let first = half * problem.experts
    guard let heaviest = members.map({ load[$0 - first] }).max() else { return nil }
    var row = Row(limit: Int128(members.count - 1))
    for j in load.indices where load[j] >= heaviest || members.contains(first + j) {
      row.add(vertex, first + j, 1)
    }
    return row
  }

  /// At most |C| - 1 of C are in one group, and the pairs within groups are most with one more in
  /// another: (|C| - 1)(|C| - 2)/2.
  func coverPairs(
    _ problem: CertifiedProblem, _ loads: ColocationLoads, _ half: Int, _ members: [Int]
  ) -> Row? {
    guard isCover(problem, loads, half, members) else { return nil }
    var row = Row(limit: Int128((members.count - 1) * (members.count - 2) / 2))
    for i in members.indices { for j in 0..<i { row.add(members[i], members[j], 1) } }
    return row
  }
}
