import ColocateModel

/// One boundary of the chain programme for two groups of up to eight experts: 41 million pairs at E
/// = 16, in a fraction of a second.
///
/// A partition is the group `S` of expert 0. With `d_S[j] = Σ_{i∈S} W[i,j] − Σ_{i∉S} W[i,j]` and
/// `b_S = Σ_j Σ_{i∉S} W[i,j]`,
///
///     straight(S, T) = b_S + Σ_{j∈T} d_S[j],      θ(S, T) = max(straight, total − straight)
///
/// and the sum over T is one entry of a table over its low bits plus one of a table over its high
/// bits. States S are taken sixteen at a time, side by side in vectors, so that both tables are
/// read contiguously and stay in the first-level cache. Arithmetic is in floats where every
/// intermediate value is below 2²⁴, otherwise in doubles: with f + (a boundary's weight) ≤ the
/// total ≤ 2⁵² (`Magnitude.exact`) every value and every sum of a value and differences is within
/// ±2⁵³. Exact either way, and the maximum of two vectors is one instruction on any x86-64, which
/// it is not for integers.
enum TwoGroupChain {
  /// States side by side.
  static let width = 16

  /// - Returns: `max_S f(S) + θ(S, T)` for each T, or nil where stopped.
  static func step(
    _ problem: GroupingProblem, boundary: Int, from: [UInt64], values: [Int], to: [UInt64],
    control: SearchControl
  ) -> [Int]? {
    precondition(problem.total <= Magnitude.exact)
    // Twice the largest f + θ bounds every intermediate value.
    return problem.total < 1 << 22
      ? run(problem, boundary, from, values, to, control) {
        (low: UnsafePointer<Float>, high, a, b, first, second, best) in
        sweep(low, high, a, b, first, second, best)
      }
      : run(problem, boundary, from, values, to, control) {
        (low: UnsafePointer<Double>, high, a, b, first, second, best) in
        sweep(low, high, a, b, first, second, best)
      }
  }

  private static func run<Scalar: BinaryFloatingPoint & SIMDScalar & Sendable>(
    _ problem: GroupingProblem, _ boundary: Int, _ from: [UInt64], _ values: [Int],
    _ to: [UInt64], _ control: SearchControl,
    _ sweep:
      @Sendable (
        UnsafePointer<Scalar>, UnsafePointer<Scalar>, [Int], [Int], UnsafePointer<Scalar>,
        UnsafePointer<Scalar>, UnsafeMutablePointer<Scalar>
      ) -> Void
  ) -> [Int]? {
    let experts = problem.experts
    let targets = to.count / 2
    let blocks = (values.count + width - 1) / width
    let workers = min(control.threads, blocks)
    // T as offsets into the two tables.
    let low = (0..<targets).map { Int(to[$0 * 2] & 0xFF) * width }
    let high = (0..<targets).map { Int(to[$0 * 2] >> 8) * width }
    var reached = [Scalar](repeating: -1, count: workers * targets)
    reached.withUnsafeMutableBufferPointer { reached in
      nonisolated(unsafe) let reached = reached
      concurrentFor(workers, threads: workers) { _, worker in
        let best = reached.baseAddress! + worker * targets
        let tableLow = UnsafeMutablePointer<Scalar>.allocate(capacity: 256 * width)
        let tableHigh = UnsafeMutablePointer<Scalar>.allocate(capacity: 256 * width)
        defer {
          tableLow.deallocate()
          tableHigh.deallocate()
        }
        tableLow.initialize(repeating: 0, count: 256 * width)
        tableHigh.initialize(repeating: 0, count: 256 * width)
        var first = [Scalar](repeating: 0, count: width)
        var second = first
        var difference = [Int](repeating: 0, count: experts)
        var block = worker
        while block < blocks {
          if control.shouldStop { return }
          for lane in 0..<width {
            // The last block repeats its last state.
            let state = min(block * width + lane, values.count - 1)
            let members = from[state * 2]
            var base = 0
            var total = 0
            for j in 0..<experts {
              var (inside, outside) = (0, 0)
              for i in 0..<experts {
                let weight = problem.weights[(boundary * experts + i) * experts + j]
                if members >> UInt64(i) & 1 == 1 { inside += weight } else { outside += weight }
              }
              difference[j] = inside - outside
              base += outside
              total += inside + outside
            }
            for mask in 1..<256 {
              let bit = mask.trailingZeroBitCount
              let rest = (mask & (mask - 1)) * width + lane
              if bit < experts {
                tableLow[mask * width + lane] = tableLow[rest] + Scalar(difference[bit])
              }
              if bit + 8 < experts {
                tableHigh[mask * width + lane] = tableHigh[rest] + Scalar(difference[bit + 8])
              }
            }
            first[lane] = Scalar(values[state] + base)
            second[lane] = Scalar(values[state] + total - base)
          }
          sweep(tableLow, tableHigh, low, high, first, second, best)
          block += workers
        }
      }
    }
    if control.shouldStop { return nil }
    return (0..<targets).map { target in
      Int((0..<workers).map { reached[$0 * targets + target] }.max()!)
    }
  }

