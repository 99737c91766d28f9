import ColocateModel

/// The vertices of a path relaxation that are left, and the deletions that left them.
///
/// A value: whoever deletes makes another one, with its own record of how it came to be. A checker
/// that starts from all subsets (or those of a tree node) and repeats the deletions in order
/// arrives at the same lists.
package struct PathVertices: Sendable {
  /// `[L]`.
  package let layers: [PathSubsets]
  /// Price vectors at which subsets were deleted, in order.
  package let deletions: [PathPrices]

  package init(layers: [PathSubsets], deletions: [PathPrices] = []) {
    self.layers = layers
    self.deletions = deletions
  }

  /// Whether some layer has no subset left: then there is no placement among them.
  package var isEmpty: Bool { layers.contains { $0.count == 0 } }

  /// Subsets of a layer, on average.
  package var meanCount: Int { layers.reduce(0) { $0 + $1.count } / layers.count }

  /// Arcs of all boundaries.
  package var arcCount: Int {
    zip(layers, layers.dropFirst()).reduce(0) { $0 + $1.0.count * $1.1.count }
  }

  /// The number of each group's subset in its layer, `[L][P]`, for labels `[L, E]`; nil where some
  /// group is not among the subsets.
  package func places(of labels: Labels, groups: Int) -> [[Int]]? {
    var places = [[Int]]()
    for l in layers.indices {
      let subsets = layers[l]
      var numbers = [[UInt8]: Int]()
      for s in 0..<subsets.count { numbers[Array(subsets.row(s))] = s }
      let found = (0..<groups).compactMap { group in
        numbers[labels.members(of: group, layer: l).map { UInt8($0) }]
      }
      guard found.count == groups else { return nil }
      places.append(found)
    }
    return places
  }
}
