import CMPI
import Colocate
import Foundation

/// The ranks of a run and what they say to each other: Open MPI's collectives on 32-bit words.
///
/// Started by `mpirun`, a process is one of its ranks. Started alone, it is the only rank and MPI
/// is not even initialised (a lone MPI_Init costs most of a second). MPI ends the whole job when a
/// call fails, so no call here returns an error.
public final class Communicator {
  public let rank: Int
  public let size: Int
  /// Node of each rank, `[R]`, as MPI or the user says.
  public let nodeOf: [Int]
  /// The ranks as the solver's GPUs, with their nodes. It numbers GPUs node by node; where the
  /// ranks are not like that (`isNodeByNode`), they count as one node.
  public let topology: Topology
  /// Compares both ends of every message of the steps while it is set.
  var audit: MessageAudit?
  /// `[R]`: how far away each rank is.
  private let distances: [Distance]
  private let world: MPI_Comm?
  private let words: MPI_Datatype?

  public var isFirst: Bool { rank == 0 }

  /// - Parameter ranksPerNode: rank `r` counts as on node `r / ranksPerNode`; nil asks MPI which
  ///   ranks share memory.
  /// - Throws: `EngineError` on every rank where the ranks do not fill nodes of this size.
  public init(ranksPerNode: Int?, process: MPIProcess) throws(EngineError) {
    guard process.isLaunched else {
      (rank, size, world, words) = (0, 1, nil, nil)
      nodeOf = [0]
      topology = try EngineError.modelling { () throws(ModelError) in try Topology(gpus: 1) }
      distances = [.same]
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
          "--ranks-per-node \(ranksPerNode) with \(size) ranks: expected a number that divides "
            + "them", isShared: true)
      }
      nodeOf = (0..<size).map { $0 / ranksPerNode }
    } else {
      nodeOf = Self.nodesByMemory(world, rank: rank, size: size)
    }
    let (rank, size, nodeOf) = (rank, size, nodeOf)
    distances = (0..<size).map {
      $0 == rank ? .same : nodeOf[$0] == nodeOf[rank] ? .sameNode : .otherNode
    }
    topology = try EngineError.modelling { () throws(ModelError) in
      let nodes = Set(nodeOf).count
      guard size % nodes == 0 else { return try Topology(gpus: size) }
      let nodeByNode = try Topology(gpus: size, nodes: nodes)
      return nodeOf == (0..<size).map(nodeByNode.node) ? nodeByNode : try Topology(gpus: size)
    }
  }

  /// Asks MPI which ranks share memory: the lowest of them names their node, and nodes are numbered
  /// in that order.
  private static func nodesByMemory(_ world: MPI_Comm?, rank: Int, size: Int) -> [Int] {
    var shared: MPI_Comm?
    MPI_Comm_split_type(world, Int32(MPI_COMM_TYPE_SHARED), Int32(rank), mpiNoInfo(), &shared)
    var lowest = Int32(rank)
    MPI_Bcast(&lowest, 1, mpiInt32(), 0, shared)
    MPI_Comm_free(&shared)
    var all = [Int32](repeating: 0, count: size)
    MPI_Allgather(&lowest, 1, mpiInt32(), &all, 1, mpiInt32(), world)
    let names = Set(all)
    return all.map { name in names.count { $0 < name } }
  }

  /// Whether the nodes are of one size and the ranks of each follow each other, as `topology` has
  /// it.
  var isNodeByNode: Bool { nodeOf == (0..<size).map(topology.node) }

  /// How far away a rank is.
  @inline(__always)
  func distance(to rank: Int) -> Distance { distances[rank] }

  // What the steps send. Each is counted here, at the call, and audited where that is switched on.

  /// One end of a message: its words, how many they are, and the rows that they are.
  private struct Part {
    let words: UnsafeRawPointer
    let count: Int
    let rows: Int

    init(_ words: UnsafeRawPointer, _ count: Int, rows: Int = 0) {
      (self.words, self.count, self.rows) = (words, count, rows)
    }
  }

  /// Counts both ends of what was exchanged with one rank, and adds them to the audit.
  @inline(__always)
  private func note(
    _ collective: Collective, layer: Int, with rank: Int, sent: Part, received: Part,
    _ traffic: inout Traffic
  ) {
    let distance = distances[rank]
    traffic.count(
      collective, layer: layer, .sent, distance, rows: sent.rows, words: sent.count)
    traffic.count(
      collective, layer: layer, .received, distance, rows: received.rows, words: received.count)
    guard let audit else { return }
    audit.send(collective, to: rank, sent.words, count: sent.count)
    audit.receive(collective, from: rank, received.words, count: received.count)
  }

  /// Tells every rank how many rows will come: MPI_Alltoall of one number per pair of ranks.
  @inline(__always)
  func exchangeCounts(
    of message: RowExchange, layer: Int, counting traffic: inout Traffic
  ) {
    MPI_Alltoall(message.sendRows, 1, words, message.receiveRows, 1, words, world)
    traffic.call(.counts, layer: layer)
    for r in 0..<size where r != rank {
      note(
        .counts, layer: layer, with: r, sent: Part(message.sendRows + r, 1),
        received: Part(message.receiveRows + r, 1), &traffic)
    }
  }

  /// The rows themselves: MPI_Alltoallv.
  @inline(__always)
  func exchange(_ message: RowExchange, layer: Int, counting traffic: inout Traffic) {
    message.fillOffsets()
    exchangeBare(message)
    traffic.call(message.collective, layer: layer)
    for r in 0..<size where r != rank {
      let (sent, received) = (Int(message.sendCounts[r]), Int(message.receiveCounts[r]))
      note(
        message.collective, layer: layer, with: r,
        sent: Part(
          message.send + Int(message.sendOffsets[r]), sent, rows: sent / message.rowWords),
        received: Part(
          message.receive + Int(message.receiveOffsets[r]), received,
          rows: received / message.rowWords), &traffic)
    }
  }

  /// MPI_Alltoallv of rows whose counts and offsets are known, and nothing else.
  @inline(__always)
  func exchangeBare(_ message: RowExchange) {
    MPI_Alltoallv(
      message.send, message.sendCounts, message.sendOffsets, words, message.receive,
      message.receiveCounts, message.receiveOffsets, words, world)
  }

  /// How many entries and next tokens each rank has: MPI_Allgather of two numbers.
  @inline(__always)
  func gatherCounts(of context: ContextExchange, layer: Int, counting traffic: inout Traffic) {
    MPI_Allgather(context.count, 2, words, context.counts, 2, words, world)
    traffic.call(.counts, layer: layer)
    for r in 0..<size where r != rank {
      note(
        .counts, layer: layer, with: r, sent: Part(context.count, 2),
        received: Part(context.counts + 2 * r, 2), &traffic)
    }
  }

  /// The entries and next tokens themselves: MPI_Allgatherv.
  @inline(__always)
  func gather(_ context: ContextExchange, layer: Int, counting traffic: inout Traffic) {
    context.fillOffsets()
    let sent = context.wordsToSend
    MPI_Allgatherv(
      context.send, Int32(sent), words, context.receive, context.receiveCounts,
      context.receiveOffsets, words, world)
    traffic.call(.context, layer: layer)
    for r in 0..<size where r != rank {
      note(
        .context, layer: layer, with: r,
        sent: Part(context.send, sent, rows: Int(context.count[0])),
        received: Part(
          context.receive + Int(context.receiveOffsets[r]), Int(context.receiveCounts[r]),
          rows: Int(context.counts[2 * r])), &traffic)
    }
  }

  // The rest is for reports and results, outside the timed steps.

  /// Everyone waits for everyone.
  public func barrier() {
    if size > 1 { MPI_Barrier(world) }
  }

  /// Most words of one reduction or broadcast: MPI counts them in 32 bits.
  private static let block = 1 << 28

  /// The largest of each entry over all ranks, on rank 0.
  func maxOnFirst(_ values: UnsafeMutablePointer<Int32>, count: Int) {
    reduceOnFirst(values, count: count, mpiMax())
  }

  /// The sum of each entry over all ranks, on rank 0.
  func sumOnFirst(_ values: UnsafeMutablePointer<Int32>, count: Int) {
    reduceOnFirst(values, count: count, mpiSum())
  }

  private func reduceOnFirst(
    _ values: UnsafeMutablePointer<Int32>, count: Int, _ operation: MPI_Op?
  ) {
    guard size > 1 else { return }
    for at in stride(from: 0, to: count, by: Self.block) {
      let (part, length) = (values + at, Int32(min(Self.block, count - at)))
      if isFirst {
        MPI_Reduce(mpiInPlace(), part, length, words, operation, 0, world)
      } else {
        MPI_Reduce(part, nil, length, words, operation, 0, world)
      }
    }
  }

  /// The largest of each entry over all ranks, everywhere.
  func maxEverywhere(_ values: UnsafeMutablePointer<Int32>, count: Int) {
    guard size > 1 else { return }
    for at in stride(from: 0, to: count, by: Self.block) {
      MPI_Allreduce(
        mpiInPlace(), values + at, Int32(min(Self.block, count - at)), words, mpiMax(), world)
    }
  }

  /// Every rank's values, everywhere; all have the same number of them.
  func gatherEverywhere(_ values: [Int]) -> [[Int]] {
    guard size > 1 else { return [values] }
    var all = [Int](repeating: 0, count: size * values.count)
    let count = Int32(values.count)
    MPI_Allgather(values, count, mpiInt64(), &all, count, mpiInt64(), world)
    return (0..<size).map { Array(all[$0 * values.count..<($0 + 1) * values.count]) }
  }

  /// `[R, n]`: a block of values for every rank becomes a block from every rank.
  func allToAll(_ values: [Int]) -> [Int] {
    guard size > 1 else { return values }
    var received = values
    let count = Int32(values.count / size)
    MPI_Alltoall(values, count, mpiInt64(), &received, count, mpiInt64(), world)
    return received
  }

  /// Sums over all ranks, everywhere.
  func sum(_ values: inout [Int]) {
    guard size > 1 else { return }
    var result = values
    MPI_Allreduce(&values, &result, Int32(values.count), mpiInt64(), mpiSum(), world)
    values = result
  }

  /// The largest over all ranks, everywhere.
  package func max(_ value: Double) -> Double {
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
    for at in stride(from: 0, to: count, by: Self.block) {
      MPI_Bcast(values + at, Int32(min(Self.block, count - at)), words, 0, world)
    }
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

  /// Runs what may fail on some ranks only. Where it failed on any, all ranks throw the error of
  /// the lowest one that failed.
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
