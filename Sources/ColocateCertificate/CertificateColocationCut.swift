import ColocateModel

/// An inequality a·m ≤ b on the pairs of boundary l's vertices (`CertificateColocation`) that every
/// placement satisfies, with its multiplier λ.
package struct CertificateColocationCut: Hashable, Sendable {
  package enum Shape: Hashable, Sendable {
    case partition([Int], [Int])
    case crowd([Int])
    case company(Int, Int, half: Int, first: [Int], second: [Int])
    case hypermetric([Int], [Int])
    case cover(vertex: Int, half: Int, members: [Int])
    case coverPairs(half: Int, members: [Int])
    case load(vertex: Int, half: Int, atMost: Bool)
    case loadPair(Int, Int, half: Int, relation: PairRelation)
    case loadProduct(first: Int, second: Int, atMost: Bool)
  }

  package enum PairRelation: Int, Hashable, Sendable, CaseIterable {
    case difference = 0
    case most = 1
    case least = 2
  }

  /// l.
  package var boundary: Int
  package var shape: Shape
  /// λ ≥ 0 in units of 2^-q.
  package var multiplier: Int

  package init(boundary: Int, shape: Shape, multiplier: Int) {
    self.boundary = boundary
    self.shape = shape
    self.multiplier = multiplier
  }

  /// Σ coefficient·m_ab ≤ limit.
  package struct Row {
    package var terms = [(a: Int, b: Int, coefficient: Int128)]()
    package var limit: Int128 = 0

    /// Adds coefficient·m_ab, where m_aa = 1.
    mutating func add(_ a: Int, _ b: Int, _ coefficient: Int128) {
      if coefficient == 0 { return }
      if a == b { limit -= coefficient } else { terms.append((a, b, coefficient)) }
    }
  }

  /// Vertices of one inequality of the first two kinds.
  static let mostVertices = 64

  /// The inequality.
  /// - Throws: where it is malformed.
  package func row(of problem: CertifiedProblem) throws(CertificateError) -> Row {
    try row(of: problem, loads: ColocationLoads(problem))
  }

  /// The inequality.
  /// - Throws: where it is malformed.
  func row(
    of problem: CertifiedProblem, loads: ColocationLoads
  ) throws(CertificateError) -> Row {
    let row: Row?
    switch shape {
    case .partition(let first, let second): row = partition(problem, first, second)
    case .crowd(let vertices): row = crowd(problem, vertices)
    case .company(let i, let k, let half, let first, let second):
      row = company(problem, i, k, half, first, second)
    case .hypermetric(let vertices, let weights): row = hypermetric(problem, vertices, weights)
    case .cover(let vertex, let half, let members):
      row = cover(problem, loads, vertex, half, members)
    case .coverPairs(let half, let members): row = coverPairs(problem, loads, half, members)
    case .load(let vertex, let half, let atMost): row = load(problem, loads, vertex, half, atMost)
    case .loadPair(let i, let k, let half, let relation):
      row = loadPair(problem, loads, i, k, half, relation)
    case .loadProduct(let first, let second, let atMost):
      row = loadProduct(problem, loads, first, second, atMost)
    }
    guard let row else { throw CertificateError("a malformed cut of boundary \(boundary)") }
    return row
  }

  func areDistinct(_ vertices: [Int], _ problem: CertifiedProblem) -> Bool {
    vertices.allSatisfy { 0 <= $0 && $0 < 2 * problem.experts }
      && Set(vertices).count == vertices.count
  }

  /// Grötschel and Wakabayashi's 2-partition inequality (Math. Programming 47, 1990): for disjoint
  /// S and T Σ_{S×T} m - Σ_{pairs of S} m - Σ_{pairs of T} m ≤ min(|S|, |T|).
  ///
  /// A group with s of S and t of T adds s·t - s(s-1)/2 - t(t-1)/2 = (s + t - (s - t)²)/2 to the
  /// left side. If s ≠ t, (s - t)² ≥ |s - t|, and it is at most min(s, t); so it is if s = t. The
  /// minima of the groups add up to at most min(|S|, |T|).
  private func partition(_ problem: CertifiedProblem, _ first: [Int], _ second: [Int]) -> Row? {
    guard !first.isEmpty, !second.isEmpty, first.count + second.count <= Self.mostVertices,
      areDistinct(first + second, problem)
    else { return nil }
    var row = Row(limit: Int128(min(first.count, second.count)))
    for a in first { for b in second { row.add(a, b, 1) } }
    for side in [first, second] {
      for (rank, a) in side.enumerated() { for b in side[..<rank] { row.add(a, b, -1) } }
    }
    return row
  }

  /// Pigeonhole: of |Q| = aP + r vertices in P groups at least r·a(a+1)/2 + (P - r)·a(a-1)/2 =
  /// P·a(a-1)/2 + r·a pairs share one, since n(n-1)/2 is convex and even shares are the least.
  private func crowd(_ problem: CertifiedProblem, _ vertices: [Int]) -> Row? {
    guard vertices.count <= Self.mostVertices, areDistinct(vertices, problem) else { return nil }
    let (a, r) = vertices.count.quotientAndRemainder(dividingBy: problem.groups)
    var row = Row(limit: -Int128(problem.groups * (a * (a - 1) / 2) + r * a))
    for (rank, x) in vertices.enumerated() { for y in vertices[..<rank] { row.add(x, y, -1) } }
    return row
  }

  /// Who shares i's group shares k's if i and k share one. A layer is split into `first`, `second`
  /// and a rest: (c - |rest|)·m_ik ≤ Σ_{j∈first} m_ij + Σ_{j∈second} m_kj.
  ///
  /// If m_ik = 0 the right side is at least 0. If m_ik = 1, i and k have one group, of whose c
  /// members in that layer at most |rest| are in neither set; the sums count the others.
  private func company(
    _ problem: CertifiedProblem, _ i: Int, _ k: Int, _ half: Int, _ first: [Int], _ second: [Int]
  ) -> Row? {
    let experts = problem.experts
    let layer = half == 0 ? 0..<experts : experts..<(2 * experts)
    guard half == 0 || half == 1, areDistinct([i, k] + first + second, problem),
      (first + second).allSatisfy(layer.contains)
    else { return nil }
    var row = Row()
    row.add(i, k, Int128(problem.groupSize - (experts - first.count - second.count)))
    for j in first { row.add(i, j, -1) }
    for j in second { row.add(k, j, -1) }
    return row
  }

  /// The load of a vertex's group in layer l or l+1 is at most the cap, or at least what the others
  /// cannot take: Σ_j t_j·m_vj in [low, high] with m_vv = 1.
  private func load(
    _ problem: CertifiedProblem, _ loads: ColocationLoads, _ vertex: Int, _ half: Int,
    _ atMost: Bool
  ) -> Row? {
    guard half == 0 || half == 1, areDistinct([vertex], problem),
      let (low, high) = loads.range(boundary + half)
    else { return nil }
    var row = Row(limit: atMost ? high : -low)
    for (j, load) in loads.of(boundary + half).enumerated() {
      row.add(vertex, half * problem.experts + j, atMost ? load : -load)
    }
    return row
  }

  /// Loads x and y of the groups of i and k in one layer, each in [low, high], all P of them T
  /// together. Both sides are linear in m_ik, so m_ik = 0 and 1 are all there is to check:
  ///
  ///     difference  x - y ≤ (high - low)·(1 - m_ik)                             (x = y if 1)
  ///     most        x + y ≤ 2·high·m_ik + min(2·high, T - (P-2)·low)·(1 - m_ik) (if 0, the other
  ///     least       x + y ≥ 2·low·m_ik + max(2·low, T - (P-2)·high)·(1 - m_ik) P-2 have the rest)
  private func loadPair(
    _ problem: CertifiedProblem, _ loads: ColocationLoads, _ i: Int, _ k: Int, _ half: Int,
    _ relation: PairRelation
  ) -> Row? {
    guard half == 0 || half == 1, areDistinct([i, k], problem),
      let (low, high) = loads.range(boundary + half)
    else { return nil }
    let total = loads.of(boundary + half).reduce(0, +)
    let others = Int128(problem.groups - 2)
    let (signI, signK): (Int128, Int128)
    var (together, apart) = (Int128(0), high - low)
    switch relation {
    case .difference: (signI, signK) = (1, -1)
    case .most:
      (signI, signK) = (1, 1)
      together = 2 * high
      apart = min(2 * high, total - others * low)
    case .least:
      (signI, signK) = (-1, -1)
      together = -2 * low
      apart = -max(2 * low, total - others * high)
    }
    // signI·x + signK·y ≤ apart + (together - apart)·m_ik.
    var row = Row(limit: apart)
    row.add(i, k, apart - together)
    for (j, load) in loads.of(boundary + half).enumerated() {
      row.add(i, half * problem.experts + j, signI * load)
      row.add(k, half * problem.experts + j, signK * load)
    }
    return row
  }

  /// Σ_g x_g·y_g = Σ_ij t_i t_j m_ij for the loads x, y of the groups in two layers (or one) lies
  /// between extremes over vectors within the caps.
  ///
  /// Such x are convex combinations of permutations of the most unequal one x⁺: as many groups as
  /// possible at the cap, the others at `low` but for one (`ColocationLoads.extreme` majorises
  /// every such vector; Rado, J. London Math. Soc. 27, 1952). A bilinear function takes its
  /// extremes at extreme points, and of permutations of two vectors the like sorted have the
  /// largest product and the unlike sorted the least (Hardy, Littlewood, Pólya, theorem 368). Of
  /// one layer the least of Σ x_g² is T²/P, at even loads.
  private func loadProduct(
    _ problem: CertifiedProblem, _ loads: ColocationLoads, _ first: Int, _ second: Int,
    _ atMost: Bool
  ) -> Row? {
    guard (0...1).contains(first), (first...1).contains(second),
      let one = loads.extreme(boundary + first), let two = loads.extreme(boundary + second)
    else { return nil }
    let experts = problem.experts
    let (x, y) = (loads.of(boundary + first), loads.of(boundary + second))
    var limit: Int128
    if first == second, !atMost {
      let total = x.reduce(0, +)
      limit = (total * total + Int128(problem.groups) - 1) / Int128(problem.groups)
    } else {
      let other = atMost ? two : two.reversed()
      limit = 0
      for g in one.indices { limit += one[g] * other[g] }
    }
    let sign: Int128 = atMost ? 1 : -1
    var row = Row(limit: sign * limit)
    for i in 0..<experts {
      for j in 0..<experts {
        row.add(first * experts + i, second * experts + j, sign * x[i] * y[j])
      }
    }
    return row
  }
}

