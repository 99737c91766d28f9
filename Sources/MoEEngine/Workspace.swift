/// Every buffer of a run, allocated once. The names in the shapes:
///
/// | name | meaning | name | meaning |
/// |---|---|---|---|
/// | G | most token rows of a step, over all ranks | S | sequences of a batch |
/// | T | most positions of a sequence | d | hidden size |
/// | nq | width of a token's queries | nkv | width of a token's keys, or values |
/// | hd | width of a head | V | vocabulary |
/// | L | layers | E | experts of a layer |
/// | c | experts of a layer on this rank | f | width of an expert |
/// | k | experts of a token | R | ranks |
/// | F | most copies of a token that leave its rank, min(k, R − 1) | | |
///
/// A rank never holds more than G rows, since a token is at most once on a rank.
final class Workspace {
  typealias Integers = UnsafeMutablePointer<Int32>

  let capacity: Capacity

  // The tokens that are on this rank now ("local rows"), in ascending order of their ids.

  /// `[G]`: id of each local row, see `Step`. The second one is what the next layer's rows are
  /// collected in.
  var rowIds: Integers
  var nextRowIds: Integers
  /// `[G, d]`: the residual stream x. The second one is what the next layer's rows are collected in
  /// (coherent mode).
  var x: Floats
  var nextX: Floats

  // Attention.

  /// `[G, nq + 2 nkv]`: queries, keys, values of the local rows.
  let queryKeyValue: Floats
  /// `[max(block, nq / nkv), T]`: scores, then probabilities, of a block of queries.
  let scores: Floats
  /// `[G, nq]`: mixed values of the local rows.
  let mixed: Floats
  /// `[L, slots, nkv heads, T, hd]` each; slots: the rank's own sequences, or all of them in
  /// coherent mode.
  let keys: Floats
  let values: Floats
  let slots: Int
  /// `[T, hd]`: cosines `[hd/2]` and sines `[hd/2]` of each position.
  let rotation: Floats

  // Router.

  /// `[G, d]`: RMSNorm(x) of the local rows, then of the received ones.
  let normed: Floats
  /// `[G, E]`
  let routerScores: Floats
  /// `[G, k]`: experts of the local rows, the strongest first, and their gate weights.
  let chosen: Integers
  let gates: Floats

  // Dispatch and combine.

  /// Tokens to the ranks of their experts: up to `G · F` rows of `rowWords` words leave a rank, up
  /// to `G` come. A row is d numbers, k expert ids, k gate weights and, in coherent mode, its id.
  let dispatch: RowExchange
  /// Partial sums, d numbers each: up to `G` leave a rank, up to `G · F` come.
  let sums: RowExchange
  let distinctRanks: DistinctRanks
  /// `[G · F]`: local row of each sent row.
  let sentRow: Integers
  /// `[G · F]`: next local row of each partial sum to be received (coherent mode).
  let returnRow: Integers
  /// `[R]`: where the next partial sum of each rank will be in `returnRow`.
  let returnCursor: Integers
  /// `[G]`: work row of each row id, −1 for none (coherent mode).
  let workOf: Integers

  // Experts: "work rows" are the local and received rows that have an expert here.

  /// `[G]`: a work row's normed hidden state `[d]`, its residual `[d]`, and where its weighted
  /// outputs are added `[d]`.
  let workInput: UnsafeMutablePointer<Floats>
  let workResidual: UnsafeMutablePointer<Floats>
  let workTarget: UnsafeMutablePointer<Floats>
  /// `[G, k]`: a work row's experts and gate weights.
  let workExperts: Integers
  let workGates: Floats
  /// `[G]`: a work row's id.
  let workIds: Integers
  /// `[G]`: work rows in the order of their ids (coherent mode).
  let ordered: Integers
  /// `[c + 1]`: where each expert's pairs start.
  let pairStart: Integers
  /// `[G · k]`: work rows sorted by expert, and the pair's gate weight.
  let pairRow: Integers
  let pairGate: Floats
  /// `[G, d]`, `[G, 2 f]`, `[G, d]`: one expert's inputs, gate and up, outputs.
  let gathered: Floats
  let gateUp: Floats
  let expertOutput: Floats

  // Context gather (coherent mode).

  /// Up to `max(L · S, G)` entries and the new tokens of `S` sequences.
  let context: ContextExchange

  // Output.

  /// `[H, V]`, H = G where every position's logits are wanted, S otherwise; row ids in `logitIds`.
  let logits: Floats
  let logitIds: Integers

  private let memory = Memory()
  var bytes: Int { memory.bytes }

  /// Query rows of one sequence that attention takes at a time.
  static let attentionBlock = 64

