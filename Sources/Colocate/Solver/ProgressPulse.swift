import ColocateModel
import Dispatch

/// Progress of a run that has only the calling thread: delivered from inside the search, whenever
/// that looks whether to stop and a tenth of a second has passed.
///
/// Unchecked: with one thread nothing of a run happens on another, and this is only made for such
/// runs.
final class ProgressPulse: @unchecked Sendable {
  private static let interval: UInt64 = 100_000_000

  private var onProgress: ((SolverProgress) -> ProgressAction)?
  private var feed: ProgressFeed?
  private var last = DispatchTime.now().uptimeNanoseconds
  private var isStopped = false

  init(_ onProgress: @escaping (SolverProgress) -> ProgressAction) { self.onProgress = onProgress }

  /// Where the lines come from.
  func begin(_ feed: ProgressFeed) { self.feed = feed }

  /// Delivers what is due.
  /// - Returns: whether somebody answered `.stop`, now or before.
  func beat() -> Bool {
    let now = DispatchTime.now().uptimeNanoseconds
    guard now - last >= Self.interval, !isStopped else { return isStopped }
    last = now
    deliver()
    return isStopped
  }

  /// Delivers what there is.
  func deliver() {
    guard let feed, let onProgress else { return }
    for line in feed.take() where onProgress(line) == .stop { isStopped = true }
  }

  /// Lets go of the caller's closure.
  func end() { (onProgress, feed) = (nil, nil) }
}
