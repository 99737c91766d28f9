import ColocateModel
import Synchronization

/// The best placement found so far, shared by everything that searches.
package final class Incumbent: Sendable {
  /// A solution with its value and its finder.
  package struct Entry: Sendable {
    /// `[L, E]`, groups `0 ..< P`.
    package let labels: [Int]
    /// `GroupingProblem.kept(labels)`.
    package let kept: Int
    /// Who found it.
    package let source: IncumbentSource
  }

  private let best: Mutex<Entry?>
  private let accepts: (@Sendable ([Int]) -> Bool)?
  private let notify: @Sendable (Entry) -> Void

  /// - Parameters:
  ///   - accepts: further conditions on a placement; one that fails is not taken, however good. nil
  ///     for none.
  ///   - notify: called under no lock, by the thread that improved; entries may arrive out of
  ///     order, compare `kept`.
  package init(
    accepts: (@Sendable ([Int]) -> Bool)? = nil,
    notify: @escaping @Sendable (Entry) -> Void = { _ in }
  ) {
    best = Mutex(nil)
    self.accepts = accepts
    self.notify = notify
  }

  /// Takes the solution if it is better than the one held. The caller vouches for feasibility and
  /// `kept`.
  @discardableResult
  package func offer(_ labels: [Int], kept: Int, source: IncumbentSource) -> Bool {
    if let accepts, kept <= self.kept || !accepts(labels) { return false }
    let entry = Entry(labels: labels, kept: kept, source: source)
    let improved = best.withLock { held in
      guard kept > held?.kept ?? -1 else { return false }
      held = entry
      return true
    }
    if improved { notify(entry) }
    return improved
  }

  /// The best so far.
  package var entry: Entry? { best.withLock { $0 } }
  /// Its kept weight, -1 before there is one.
  package var kept: Int { best.withLock { $0?.kept ?? -1 } }
}
