import Colocate
import ColocateFormats
import Foundation
import Synchronization

/// Standard output and standard error.
///
/// What people read goes to standard error, and nothing depends on whether it arrives: a full disk
/// behind `2> log`, a reader that has gone or no standard error at all do not disturb a run.
/// Results go to standard output; where they do not arrive whole, the program says so and does not
/// end with 0.
enum Terminal {
  static let isInteractive = isatty(STDERR_FILENO) == 1

  /// The number of the first error of standard output; 0 while there is none.
  private static let failure = Atomic<Int32>(0)

  /// A line that people read, on standard error.
  static func note(_ line: String) { _ = Descriptor.write(line + "\n", to: STDERR_FILENO) }

  /// The one line of a failure, whatever its text holds; a list of bullets becomes a list of words.
  static func error(_ message: String) {
    let bullet = "  - "
    let line = message.split(whereSeparator: \.isNewline).reduce(into: "") { line, next in
      let isBullet = next.hasPrefix(bullet)
      if !line.isEmpty { line += isBullet && !line.hasSuffix(":") ? ", " : " " }
      line += isBullet ? next.dropFirst(bullet.count) : next
    }
    note("colocate: error: \(line)")
  }

  /// The result, on standard output. A failure is kept for the end of the program.
  static func result(_ text: String) {
    guard failure.load(ordering: .relaxed) == 0 else { return }
    let number = Descriptor.write(text, to: STDOUT_FILENO)
    if number != 0 { failure.store(number, ordering: .relaxed) }
  }

  /// Why results did not arrive; nil where they did.
  static var resultFailure: String? {
    let number = failure.load(ordering: .relaxed)
    return number == 0 ? nil : Descriptor.reason(number)
  }

  /// Makes sure, before the work, that a result can be given at all.
  /// - Throws: `CommandFailure` where standard output is closed.
  static func checkResult() throws(CommandFailure) {
    let flags = fcntl(STDOUT_FILENO, F_GETFL)
    guard flags >= 0, flags & O_ACCMODE != O_RDONLY else {
      throw CommandFailure("standard output is closed: expected it open, or --output FILE")
    }
  }
}
