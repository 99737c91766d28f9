import ColocateModel

/// What is saved where two neighbouring experts share a group or a node: the value that local
/// search and label matching maximise, on one level or two.
///
///     value(π) = Σ_l Σ_ij W_l[i,j] · s(π_l(i), π_{l+1}(j))
///              + Σ_l Σ_{i<i'} V_l[i,i'] · s(π_l(i), π_l(i'))
///     s(g, h) = wGroup · [g = h] + wNode · [node(g) = node(h)]
///
/// In the flat objective `wGroup = 1` and `wNode = 0`, and the value is `GroupingProblem.kept`. In
/// the joint objective a transition inside a node costs `w_intra` and one between nodes `w_inter`,
/// so `wGroup = w_intra` and `wNode = w_inter − w_intra`, and `w_inter · total − value` is the
/// objective.
package struct SavedWeights: Sendable, Equatable {
  /// `G`: groups `n·G ..< (n+1)·G` are in node `n`.
  package let groupsPerNode: Int
  /// Saved by sharing a group.
  package let group: Int
  /// Saved by sharing a node, on top of what the group saves.
  package let node: Int

  package init(groupsPerNode: Int, group: Int, node: Int) {
    (self.groupsPerNode, self.group, self.node) = (groupsPerNode, group, node)
  }

  /// One level of `groups` groups, each shared group worth 1.
  package static func flat(groups: Int) -> SavedWeights {
    SavedWeights(groupsPerNode: groups, group: 1, node: 0)
  }

  /// Two levels with the weights of `Objective.joint`, or one where they are equal.
  package static func joint(topology: Topology, weights: JointWeights) -> SavedWeights {
    let more = weights.interNode - weights.intraNode
    return more == 0 || topology.nodes == 1
      ? SavedWeights(groupsPerNode: topology.gpus, group: weights.intraNode, node: 0)
      : SavedWeights(
        groupsPerNode: topology.gpusPerNode, group: weights.intraNode, node: more)
  }

  /// `s(g, h)`.
  @inline(__always)
  package func saved(_ g: Int, _ h: Int) -> Int {
    (g == h ? group : 0) + (node != 0 && g / groupsPerNode == h / groupsPerNode ? node : 0)
  }
}
