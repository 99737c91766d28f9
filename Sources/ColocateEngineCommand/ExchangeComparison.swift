import MoEEngine

/// What dispatch and combine take, against the bare MPI_Alltoallv of the same rows.
///
/// All ranks wait for each other before each exchange (not timed), so that no rank's waiting for a
/// slower one counts. Right after it the same buffers go through MPI_Alltoallv once more, and that
/// is the bare time. The exchange's time includes choosing the ranks, packing, exchanging the
/// counts, MPI_Alltoallv, unpacking, and adding what comes back.
final class ExchangeComparison: StepObserver {
  /// Seconds of this rank.
  private(set) var exchange = 0.0
  private(set) var bare = 0.0
  /// Exchanges compared.
  private(set) var calls = 0
  private let communicator: Communicator
  private var begin = 0.0

  init(_ communicator: Communicator) { self.communicator = communicator }

  func reached(_ point: StepPoint, layer: Int, of engine: Engine) {
    switch point {
    case .routed, .applied:
      communicator.barrier()
      begin = Timings.now()
    case .dispatched: compare { engine.repeatDispatch() }
    // The only exchange that may not take place: a coherent top-1 token leaves no sums behind.
    case .combined: if engine.hasCombine { compare { engine.repeatCombine() } }
    }
  }

  private func compare(_ repeated: () -> Void) {
    exchange += Timings.now() - begin
    communicator.barrier()
    let start = Timings.now()
    repeated()
    bare += Timings.now() - start
    calls += 1
  }
}

/// The times of all ranks together, where anything was compared.
struct ExchangeFigures {
  /// Seconds on the rank that took longest.
  let exchange: Double
  let bare: Double
  let calls: Int

  /// Every rank calls it.
  init?(_ comparison: ExchangeComparison?, _ communicator: Communicator) {
    guard let comparison, comparison.calls > 0 else { return nil }
    exchange = communicator.max(comparison.exchange)
    bare = communicator.max(comparison.bare)
    calls = comparison.calls
  }
}
