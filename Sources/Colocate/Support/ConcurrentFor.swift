import Dispatch
import Synchronization

/// Calls `body(worker, index)` for every index of `0 ..< count` from up to `threads` threads and
/// returns when all calls have. `worker` is in `0 ..< threads`, and no two calls with the same
/// `worker` run at once.
///
/// Which worker gets an index is not fixed; what a call computes must not depend on it.
package func concurrentFor(
  _ count: Int, threads: Int, _ body: @Sendable (_ worker: Int, _ index: Int) -> Void
) {
  guard threads > 1, count > 1 else {
    for index in 0..<count { body(0, index) }
    return
  }
  let next = Atomic<Int>(0)
  DispatchQueue.concurrentPerform(iterations: min(threads, count)) { worker in
    while true {
      let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
      guard index < count else { return }
      body(worker, index)
    }
  }
}

/// `body` of `0 ..< count` in order, computed by up to `threads` threads.
package func concurrentMap<Element: Sendable>(
  _ count: Int, threads: Int, _ body: @Sendable (Int) -> Element
) -> [Element] {
  guard threads > 1, count > 1 else { return (0..<count).map(body) }
  return [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
    guard let start = buffer.baseAddress else { return }
    // Every index is written by the one call that gets it, and read after the last call.
    nonisolated(unsafe) let base = start
    concurrentFor(count, threads: threads) { (base + $1).initialize(to: body($1)) }
    initialized = count
  }
}
