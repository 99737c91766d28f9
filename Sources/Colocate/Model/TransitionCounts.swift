/// What a routing trace says about a model: how often expert `i` of layer `l` is followed by expert `j` of layer `l + 1`.
///
/// `W_l[i, j]` = tokens that use expert `i` in layer `l` and `j` in layer `l + 1` (ExFlow, Yao et al., IPDPS 2024, §IV). Exact integers.
public struct TransitionCounts: Hashable, Sendable {
  /// MoE layers, `L ≥ 2`.
  public let layers: Int
  /// Experts in each layer, `E ≥ 1`.
  public let experts: Int
  /// `W`, shape `[L-1, E, E]`, row-major.
  public let weights: [Int]
  /// Tokens that each expert serves, shape `[L, E]`, row-major. What a load cap limits.
  public let loads: [Int]
  /// `V`, shape `[L, E, E]`, row-major: tokens that use experts `i` and `i'` of one layer together. Symmetric with a zero
  /// diagonal. Empty where co-activation plays no part (top-1 routing).
  public let coactivation: [Int]

  /// Boundaries between neighbouring layers, `L - 1`.
  public var boundaries: Int { layers - 1 }
  /// `Σ W`: all transitions.
  public let total: Int

  /// - Parameters:
  ///   - weights: `[L-1, E, E]`, none negative.
  ///   - loads: `[L, E]`. Without it: row sums of `W`, and column sums for the last layer.
  ///   - coactivation: `[L, E, E]`, symmetric, zero diagonal, or empty.
  /// - Throws: `ModelError.counts` with the position of what is wrong.
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
        "\(weights.count) transition counts: expected (\(layers) - 1) × \(experts) × \(experts) = \((layers - 1) * square)"
      )
    }
    var total = 0
    for (index, weight) in weights.enumerated() {
      guard weight >= 0 else {
        throw .counts(
          "negative count \(weight) at [\(index / square), \(index / experts % experts), \(index % experts)]"
        )
      }
      let (sum, overflow) = total.addingReportingOverflow(weight)
      // Half of Int's range, so that sums of a few such totals stay exact.
      guard !overflow, sum <= Int.max >> 8 else {
        throw .counts("the counts add up to more than 2^55: scale them down")
      }
      total = sum
    }
    if let loads {
      guard loads.count == layers * experts else {
        throw .counts("\(loads.count) loads: expected \(layers) × \(experts) = \(layers * experts)")
      }
      var sum = 0
      for (index, load) in loads.enumerated() {
        guard load >= 0, load <= Int.max >> 16 else {
          throw .counts(
            "load \(load) of layer \(index / experts), expert \(index % experts) is out of range")
        }
        let (more, overflow) = sum.addingReportingOverflow(load)
        guard !overflow, more <= Int.max >> 8 else {
          throw .counts("the loads add up to more than 2^55: scale them down")
        }
        sum = more
      }
      self.loads = loads
    } else {
      self.loads = Self.margins(layers: layers, experts: experts, weights: weights)
    }
    if !coactivation.isEmpty {
      guard coactivation.count == layers * square else {
        throw .counts(
          "\(coactivation.count) co-activation counts: expected \(layers) × \(experts) × \(experts) = \(layers * square)"
        )
      }
      var together = 0
      for l in 0..<layers {
        for i in 0..<experts {
          for j in 0...i {
            let value = coactivation[l * square + i * experts + j]
            let mirrored = coactivation[l * square + j * experts + i]
            guard value == mirrored, value >= 0, value <= Int.max >> 24, i != j || value == 0 else {
              throw .counts(
                "co-activation [\(l), \(i), \(j)] = \(value), [\(l), \(j), \(i)] = \(mirrored): "
                  + "expected equal, none negative, and 0 on the diagonal")
            }
            let (more, overflow) = together.addingReportingOverflow(value)
            guard !overflow, more <= Int.max >> 8 else {
              throw .counts("the co-activations add up to more than 2^55: scale them down")
            }
            together = more
          }
        }
      }
    }
    self.layers = layers
    self.experts = experts
    self.weights = weights
    self.coactivation = coactivation
    self.total = total
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

  /// Loads that the transitions imply: row sums of `W_l`, and for the last layer the column sums of the last boundary.
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
