import CMPI
import Foundation

/// The ranks of a run and what they say to each other: Open MPI's collectives on 32-bit words.
///
/// Started by `mpirun`, a process is one of its ranks. Started alone, it is the only rank and MPI is not even initialised (a lone
/// MPI_Init costs most of a second). MPI ends the whole job when a call fails, so no call here returns an error.
public final class Communicator {
  public let rank: Int
  public let size: Int
  /// Node of each rank, `[R]`.
  public let nodeOf: [Int]
  private let world: MPI_Comm?
  private let words: MPI_Datatype?

  public var isFirst: Bool { rank == 0 }

  /// - Parameter ranksPerNode: rank `r` counts as on node `r / ranksPerNode`; nil asks MPI which ranks share memory.
  /// - Throws: `EngineError` on every rank where the ranks do not fill nodes of this size.
  public init(ranksPerNode: Int?, process: MPIProcess) throws(EngineError) {
    guard process.isLaunched else {
      (rank, size, world, words) = (0, 1, nil, nil)
      nodeOf = [0]
      if let ranksPerNode, ranksPerNode != 1 {
        throw EngineError(
          "--ranks-per-node \(ranksPerNode) with 1 rank: expected 1", isShared: true)
      }
      return
    }
    let world = mpiWorld()
    (rank, size) = (process.rank, process.size)
    self.world = world
    words = mpiInt32()
    if let ranksPerNode {
      guard ranksPerNode >= 1, size % ranksPerNode == 0 else {
        throw EngineError(
          "--ranks-per-node \(ranksPerNode) with \(size) ranks: expected a number that divides them",
          isShared: true)
      }
      nodeOf = (0..<size).map { $0 / ranksPerNode }
    } else {
      // The lowest rank of those that share memory names the node; nodes are numbered in that order.
      var shared: MPI_Comm?
      MPI_Comm_split_type(world, Int32(MPI_COMM_TYPE_SHARED), Int32(rank), mpiNoInfo(), &shared)
      var lowest = Int32(rank)
      MPI_Bcast(&lowest, 1, words, 0, shared)
      MPI_Comm_free(&shared)
      var all = [Int32](repeating: 0, count: size)
      MPI_Allgather(&lowest, 1, words, &all, 1, words, world)
      let names = Set(all).sorted()
      nodeOf = all.map { names.firstIndex(of: $0)! }
    }
  }

  /// One count from every rank to every rank.
  @inline(__always)
  func exchange(
    counts: UnsafePointer<Int32>, into received: UnsafeMutablePointer<Int32>
  ) {
    MPI_Alltoall(counts, 1, words, received, 1, words, world)
  }

  /// MPI_Alltoallv of words: counts and offsets in words, each `[R]`.
  @inline(__always)
  func exchange(
    _ send: UnsafeRawPointer, counts: UnsafePointer<Int32>, offsets: UnsafePointer<Int32>,
    into receive: UnsafeMutableRawPointer, counts receiveCounts: UnsafePointer<Int32>,
    offsets receiveOffsets: UnsafePointer<Int32>
  ) {
    MPI_Alltoallv(
      send, counts, offsets, words, receive, receiveCounts, receiveOffsets, words, world)
  }

  /// `count` words of every rank to every rank, `[R, count]`.
  @inline(__always)
  func allGather(
    _ send: UnsafePointer<Int32>, count: Int, into receive: UnsafeMutablePointer<Int32>
  ) {
    MPI_Allgather(send, Int32(count), words, receive, Int32(count), words, world)
  }

  /// MPI_Allgatherv of words.
  @inline(__always)
  func allGather(
    _ send: UnsafeRawPointer, count: Int, into receive: UnsafeMutableRawPointer,
    counts: UnsafePointer<Int32>, offsets: UnsafePointer<Int32>
  ) {
    MPI_Allgatherv(send, Int32(count), words, receive, counts, offsets, words, world)
  }

  // The rest is for reports and results, outside the timed steps.

  /// Everyone waits for everyone.
  public func barrier() {
    if size > 1 { MPI_Barrier(world) }
  }

  /// The largest of each entry over all ranks, on rank 0.
  func maxOnFirst(_ values: UnsafeMutablePointer<Int32>, count: Int) {
    guard size > 1 else { return }
    if isFirst {
      MPI_Reduce(mpiInPlace(), values, Int32(count), words, mpiMax(), 0, world)
    } else {
      MPI_Reduce(values, nil, Int32(count), words, mpiMax(), 0, world)
    }
  }

