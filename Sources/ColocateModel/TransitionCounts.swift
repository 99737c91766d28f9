/// What a routing trace says about a model: how often expert `i` of layer `l` is followed by expert
/// `j` of layer `l + 1`.
///
/// `W_l[i, j]` = tokens that use expert `i` in layer `l` and `j` in layer `l + 1` (ExFlow, Yao et
/// al., IPDPS 2024, §IV). Exact integers.
public struct TransitionCounts: Hashable, Sendable {
  /// MoE layers, `L ≥ 2`.
  public let layers: Int
  /// Experts in each layer, `E ≥ 1`.
  public let experts: Int
  /// `W`, shape `[L-1, E, E]`, row-major.
  public let weights: [Int]
  /// Tokens that each expert serves, shape `[L, E]`, row-major. What a load cap limits.
  public let loads: [Int]
  /// `V`, shape `[L, E, E]`, row-major: tokens that use experts `i` and `i'` of one layer together.
  /// Symmetric with a zero diagonal. Empty where co-activation plays no part (top-1 routing).
  public let coactivation: [Int]

  /// Boundaries between neighbouring layers, `L - 1`.
  public var boundaries: Int { layers - 1 }
  /// `Σ W`: all transitions.
  public let total: Int
  /// The greatest common divisor of `weights` and `coactivation`, 1 where all are 0. The same
  /// counts in another unit are the same problem: the solver works on counts divided by it
  /// (`Instance.reduced`).
  package let unit: Int

  /// - Parameters:
  ///   - layers: MoE layers, `L`, at least 2.
  ///   - experts: experts in each layer, `E`.
  ///   - weights: `[L-1, E, E]`, none negative.
  ///   - loads: `[L, E]`. Without it: row sums of `W`, and column sums for the last layer.
  ///   - coactivation: `[L, E, E]`, symmetric, zero diagonal, or empty.
  /// - Throws: `ModelError.counts` with the position of what is wrong; where weights, loads or
  ///   co-activations add up to more than 2^55; and where weights and co-activations, divided by
  ///   their greatest common divisor, add up to more than 2^52 (`Magnitude`).
  public init(
    layers: Int, experts: Int, weights: [Int], loads: [Int]? = nil, coactivation: [Int] = []
  ) throws(ModelError) {
    guard layers >= 2 else {
      throw .counts(
        "\(layers) MoE layer: at least 2 are needed, a placement has nothing to join otherwise")
    }
    guard experts >= 1 else { throw .counts("\(experts) experts: at least 1 is needed") }
    let (square, tooLarge) = experts.multipliedReportingOverflow(by: experts)
    guard !tooLarge, square.multipliedReportingOverflow(by: layers).overflow == false else {
      throw .counts("\(layers) layers × \(experts)² experts: too many to count")
    }
    guard weights.count == (layers - 1) * square else {
      throw .counts(
        "\(weights.count) transition counts: expected (\(layers) - 1) × \(experts) × \(experts) = "
          + "\((layers - 1) * square)"
      )
    }
    let total = try Self.checkedTotal(ofWeights: weights, experts: experts)
    if let loads { try Self.check(loads: loads, layers: layers, experts: experts) }
    let together = try Self.checkedTotal(
      ofCoactivation: coactivation, layers: layers, experts: experts)
    self.loads = loads ?? Self.margins(layers: layers, experts: experts, weights: weights)
    unit = Magnitude.unit(weights, coactivation)
    guard total / unit + together / unit <= Magnitude.exact else {
      let sum = total + together
      throw .counts(
        "the counts add up to \(sum), their greatest common divisor is \(unit): "
          + "beyond 2^52 times the divisor values are not exact; "
          + "round the counts to multiples of \(Self.divisor(sum))")
    }
    self.layers = layers
    self.experts = experts
    self.weights = weights
    self.coactivation = coactivation
    self.total = total
  }

  /// Σ W, of `[L-1, E, E]` that may hold anything.
  private static func checkedTotal(
    ofWeights weights: [Int], experts: Int
  ) throws(ModelError) -> Int {
    let square = experts * experts
    var total = 0
    for (index, weight) in weights.enumerated() {
      guard weight >= 0 else {
        throw .counts(
          "negative count \(weight) at [\(index / square), \(index / experts % experts), "
            + "\(index % experts)]")
      }
      total = try added(weight, to: total, "counts")
    }
    return total
  }

