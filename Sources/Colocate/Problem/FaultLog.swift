import ColocateModel
import Synchronization

/// The first fault of a run; whoever finds one notes it from any thread.
package final class FaultLog: Sendable {
  private let first = Mutex<String?>(nil)
  private let onFault: @Sendable (String) -> Void

  /// - Parameter onFault: called with every fault.
  package init(onFault: @escaping @Sendable (String) -> Void = { _ in }) { self.onFault = onFault }

  package func note(_ fault: String) {
    first.withLock { if $0 == nil { $0 = fault } }
    onFault(fault)
  }

  package var text: String? { first.withLock { $0 } }
}
