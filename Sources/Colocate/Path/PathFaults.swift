/// Faults that a test puts into the path search on purpose, to see that whoever watches a known
/// solution (`KnownSolution`) notices each kind. None is there in an ordinary run.
package struct PathFaults: Hashable, Sendable {
  /// A group that may be taken from its layer.
  package struct Vertex: Hashable, Sendable {
    package let layer: Int
    package let members: ExpertSet

    package init(layer: Int, members: ExpertSet) {
      self.layer = layer
      self.members = members
    }
  }

  /// Every deletion takes this vertex, whatever its penalty.
  package var deleted: Vertex?
  /// The doll of this layer is found `raise` ticks too high.
  package var raisedDoll: Int?
  /// The tree nodes made by a branch get the incumbent's value for a bound.
  package var lowersBounds = false
  /// No tree node made by a branch inherits this vertex.
  package var unbranched: Vertex?

  /// See `raisedDoll`: 2¹⁶ tokens.
  package static let raise = 1 << 22

  package init() {}
}