  private static func check(loads: [Int], layers: Int, experts: Int) throws(ModelError) {
    guard loads.count == layers * experts else {
      throw .counts("\(loads.count) loads: expected \(layers) × \(experts) = \(layers * experts)")
    }
    var sum = 0
    for (index, load) in loads.enumerated() {
      guard load >= 0 else {
        throw .counts(
          "negative load \(load) of layer \(index / experts), expert \(index % experts)")
      }
      sum = try added(load, to: sum, "loads")
    }
  }

  /// Σ_{i<j} V, of `[L, E, E]` that may hold anything; 0 where there is none.
  private static func checkedTotal(
    ofCoactivation coactivation: [Int], layers: Int, experts: Int
  ) throws(ModelError) -> Int {
    guard !coactivation.isEmpty else { return 0 }
    let square = experts * experts
    guard coactivation.count == layers * square else {
      throw .counts(
        "\(coactivation.count) co-activation counts: expected \(layers) × \(experts) × "
          + "\(experts) = \(layers * square)")
    }
    var together = 0
    for l in 0..<layers {
      for i in 0..<experts {
        for j in 0...i {
          let value = coactivation[l * square + i * experts + j]
          let mirrored = coactivation[l * square + j * experts + i]
          guard value == mirrored, value >= 0, i != j || value == 0 else {
            throw .counts(
              "co-activation [\(l), \(i), \(j)] = \(value), [\(l), \(j), \(i)] = \(mirrored): "
                + "expected equal, none negative, and 0 on the diagonal")
          }
          together = try added(value, to: together, "co-activations")
        }
      }
    }
    return together
  }

  /// For counts whose checks have been made: everything divided by its unit.
  package init(reducing counts: TransitionCounts, loadUnit: Int) {
    let unit = counts.unit
    (layers, experts) = (counts.layers, counts.experts)
    weights = unit == 1 ? counts.weights : counts.weights.map { $0 / unit }
    coactivation = unit == 1 ? counts.coactivation : counts.coactivation.map { $0 / unit }
    loads = loadUnit == 1 ? counts.loads : counts.loads.map { $0 / loadUnit }
    total = counts.total / unit
    self.unit = 1
  }

  private static func added(
    _ number: Int, to sum: Int, _ what: String
  ) throws(ModelError) -> Int {
    let (more, overflow) = sum.addingReportingOverflow(number)
    guard !overflow, more <= Magnitude.given else {
      throw .counts("the \(what) add up to more than 2^55: divide them by a common factor")
    }
    return more
  }

  /// The least power of two that multiples of which add up to at most 2^52 of them.
  private static func divisor(_ sum: Int) -> Int {
    var divisor = 1
    while sum / divisor > Magnitude.exact / 2 { divisor *= 2 }
    return divisor
  }

  /// `W_l[i, j]`.
  public subscript(boundary: Int, from: Int, to: Int) -> Int {
    weights[(boundary * experts + from) * experts + to]
  }

  /// Tokens that expert `expert` of layer `layer` serves.
  public func load(layer: Int, expert: Int) -> Int { loads[layer * experts + expert] }

  /// Tokens that layer `layer` serves in all.
  public func load(layer: Int) -> Int {
    loads[(layer * experts)..<((layer + 1) * experts)].reduce(0, +)
  }

  /// Loads that the transitions imply: row sums of `W_l`, and for the last layer the column sums of
  /// the last boundary.
  static func margins(layers: Int, experts: Int, weights: [Int]) -> [Int] {
    var loads = [Int](repeating: 0, count: layers * experts)
    for l in 0..<(layers - 1) {
      for i in 0..<experts {
        for j in 0..<experts {
          let weight = weights[(l * experts + i) * experts + j]
          loads[l * experts + i] += weight
          if l == layers - 2 { loads[(l + 1) * experts + j] += weight }
        }
      }
    }
    return loads
  }
}

extension TransitionCounts {
  /// Tokens of each expert of layer `layer`.
  package func loads(layer: Int) -> [Int] {
    Array(loads[(layer * experts)..<((layer + 1) * experts)])
  }
}
