/// Coherent mode: the copies of the context. Every rank holds the keys and values of all sequences,
/// its own as it computed them, the others' as they came; all copies must be the same, bit for bit.
enum CacheComparison {
  /// Every rank calls it, at the end of a run.
  /// - Returns: on every rank, a line where the copies differ.
  static func faults(_ engine: Engine, _ baseline: VerificationBaseline) -> [String] {
    let (config, work) = (engine.config, engine.work)
    let words = (baseline.length - 1) * config.headWidth
    var sums: [Int] = []
    for l in 0..<config.layers {
      var sum: UInt64 = 0
      for sequence in 0..<baseline.sequences {
        for head in 0..<config.keyValueHeads {
          let at = engine.cacheOffset(l, slot: engine.slot(sequence), head: head)
          for values in [work.keys, work.values] {
            sum = sum &* 0x9E37_79B9_7F4A_7C15 &+ MessageAudit.sum(values + at, count: words)
          }
        }
      }
      sums.append(Int(truncatingIfNeeded: sum))
    }
    let all = engine.communicator.gatherEverywhere(sums)
    return (0..<config.layers).compactMap { l in
      let others = (1..<all.count).filter { all[$0][l] != all[0][l] }
      return others.isEmpty
        ? nil : "layer \(l): the keys and values on ranks \(others) are not those on rank 0"
    }
  }
}
