extension TransitionCounts {
  /// The counts of several traces of one model, added up.
  /// - Throws: `ModelError.counts` where the sizes differ, or only some have co-activation.
  public static func sum(_ parts: [TransitionCounts]) throws(ModelError) -> TransitionCounts {
    guard let first = parts.first else { throw .counts("no traces: at least 1 is needed") }
    guard parts.count > 1 else { return first }
    var (weights, loads, together) = (first.weights, first.loads, first.coactivation)
    for part in parts.dropFirst() {
      guard part.layers == first.layers, part.experts == first.experts else {
        throw .counts(
          "\(part.layers) layers × \(part.experts) experts, expected \(first.layers) × "
            + "\(first.experts) as in the first trace"
        )
      }
      guard part.coactivation.isEmpty == first.coactivation.isEmpty else {
        throw .counts("co-activation in some traces and not in others")
      }
      try add(part.weights, to: &weights, "counts")
      try add(part.loads, to: &loads, "loads")
      try add(part.coactivation, to: &together, "co-activations")
    }
    return try TransitionCounts(
      layers: first.layers, experts: first.experts, weights: weights, loads: loads,
      coactivation: together)
  }

  private static func add(
    _ part: [Int], to sums: inout [Int], _ what: String
  ) throws(ModelError) {
    for index in sums.indices {
      let (sum, overflow) = sums[index].addingReportingOverflow(part[index])
      guard !overflow else {
        throw .counts("the \(what) of all traces add up to more than 2^55: divide them")
      }
      sums[index] = sum
    }
  }
}
