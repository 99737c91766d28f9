import ColocateFormats
import Foundation

/// What the program does about signals from its first moment on.
enum Signals {
  /// Writing to a pipe that nobody reads (`colocate … | head`) or beyond a file size limit fails
  /// with an error instead of killing the run; what asks the program to end removes hidden files
  /// first.
  static func prepare() {
    InheritedSignals.unblock(endings + crashes)
    // What handlers read exists before the first of them is called.
    AtomicFile.removeUnfinished()
    for number in [SIGPIPE, SIGXFSZ] { signal(number, SIG_IGN) }
    for number in endings where !InheritedSignals.isIgnored(number) {
      signal(number) { number in
        AtomicFile.removeUnfinished()
        signal(number, SIG_DFL)
        raise(number)
      }
    }
  }

  /// The signals that ask a program to end.
  static let endings = [SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM]

  /// What a trap, a bad address or `abort` raises.
  private static let crashes = [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT]

  /// An internal error (a trap, a bad address) does not lose the best plan that is known: it is
  /// written, and the program ends with exit code 1.
  static func rescuePlanOnInternalError() {
    for number in crashes {
      signal(number) { _ in
        // The first thread that gets here writes; others wait for the end.
        guard PlanRescue.claim() else { while true { pause() } }
        let wasDelivered = PlanRescue.hasDelivered
        let isWritten = PlanRescue.write(.internalError)
        AtomicFile.removeUnfinished()
        Signals.say(
          isWritten
            ? "colocate: error: internal: the search crashed; its best plan so far is written\n"
            : wasDelivered
              ? "colocate: error: internal: the program crashed after it had written the plan\n"
              : "colocate: error: internal: the search crashed before it had a plan\n")
        _exit(ExitStatus.internalError.rawValue)
      }
    }
  }

  /// A line on standard error, without the means that a signal handler does not have.
  private static func say(_ text: StaticString) {
    let bytes = UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    _ = Descriptor.write(bytes, to: STDERR_FILENO)
  }
}
