import ColocateModel
import Dispatch
import Synchronization

/// When to stop: asked by every long loop of heuristics, bounds and search, from any thread.
///
/// Time and cancellation stop a run wherever it is; work is counted in units that do not depend on
/// the machine, and whoever spends it decides at which points of its own a used-up budget ends the
/// run, so that results under a work limit can be repeated.
package final class SearchControl: Sendable {
  /// Nanoseconds of `DispatchTime` after which to stop.
  private let deadline: UInt64
  /// Threads that may work at the same time, `1 ... mostThreads`.
  package let threads: Int
  /// However many are asked for: whoever divides its work by threads keeps memory for each.
  package static let mostThreads = 1024
  /// Work that may be spent; `Int.max` without a limit.
  package let workLimit: Int
  private let cancelledFlag = Atomic<Bool>(false)
  private let work = Atomic<Int>(0)
  private let parent: SearchControl?
  private let cancelledWhen: (@Sendable () -> Bool)?
  private let started = DispatchTime.now().uptimeNanoseconds

  /// - Parameters:
  ///   - timeLimit: seconds from now; nil for none.
  ///   - workLimit: units of work; nil for none.
  ///   - threads: brought into `1 ... mostThreads`.
  ///   - cancelledWhen: somebody else's wish to stop, asked at every look.
  package init(
    timeLimit: Double? = nil, workLimit: Int? = nil, threads: Int = 1,
    cancelledWhen: (@Sendable () -> Bool)? = nil
  ) {
    if let timeLimit, timeLimit < 1e9 {
      deadline = started &+ UInt64(max(0, timeLimit) * 1e9)
    } else {
      deadline = .max
    }
    self.workLimit = workLimit ?? .max
    self.threads = Self.clamped(threads)
    self.cancelledWhen = cancelledWhen
    parent = nil
  }

  /// A part of `parent`'s time: stops after `seconds` (infinite: no limit of its own), or when the
  /// parent stops.
  ///
  /// Its work limit is what the parent has left, or `work` if that is less; what it spends the
  /// parent spends too.
  package init(
    part seconds: Double, work: Int = .max, of parent: SearchControl, threads: Int? = nil
  ) {
    let now = DispatchTime.now().uptimeNanoseconds
    deadline =
      seconds < 1e9 ? min(parent.deadline, now &+ UInt64(max(0, seconds) * 1e9)) : parent.deadline
    workLimit = min(work, parent.workLeft)
    self.threads = threads.map(Self.clamped) ?? parent.threads
    self.parent = parent
    cancelledWhen = nil
  }

  private static func clamped(_ threads: Int) -> Int { min(max(1, threads), mostThreads) }

  /// Asks every loop to come to its end. Safe from a signal handler's queue.
  package func cancel() { cancelledFlag.store(true, ordering: .relaxed) }

  /// Whether somebody asked to stop.
  package var isCancelled: Bool {
    cancelledFlag.load(ordering: .relaxed) || (cancelledWhen?() ?? false)
      || (parent?.isCancelled ?? false)
  }

  /// Seconds since this control was made.
  package var elapsed: Double {
    Double(DispatchTime.now().uptimeNanoseconds &- started) * 1e-9
  }

  /// Seconds left, 0 when over; infinite without a limit.
  package var remaining: Double {
    guard deadline != .max else { return .infinity }
    let now = DispatchTime.now().uptimeNanoseconds
    return now >= deadline ? 0 : Double(deadline - now) * 1e-9
  }

  /// Whether the time is over or somebody asked to stop. About 30 ns: call it every few thousand
  /// steps.
  package var shouldStop: Bool {
    if isCancelled { return true }
    return deadline != .max && DispatchTime.now().uptimeNanoseconds >= deadline
  }

  /// Whether the time is over.
  package var isTimeOver: Bool {
    deadline != .max && DispatchTime.now().uptimeNanoseconds >= deadline
  }

  /// Whether the work limit is used up.
  package var isWorkOver: Bool { workSpent >= workLimit }

  /// Work that may still be spent; `Int.max` without a limit.
  package var workLeft: Int { workLimit == .max ? .max : max(0, workLimit - workSpent) }

  /// Whether work alone ends the run: then nothing may depend on the clock.
  package var isLimitedByWorkOnly: Bool { workLimit != .max && deadline == .max }

  /// Adds to the work spent. A unit is about one proposal of local search, some 50 ns.
  package func spend(_ amount: Int) {
    work.wrappingAdd(amount, ordering: .relaxed)
    parent?.spend(amount)
  }

  /// Work spent so far.
  package var workSpent: Int { work.load(ordering: .relaxed) }
}
