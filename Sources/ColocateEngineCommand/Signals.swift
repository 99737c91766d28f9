import ColocateFormats
import Foundation

/// What the program does about signals from its first moment on.
enum Signals {
  /// Writing to a pipe that nobody reads or beyond a limit of file sizes is an error instead of the
  /// end of the process; what asks the process to end removes hidden files first. A signal that
  /// whoever started the program has it ignore, as `nohup` does with SIGHUP, stays ignored.
  static func prepare() {
    // What the handlers read exists before the first of them is called.
    AtomicFile.removeUnfinished()
    for number in [SIGPIPE, SIGXFSZ] { signal(number, SIG_IGN) }
    let endings = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU]
    for number in endings where !InheritedSignals.isIgnored(number) {
      signal(number) { number in
        AtomicFile.removeUnfinished()
        signal(number, SIG_DFL)
        raise(number)
      }
    }
    InheritedSignals.unblock(endings)
  }
}
