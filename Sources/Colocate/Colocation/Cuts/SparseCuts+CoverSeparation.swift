/// Separation of cover cuts (`ColocationCut+Cover`).
///
/// For a vertex a and a layer a cover C is sought whose Σ_{j∈C} (1 - m_aj) is below 1. Experts are
/// taken in some order until they exceed the cap with the lightest company; then the first taken
/// that are not needed are left out again, so that C is minimal. Three orders are tried: by
/// (1 - m_aj)/t_j, the knapsack's own; by 1 - m_aj; and by -m_aj·t_j.
///
/// Each cover found, with three or four members, is tried for the pairs' form as well.
extension SparseCuts {
  func separateCovers(
    _ m: borrowing BoundaryMarginals, half: Int, _ context: ColocationCut.Context,
    _ threshold: Double, _ found: inout [Candidate]
  ) {
    let layer = boundary + half
    guard let cap = context.problem.caps?[layer] else { return }
    let loads = context.problem.loads(layer: layer).map { Double($0) }
    var seen = Set<[Int]>()
    var keys = [Double](repeating: 0, count: m.experts)
    for vertex in 0..<m.vertices {
      if half == 1 && !m.ownsRight && vertex >= m.experts { continue }
      let shares = m.vertices(half: half).map { $0 == vertex ? 1 : m[vertex, $0] }
      for order in 0..<3 {
        for j in keys.indices {
          switch order {
          case 0: keys[j] = (1 - shares[j]) / max(loads[j], 1)
          case 1: keys[j] = 1 - shares[j]
          default: keys[j] = -shares[j] * loads[j]
          }
        }
        guard let cover = minimalCover(by: keys, shares, cap: cap, layer: layer, context) else {
          continue
        }
        append(cover, vertex: vertex, half: half, shares, loads, threshold, &found)
        if seen.insert(cover).inserted {
          appendPairs(cover, half: half, m, threshold, &found)
        }
      }
    }
  }

  /// Experts in ascending order.
  private func minimalCover(
    by keys: [Double], _ shares: [Double], cap: Int, layer: Int, _ context: ColocationCut.Context
  ) -> [Int]? {
    let order = keys.indices.sorted { (keys[$0], $0) < (keys[$1], $1) }
    var members = [Int]()
    func exceeds(_ experts: [Int]) -> Bool {
      (context.leastGroup(with: experts, layer: layer) ?? 0) > cap
    }
    for expert in order.prefix(context.problem.groupSize) {
      members.append(expert)
      if members.count >= 2, exceeds(members) { break }
    }
    guard members.count >= 2, exceeds(members) else { return nil }
    // The least shared first.
    for expert in members.sorted(by: { (shares[$0], $0) < (shares[$1], $1) })
    where members.count > 2 {
      let rest = members.filter { $0 != expert }
      if exceeds(rest) { members = rest }
    }
    return members.sorted()
  }

  private func append(
    _ cover: [Int], vertex: Int, half: Int, _ shares: [Double], _ loads: [Double],
    _ threshold: Double, _ found: inout [Candidate]
  ) {
    let heaviest = cover.reduce(0) { max($0, loads[$1]) }
    var (sum, terms) = (0.0, 0.0)
    for j in shares.indices where loads[j] >= heaviest || cover.contains(j) {
      sum += shares[j]
      terms += 1
    }
    let distance = (sum - Double(cover.count - 1)) / terms.squareRoot()
    guard distance > threshold else { return }
    found.append(
      Candidate(
        violation: distance,
        shape: .cover(
          vertex: vertex, half: half, members: cover.map { half * shares.count + $0 })))
  }

  private func appendPairs(
    _ cover: [Int], half: Int, _ m: borrowing BoundaryMarginals, _ threshold: Double,
    _ found: inout [Candidate]
  ) {
    guard (3...4).contains(cover.count), half == 0 || m.ownsRight else { return }
    let members = cover.map { half * m.experts + $0 }
    var sum = 0.0
    for (rank, a) in members.enumerated() { for b in members[..<rank] { sum += m[a, b] } }
    let (size, pairs) = (Double(members.count), Double(members.count * (members.count - 1) / 2))
    let distance = (sum - (size - 1) * (size - 2) / 2) / pairs.squareRoot()
    guard distance > threshold else { return }
    found.append(Candidate(violation: distance, shape: .coverPairs(half: half, members: members)))
  }
}
