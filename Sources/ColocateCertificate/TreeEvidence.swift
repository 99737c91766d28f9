import ColocateModel

/// Follows a search tree to its leaves.
extension CertificatePaths {
  /// Subsets that may wait on open branches at once, in all: 512 MiB.
  private static let mostWaiting = 1 << 26

  /// Checks that no placement keeps more than `incumbent`.
  ///
  /// What placements keep are multiples of `step`, so a better one keeps at least the next
  /// multiple: that is the target. A placement that reaches it loses at most B - target against B
  /// at any prices. It loses at least pen(S) for each subset it uses, so where pen(S) > B - target
  /// no such placement uses S.
  func check(_ tree: CertificateTree, incumbent: Int) throws(CertificateError) {
    try checkShape(tree)
    // incumbent ≤ total ≤ 2^56.
    let multiples = incumbent < 0 ? 0 : incumbent / problem.step + 1
    let target = 64 * Int128(problem.step) * Int128(multiples)
    var open = [(place: 0, paths: self)]
    var waiting = subsets.reduce(0) { $0 + $1.count }
    while let (place, paths) = open.popLast() {
      waiting -= paths.subsets.reduce(0) { $0 + $1.count }
      let node = tree.nodes[place]
      do throws(CertificateError) {
        let rest = try paths.deleting(node.deletions, target: target)
        switch node.kind {
        case .bounded(let prices):
          if rest.isEmpty { continue }
          guard try rest.bound(prices) < target else {
            throw CertificateError("a bound that is not below the target")
          }
        case .exhausted(let prices, let dolls):
          if !rest.isEmpty { try rest.checkExhausted(prices, dolls: dolls, target: target) }
        case .branch(let layer, let first, let second, let together, let apart):
          let (one, other) = try rest.branched(layer, first, second)
          open.append((apart, other))
          open.append((together, one))
          waiting += one.subsets.reduce(0) { $0 + $1.count }
          waiting += other.subsets.reduce(0) { $0 + $1.count }
        }
      } catch {
        throw CertificateError("node \(place) of the tree: \(error.description)")
      }
      guard waiting <= Self.mostWaiting else {
        throw CertificateError("more than \(Self.mostWaiting) subsets on open branches")
      }
    }
  }

  /// That the list is a tree: every node but the root is the child of exactly one before it.
  private func checkShape(_ tree: CertificateTree) throws(CertificateError) {
    guard !tree.nodes.isEmpty else { throw CertificateError("a tree without nodes") }
    var parents = [Int](repeating: 0, count: tree.nodes.count)
    for (place, node) in tree.nodes.enumerated() {
      guard case .branch(_, _, _, let together, let apart) = node.kind else { continue }
      for child in [together, apart] {
        guard child > place, child < parents.count else {
          throw CertificateError("node \(place) of the tree names node \(child) as a child")
        }
        parents[child] += 1
      }
    }
    if let place = parents.indices.dropFirst().first(where: { parents[$0] != 1 }) {
      throw CertificateError(
        "node \(place) of the tree is the child of \(parents[place]) nodes, expected 1")
    }
  }

  private func branched(
    _ layer: Int, _ first: Int, _ second: Int
  ) throws(CertificateError) -> (together: CertificatePaths, apart: CertificatePaths) {
    guard (0..<problem.layers).contains(layer), (0..<problem.experts).contains(first),
      (0..<problem.experts).contains(second), first != second
    else { throw CertificateError("a branch that names no pair of experts") }
    let both: UInt64 = 1 << UInt64(first) | 1 << UInt64(second)
    var (one, other) = (self, self)
    one.subsets[layer].removeAll { $0 & both != 0 && $0 & both != both }
    other.subsets[layer].removeAll { $0 & both == both }
    return (one, other)
  }

  private func deleting(
    _ deletions: [CertificatePrices], target: Int128
  ) throws(CertificateError) -> CertificatePaths {
    var paths = self
    for prices in deletions where !paths.isEmpty {
      let potentials = try paths.evaluate(prices, both: true)
      // Penalties are within ±2^62.
      let budget = Int(clamping: potentials.bound - target)
      for l in 0..<problem.layers {
        let list = paths.subsets[l]
        paths.subsets[l] = list.indices.filter { potentials.penalty(l, $0) <= budget }
          .map { list[$0] }
      }
    }
    return paths
  }
}
