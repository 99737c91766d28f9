import ColocateModel
import Synchronization

/// The best placement of the whole instance so far, whatever stage is being solved: what a progress
/// line carries, so that whoever watches a run has a plan from its first moment on.
///
/// Better is what the objective says: fewer GPU crossings, for staged fewer node crossings and of
/// equally many fewer GPU crossings, for joint the smaller weighted sum.
final class BestPlacement: Sendable {
  private struct Held {
    let placement: Placement
    let cost: [Int]
  }

  private let instance: Instance
  private let held = Mutex<Held?>(nil)

  init(instance: Instance) { self.instance = instance }

  /// Takes `labels` (`[L, E]`, within the load cap) where they are better. O(L · E²).
  /// - Returns: the best so far.
  @discardableResult
  func offer(_ labels: [Int]) -> Placement? {
    let counts = instance.counts
    let offered = Placement(
      unchecked: instance.topology, layers: counts.layers, experts: counts.experts,
      assignment: labels)
    guard let crossings = try? counts.crossings(of: offered) else { return placement }
    let cost =
      instance.objective == .staged
      ? [crossings.node, crossings.gpu] : [instance.objective.value(of: crossings)]
    return held.withLock { held in
      if let held, !cost.lexicographicallyPrecedes(held.cost) { return held.placement }
      held = Held(placement: offered, cost: cost)
      return offered
    }
  }

  /// The best so far.
  var placement: Placement? { held.withLock { $0?.placement } }
}
