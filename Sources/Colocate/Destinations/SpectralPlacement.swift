import ColocateModel

/// Spectral clustering of the experts by how often tokens use them together: the idea of GRACE-MoE
/// (Han et al., 2025), with groups of one size.
///
/// The `P` leading eigenvectors of `D^-½ W D^-½`, `W` the pair counts and `D` their row sums, give
/// each expert a point; points are brought to length 1 (Ng, Jordan and Weiss, 2001) and grouped by
/// k-means whose groups are equal: points go to centres by a transportation problem. Of a few
/// starts the one with the smallest sum of squares.
enum SpectralPlacement {
  private static let starts = 4
  private static let rounds = 30
  /// Distances as whole numbers, for the transportation problem.
  private static let scale = 1e6

  /// - Returns: the group of each expert, `[E]`.
  static func labels(_ pairs: PairCounts, groups: Int) -> [Int] {
    let points = points(pairs, dimensions: min(groups, pairs.experts))
    var random = SeededGenerator(seed: 1)
    var best = (labels: [Int](), cost: Int.max)
    for _ in 0..<starts {
      let found = cluster(points, groups: groups, random: &random)
      if found.cost < best.cost { best = found }
    }
    return best.labels
  }

  /// A point for each expert.
  private static func points(_ pairs: PairCounts, dimensions: Int) -> [[Double]] {
    let experts = pairs.experts
    let eigen = SymmetricEigen(order: experts)
    let degree = (0..<experts).map { i in
      Double(max(1, (0..<experts).reduce(0) { $0 + pairs.together[i * experts + $1] }))
    }
    for i in 0..<experts {
      for j in 0...i {
        eigen.matrix[i, j] =
          Double(pairs.together[i * experts + j]) / (degree[i] * degree[j]).squareRoot()
      }
    }
    eigen.reduce()
    let vectors = AlignedRows(rows: dimensions, stride: eigen.stride)
    eigen.vectors(count: dimensions, into: vectors)
    return (0..<experts).map { e in
      let point = (0..<dimensions).map { vectors[$0, e] }
      let length = point.reduce(0) { $0 + $1 * $1 }.squareRoot()
      return length > 0 ? point.map { $0 / length } : point
    }
  }

  private static func distance(_ a: [Double], _ b: [Double]) -> Int {
    var sum = 0.0
    for (x, y) in zip(a, b) { sum += (x - y) * (x - y) }
    return sum.isFinite ? Int((sum * scale).rounded()) : 0
  }

  /// k-means with equal groups, from centres that are far apart.
  private static func cluster(
    _ points: [[Double]], groups: Int, random: inout SeededGenerator
  ) -> (labels: [Int], cost: Int) {
    var centres = [points[random.next(below: points.count)]]
    while centres.count < groups {
      var far = (index: 0, distance: -1)
      for (index, point) in points.enumerated() {
        let near = centres.map { distance(point, $0) }.min() ?? 0
        if near > far.distance { far = (index, near) }
      }
      centres.append(points[far.index])
    }
    let transportation = Transportation()
    var labels = [Int]()
    var cost = Int.max
    for _ in 0..<rounds {
      let entries = points.flatMap { point in centres.map { -distance(point, $0) } }
      var found = [Int](repeating: 0, count: points.count)
      let value = -transportation.maximise(
        items: points.count, groups: groups, capacity: points.count / groups, gains: entries,
        groupOf: &found)
      if value >= cost { break }
      (cost, labels) = (value, found)
      for g in 0..<groups {
        let own = points.indices.filter { labels[$0] == g }
        for d in points[0].indices {
          centres[g][d] = own.reduce(0) { $0 + points[$1][d] } / Double(own.count)
        }
      }
    }
    return (labels, cost)
  }
}
