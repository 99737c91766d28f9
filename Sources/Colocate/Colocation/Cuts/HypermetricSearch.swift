import ColocateModel

/// Separation of hypermetric cuts (`ColocationCut+Hypermetric`) by tabu search.
///
/// With G = M - J/P (M's diagonal is 1), σ = Σ b_i and f = σ/P - ⌊σ/P⌋ the cut of weights b is
/// violated by
///
///     v(b) = ( P·f(1-f) - bᵀGb ) / 2:
///
/// with k = ⌊σ/P⌋ twice the violation is -(bᵀMb - (2k+1)σ + P·k(k+1)), bᵀMb = bᵀGb + σ²/P, and
/// σ²/P - (2k+1)σ + P·k(k+1) = P(σ/P - k)(σ/P - k - 1) = -P·f(1-f).
///
/// To find b with a large v is a quadratic problem in integers. The search starts from two or three
/// random weights of ±1 and moves one weight by one at a time, by the best move that is not tabu,
/// better or worse; a vertex that has moved is tabu for a few moves. With g = Gb the move b_i += s
/// changes bᵀGb by 2s·g_i + G_ii, and all moves of one sign give the same σ, so that the best move
/// of a sign is the least s·g_i. A move costs three passes over 2E numbers, four at a time; what
/// may not move has infinity added to it.
///
/// A walk gives the weights with the largest violation over the norm of the row that it passes. The
/// weights b and -b are the same cut (⌊-σ/P⌋ = -⌊σ/P⌋ - 1 where σ/P is no integer, and where it is
/// one the limit is the same for -k); the first weight of a cut is made positive.
package struct HypermetricSearch: ~Copyable {
  package struct Limits: Sendable {
    /// Walks, over the number of vertices; 0 for no such cuts.
    package var walksPerVertex = 6
    /// What a violation must exceed.
    package var violation = 0.04
    var moves = 25
    /// For how many moves a vertex stays as it is.
    var tenure = 3
    var mostWeight = 2
    var mostVertices = 12
    package init() {}
  }

  let limits: Limits
  private let groups: Int
  private let count: Int
  /// G, `[2E, ≥ 2E]`.
  private let shifted: AlignedRows
  private let diagonal: Double
  /// b and g = Gb.
  private var weights: [Int]
  private let gradient: AlignedRows
  /// 0 where a vertex may move up, or down, and infinity where not.
  private let upBar: AlignedRows
  private let downBar: AlignedRows
  /// Vertices that have moved, the last one last.
  private var moved = [Int]()
  private var support = 0

  init(_ m: borrowing BoundaryMarginals, groups: Int, limits: Limits = Limits()) {
    self.limits = limits
    self.groups = groups
    count = m.vertices
    diagonal = 1 - 1 / Double(groups)
    shifted = AlignedRows(rows: count, stride: (count + 3) & ~3)
    for a in 0..<count {
      for b in 0..<count { shifted[a, b] = (a == b ? 1 : m[a, b]) - 1 / Double(groups) }
    }
    weights = [Int](repeating: 0, count: count)
    gradient = AlignedRows(stride: (count + 3) & ~3)
    upBar = AlignedRows(stride: (count + 3) & ~3)
    downBar = AlignedRows(stride: (count + 3) & ~3)
    for i in count..<max(count, upBar.stride) { (upBar[i], downBar[i]) = (.infinity, .infinity) }
  }

  /// Weights whose violation is above `threshold` and, over the norm of the row, the largest of
  /// their walk: one or none a walk.
  mutating func run(
    threshold: Double, random: inout SeededGenerator, control: SearchControl,
    found: (_ vertices: [Int], _ weights: [Int], _ distance: Double) -> Void
  ) {
    for _ in 0..<(limits.walksPerVertex * count) {
      if control.shouldStop { return }
      walk(threshold: threshold, random: &random, found: found)
    }
  }

  private mutating func walk(
    threshold: Double, random: inout SeededGenerator,
    found: (_ vertices: [Int], _ weights: [Int], _ distance: Double) -> Void
  ) {
    clear()
    var quadratic = 0.0
    var sum = 0
    for _ in 0..<(2 + random.next(below: 2)) {
      move(random.next(below: count), by: random.next(below: 2) == 0 ? 1 : -1, &quadratic, &sum)
    }
    var best: (distance: Double, weights: [Int])?
    for _ in 0..<limits.moves {
      let violation = (spread(sum) - quadratic) / 2
      if violation > threshold {
        let distance = violation / norm()
        if distance > best?.distance ?? 0 { best = (distance, weights) }
      }
      guard let (vertex, sign) = bestMove(sum) else { break }
      move(vertex, by: sign, &quadratic, &sum)
      rest(vertex)
    }
    guard let best else { return }
    let vertices = best.weights.indices.filter { best.weights[$0] != 0 }
    let sign = vertices.first.map { best.weights[$0] > 0 ? 1 : -1 } ?? 1
    found(vertices, vertices.map { sign * best.weights[$0] }, best.distance)
  }

  private mutating func clear() {
    for i in 0..<count {
      weights[i] = 0
      (gradient[i], upBar[i], downBar[i]) = (0, 0, 0)
    }
    support = 0
    moved.removeAll(keepingCapacity: true)
  }

  /// Makes a vertex that has moved tabu, and lets the one go that has been so for long enough.
  private mutating func rest(_ vertex: Int) {
    moved.append(vertex)
    (upBar[vertex], downBar[vertex]) = (.infinity, .infinity)
    guard moved.count > limits.tenure else { return }
    let last = moved[moved.count - 1 - limits.tenure]
    if !moved.suffix(limits.tenure).contains(last) { setBars(last) }
  }

  private func setBars(_ vertex: Int) {
    let weight = weights[vertex]
    let isShut = weight == 0 && support >= limits.mostVertices
    upBar[vertex] = isShut || weight >= limits.mostWeight ? .infinity : 0
    downBar[vertex] = isShut || weight <= -limits.mostWeight ? .infinity : 0
  }

  /// b_i += s.
  private mutating func move(
    _ vertex: Int, by sign: Int, _ quadratic: inout Double, _ sum: inout Int
  ) {
    quadratic += 2 * Double(sign) * gradient[vertex] + diagonal
    sum += sign
    let before = support
    if weights[vertex] == 0 { support += 1 }
    weights[vertex] += sign
    if weights[vertex] == 0 { support -= 1 }
    setBars(vertex)
    if (before < limits.mostVertices) != (support < limits.mostVertices) {
      let resting = moved.suffix(limits.tenure)
      for i in 0..<count where weights[i] == 0 && !resting.contains(i) { setBars(i) }
    }
    let (g, row) = (gradient.base, shifted.row(vertex))
    let factor = SIMD4(repeating: Double(sign))
    var j = 0
    while j < gradient.stride {
      store4(g, j, load4(g, j) + factor * load4(row, j))
      j += 4
    }
  }

  /// P·f(1-f).
  private func spread(_ sum: Int) -> Double {
    let share = Double(sum) / Double(groups)
    let fraction = share - share.rounded(.down)
    return Double(groups) * fraction * (1 - fraction)
  }

  /// ‖(b_i b_j)_{i<j}‖.
  private func norm() -> Double {
    var (squares, fourths) = (0.0, 0.0)
    for weight in weights where weight != 0 {
      let square = Double(weight * weight)
      squares += square
      fourths += square * square
    }
    return max(1, (squares * squares - fourths) / 2).squareRoot()
  }

  /// The move that leads to the largest violation.
  private func bestMove(_ sum: Int) -> (vertex: Int, sign: Int)? {
    let up = least(upBar, sign: 1)
    let down = least(downBar, sign: -1)
    let gainUp = spread(sum + 1) - 2 * up.value
    let gainDown = spread(sum - 1) - 2 * down.value
    if gainUp >= gainDown { return up.value < .infinity ? (up.vertex, 1) : nil }
    return (down.vertex, -1)
  }

  /// The least of sign·g_i + bar_i, and its first vertex.
  private func least(_ bar: borrowing AlignedRows, sign: Double) -> (value: Double, vertex: Int) {
    var least = SIMD4<Double>(repeating: .infinity)
    var at = SIMD4<Int64>(repeating: 0)
    var places = SIMD4<Int64>(0, 1, 2, 3)
    let factor = SIMD4(repeating: sign)
    var j = 0
    while j < bar.stride {
      let value = factor * load4(gradient.base, j) + load4(bar.base, j)
      let isLess = value .< least
      least.replace(with: value, where: isLess)
      at.replace(with: places, where: isLess)
      places &+= 4
      j += 4
    }
    var best = (value: least[0], vertex: Int(at[0]))
    for lane in 1..<4 where (least[lane], at[lane]) < (best.value, Int64(best.vertex)) {
      best = (least[lane], Int(at[lane]))
    }
    return best
  }
}
