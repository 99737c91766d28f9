import Dispatch
import Foundation
import Synchronization

/// Ctrl-C (SIGINT) and SIGTERM as a question that a callback can ask. The first asks the run to come to its end, so that its incumbent is
/// written; one more, a second or longer after it, ends the program at once (launchers often pass a signal on twice).
final class Interrupt: Sendable {
  /// When the first request came, in nanoseconds of `DispatchTime`; 0 before it.
  private let first = Atomic<UInt64>(0)
  /// Kept alive; Dispatch objects are safe to share between threads, though their protocols do not say so.
  nonisolated(unsafe) private let sources: [any DispatchSourceSignal]

  init() {
    sources = [SIGINT, SIGTERM].map { number in
      signal(number, SIG_IGN)
      return DispatchSource.makeSignalSource(signal: number, queue: .global(qos: .userInteractive))
    }
    for source in sources {
      source.setEventHandler { [self] in
        let now = DispatchTime.now().uptimeNanoseconds
        let (isFirst, earlier) = first.compareExchange(
          expected: 0, desired: now, ordering: .relaxed)
        if !isFirst, now - earlier > 1_000_000_000 { _exit(ExitStatus.interrupted.rawValue) }
      }
      source.activate()
    }
  }

  /// Whether somebody asked.
  var isRequested: Bool { first.load(ordering: .relaxed) > 0 }
}