  // The inner loops are written for concrete vectors: generic comparisons of vectors go lane by
  // lane.

  /// `best[T] = max(best[T], max over the lanes of f(S) + θ(S, T))`.
  private static func sweep(
    _ tableLow: UnsafePointer<Float>, _ tableHigh: UnsafePointer<Float>, _ low: [Int],
    _ high: [Int], _ first: UnsafePointer<Float>, _ second: UnsafePointer<Float>,
    _ best: UnsafeMutablePointer<Float>
  ) {
    typealias Vector = SIMD4<Float>
    @inline(__always) func load(_ pointer: UnsafePointer<Float>, _ k: Int) -> Vector {
      UnsafeRawPointer(pointer + 4 * k).loadUnaligned(as: Vector.self)
    }
    @inline(__always) func larger(_ a: Vector, _ b: Vector) -> Vector {
      a.replacing(with: b, where: b .> a)
    }
    let (first0, first1, first2, first3) = (
      load(first, 0), load(first, 1), load(first, 2), load(first, 3)
    )
    let (second0, second1, second2, second3) = (
      load(second, 0), load(second, 1), load(second, 2), load(second, 3)
    )
    for target in 0..<low.count {
      let (x, y) = (tableLow + low[target], tableHigh + high[target])
      let sum0 = load(x, 0) + load(y, 0)
      let sum1 = load(x, 1) + load(y, 1)
      let sum2 = load(x, 2) + load(y, 2)
      let sum3 = load(x, 3) + load(y, 3)
      let left = larger(
        larger(first0 + sum0, second0 - sum0), larger(first1 + sum1, second1 - sum1))
      let right = larger(
        larger(first2 + sum2, second2 - sum2), larger(first3 + sum3, second3 - sum3))
      let four = larger(left, right)
      let most = max(max(four.x, four.y), max(four.z, four.w))
      if most > best[target] { best[target] = most }
    }
  }

  private static func sweep(
    _ tableLow: UnsafePointer<Double>, _ tableHigh: UnsafePointer<Double>, _ low: [Int],
    _ high: [Int], _ first: UnsafePointer<Double>, _ second: UnsafePointer<Double>,
    _ best: UnsafeMutablePointer<Double>
  ) {
    typealias Vector = SIMD2<Double>
    @inline(__always) func load(_ pointer: UnsafePointer<Double>, _ k: Int) -> Vector {
      UnsafeRawPointer(pointer + 2 * k).loadUnaligned(as: Vector.self)
    }
    @inline(__always) func larger(_ a: Vector, _ b: Vector) -> Vector {
      a.replacing(with: b, where: b .> a)
    }
    for target in 0..<low.count {
      let (x, y) = (tableLow + low[target], tableHigh + high[target])
      var most = Vector(repeating: -1)
      for k in 0..<(width / 2) {
        let sum = load(x, k) + load(y, k)
        most = larger(most, larger(load(first, k) + sum, load(second, k) - sum))
      }
      let one = most.x > most.y ? most.x : most.y
      if one > best[target] { best[target] = one }
    }
  }
}
