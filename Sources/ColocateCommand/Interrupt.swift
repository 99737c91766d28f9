import ColocateFormats
import Dispatch
import Foundation
import Synchronization

/// Signals that ask the program to end, as a question that a callback can ask.
///
/// Ctrl-C (SIGINT), SIGTERM, a closed session (SIGHUP, unless `nohup` has it ignored), a used-up
/// limit of processor time (SIGXCPU) and what else ends a program that does not listen. The first
/// asks the run to come to its end, so that its incumbent is written. One more, a second or longer
/// after it (launchers often pass a signal on twice), ends the program at once, with the incumbent
/// that `PlanRescue` holds; so does a run that has not come to its end after `patience`.
final class Interrupt: Sendable {
  /// Seconds that the run has to come to its end.
  private static let patience = 5.0

  /// When the first request came, in nanoseconds of `DispatchTime`; 0 before it.
  private let first = Atomic<UInt64>(0)
  private let number = Atomic<Int32>(0)
  /// Whether the search is over, so that what is left is a matter of moments.
  private let isOver = Atomic<Bool>(false)
  /// Kept alive; Dispatch objects are safe to share between threads, though their protocols do not
  /// say so.
  nonisolated(unsafe) private let sources: [any DispatchSourceSignal]

  init() {
    let numbers = Signals.endings.filter { $0 == SIGINT || !InheritedSignals.isIgnored($0) }
    guard ThreadProbe.canMake(ThreadProbe.reserve) else {
      sources = []
      numbers.forEach(PlainSignals.note)
      return
    }
    sources = numbers.map { number in
      signal(number, SIG_IGN)
      return DispatchSource.makeSignalSource(
        signal: number, queue: .global(qos: .userInteractive))
    }
    for (source, number) in zip(sources, numbers) {
      source.setEventHandler { [self] in request(number) }
      source.activate()
    }
  }

  private func request(_ number: Int32) {
    let now = DispatchTime.now().uptimeNanoseconds
    let (isFirst, earlier) = first.compareExchange(expected: 0, desired: now, ordering: .relaxed)
    guard isFirst else {
      if now - earlier > 1_000_000_000 { endAtOnce() }
      return
    }
    self.number.store(number, ordering: .relaxed)
    DispatchQueue.global(qos: .userInteractive).asyncAfter(deadline: .now() + Self.patience) {
      [self] in
      if !isOver.load(ordering: .relaxed) { endAtOnce() }
    }
  }

  private func endAtOnce() {
    // Whoever crashes at the same moment is writing the plan already.
    guard PlanRescue.claim() else { return }
    _ = PlanRescue.write(.cancelled)
    AtomicFile.removeUnfinished()
    _exit(status.rawValue)
  }

  /// The search is over: what is left is to write the answer, which is not cut short.
  func searchIsOver() { isOver.store(true, ordering: .relaxed) }

  /// Whether somebody asked.
  var isRequested: Bool { first.load(ordering: .relaxed) > 0 || PlainSignals.number > 0 }

  /// The exit code of a run that was asked to end.
  var status: ExitStatus {
    let plain = PlainSignals.number
    return .signal(plain > 0 ? plain : number.load(ordering: .relaxed))
  }
}
