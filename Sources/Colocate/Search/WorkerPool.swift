/// `concurrentFor` for closures that the compiler cannot see to be safe.
package enum WorkerPool {
  /// A closure that its caller knows to be safe on several threads: its calls write to parts that do not overlap.
  private struct Body: @unchecked Sendable {
    let call: (Int) -> Void
  }

  /// Runs `body(0) … body(count - 1)`, at most `threads` at the same time, and returns when all are done. The parts are handed out one by one, so
  /// that uneven parts balance; the calls must not depend on their order.
  package static func run(_ count: Int, threads: Int, _ body: (Int) -> Void) {
    withoutActuallyEscaping(body) { escaping in
      let shared = Body(call: escaping)
      concurrentFor(count, threads: threads) { _, part in shared.call(part) }
    }
  }
}
