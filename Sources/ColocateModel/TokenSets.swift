/// Which experts a trace's tokens use **together**: per layer the distinct expert sets with their
/// multiplicities.
///
/// Engines that return every token to its home rank after each layer send it once to every GPU that
/// holds one of its `k` experts. How many GPUs that are depends on the whole set, not on pairs, so
/// the transition counts are not enough. Sets repeat a lot (a few thousand distinct ones among a
/// hundred thousand tokens are usual), so this is small. `Destinations.swift` defines what a
/// placement costs on them.
public struct TokenSets: Hashable, Sendable {
  /// Experts in each layer, `E ≥ 1`.
  public let experts: Int
  /// One entry per MoE layer, `[L]`.
  public let layerSets: [Layer]
  /// Which tokens of the trace stand here.
  public let sample: Sample

  /// MoE layers, `L ≥ 1`.
  public var layers: Int { layerSets.count }

  /// Tokens of one layer that are never exceeded: sums over a layer, times prices, stay whole
  /// numbers in doubles and far inside `Int`.
  public static let mostTokens = 1 << 36

  /// The distinct sets of one layer, in lexicographic order of their members.
  public struct Layer: Hashable, Sendable {
    /// Set `s` is `members[starts[s] ..< starts[s + 1]]`; shape `[U + 1]`, `starts[0] = 0`.
    public let starts: [Int]
    /// Experts of all sets, ascending inside a set.
    public let members: [UInt16]
    /// Tokens that use exactly this set, at least 1 each; shape `[U]`.
    public let multiplicities: [Int]
    /// Tokens by their strongest expert one layer before; empty in the first layer and where this
    /// was not accumulated.
    public let followers: [Follower]
    /// Tokens that each expert serves, shape `[E]`: what a load cap limits.
    public let loads: [Int]

    /// Distinct sets, `U`.
    public var count: Int { multiplicities.count }
    /// Tokens that have an expert in this layer.
    public var tokens: Int { multiplicities.reduce(0, +) }

    /// The experts of set `index`, ascending.
    public subscript(index: Int) -> ArraySlice<UInt16> {
      members[starts[index]..<starts[index + 1]]
    }
  }

  /// Tokens of one layer with one set, whose strongest expert one layer before is one and the same.
  public struct Follower: Hashable, Sendable {
    /// The strongest expert of the layer before.
    public let previous: UInt16
    /// Index of the set in its layer.
    public let set: Int
    /// Tokens, at least 1.
    public let multiplicity: Int

    public init(previous: UInt16, set: Int, multiplicity: Int) {
      self.previous = previous
      self.set = set
      self.multiplicity = multiplicity
    }
  }

  /// What part of a trace was taken.
  public struct Sample: Hashable, Sendable {
    /// Tokens that were read.
    public let tokensRead: Int
    /// Tokens that stand in the sets.
    public let tokensTaken: Int
    /// Sequences that were read; runs of tokens where the trace does not say which belong together.
    public let sequencesRead: Int
    /// Sequences that stand in the sets, each with all its tokens.
    public let sequencesTaken: Int
    /// Whether `sequences…` counts sequences that the trace named, or runs of neighbouring tokens.
    public let sequencesAreNamed: Bool

    public init(
      tokensRead: Int, tokensTaken: Int, sequencesRead: Int, sequencesTaken: Int,
      sequencesAreNamed: Bool
    ) {
      self.tokensRead = tokensRead
      self.tokensTaken = tokensTaken
      self.sequencesRead = sequencesRead
      self.sequencesTaken = sequencesTaken
      self.sequencesAreNamed = sequencesAreNamed
    }

    /// Whether every token was taken.
    public var isWhole: Bool { tokensRead == tokensTaken }
  }

