/// What a crossing costs in the joint objective, `interNode ≥ intraNode ≥ 0`.
public struct JointWeights: Hashable, Sendable {
  /// Between nodes.
  public var interNode: Int
  /// Inside a node.
  public var intraNode: Int

  public init(interNode: Int = 8, intraNode: Int = 1) {
    self.interNode = interNode
    self.intraNode = intraNode
  }

  /// What a placement with these crossings costs.
  public func value(of crossings: Crossings) -> Int {
    value(gpu: crossings.gpu, node: crossings.node)
  }

  /// `w_inter · node + w_intra · (gpu − node)`, of crossings or of bounds on them.
  package func value(gpu: Int, node: Int) -> Int {
    intraNode * gpu + (interNode - intraNode) * node
  }

  /// With other weights the bound on the joint objective would not hold.
  package func check() throws(ModelError) {
    guard intraNode >= 0, interNode >= intraNode, interNode <= 1_000_000 else {
      throw .sizes(
        "joint weights \(interNode) (between nodes) and \(intraNode) (inside a node): expected 0 ≤ "
          + "inside ≤ between ≤ 1000000"
      )
    }
  }

  /// The joint value of every placement must be exact.
  /// - Throws: `ModelError.sizes` as `check()`, and where the weights are too large for the counts.
  package func check(_ counts: TransitionCounts) throws(ModelError) {
    try check()
    let all = counts.total + counts.coactivation.reduce(0, +) / 2
    func passes(_ sum: Int, _ limit: Int) -> Bool {
      let (product, overflow) = sum.multipliedReportingOverflow(by: interNode)
      return !overflow && product <= limit
    }
    guard passes(all, Magnitude.joint), passes(all / counts.unit, Magnitude.saved) else {
      throw .sizes(
        "joint weight \(interNode) with counts that add up to \(all) (in units of \(counts.unit)): "
          + "expected a product of at most 2^58 in "
          + "those units and 2^61 without; divide the counts or both weights by a common factor")
    }
  }
}
