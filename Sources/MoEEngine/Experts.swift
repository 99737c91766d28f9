/// The experts of this rank on the rows that need them: target ← target + gate · (SwiGLU(h · Wgate,
/// h · Wup) · Wdown).
///
/// Pairs (row, expert) are sorted by expert, so that each expert's weights are read once per step:
/// one product for gate and up together, one for down. The gate weight is multiplied in between the
/// two.
extension Engine {
  func applyExperts(_ l: Int) {
    let layer = weights.layers[l]
    let (d, f) = (config.hidden, config.expertWidth)
    measure(.vectors) { sortPairs(layer.localIndex) }
    for expert in 0..<weights.expertsHere {
      let first = Int(work.pairStart[expert])
      let rows = Int(work.pairStart[expert + 1]) - first
      guard rows > 0 else { continue }
      let gateUp = layer.gateUp + expert * d * 2 * f
      let down = layer.down + expert * f * d
      if MatrixProduct.isFew(rows: rows) {
        applyInPlace(gateUp, down, first: first, rows: rows)
      } else {
        applyGathered(gateUp, down, first: first, rows: rows)
      }
    }
  }

  /// One expert on a few rows: from where they lie to where their sums are.
  private func applyInPlace(_ gateUp: Floats, _ down: Floats, first: Int, rows: Int) {
    let (d, f, work) = (config.hidden, config.expertWidth, work)
    measure(.products) {
      MatrixProduct.multiplyScattered(
        rows: rows, gateUp, inputs: d, outputs: 2 * f, adds: false,
        x: { UnsafePointer(work.workInput[Int(work.pairRow[first + $0])]) },
        y: { work.gateUp + $0 * 2 * f })
    }
    activate(rows, first)
    measure(.products) {
      MatrixProduct.multiplyScattered(
        rows: rows, down, inputs: f, outputs: d, adds: true,
        x: { UnsafePointer(work.gateUp + $0 * 2 * f) },
        y: { work.workTarget[Int(work.pairRow[first + $0])] })
    }
  }

  /// One expert on many rows, which are copied together first.
  private func applyGathered(_ gateUp: Floats, _ down: Floats, first: Int, rows: Int) {
    let (d, f, work) = (config.hidden, config.expertWidth, work)
    measure(.vectors) {
      for i in 0..<rows {
        (work.gathered + i * d).update(
          from: work.workInput[Int(work.pairRow[first + i])], count: d)
      }
    }
    measure(.products) {
      MatrixProduct.multiply(
        work.gathered, xStride: d, rows: rows, gateUp, inputs: d, outputs: 2 * f,
        into: work.gateUp, yStride: 2 * f)
    }
    activate(rows, first)
    measure(.products) {
      MatrixProduct.multiply(
        work.gateUp, xStride: 2 * f, rows: rows, down, inputs: f, outputs: d,
        into: work.expertOutput, yStride: d)
    }
    measure(.vectors) {
      for i in 0..<rows {
        VectorMath.add(
          work.expertOutput + i * d, to: work.workTarget[Int(work.pairRow[first + i])], count: d)
      }
    }
  }

  /// `[rows, 2 f]` → its first half: gate · SwiGLU.
  @inline(__always)
  private func activate(_ rows: Int, _ first: Int) {
    let f = config.expertWidth
    measure(.vectors) {
      for i in 0..<rows {
        let row = work.gateUp + i * 2 * f
        VectorMath.swiGLU(row, row + f, count: f, scale: work.pairGate[first + i])
      }
    }
  }

  /// Counting sort of the pairs that are this rank's by expert; rows stay in order.
  private func sortPairs(_ localIndex: UnsafeMutablePointer<Int32>) {
    let k = config.expertsPerToken
    let start = work.pairStart
    let pairs = workRows * k
    for expert in 0...weights.expertsHere { start[expert] = 0 }
    for i in 0..<pairs {
      let expert = Int(localIndex[Int(work.workExperts[i])])
      if expert >= 0 { start[expert + 1] += 1 }
    }
    for expert in 0..<weights.expertsHere { start[expert + 1] += start[expert] }
    for row in 0..<workRows {
      for i in (row * k)..<(row * k + k) {
        let expert = Int(localIndex[Int(work.workExperts[i])])
        guard expert >= 0 else { continue }
        let at = Int(start[expert])
        work.pairRow[at] = Int32(truncatingIfNeeded: row)
        work.pairGate[at] = work.workGates[i]
        start[expert] += 1
      }
    }
    // Each start has moved to its end: shift back.
    for expert in stride(from: weights.expertsHere, to: 0, by: -1) {
      start[expert] = start[expert - 1]
    }
    start[0] = 0
  }
}
