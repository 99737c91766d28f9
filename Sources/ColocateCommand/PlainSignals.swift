import Foundation
import Synchronization

/// Signals where no thread can be had to serve them: a handler that notes the first one, for
/// whoever asks, and lets the next one end the program.
enum PlainSignals {
  private static let noted = Atomic<Int32>(0)

  /// The signal that came first; 0 before one did.
  static var number: Int32 { noted.load(ordering: .relaxed) }

  /// Notes `number` from now on instead of ending the program.
  static func note(_ number: Int32) {
    // Made before a handler can ask for it: a handler may do next to nothing.
    _ = self.number
    signal(number) { number in
      PlainSignals.noted.store(number, ordering: .relaxed)
      signal(number, SIG_DFL)
    }
  }
}
