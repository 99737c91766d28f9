import Colocate
import Dispatch

/// Turns the incumbents of a running solve into plans for `PlanRescue`.
///
/// The first one at once; later ones so that making plans takes at most a tenth of the calling
/// thread's time, however large the model. What had to wait is made with a later line of progress.
final class IncumbentPlans {
  private let text: (Placement, StopReason) throws -> String
  private var waiting: Placement?
  /// In nanoseconds of `DispatchTime`: not before.
  private var next: UInt64 = 0

  /// - Parameter text: the finished plan of a placement, and why it is written.
  init(text: @escaping (Placement, StopReason) throws -> String) { self.text = text }

  func show(_ progress: SolverProgress) { show(progress.placement) }

  /// - Parameter found: the new incumbent; nil for a line without one.
  func show(_ found: Placement?) {
    if let found { waiting = found }
    let start = DispatchTime.now().uptimeNanoseconds
    guard let placement = waiting, start >= next else { return }
    waiting = nil
    hold(placement)
    let end = DispatchTime.now().uptimeNanoseconds
    next = end + 10 * (end - start)
  }

  private func hold(_ placement: Placement) {
    let texts = PlanRescue.Reason.allCases.compactMap { reason in
      let stop: StopReason = reason == .cancelled ? .cancelled : .internalError
      return try? text(placement.canonical(), stop)
    }
    if texts.count == PlanRescue.Reason.allCases.count { PlanRescue.hold(texts) }
  }
}
