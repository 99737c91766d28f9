import Dispatch
import Synchronization

/// Loops spread over Dispatch workers.
package enum WorkerPool {
  /// A closure that its caller knows to be safe on several threads: its calls write to parts that do not overlap.
  private struct Body: @unchecked Sendable {
    let call: (Int) -> Void
  }

  /// Runs `body(0) … body(count - 1)`, at most `threads` at the same time, and returns when all are done. The parts are handed out one by one, so
  /// that uneven parts balance; the calls must not depend on their order.
  package static func run(_ count: Int, threads: Int, _ body: (Int) -> Void) {
    let workers = min(threads, count)
    guard workers > 1 else {
      for part in 0..<count { body(part) }
      return
    }
    withoutActuallyEscaping(body) { escaping in
      let shared = Body(call: escaping)
      let parts = Parts()
      DispatchQueue.concurrentPerform(iterations: workers) { _ in
        while let part = parts.take(count) { shared.call(part) }
      }
    }
  }

  private final class Parts: Sendable {
    private let next = Atomic(0)
    func take(_ count: Int) -> Int? {
      let part = next.wrappingAdd(1, ordering: .relaxed).oldValue
      return part < count ? part : nil
    }
  }
}