/// Loads of the layers, and what the cap allows a group.
struct ColocationLoads {
  let problem: CertifiedProblem

  init(_ problem: CertifiedProblem) { self.problem = problem }

  /// The load of each expert of layer l.
  func of(_ l: Int) -> [Int128] {
    problem.loads[(l * problem.experts)..<((l + 1) * problem.experts)].map { Int128($0) }
  }

  /// The least and the most load of a group in layer l; nil without a cap. At most 2^55.
  func range(_ l: Int) -> (low: Int128, high: Int128)? {
    guard let cap = problem.caps?[l] else { return nil }
    let total = of(l).reduce(0, +)
    let high = min(Int128(cap), total)
    return (max(0, total - Int128(problem.groups - 1) * high), high)
  }

  /// The most unequal loads within the cap, largest first; nil where no loads are.
  func extreme(_ l: Int) -> [Int128]? {
    guard let (low, high) = range(l) else { return nil }
    var rest = of(l).reduce(0, +) - Int128(problem.groups) * low
    let loads = (0..<problem.groups).map { _ in
      let more = min(rest, high - low)
      rest -= more
      return low + more
    }
    return rest == 0 ? loads : nil
  }

  /// Places (l·E + i)·E + j, i < j, of the pairs that exceed the cap together with the c - 2
  /// smallest others.
  func pairsApart() -> [Int] {
    guard let caps = problem.caps, problem.groupSize >= 2 else { return [] }
    let (experts, company) = (problem.experts, problem.groupSize - 2)
    var apart = [Int]()
    for l in 0..<problem.layers {
      let load = of(l)
      let order = (0..<experts).sorted { (load[$0], $0) < (load[$1], $1) }
      var rank = [Int](repeating: 0, count: experts)
      for (place, e) in order.enumerated() { rank[e] = place }
      let smallest = order.prefix(company).reduce(into: Int128(0)) { $0 += load[$1] }
      for i in 0..<experts {
        for j in (i + 1)..<max(i + 1, experts) {
          // Where i or j is among the smallest, the next one takes its place.
          var (sum, end) = (smallest, company)
          for e in rank[i] < rank[j] ? [i, j] : [j, i] where rank[e] < end {
            sum += load[order[end]] - load[e]
            end += 1
          }
          if sum + load[i] + load[j] > Int128(caps[l]) {
            apart.append((l * experts + i) * experts + j)
          }
        }
      }
    }
    return apart
  }
}
