/// Collects the distinct expert sets of a top-k trace as it streams by, in bounded memory.
///
/// Where a trace has more distinct sets than fit, a **sample of whole sequences** is kept, by
/// adaptive sampling (Wegman; analysed by Flajolet, Computing 43, 1990): a hash gives each sequence
/// a level, level `v` with probability `2^-(v+1)`, and each level's sets stand in tables of their
/// own. When the memory is used up, the lowest level still kept is dropped: about half of what
/// there is, always whole sequences, and the same ones however the trace was cut into chunks.
/// Sequences and not tokens are sampled because their number decides how well a plan carries over
/// to unseen traffic. Tokens without sequence ids count as sequences in runs of 256.
///
///     var accumulator = try TokenSetAccumulator(layers: 24, choices: 4)
///     try ids.withUnsafeBufferPointer { try accumulator.add($0) }   // [tokens, 24, 4]
///     let sets = try accumulator.sets()
///
/// `-1` is padding. An expert that a token names twice counts once: a set has each member once.
public struct TokenSetAccumulator: Sendable {
  /// Levels; the last holds all sequences that would be beyond it.
  private static let levels = 24
  /// Neighbouring tokens that stand for a sequence where nobody says what belongs together.
  private static let runLength = 256

  /// MoE layers, `L ≥ 1`.
  public let layers: Int
  /// Experts per token and layer in the trace, `k ≥ 1`.
  public let choices: Int
  /// Experts per layer as given, or nil where the ids decide.
  public let givenExperts: Int?
  /// Whether the strongest expert of the layer before is kept with each set, as coherent mode's
  /// rows need.
  public let keepsFollowers: Bool
  /// Bytes that the tables may take.
  public let memoryLimit: Int
  /// Tokens read so far.
  public var tokens: Int { tokensRead }
  /// The largest id so far, -1 before the first.
  public private(set) var largestID = -1

  @usableFromInline var tokensRead = 0
  /// Sequences of a level and their tokens.
  private struct Level: Sendable {
    /// `[L]`.
    var sets: [TokenSetTable]
    /// `[L]`; keys have the strongest expert before in front.
    var followers: [TokenSetTable]
    var tokens = 0
    var sequences = Set<Int>()
  }

  private var levels: [Level]
  /// Levels below are dropped.
  private var lowest = 0
  /// Of all levels, for their number.
  private var sequencesSeen = Set<Int>()
  private var sequencesAreNamed = false
  /// One token: `[L, k]`, -1 for padding.
  @usableFromInline var row: [Int32]

  /// - Parameters:
  ///   - layers: MoE layers, `L`, from 1 to 4096.
  ///   - choices: `k`, experts per token and layer in the trace, from 1 to 256.
  ///   - experts: `E`; nil takes the largest id + 1.
  ///   - keepsFollowers: keep pairs of strongest expert and next set. Only for traces whose first
  ///     column is the strongest expert.
  ///   - memoryLimit: bytes that the tables may take; beyond it a sample is kept.
  /// - Throws: `ModelError.counts` where a size is out of range.
  public init(
    layers: Int, choices: Int, experts: Int? = nil, keepsFollowers: Bool = false,
    memoryLimit: Int = 1 << 30
  ) throws(ModelError) {
    guard (1...4096).contains(layers) else {
      throw .counts("\(layers) layers: expected 1 to 4096")
    }
    guard (1...256).contains(choices) else {
      throw .counts("\(choices) experts per token and layer: expected 1 to 256")
    }
    if let experts, !(1...TransitionAccumulator.mostExperts).contains(experts) {
      throw .counts("\(experts) experts: expected 1 to \(TransitionAccumulator.mostExperts)")
    }
    self.layers = layers
    self.choices = choices
    givenExperts = experts
    self.keepsFollowers = keepsFollowers
    self.memoryLimit = memoryLimit
    let empty = [TokenSetTable](repeating: TokenSetTable(), count: layers)
    levels = [Level](
      repeating: Level(sets: empty, followers: empty), count: Self.levels)
    row = [Int32](repeating: -1, count: layers * choices)
  }

  /// Adds a chunk of whole tokens.
  ///
  /// - Parameters:
  ///   - ids: `[tokens, L, k]`, row-major, -1 for padding.
  ///   - sequences: which sequence each token belongs to, `[tokens]`; empty where the trace does
  ///     not say. Either all chunks have it or none.
  /// - Throws: `ModelError.counts` where `ids` are not whole tokens, `sequences` has another
  ///   number of them, or an id is no expert; with token, layer and id. The accumulator is of no
  ///   use after that.
  @inlinable
  public mutating func add<ID: FixedWidthInteger>(
    _ ids: UnsafeBufferPointer<ID>, sequences: [Int] = []
  ) throws(ModelError) {
    let perToken = layers * choices
    let count = ids.count / perToken
    try checkChunk(ids.count, sequences: sequences.count)
    let limit = givenExperts ?? TransitionAccumulator.mostExperts
    for t in 0..<count {
      for index in 0..<perToken {
        let id = ids[t * perToken + index]
        if id >= 0 && id < limit {
          row[index] = Int32(truncatingIfNeeded: id)
        } else if ID.isSigned && id == ~0 {
          row[index] = -1
        } else {
          throw TransitionAccumulator.outOfRange(
            id, token: tokensRead, layer: index / choices, choice: index % choices,
            experts: givenExperts)
        }
      }
      addRow(sequence: sequences.isEmpty ? nil : sequences[t])
    }
  }

