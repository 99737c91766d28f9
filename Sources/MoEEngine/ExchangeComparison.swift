/// What dispatch and combine take, against the bare MPI_Alltoallv of the same rows.
///
/// For measuring only: a step of its own, which waits for all ranks before each exchange (not
/// timed), so that no rank's waiting for a slower one counts; right after it the same buffers go
/// through MPI_Alltoallv once more, and that is the bare time. The exchange's time includes
/// choosing the ranks, packing, exchanging the counts, MPI_Alltoallv, unpacking, and adding what
/// comes back.
public struct ExchangeComparison: Sendable {
  /// Seconds of this rank.
  public private(set) var exchange = 0.0
  public private(set) var bare = 0.0
  /// Exchanges compared.
  public private(set) var calls = 0

  public init() {}

  /// `Engine.forward`, timing its exchanges.
  public mutating func forward(
    _ engine: Engine, _ step: Step, ids: UnsafePointer<Int32>, logits wanted: WantedLogits
  ) throws(EngineError) {
    let communicator = engine.communicator
    try engine.pass(step, ids, wanted) { (message, work) throws(EngineError) in
      // The engine's only exchange that may not take place: coherent top-1 has no combine.
      let takesPlace = message.collective == .dispatch || engine.hasCombine
      communicator.barrier()
      let begin = Timings.now()
      try work()
      guard takesPlace else { return }
      exchange += Timings.now() - begin
      communicator.barrier()
      let start = Timings.now()
      communicator.exchangeBare(message)
      bare += Timings.now() - start
      calls += 1
    }
  }
}
