import ColocateModel

/// One boundary of the chain programme for two groups of up to eight experts: 41 million pairs of
/// partitions at E = 16, in a fraction of a second.
///
/// A partition is the group `S` of expert 0. With `d_S[j] = Σ_{i∈S} W[i,j] − Σ_{i∉S} W[i,j]` and
/// `b_S = Σ_j Σ_{i∉S} W[i,j]`, an expert j of the next layer's group T keeps what comes from S and
/// any other what does not, so that
///
///     straight(S, T) = b_S + Σ_{j∈T} d_S[j],      θ(S, T) = max(straight, total − straight)
///
/// (crossed labels keep exactly what straight ones lose), and the sum over T is one entry of a
/// table over its low bits plus one of a table over its high bits. States S are taken sixteen at a
/// time, side by side in vectors (`TwoGroupBlock`), so that both tables are read contiguously and
/// stay in the first-level cache. Work is the number of pairs; the maximum is the same in any
/// order, so the answer does not depend on the number of threads.
///
/// Arithmetic is in floats where every intermediate value is below 2²⁴, otherwise in doubles: with
/// f + (a boundary's weight) ≤ the total ≤ 2⁵² (`Magnitude.exact`) every value and every sum of a
/// value and differences is within ±2⁵³. Exact either way, and the maximum of two vectors is one
/// instruction on any x86-64, which it is not for integers.
enum TwoGroupChain {
  /// - Parameters:
  ///   - from: partitions of layer `boundary` as group masks, `[count, 2]`, expert 0's group first;
  ///     `to` those of the next layer.
  ///   - values: `f(S)`, `[count]`.
  /// - Returns: `max_S f(S) + θ(S, T)` for each T, or nil where stopped.
  static func step(
    _ problem: GroupingProblem, boundary: Int, from: [UInt64], values: [Int], to: [UInt64],
    control: SearchControl
  ) -> [Int]? {
    precondition(
      problem.total <= Magnitude.exact && problem.experts <= 16,
      "two groups beyond what is exact or tabulated")
    let sources = values.indices.map { (set: ExpertSet(bits: from[$0 * 2]), value: values[$0]) }
    let targets = stride(from: 0, to: to.count, by: 2).map { to[$0] }
    // Twice the largest f + θ bounds every intermediate value.
    return problem.total < 1 << 22
      ? sweep(problem, boundary, sources, targets, control, as: Float.self)
      : sweep(problem, boundary, sources, targets, control, as: Double.self)
  }

  private static func sweep<Scalar: LaneScalar>(
    _ problem: GroupingProblem, _ boundary: Int, _ sources: [(set: ExpertSet, value: Int)],
    _ targets: [UInt64], _ control: SearchControl, as kind: Scalar.Type
  ) -> [Int]? {
    typealias Lanes = TwoGroupBlock<Scalar>
    let offsets = targets.map(Lanes.offsets(of:))
    let blocks = (sources.count + Lanes.width - 1) / Lanes.width
    let workers = min(control.threads, blocks)
    // Each worker has a row of its own.
    var reached = [Scalar](repeating: -1, count: workers * targets.count)
    reached.withUnsafeMutableBufferPointer { reached in
      nonisolated(unsafe) let reached = reached
      concurrentFor(workers, threads: workers) { _, worker in
        let row = (worker * targets.count)..<((worker + 1) * targets.count)
        let best = UnsafeMutableBufferPointer(rebasing: reached[row])
        let lanes = Lanes(problem, boundary: boundary)
        for index in stride(from: worker, to: blocks, by: workers) {
          if control.shouldStop { return }
          // The last block repeats its last state.
          lanes.fill { sources[min(index * Lanes.width + $0, sources.count - 1)] }
          lanes.raise(best, offsets)
        }
      }
    }
    if control.shouldStop { return nil }
    return targets.indices.map { target in
      var most: Scalar = -1
      for worker in 0..<workers { most = max(most, reached[worker * targets.count + target]) }
      return Int(most)
    }
  }
}
