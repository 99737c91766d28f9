/// Causal attention with grouped queries over the cached context.
///
///     q, k, v = RMSNorm(x) · [Wq Wk Wv];   q, k ← norm(q), norm(k);   q, k, v ← clipped
///     q, k ← RoPE(q), RoPE(k);   k, v → cache
///     x ← x + (softmax(q kᵀ / √hd) v) · Wo
///
/// Rows are sorted by sequence and position, so the rows of one sequence are a block: with one row
/// the `nq / nkv` heads that share keys are the rows of a product, with more (prefill) the
/// positions are, up to 64 at a time so that little above the diagonal is computed.
extension Engine {
  func attend(_ l: Int) throws(EngineError) {
    let layer = weights.layers[l]
    let (d, nq) = (config.hidden, config.queryWidth)
    let width = nq + 2 * config.keyValueWidth
    multiplyNormed(
      layer.attentionNorm, layer.queryKeyValue, outputs: width, into: work.queryKeyValue)
    measure(.vectors) {
      for row in 0..<localRows { placeInContext(row, l) }
    }
    if moves && step.positions.count > 1 { try gatherContext(layer: l) }
    attendBlocks(l)
    measure(.products) {
      MatrixProduct.multiply(
        work.mixed, xStride: nq, rows: localRows, layer.output, inputs: nq, outputs: d,
        into: work.x, yStride: d, adds: true)
    }
  }

  /// Norms, clips and turns a row's queries and keys, and puts its keys and values into the cache.
  @inline(__always)
  private func placeInContext(_ row: Int, _ l: Int) {
    let layer = weights.layers[l]
    let (hd, nq, nkv) = (config.headWidth, config.queryWidth, config.keyValueWidth)
    let width = nq + 2 * nkv
    let q = work.queryKeyValue + row * width
    let k = q + nq
    normalise(q, layer.queryNorm, width: nq)
    normalise(k, layer.keyNorm, width: nkv)
    if let clip = config.clip { VectorMath.clip(q, to: clip, count: width) }
    let id = work.rowIds[row]
    let position = step.position(id)
    let table = work.rotation + position * hd
    // Keys follow the queries, in heads of the same width.
    for head in 0..<(config.queryHeads + config.keyValueHeads) {
      VectorMath.rotate(q + head * hd, table, headWidth: hd)
    }
    cache(l, slot: slot(step.sequence(id)), position: position, keys: k, values: k + nkv)
    if moves { addContextEntry(layer: l, row: id, keysAndValues: k) }
  }

  /// Attention of all local rows: those of a sequence follow each other and are taken in blocks.
  private func attendBlocks(_ l: Int) {
    var row = 0
    while row < localRows {
      let sequence = step.sequence(work.rowIds[row])
      var end = row + 1
      while end < localRows, end - row < Workspace.attentionBlock,
        step.sequence(work.rowIds[end]) == sequence
      {
        end += 1
      }
      attendBlock(l, sequence: sequence, rows: row..<end)
      row = end
    }
  }

  /// Where a head's keys (and values) of a sequence start: `[T, hd]`.
  @inline(__always)
  func cacheOffset(_ l: Int, slot: Int, head: Int) -> Int {
    ((l &* work.slots &+ slot) &* config.keyValueHeads &+ head) &* work.capacity.positions
      &* config.headWidth
  }

  /// Puts a token's keys and values, `[nkv]` each, into the cache.
  @inline(__always)
  func cache(
    _ l: Int, slot: Int, position: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>
  ) {
    let hd = config.headWidth
    for head in 0..<config.keyValueHeads {
      let at = cacheOffset(l, slot: slot, head: head) + position * hd
      (work.keys + at).update(from: keys + head * hd, count: hd)
      (work.values + at).update(from: values + head * hd, count: hd)
    }
  }

  @inline(__always)
  private func normalise(_ x: Floats, _ weight: Floats?, width: Int) {
    guard let weight else { return }
    if config.queryKeyNorm == .wholeWidth {
      VectorMath.rmsNorm(x, weight, x, width: width, epsilon: config.normEpsilon)
    } else {
      for at in stride(from: 0, to: width, by: config.headWidth) {
        VectorMath.rmsNorm(
          x + at, weight, x + at, width: config.headWidth, epsilon: config.normEpsilon)
      }
    }
  }

  /// Attention of some rows of one sequence, all heads.
  private func attendBlock(_ l: Int, sequence: Int, rows: Range<Int>) {
    let hd = config.headWidth
    let (nq, width) = (config.queryWidth, config.queryWidth + 2 * config.keyValueWidth)
    let group = config.queryHeads / config.keyValueHeads
    let context = step.position(work.rowIds[rows.upperBound - 1]) + 1
    let scale = 1 / Float(hd).squareRoot()
    for keyHead in 0..<config.keyValueHeads {
      let at = cacheOffset(l, slot: slot(sequence), head: keyHead)
      let (keys, values) = (work.keys + at, work.values + at)
      // One position: the heads of the group are the rows. More: one product per query head.
      let one = rows.count == 1
      let (products, queries) = one ? (1, group) : (group, rows.count)
      for product in 0..<products {
        let head = keyHead * group + product
        let q = work.queryKeyValue + rows.lowerBound * width + head * hd
        let o = work.mixed + rows.lowerBound * nq + head * hd
        measure(.attentionProducts) {
          MatrixProduct.multiplyContext(
            q, xStride: one ? hd : width, rows: queries, keys, positions: context, width: hd,
            isTransposed: true, into: work.scores, yStride: context)
        }
        measure(.vectors) {
          for i in 0..<queries {
            let seen = one ? context : step.position(work.rowIds[rows.lowerBound + i]) + 1
            softenScores(work.scores + i * context, seen: seen, of: context, scale: scale)
          }
        }
        measure(.attentionProducts) {
          MatrixProduct.multiplyContext(
            work.scores, xStride: context, rows: queries, values, positions: context, width: hd,
            isTransposed: false, into: o, yStride: one ? hd : nq)
        }
      }
    }
  }

  /// Scores of one query → probabilities; what comes later than the query gets none.
  @inline(__always)
  private func softenScores(_ scores: Floats, seen: Int, of context: Int, scale: Float) {
    VectorMath.softmax(scores, count: seen, scale: scale)
    for later in seen..<context { scores[later] = 0 }
  }
}
