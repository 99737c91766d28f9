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
    var start = timings.start()
    sortPairs(layer.localIndex)
    timings.stop(.vectors, since: start)
    for expert in 0..<weights.expertsHere {
      let first = Int(work.pairStart[expert])
      let rows = Int(work.pairStart[expert + 1]) - first
      guard rows > 0 else { continue }
      let gateUp = layer.gateUp + expert * d * 2 * f
      let down = layer.down + expert * f * d
      if MatrixProduct.isFew(rows: rows) {
        // Few rows: from where they lie to where their sums are.
        let work = work
        start = timings.start()
        MatrixProduct.multiplyScattered(
          rows: rows, gateUp, inputs: d, outputs: 2 * f, adds: false,
          x: { UnsafePointer(work.workInput[Int(work.pairRow[first + $0])]) },
          y: { work.gateUp + $0 * 2 * f })
        timings.stop(.products, since: start)
        activate(rows, first)
        start = timings.start()
        MatrixProduct.multiplyScattered(
          rows: rows, down, inputs: f, outputs: d, adds: true,
          x: { UnsafePointer(work.gateUp + $0 * 2 * f) },
          y: { work.workTarget[Int(work.pairRow[first + $0])] })
        timings.stop(.products, since: start)
      } else {
        start = timings.start()
        for i in 0..<rows {
          (work.gathered + i * d).update(
            from: work.workInput[Int(work.pairRow[first + i])], count: d)
        }
        timings.stop(.vectors, since: start)
        start = timings.start()
        MatrixProduct.multiply(
          work.gathered, xStride: d, rows: rows, gateUp, inputs: d, outputs: 2 * f,
          into: work.gateUp, yStride: 2 * f)
        timings.stop(.products, since: start)
        activate(rows, first)
        start = timings.start()
        MatrixProduct.multiply(
          work.gateUp, xStride: 2 * f, rows: rows, down, inputs: f, outputs: d,
          into: work.expertOutput, yStride: d)
        timings.stop(.products, since: start)
        start = timings.start()
        for i in 0..<rows {
          VectorMath.add(
            work.expertOutput + i * d, to: work.workTarget[Int(work.pairRow[first + i])], count: d)
        }
        timings.stop(.vectors, since: start)
      }
    }
  }

  /// `[rows, 2 f]` → its first half: gate · SwiGLU.
  @inline(__always)
  private func activate(_ rows: Int, _ first: Int) {
    let f = config.expertWidth
    let start = timings.start()
    for i in 0..<rows {
      let row = work.gateUp + i * 2 * f
      VectorMath.swiGLU(row, row + f, count: f, scale: work.pairGate[first + i])
    }
    timings.stop(.vectors, since: start)
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
