import ColocateModel

/// Which experts the tokens of traces use together.
extension TraceFile {
  /// The token sets of several traces of one model, read once more and added up.
  ///
  /// - Parameters:
  ///   - files: traces with one and the same number of experts per token.
  ///   - keepsFollowers: keep the strongest expert of the layer before with each set; for traces
  ///     whose first column it is.
  ///   - memoryLimit: bytes that the sets may take; beyond it a sample of whole sequences is kept.
  /// - Returns: nil where the files do not say what a token uses together: counts.
  /// - Throws: `FormatError` where the files are of different models, and where one has changed
  ///   since it was counted.
  public static func tokenSets(
    of files: [TraceFile], keepsFollowers: Bool = false, memoryLimit: Int = 1 << 30
  ) throws(FormatError) -> TokenSets? {
    guard let first = files.first, files.allSatisfy({ $0.kind == .trace }) else {
      return nil
    }
    let name = files.count == 1 ? first.path : "\(first.path) and \(files.count - 1) more"
    for file in files where file.choices != first.choices {
      throw FormatError(
        file.path, "\(file.choices) experts a token, expected \(first.choices) as in \(first.path)")
    }
    for file in files where (file.sequences == nil) != (first.sequences == nil) {
      throw FormatError(
        file.path, "expected sequence ids for all of the traces, or for none (--sequences)")
    }
    var accumulator = try FormatError.naming(name) { () throws(ModelError) in
      try TokenSetAccumulator(
        layers: first.counts.layers, choices: first.choices, experts: first.counts.experts,
        keepsFollowers: keepsFollowers, memoryLimit: memoryLimit)
    }
    for (number, file) in files.enumerated() {
      let names = file.sequences
      try file.blocks?.stream { ids, start, _ throws(ModelError) in
        let count = ids.count / (first.counts.layers * first.choices)
        // Sequences of different files are different ones, whatever their ids.
        let own = names.map { names in
          names[start..<(start + count)].map { $0 &* files.count &+ number }
        }
        try accumulator.add(ids, sequences: own ?? [])
      }
    }
    return try FormatError.naming(name) { () throws(ModelError) in try accumulator.sets() }
  }
}
