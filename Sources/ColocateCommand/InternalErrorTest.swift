import Colocate
import Foundation

/// Faults on demand, so that the tests can see what becomes of the plan.
enum InternalErrorTest {
  /// The environment variable that asks for one: the number of the signal that a trap raises, or
  /// "deaf" for a search that does not listen to those who ask it to end.
  static let variable = "COLOCATE_TEST_FAULT"

  private static let fault = ProcessInfo.processInfo.environment[variable]

  /// Whether the search does not listen.
  static let isDeaf = fault == "deaf"

  /// Raises the signal once an incumbent is known.
  static func fire(after progress: SolverProgress) {
    if progress.placement != nil { fire() }
  }

  /// Raises the signal.
  static func fire() {
    if let number = fault.flatMap({ Int32($0) }) { raise(number) }
  }
}
