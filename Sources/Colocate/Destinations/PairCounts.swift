import ColocateModel

/// How many tokens of a layer use two experts together, `[E, E]`, with a diagonal of 0: what those
/// methods look at that know pairs and not sets.
struct PairCounts {
  let experts: Int
  /// Symmetric.
  private(set) var together: [Int]
  /// Tokens of each expert, `[E]`.
  let loads: [Int]

  /// O(members · k).
  init(_ layer: TokenSets.Layer) {
    let experts = layer.loads.count
    self.experts = experts
    loads = layer.loads
    together = [Int](repeating: 0, count: experts * experts)
    for t in 0..<layer.count {
      let set = layer[t]
      for i in set {
        for j in set where j != i {
          together[Int(i) * experts + Int(j)] += layer.multiplicities[t]
        }
      }
    }
  }

  /// Experts by falling load, ties to the first.
  var byLoad: [Int] {
    (0..<experts).sorted { (loads[$0], $1) > (loads[$1], $0) }
  }
}
