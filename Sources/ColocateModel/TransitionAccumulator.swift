/// How a trace with several experts per token and layer is counted.
public enum TopKCounting: String, Hashable, Sendable, CaseIterable {
  /// Every expert of the token in layer `l` with every one in layer `l + 1`: `k²` transitions a
  /// boundary.
  case pairs
  /// The first expert alone: 1 transition a boundary.
  case first
}

/// Counts transitions from routing ids as they stream by, in chunks of whole tokens.
///
///     W_l[i, j] += 1   for every token with i ∈ experts(token, l) and j ∈ experts(token, l + 1)
///
/// A chunk is checked and transposed to layer-major order in small blocks, then counted boundary by
/// boundary: one boundary's table stays in the cache while a block's tokens pass, which a
/// token-by-token loop over all `L - 1` tables cannot have. Memory is `(L-1) · E²` words for the
/// counts and half a megabyte for the block.
///
///     var accumulator = try TransitionAccumulator(layers: 24, choices: 4)
///     try ids.withUnsafeBufferPointer { try accumulator.add($0) }   // [tokens, 24, 4]
///     let counts = try accumulator.counts()
public struct TransitionAccumulator: Sendable {
  /// Experts per layer that are never exceeded, given or not: ids beyond are garbage, not experts.
  public static let mostExperts = 4096
  /// Entries of `W` (and of `V`) that are never exceeded.
  public static let mostEntries = 1 << 28

  /// MoE layers, `L ≥ 2`.
  public let layers: Int
  /// Experts per token and layer in the trace, `k ≥ 1`.
  public let choices: Int
  /// How `k > 1` is counted.
  public let counting: TopKCounting
  /// Whether `V`, the pairs of a token's experts inside a layer, is counted too.
  public let countsCoactivation: Bool
  /// Experts per layer as given, or nil where the ids decide.
  public let givenExperts: Int?
  /// Tokens added so far.
  public var tokens: Int { tokensAdded }
  /// The largest id so far, -1 before the first.
  public var largestID: Int { largest }

  /// What the layers are called in messages, where the trace has others between them; shape `[L]`.
  package var layerNumbers: [Int] = []

  @usableFromInline var tokensAdded = 0
  @usableFromInline var largest = -1
  /// Experts that the tables have room for.
  @usableFromInline var capacity: Int
  /// `[L-1, capacity, capacity]`.
  private var weights: [Int]
  /// `[L, capacity]`.
  private var loads: [Int]
  /// `[L, capacity, capacity]`, upper triangle by (smaller id, larger id), or empty.
  private var together: [Int]
  /// One block: `[L, k, blockTokens]`, ids, -1 for padding.
  @usableFromInline var block: [Int32]
  @usableFromInline let blockTokens: Int
  /// Whether the block has padding; without it the inner loop of top-1 traces asks nothing.
  @usableFromInline var blockIsPadded = false

  /// Tokens whose ids are `layers × choices` integers each.
  /// - Parameters:
  ///   - layers: MoE layers, `L`, from 2 to 4096.
  ///   - choices: `k`, experts per token and layer in the trace.
  ///   - experts: `E`; nil takes the largest id + 1.
  ///   - counting: which pairs of neighbouring layers' experts count, where `k > 1`.
  ///   - coactivation: whether pairs inside a layer are counted too.
  /// - Throws: `ModelError.counts` where a size is out of range.
  public init(
    layers: Int, choices: Int = 1, experts: Int? = nil, counting: TopKCounting = .pairs,
    coactivation: Bool = false
  ) throws(ModelError) {
    guard layers >= 2 else {
      throw .counts(
        "\(layers) MoE layer: at least 2 are needed, a placement has nothing to join otherwise")
    }
    guard layers <= 4096 else { throw .counts("\(layers) layers: expected at most 4096") }
    guard choices >= 1, choices <= 256 else {
      throw .counts("\(choices) experts per token and layer: expected 1 to 256")
    }
    if let experts {
      guard experts >= 1, experts <= Self.mostExperts else {
        throw .counts("\(experts) experts: expected 1 to \(Self.mostExperts)")
      }
    }
    self.layers = layers
    self.choices = choices
    self.counting = counting
    countsCoactivation = coactivation && choices > 1 && counting == .pairs
    givenExperts = experts
    blockTokens = max(16, (1 << 17) / (layers * choices))
    capacity = 0
    (weights, loads, together) = ([], [], [])
    block = [Int32](repeating: -1, count: layers * choices * blockTokens)
    try grow(toHold: (experts ?? 1) - 1, token: 0, layer: 0)
  }

