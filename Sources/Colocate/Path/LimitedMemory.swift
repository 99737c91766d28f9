/// The pairs of steps and gradient changes that L-BFGS keeps, and its two-loop recursion (Liu,
/// Nocedal, Math. Programming 1989).
///
/// A step s that changed the gradient by y tells that the inverse Hessian maps y to s. Among the
/// matrices that do so for the pairs kept, the recursion multiplies the gradient with the one that
/// is nearest (in BFGS's norm) to a multiple of the identity, in O(memory · count) and without ever
/// forming it. It stays positive definite where `s·y > 0`; other pairs are not taken.
struct LimitedMemory {
  private struct Pair {
    let step: [Double]
    let change: [Double]
    /// `s·y`.
    let curvature: Double
    /// `y·y`.
    let norm: Double
  }

  private let memory: Int
  private var pairs: [Pair] = []

  /// - Parameter memory: pairs to keep at most.
  init(memory: Int) { self.memory = memory }

  var isEmpty: Bool { pairs.isEmpty }

  mutating func reset() { pairs.removeAll() }

  /// Takes the pair of a step from one point with its gradient to another.
  mutating func update(
    from: [Double], to: [Double], gradient: [Double], newGradient: [Double]
  ) {
    var step = [Double](repeating: 0, count: from.count)
    var change = step
    var curvature = 0.0
    var norm = 0.0
    for index in step.indices {
      step[index] = to[index] - from[index]
      change[index] = newGradient[index] - gradient[index]
      curvature += step[index] * change[index]
      norm += change[index] * change[index]
    }
    guard curvature > 1e-12 * norm.squareRoot(), norm > 0 else { return }
    if pairs.count == memory { pairs.removeFirst() }
    pairs.append(Pair(step: step, change: change, curvature: curvature, norm: norm))
  }

  /// −H·gradient with the H of the kept pairs; −gradient without any.
  func direction(_ gradient: [Double]) -> [Double] {
    var q = gradient.map { -$0 }
    var factors = [Double](repeating: 0, count: pairs.count)
    for k in pairs.indices.reversed() {
      factors[k] = Self.dot(pairs[k].step, q) / pairs[k].curvature
      Self.add(-factors[k], pairs[k].change, to: &q)
    }
    if let last = pairs.last {
      let scale = last.curvature / last.norm
      for index in q.indices { q[index] *= scale }
    }
    for k in pairs.indices {
      let correction = factors[k] - Self.dot(pairs[k].change, q) / pairs[k].curvature
      Self.add(correction, pairs[k].step, to: &q)
    }
    return q
  }

  private static func dot(_ a: [Double], _ b: [Double]) -> Double {
    var sum = 0.0
    for index in a.indices { sum += a[index] * b[index] }
    return sum
  }

  private static func add(_ factor: Double, _ a: [Double], to b: inout [Double]) {
    for index in a.indices { b[index] += factor * a[index] }
  }
}