  init(
    config: ModelConfig, capacity: Capacity, mode: Mode, ranks: Int, expertsHere: Int
  ) throws(EngineError) {
    self.capacity = capacity
    let (rows, d, k) = (capacity.rows, config.hidden, config.expertsPerToken)
    let (nq, nkv) = (config.queryWidth, config.keyValueWidth)
    let moves = mode == .coherent && ranks > 1
    let copies = ranks > 1 ? rows * min(k, ranks - 1) : 0
    let received = ranks > 1 ? rows : 0
    let rowWords = d + 2 * k + (moves ? 1 : 0)
    slots = moves ? capacity.sequences : (capacity.sequences + ranks - 1) / ranks

    rowIds = try memory.integers(rows)
    nextRowIds = try memory.integers(rows)
    x = try memory.floats(rows * d)
    nextX = try memory.floats(moves ? rows * d : 0)

    queryKeyValue = try memory.floats(rows * (nq + 2 * nkv))
    scores = try memory.floats(
      max(Self.attentionBlock, config.queryHeads / config.keyValueHeads) * capacity.positions)
    mixed = try memory.floats(rows * nq)
    keys = try memory.floats(config.layers * slots * nkv * capacity.positions)
    values = try memory.floats(config.layers * slots * nkv * capacity.positions)
    rotation = try memory.floats(capacity.positions * config.headWidth)

    normed = try memory.floats(rows * d)
    routerScores = try memory.floats(rows * config.experts)
    chosen = try memory.integers(rows * k)
    gates = try memory.floats(rows * k)

    dispatch = try RowExchange(
      .dispatch, ranks: ranks, rowWords: rowWords, payloadWords: d, mostSent: copies,
      mostReceived: received, memory: memory)
    sums = try RowExchange(
      .combine, ranks: ranks, rowWords: d, payloadWords: d, mostSent: received,
      mostReceived: copies, memory: memory)
    distinctRanks = try DistinctRanks(ranks: ranks, memory: memory)
    sentRow = try memory.integers(copies)
    returnRow = try memory.integers(copies)
    returnCursor = try memory.integers(ranks)
    workOf = try memory.integers(rows)
    for g in 0..<rows { workOf[g] = -1 }

    workInput = try memory.allocate(rows, of: Floats.self)
    workResidual = try memory.allocate(rows, of: Floats.self)
    workTarget = try memory.allocate(rows, of: Floats.self)
    workExperts = try memory.integers(rows * k)
    workGates = try memory.floats(rows * k)
    workIds = try memory.integers(rows)
    ordered = try memory.integers(rows)
    pairStart = try memory.integers(expertsHere + 1)
    pairRow = try memory.integers(rows * k)
    pairGate = try memory.floats(rows * k)
    gathered = try memory.floats(rows * d)
    gateUp = try memory.floats(rows * 2 * config.expertWidth)
    expertOutput = try memory.floats(rows * d)

    let entries = moves ? max(config.layers * capacity.sequences, rows) : 0
    context = try ContextExchange(
      ranks: ranks, keyValueWidth: nkv, mostEntries: entries,
      mostTokens: moves ? capacity.sequences : 0, memory: memory)

    let logitRows = capacity.allLogits ? rows : capacity.sequences
    logits = try memory.floats(logitRows * config.vocabulary)
    logitIds = try memory.integers(logitRows)

    try Self.checkMessages(
      [
        copies * rowWords, received * rowWords, copies * d, context.mostWords,
        logitRows * config.vocabulary,
      ], rows: rows)
  }

  /// MPI counts words in 32 bits.
  private static func checkMessages(_ messages: [Int], rows: Int) throws(EngineError) {
    for words in messages where words > Int(Int32.max) {
      throw EngineError(
        "a step of \(rows) rows needs a message of \(words) words; expected at most \(Int32.max): "
          + "use smaller steps")
    }
  }
}

extension Workspace {
  /// Bytes that the largest buffers of a rank take, the context's cache and the logits: a lower
  /// bound of what is allocated.
  static func leastBytes(
    _ config: ModelConfig, _ capacity: Capacity, mode: Mode, ranks: Int
  ) -> Double {
    let slots = mode == .coherent ? capacity.sequences : capacity.sequences / ranks
    let context =
      Double(config.layers * 2 * config.keyValueWidth) * Double(slots) * Double(capacity.positions)
    let logitRows = capacity.allLogits ? capacity.rows : capacity.sequences
    return 4 * (context + Double(logitRows) * Double(config.vocabulary))
  }
}

/// The sizes of a run that its buffers are made for.
public struct Capacity: Hashable, Sendable {
  /// `S`: most sequences of a batch.
  public var sequences: Int
  /// `T`: most positions of a sequence.
  public var positions: Int
  /// `G`: most token rows of a step, over all ranks; at least `sequences`, since a decode step has
  /// a row of each.
  public var rows: Int
  /// Whether logits are wanted for every row of a step, or for the last position of each sequence.
  public var allLogits: Bool

  public init(sequences: Int, positions: Int, rows: Int, allLogits: Bool = false) {
    self.sequences = sequences
    self.positions = positions
    self.rows = max(rows, sequences)
    self.allLogits = allLogits
  }
}