  /// Counts a chunk of whole tokens: `ids` is `[tokens, L, k]`, row-major.
  ///
  /// `-1` is padding and is not counted: a token without an expert in a layer has no transition
  /// into it or out of it. O(tokens · L · k²).
  /// - Precondition: `ids.count` is a multiple of `L · k`.
  /// - Throws: `ModelError.counts` with token, layer and id, for ids that are negative or not below
  ///   `E`, and for an expert that one token uses twice in a layer. The accumulator is of no use
  ///   after that.
  @inlinable
  public mutating func add<ID: FixedWidthInteger>(
    _ ids: UnsafeBufferPointer<ID>
  ) throws(ModelError) {
    let perToken = layers * choices
    precondition(ids.count % perToken == 0)
    guard let base = ids.baseAddress else { return }
    let count = ids.count / perToken
    var start = 0
    while start < count {
      let size = min(blockTokens, count - start)
      try load(base + start * perToken, size)
      self.count(size)
      start += size
      tokensAdded += size
    }
  }

  /// Checks `size` tokens and lays them out as `[L, k, size]` in `block` (rows `blockTokens`
  /// apart).
  @inlinable
  mutating func load<ID: FixedWidthInteger>(
    _ ids: UnsafePointer<ID>, _ size: Int
  ) throws(ModelError) {
    let limit = givenExperts ?? Self.mostExperts
    let rows = layers * choices
    let stride = blockTokens
    var (blockLargest, blockSmallest) = (Int32(-1), Int32(0))
    var bad = -1
    block.withUnsafeMutableBufferPointer { block in
      let to = block.start
      for t in 0..<size {
        for row in 0..<rows {
          let id = ids[t * rows + row]
          // An id that does not fit becomes -2, whatever its type.
          let value =
            id >= 0 && id < limit
            ? Int32(truncatingIfNeeded: id) : (ID.isSigned && id == ~0 ? -1 : -2)
          to[row * stride + t] = value
          blockLargest = max(blockLargest, value)
          blockSmallest = min(blockSmallest, value)
          if value == -2 {
            bad = t * rows + row
            break
          }
        }
        if bad >= 0 { break }
      }
    }
    if bad >= 0 {
      throw Self.outOfRange(
        ids[bad], token: tokens + bad / rows, layer: name(ofLayer: bad % rows / choices),
        choice: choices > 1 ? bad % choices : nil, experts: givenExperts)
    }
    blockIsPadded = blockSmallest < 0
    if choices > 1 { try refuseRepeats(size) }
    if Int(blockLargest) > largest {
      largest = Int(blockLargest)
      if largest >= capacity {
        let (token, layer) = place(ofID: blockLargest, size: size)
        try grow(toHold: largest, token: token, layer: layer)
      }
    }
  }

  /// A token has an expert once in a layer, or the trace is not one.
  @usableFromInline
  func refuseRepeats(_ size: Int) throws(ModelError) {
    for layer in 0..<layers {
      for second in 1..<choices {
        for first in 0..<second {
          let a = (layer * choices + first) * blockTokens
          let b = (layer * choices + second) * blockTokens
          let repeated = block.withUnsafeBufferPointer { block in
            (0..<size).first { block[a + $0] == block[b + $0] && block[a + $0] >= 0 }
          }
          if let repeated {
            throw .counts(
              "token \(tokens + repeated), layer \(name(ofLayer: layer)): "
                + "expert id \(block[a + repeated]) twice, expected \(choices) different experts"
            )
          }
        }
      }
    }
  }

  @usableFromInline
  func name(ofLayer layer: Int) -> Int { layerNumbers.isEmpty ? layer : layerNumbers[layer] }

  /// The error for an id that no expert has: "token 5, layer 3: expert id 70, expected 0 to 63".
  /// - Parameters:
  ///   - choice: nil for top-1 traces.
  ///   - experts: `E` as given, or nil where the ids decide.
  ///   - hint: words for the end.
  @usableFromInline
  package static func outOfRange(
    _ id: some FixedWidthInteger, token: Int, layer: Int, choice: Int?, experts: Int?,
    hint: String = ""
  ) -> ModelError {
    let place = "token \(token), layer \(layer)" + (choice.map { ", choice \($0)" } ?? "")
    let most = experts.map { "\($0 - 1)" } ?? "\(mostExperts - 1)"
    let rest = id < 0 ? " (or -1 for padding)" : experts == nil ? " at the most" : ""
    return .counts("\(place): expert id \(id), expected 0 to \(most)\(rest)\(hint)")
  }

  @usableFromInline
  func place(ofID id: Int32, size: Int) -> (token: Int, layer: Int) {
    for row in 0..<(layers * choices) {
      for t in 0..<size where block[row * blockTokens + t] == id {
        return (tokens + t, name(ofLayer: row / choices))
      }
    }
    return (tokens, name(ofLayer: 0))
  }

  /// Makes room for expert `id`.
  @usableFromInline
  mutating func grow(toHold id: Int, token: Int, layer: Int) throws(ModelError) {
    var wanted = givenExperts ?? 16
    while wanted <= id { wanted *= 2 }
    wanted = min(wanted, Self.mostExperts)
    guard layers * wanted * wanted <= Self.mostEntries else {
      throw .counts(
        "token \(token), layer \(layer): expert id \(id) asks for \(layers) layers × \(wanted)² "
          + "counts, more than \(Self.mostEntries)"
      )
    }
    let (old, experts) = (capacity, wanted)
    /// `[blocks, rows(old), old]` into the corner of each of `[blocks, rows(new), new]`.
    func moved(_ table: [Int], blocks: Int, square: Bool) -> [Int] {
      let (oldRows, newRows) = square ? (old, experts) : (1, 1)
      var larger = [Int](repeating: 0, count: blocks * newRows * experts)
      for block in 0..<(old == 0 ? 0 : blocks) {
        for row in 0..<oldRows {
          for e in 0..<old {
            larger[(block * newRows + row) * experts + e] = table[(block * oldRows + row) * old + e]
          }
        }
      }
      return larger
    }
    weights = moved(weights, blocks: layers - 1, square: true)
    loads = moved(loads, blocks: layers, square: false)
    if countsCoactivation { together = moved(together, blocks: layers, square: true) }
    capacity = experts
  }