  /// - Parameters:
  ///   - experts: experts in each layer, `E`.
  ///   - layers: of `experts` experts each, at least one.
  ///   - sample: nil for "all that there is", as one unnamed sequence.
  /// - Throws: `ModelError.counts` where there is no layer, or a layer was made for another number
  ///   of experts.
  public init(experts: Int, layers: [Layer], sample: Sample? = nil) throws(ModelError) {
    guard !layers.isEmpty else { throw .counts("0 layers of token sets: at least 1 is needed") }
    for (l, layer) in layers.enumerated() where layer.loads.count != experts {
      throw .counts("layer \(l): sets of \(layer.loads.count) experts, expected \(experts)")
    }
    self.experts = experts
    layerSets = layers
    let tokens = layers.map(\.tokens).max() ?? 0
    self.sample =
      sample
      ?? Sample(
        tokensRead: tokens, tokensTaken: tokens, sequencesRead: 1, sequencesTaken: 1,
        sequencesAreNamed: false)
  }

  /// Whether coherent mode's rows can be counted: every layer but the first knows the strongest
  /// experts before it.
  public var knowsFollowers: Bool { layerSets.dropFirst().allSatisfy { !$0.followers.isEmpty } }
}

extension TokenSets.Layer {
  /// The layer of the given sets, merged and put in order.
  ///
  /// - Parameters:
  ///   - experts: `E`, from 1 to 4096.
  ///   - sets: experts of each set in any order; repeated experts count once, empty sets are left
  ///     out.
  ///   - multiplicities: tokens of each set, none negative; nil for one each. Sets of 0 tokens are
  ///     left out.
  /// - Throws: `ModelError.counts` for experts that do not exist, negative multiplicities, lists of
  ///   different length, and more than `TokenSets.mostTokens` tokens.
  public init(
    experts: Int, sets: [[Int]], multiplicities: [Int]? = nil
  ) throws(ModelError) {
    guard (1...TransitionAccumulator.mostExperts).contains(experts) else {
      throw .counts("\(experts) experts: expected 1 to \(TransitionAccumulator.mostExperts)")
    }
    let weights = multiplicities ?? [Int](repeating: 1, count: sets.count)
    guard weights.count == sets.count else {
      throw .counts("\(weights.count) multiplicities for \(sets.count) sets")
    }
    var table = TokenSetTable()
    var total = 0
    for (index, set) in sets.enumerated() {
      if let stranger = set.first(where: { !(0..<experts).contains($0) }) {
        throw .counts("set \(index): expert id \(stranger), expected 0 to \(experts - 1)")
      }
      guard weights[index] >= 0, weights[index] <= TokenSets.mostTokens - total else {
        throw .counts(
          "set \(index): \(weights[index]) tokens, expected 0 to \(TokenSets.mostTokens) in all")
      }
      total += weights[index]
      guard !set.isEmpty, weights[index] > 0 else { continue }
      table.add(Set(set).sorted().map { UInt16($0) }, weights[index])
    }
    self.init(experts: experts, table: table, followers: TokenSetTable())
  }

  /// - Parameters:
  ///   - table: valid sets, ascending.
  ///   - followers: keys are a set with the strongest expert of the layer before in front.
  init(experts: Int, table: TokenSetTable, followers: TokenSetTable) {
    let order = (0..<table.count).sorted { table[$0].lexicographicallyPrecedes(table[$1]) }
    var rank = [Int](repeating: 0, count: table.count)
    var (starts, members, weights) = ([0], [UInt16](), [Int]())
    starts.reserveCapacity(table.count + 1)
    members.reserveCapacity(table.memberCount)
    weights.reserveCapacity(table.count)
    var loads = [Int](repeating: 0, count: experts)
    for (position, index) in order.enumerated() {
      rank[index] = position
      members.append(contentsOf: table[index])
      starts.append(members.count)
      weights.append(table.multiplicity(index))
      for e in table[index] { loads[Int(e)] += table.multiplicity(index) }
    }
    var found = [TokenSets.Follower]()
    found.reserveCapacity(followers.count)
    for index in 0..<followers.count {
      let key = followers[index]
      guard let previous = key.first, let set = table.index(of: key.dropFirst()) else { continue }
      found.append(
        TokenSets.Follower(
          previous: previous, set: rank[set], multiplicity: followers.multiplicity(index)))
    }
    found.sort { ($0.set, $0.previous) < ($1.set, $1.previous) }
    self.starts = starts
    self.members = members
    multiplicities = weights
    self.followers = found
    self.loads = loads
  }
}
