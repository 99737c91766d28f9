/// The router of all three families: a token's experts are the k largest of softmax(RMSNorm(x) ·
/// Wg), their gate weights those probabilities, scaled to add up to 1 where the model says so.
extension Engine {
  func route(_ l: Int) {
    let layer = weights.layers[l]
    let (experts, k) = (config.experts, config.expertsPerToken)
    multiplyNormed(layer.expertNorm, layer.router, outputs: experts, into: work.routerScores)
    routeObserver?.willChoose(scores: work.routerScores, count: localRows * experts)
    measure(.vectors) {
      for row in 0..<localRows {
        let p = work.routerScores + row * experts
        let (chosen, gates) = (work.chosen + row * k, work.gates + row * k)
        VectorMath.softmax(p, count: experts)
        Self.largest(k, of: p, count: experts, chosen, gates)
        if let routeObserver {
          let id = work.rowIds[row]
          routeObserver.chose(
            RouterChoice(
              sequence: step.sequence(id), position: step.position(id), layer: l, experts: chosen,
              probabilities: gates, others: p))
        }
        if config.normalisesTopK {
          var sum: Float = 0
          for j in 0..<k { sum += gates[j] }
          for j in 0..<k { gates[j] /= sum }
        }
      }
    }
  }

  /// The k largest, the largest first, of equals the lowest index first. Probabilities are not
  /// negative, so −1 marks what is taken.
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

/// What the router chose for one token in one layer.
struct RouterChoice {
  let sequence: Int
  let position: Int
  let layer: Int
  /// `[k]`: the experts, the strongest first, and their probabilities, not yet scaled. Whoever is
  /// told may put others in their place.
  let experts: UnsafeMutablePointer<Int32>
  let probabilities: Floats
  /// `[E]`: every expert's probability, −1 where it was chosen.
  let others: Floats
}

/// Is told of every choice of an engine's router.
protocol RouteObserver: AnyObject {
  /// - Parameter scores: what goes into the softmax of some rows.
  func willChoose(scores: UnsafePointer<Float>, count: Int)
  func chose(_ choice: RouterChoice)
}
