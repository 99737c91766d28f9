/// What dispatch and combine take, against the bare MPI_Alltoallv of the same rows.
///
/// Switched on for measuring only. Ranks start each exchange together (a barrier, not timed), so that no rank's waiting for a slower one counts;
/// right after the engine's collective the same buffers go through MPI_Alltoallv once more, and that is the bare time. The engine's
/// includes choosing the ranks, packing, exchanging the counts, MPI_Alltoallv, unpacking, and adding what comes back.
public struct ExchangeComparison: Sendable {
  public var isOn = false
  /// Seconds of this rank.
  public private(set) var exchange = 0.0
  public private(set) var bare = 0.0
  /// Collectives compared.
  public private(set) var calls = 0
  private var begin = 0.0

  /// The ranks start together.
  @inline(__always)
  mutating func start(_ communicator: Communicator) {
    guard isOn else { return }
    communicator.barrier()
    begin = Timings.now()
  }

  /// A part of the engine's work is done.
  @inline(__always)
  mutating func stop() {
    guard isOn else { return }
    exchange += Timings.now() - begin
  }

  /// Work goes on after something that does not count.
  @inline(__always)
  mutating func resume() {
    guard isOn else { return }
    begin = Timings.now()
  }

  /// The collective that the engine has just done, once more and alone.
  @inline(__always)
  mutating func repeatBare(_ communicator: Communicator, _ collective: () -> Void) {
    guard isOn else { return }
    communicator.barrier()
    let start = Timings.now()
    collective()
    bare += Timings.now() - start
    calls += 1
  }

  mutating func reset() { (exchange, bare, calls) = (0, 0, 0) }
}
