import ColocateModel
import Synchronization

/// Carries events from the threads that search to the thread that called `Solver.solve`.
///
/// The caller's closure runs on the caller's own thread only, so it need not be `Sendable` and may
/// touch whatever it likes. Searchers post; the caller's loop takes what is there every tenth of a
/// second.
package final class ProgressFeed: Sendable {
  private struct State {
    var stage = Stage.gpus
    var total = 0
    var value: Int?
    var bound: Int?
    var treeNodes = 0
    var openTreeNodes = 0
    var events: [SolverProgress] = []
  }

  private let state = Mutex(State())
  private let control: SearchControl
  private let unit: Int

  /// - Parameter unit: what the values that are posted are multiplied by (`TransitionCounts.unit`).
  package init(control: SearchControl, unit: Int = 1) {
    self.control = control
    self.unit = unit
  }

  /// A new stage begins: its name, and the weight that kept weights are subtracted from.
  package func begin(stage: Stage, total: Int) {
    state.withLock { $0 = State(stage: stage, total: total, events: $0.events) }
  }

  /// A better placement that keeps `kept` of the stage.
  /// - Parameter placement: the best of the whole instance, this one counted in.
  package func incumbent(kept: Int, source: IncumbentSource, placement: Placement?) {
    state.withLock { state in
      let value = state.total - kept
      guard value < state.value ?? Int.max else { return }
      state.value = value
      state.events.append(line(state, source: source, placement: placement))
    }
  }

  /// A proof that no placement keeps more than `keptBound`.
  package func bound(kept keptBound: Int) {
    state.withLock { state in
      let bound = max(0, state.total - keptBound)
      guard bound > state.bound ?? -1 else { return }
      state.bound = bound
    }
  }

  /// How far the tree has grown.
  package func tree(nodes: Int, open: Int) {
    state.withLock { state in
      state.treeNodes = nodes
      state.openTreeNodes = open
    }
  }

  /// What happened since the last call; with nothing new, one line of the present state.
  package func take() -> [SolverProgress] {
    state.withLock { state in
      defer { state.events = [] }
      return state.events.isEmpty ? [line(state)] : state.events
    }
  }

  private func line(
    _ state: State, source: IncumbentSource? = nil, placement: Placement? = nil
  ) -> SolverProgress {
    SolverProgress(
      stage: state.stage, source: source, treeNodes: state.treeNodes,
      openTreeNodes: state.openTreeNodes,
      value: state.value.map { $0 * unit }, bound: state.bound.map { $0 * unit },
      placement: placement, seconds: control.elapsed)
  }
}