  /// Counts the `size` tokens of the block.
  @usableFromInline
  mutating func count(_ size: Int) {
    let block = block
    block.withUnsafeBufferPointer { block in
      for l in 0..<(layers - 1) { countTransitions(block.start, size, from: l) }
      for l in 0..<layers { countLoads(block.start, size, layer: l) }
      guard countsCoactivation else { return }
      for l in 0..<layers { countCoactivation(block.start, size, layer: l) }
    }
  }

  /// The choices that count, of `choices`.
  private var used: Int { counting == .first ? 1 : choices }

  /// A choice's ids in one layer, `[size]`.
  private func ids(
    _ block: UnsafePointer<Int32>, layer: Int, choice: Int
  ) -> UnsafePointer<Int32> {
    block + (layer * choices + choice) * blockTokens
  }

  private mutating func countTransitions(
    _ block: UnsafePointer<Int32>, _ size: Int, from l: Int
  ) {
    let (capacity, isPadded) = (capacity, blockIsPadded)
    for a in 0..<used {
      let from = ids(block, layer: l, choice: a)
      for b in 0..<used {
        let to = ids(block, layer: l + 1, choice: b)
        weights.withUnsafeMutableBufferPointer { weights in
          let table = weights.start + l * capacity * capacity
          if !isPadded {
            for t in 0..<size { table[Int(from[t]) &* capacity &+ Int(to[t])] &+= 1 }
          } else {
            for t in 0..<size where from[t] >= 0 && to[t] >= 0 {
              table[Int(from[t]) &* capacity &+ Int(to[t])] &+= 1
            }
          }
        }
      }
    }
  }

  private mutating func countLoads(_ block: UnsafePointer<Int32>, _ size: Int, layer l: Int) {
    let capacity = capacity
    for a in 0..<used {
      let ids = ids(block, layer: l, choice: a)
      loads.withUnsafeMutableBufferPointer { loads in
        let table = loads.start + l * capacity
        for t in 0..<size where ids[t] >= 0 { table[Int(ids[t])] &+= 1 }
      }
    }
  }

  private mutating func countCoactivation(
    _ block: UnsafePointer<Int32>, _ size: Int, layer l: Int
  ) {
    let capacity = capacity
    for a in 0..<choices {
      let first = ids(block, layer: l, choice: a)
      for b in 0..<a {
        let second = ids(block, layer: l, choice: b)
        together.withUnsafeMutableBufferPointer { together in
          let table = together.start + l * capacity * capacity
          for t in 0..<size where first[t] >= 0 && second[t] >= 0 {
            let (i, j) = (Int(min(first[t], second[t])), Int(max(first[t], second[t])))
            table[i &* capacity &+ j] &+= 1
          }
        }
      }
    }
  }

  /// What has been counted. `E` is the number given, or the largest id + 1.
  /// - Throws: `ModelError.counts` where no token was added, or none has experts in two
  ///   neighbouring layers.
  public func counts() throws(ModelError) -> TransitionCounts {
    guard tokens > 0 else { throw .counts("0 tokens: at least 1 is needed") }
    guard largestID >= 0 else { throw .counts("\(tokens) tokens, and every id is padding") }
    guard weights.contains(where: { $0 > 0 }) else {
      throw .counts(
        "no transitions: none of the \(tokens) tokens has experts in two neighbouring layers")
    }
    let experts = givenExperts ?? largestID + 1
    func cut(_ table: [Int], squares: Int) -> [Int] {
      guard experts < capacity else { return table }
      var smaller = [Int]()
      smaller.reserveCapacity(squares * experts * experts)
      for square in 0..<squares {
        for i in 0..<experts {
          let row = (square * capacity + i) * capacity
          smaller.append(contentsOf: table[row..<(row + experts)])
        }
      }
      return smaller
    }
    var symmetric = countsCoactivation ? cut(together, squares: layers) : []
    if countsCoactivation {
      for l in 0..<layers {
        for i in 0..<experts {
          for j in 0..<i {
            symmetric[(l * experts + i) * experts + j] = symmetric[(l * experts + j) * experts + i]
          }
        }
      }
    }
    return try TransitionCounts(
      layers: layers, experts: experts, weights: cut(weights, squares: layers - 1),
      loads: (0..<layers).flatMap { loads[($0 * capacity)..<($0 * capacity + experts)] },
      coactivation: symmetric)
  }
}
