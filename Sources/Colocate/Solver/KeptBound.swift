import ColocateModel
import Synchronization

/// The best bound of one stage and who proved it: posted by whatever thread finds one, under a
/// lock.
final class KeptBound: Sendable {
  /// No placement keeps more than `kept`. Without a method it is the trivial one: all weight.
  struct Value: Sendable {
    var kept: Int
    var method: BoundMethod?
  }

  private let state: Mutex<Value>
  private let feed: ProgressFeed
  /// Held against every bound.
  let known: KnownSolution?

  init(total: Int, feed: ProgressFeed, known: KnownSolution? = nil) {
    self.known = known
    state = Mutex(Value(kept: total, method: nil))
    self.feed = feed
  }

  var value: Value { state.withLock { $0 } }
  var kept: Int { value.kept }

  /// Takes a bound if it is the best so far.
  func offer(_ kept: Int, _ method: BoundMethod) {
    known?.check(bound: kept, by: method)
    let isBetter = state.withLock { held in
      // Equal to all weight: nothing is kept outside, which the trivial bound says already.
      guard kept < held.kept else { return false }
      held = Value(kept: kept, method: method)
      return true
    }
    if isBetter { feed.bound(kept: kept) }
  }

  /// The same bound by the name of the method that finished the work.
  func rename(_ old: BoundMethod, _ new: BoundMethod) {
    state.withLock { if $0.method == old { $0.method = new } }
  }
}
