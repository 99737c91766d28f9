/// What it takes to bring the experts from where they are to where a plan has them.
///
/// An expert's weights are copied where its GPU changes; a copy between nodes goes over the
/// network. What leaves a GPU costs nothing, and nothing else of a model moves.
public struct Migration: Hashable, Sendable {
  /// Experts of each layer whose GPU changes, shape `[L]`.
  public let copiesPerLayer: [Int]
  /// Those of them whose node changes, shape `[L]`.
  public let nodeCopiesPerLayer: [Int]

  /// Experts whose GPU changes, in all layers.
  public var copies: Int { copiesPerLayer.reduce(0, +) }
  /// Experts whose node changes, in all layers.
  public var nodeCopies: Int { nodeCopiesPerLayer.reduce(0, +) }

  /// - Throws: `ModelError.placement` where the two are of other sizes.
  public init(from current: Placement, to plan: Placement) throws(ModelError) {
    guard current.layers == plan.layers, current.experts == plan.experts,
      current.topology.gpus == plan.topology.gpus
    else {
      throw .placement(
        "the current plan is for \(current.layers) layers × \(current.experts) experts on "
          + "\(current.topology.gpus) GPUs, expected \(plan.layers) × \(plan.experts) on "
          + "\(plan.topology.gpus)")
    }
    var (copies, nodeCopies) = ([Int](), [Int]())
    for layer in 0..<plan.layers {
      var (moved, far) = (0, 0)
      for expert in 0..<plan.experts {
        let (from, to) = (
          current[layer: layer, expert: expert], plan[layer: layer, expert: expert]
        )
        if from != to { moved += 1 }
        if plan.topology.node(of: from) != plan.topology.node(of: to) { far += 1 }
      }
      copies.append(moved)
      nodeCopies.append(far)
    }
    copiesPerLayer = copies
    nodeCopiesPerLayer = nodeCopies
  }
}