  @usableFromInline
  mutating func checkChunk(_ count: Int, sequences: Int) throws(ModelError) {
    guard count % (layers * choices) == 0 else {
      throw .counts("\(count) ids: expected a multiple of \(layers) layers × \(choices)")
    }
    let tokens = count / (layers * choices)
    guard sequences == 0 || sequences == tokens else {
      throw .counts("\(sequences) sequence ids for \(tokens) tokens")
    }
    guard tokens > 0 else { return }
    guard tokensRead == 0 || (sequences > 0) == sequencesAreNamed else {
      throw .counts("sequence ids for some tokens and not for others")
    }
    sequencesAreNamed = sequences > 0
  }

  /// Adds the token in `row`.
  @usableFromInline
  mutating func addRow(sequence: Int?) {
    let name = sequence ?? tokensRead / Self.runLength
    tokensRead += 1
    sequencesSeen.insert(name)
    let hash = SeededGenerator.stream(seed: 0x5E05, index: name).state
    let level = min(Self.levels - 1, hash.trailingZeroBitCount)
    for id in row where Int(id) > largestID { largestID = Int(id) }
    guard level >= lowest else { return }
    add(level: level)
    levels[level].tokens += 1
    levels[level].sequences.insert(name)
    if bytesAdded > memoryLimit { dropLevels() }
  }

  /// Bytes of the entries of all levels kept, beyond those of empty tables and without the slack
  /// of growing arrays.
  private var bytesAdded = 0

  private mutating func add(level: Int) {
    var members = [UInt16]()
    members.reserveCapacity(choices + 1)
    for l in 0..<layers {
      members.removeAll(keepingCapacity: true)
      for index in (l * choices)..<((l + 1) * choices) where row[index] >= 0 {
        // Insertion keeps them ascending; k is small.
        let member = UInt16(truncatingIfNeeded: row[index])
        let position = members.firstIndex { $0 >= member } ?? members.count
        if position < members.count, members[position] == member { continue }
        members.insert(member, at: position)
      }
      guard !members.isEmpty else { continue }
      bytesAdded -= levels[level].sets[l].bytes
      levels[level].sets[l].add(members)
      bytesAdded += levels[level].sets[l].bytes
      guard keepsFollowers, l > 0, row[(l - 1) * choices] >= 0 else { continue }
      members.insert(UInt16(truncatingIfNeeded: row[(l - 1) * choices]), at: 0)
      bytesAdded -= levels[level].followers[l].bytes
      levels[level].followers[l].add(members)
      bytesAdded += levels[level].followers[l].bytes
    }
  }

  /// Drops the lowest levels until the rest fits; the last level that has anything stays.
  private mutating func dropLevels() {
    while bytesAdded > memoryLimit,
      levels[(lowest + 1)...].contains(where: { $0.tokens > 0 })
    {
      let empty = [TokenSetTable](repeating: TokenSetTable(), count: layers)
      for tables in [levels[lowest].sets, levels[lowest].followers] {
        bytesAdded -= zip(tables, empty).reduce(0) { $0 + $1.0.bytes - $1.1.bytes }
      }
      levels[lowest] = Level(sets: empty, followers: empty)
      lowest += 1
    }
  }

  /// What has been collected. `E` is the number given, or the largest id + 1.
  /// - Throws: `ModelError.counts` where no token was added or every id is padding, and where a
  ///   layer has more than `TokenSets.mostTokens` tokens.
  public func sets() throws(ModelError) -> TokenSets {
    guard tokensRead > 0 else { throw .counts("0 tokens: at least 1 is needed") }
    guard largestID >= 0 else { throw .counts("\(tokensRead) tokens, and every id is padding") }
    guard tokensRead <= TokenSets.mostTokens else {
      throw .counts("\(tokensRead) tokens: expected at most \(TokenSets.mostTokens)")
    }
    let experts = givenExperts ?? largestID + 1
    var merged = [TokenSets.Layer]()
    for l in 0..<layers {
      var (sets, followers) = (TokenSetTable(), TokenSetTable())
      for level in levels[lowest...] where level.tokens > 0 {
        sets.add(level.sets[l])
        followers.add(level.followers[l])
      }
      merged.append(TokenSets.Layer(experts: experts, table: sets, followers: followers))
    }
    return try TokenSets(
      experts: experts, layers: merged,
      sample: TokenSets.Sample(
        tokensRead: tokensRead, tokensTaken: levels.reduce(0) { $0 + $1.tokens },
        sequencesRead: sequencesSeen.count,
        sequencesTaken: levels.reduce(0) { $0 + $1.sequences.count },
        sequencesAreNamed: sequencesAreNamed))
  }
}
