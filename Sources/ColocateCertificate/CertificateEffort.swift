import ColocateModel
import Dispatch
import Synchronization

/// What a check may cost: threads and time. Every long loop of the checker asks it.
package final class CertificateEffort: Sendable {
  /// Threads that may work at once.
  package let threads: Int
  /// Seconds that the check may take; infinite without a limit.
  package let seconds: Double
  private let deadline: UInt64

  /// - Parameter seconds: from now.
  package init(threads: Int = 1, seconds: Double = .infinity) {
    self.threads = max(1, threads)
    self.seconds = seconds
    let now = DispatchTime.now().uptimeNanoseconds
    deadline = seconds < 1e9 ? now &+ UInt64(max(0, seconds) * 1e9) : .max
  }

  /// Whether the time is over. About 30 ns.
  package var isOver: Bool {
    deadline != .max && DispatchTime.now().uptimeNanoseconds >= deadline
  }

  /// - Throws: `CertificateError` where the time is over.
  package func proceed() throws(CertificateError) {
    guard !isOver else {
      throw CertificateError(
        "not checked within \(seconds) seconds: a longer --time-limit may be enough")
    }
  }

  /// `body` of `0 ..< count` in order, by up to `threads` threads. Where the time is over the rest
  /// is left out and this throws.
  func map<Element: Sendable>(
    _ count: Int, _ body: @Sendable (Int) -> Element
  ) throws(CertificateError) -> [Element] {
    let results = Mutex([Element?](repeating: nil, count: count))
    let next = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: max(1, min(threads, count))) { _ in
      while !isOver {
        let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard index < count else { return }
        let element = body(index)
        results.withLock { $0[index] = element }
      }
    }
    let found = results.withLock { $0.compactMap { $0 } }
    if found.count < count { try proceed() }
    guard found.count == count else { throw CertificateError("stopped before the check was over") }
    return found
  }
}