  /// Sums over all ranks, everywhere.
  func sum(_ values: inout [Int]) {
    guard size > 1 else { return }
    var result = values
    MPI_Allreduce(&values, &result, Int32(values.count), mpiInt64(), mpiSum(), world)
    values = result
  }

  /// The largest over all ranks, everywhere.
  func max(_ value: Double) -> Double {
    guard size > 1 else { return value }
    var mine = value
    var largest = value
    MPI_Allreduce(&mine, &largest, 1, mpiDouble(), mpiMax(), world)
    return largest
  }

  /// Rank 0's opinion, everywhere.
  public func agree(_ opinion: Bool) -> Bool {
    var value = [opinion ? 1 : 0]
    broadcast(&value)
    return value[0] == 1
  }

  /// Rank 0's values, everywhere.
  func broadcast(_ values: inout [Int]) {
    guard size > 1 else { return }
    MPI_Bcast(&values, Int32(values.count), mpiInt64(), 0, world)
  }

  /// Rank 0's values, everywhere.
  func broadcast(_ values: UnsafeMutablePointer<Int32>, count: Int) {
    guard size > 1 else { return }
    MPI_Bcast(values, Int32(count), words, 0, world)
  }

  /// Blocks of words of every rank, one after the other, on rank 0; `counts` is filled there.
  func gather(
    _ send: UnsafeRawPointer, count: Int, into receive: UnsafeMutableRawPointer?,
    counts: inout [Int32]
  ) {
    if size == 1 {
      counts[0] = Int32(count)
      if let receive, count > 0 { receive.copyMemory(from: send, byteCount: count * 4) }
      return
    }
    var mine = Int32(count)
    MPI_Gather(&mine, 1, words, &counts, 1, words, 0, world)
    var offsets = [Int32](repeating: 0, count: size)
    for r in 1..<size { offsets[r] = offsets[r - 1] + (isFirst ? counts[r - 1] : 0) }
    MPI_Gatherv(send, mine, words, receive, counts, offsets, words, 0, world)
  }

  /// Runs what may fail on some ranks only. Where it failed on any, all ranks throw the error of the lowest one that failed.
  @inline(never)
  public func together<Result>(_ body: () throws(EngineError) -> Result) throws(EngineError)
    -> Result
  {
    var outcome: Swift.Result<Result, EngineError>
    do {
      outcome = .success(try body())
    } catch {
      outcome = .failure(error)
    }
    guard size > 1 else {
      if case .failure(let error) = outcome {
        throw EngineError(error.description, isShared: true)
      }
      return try outcome.get()
    }
    var failed = Int32(size)
    if case .failure = outcome { failed = Int32(rank) }
    var lowest = failed
    MPI_Allreduce(&failed, &lowest, 1, words, mpiMin(), world)
    guard lowest < Int32(size) else { return try outcome.get() }
    var text: [UInt8] = []
    if case .failure(let error) = outcome { text = Array(error.description.utf8) }
    var length = Int32(text.count)
    MPI_Bcast(&length, 1, words, lowest, world)
    if Int(lowest) != rank { text = [UInt8](repeating: 0, count: Int(length)) }
    MPI_Bcast(&text, length, mpiByte(), lowest, world)
    throw EngineError(String(decoding: text, as: UTF8.self), isShared: true)
  }
}

/// This process as MPI sees it. Initialise first thing, finish last thing.
public struct MPIProcess: Sendable {
  /// Whether `mpirun` (or another launcher) started this process as a rank of a job.
  public let isLaunched: Bool
  public let rank: Int
  public let size: Int

  public init() {
    let environment = ProcessInfo.processInfo.environment
    isLaunched = ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"].contains {
      environment[$0] != nil
    }
    guard isLaunched else {
      (rank, size) = (0, 1)
      return
    }
    MPI_Init(nil, nil)
    var number = Int32(0)
    MPI_Comm_rank(mpiWorld(), &number)
    rank = Int(number)
    MPI_Comm_size(mpiWorld(), &number)
    size = Int(number)
  }

  /// Leaves the job together with the other ranks.
  public func finish() {
    if isLaunched { MPI_Finalize() }
  }

  /// Ends the whole job now, for an error that other ranks cannot know of.
  public func abort(code: Int32) -> Never {
    if isLaunched { MPI_Abort(mpiWorld(), code) }
    exit(code)
  }
}
