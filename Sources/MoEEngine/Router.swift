/// The router of all three families: a token's experts are the k largest of softmax(RMSNorm(x) · Wg), their gate weights those
/// probabilities, scaled to add up to 1 where the model says so.
extension Engine {
  func route(_ l: Int) {
    let layer = weights.layers[l]
    let (d, experts, k) = (config.hidden, config.experts, config.expertsPerToken)
    var start = timings.start()
    for row in 0..<localRows {
      VectorMath.rmsNorm(
        work.x + row * d, layer.expertNorm, work.normed + row * d, width: d,
        epsilon: config.normEpsilon)
    }
    timings.stop(.vectors, since: start)
    start = timings.start()
    MatrixProduct.multiply(
      work.normed, xStride: d, rows: localRows, layer.router, inputs: d, outputs: experts,
      into: work.routerScores, yStride: experts)
    timings.stop(.products, since: start)
    start = timings.start()
    for row in 0..<localRows {
      let p = work.routerScores + row * experts
      let (chosen, gates) = (work.chosen + row * k, work.gates + row * k)
      VectorMath.softmax(p, count: experts)
      Self.largest(k, of: p, count: experts, chosen, gates)
      if let routes = work.routes, let margins = work.margins {
        let at = Int(work.rowIds[row]) * config.layers + l
        (routes + at * k).update(from: chosen, count: k)
        // The least lead of a chosen expert over the next one, the best that was not chosen included.
        var margin = k < experts ? gates[k - 1] - p[VectorMath.argmax(p, count: experts)] : 1
        for j in 1..<max(k, 1) { margin = min(margin, gates[j - 1] - gates[j]) }
        margins[at] = Int32(bitPattern: margin.bitPattern)
      }
      if config.normalisesTopK {
        var sum: Float = 0
        for j in 0..<k { sum += gates[j] }
        for j in 0..<k { gates[j] /= sum }
      }
    }
    timings.stop(.vectors, since: start)
  }

  /// The k largest, the largest first, of equals the lowest index first. Probabilities are not negative, so −1 marks what is taken.
  @inline(__always)
  private static func largest(
    _ k: Int, of p: Floats, count: Int, _ index: UnsafeMutablePointer<Int32>, _ value: Floats
  ) {
    for j in 0..<k {
      let best = VectorMath.argmax(p, count: count)
      index[j] = Int32(truncatingIfNeeded: best)
      value[j] = p[best]
      p[best] = -1
    }
  }
}
