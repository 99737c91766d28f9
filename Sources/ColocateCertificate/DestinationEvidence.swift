import ColocateModel

/// Evidence for a bound on the destinations of one layer (or of one node's part of it): prices of
/// experts. `DestinationCheck` has the derivation and the check.
public struct DestinationEvidence: Hashable, Sendable {
  /// Prices are in `1 / scale` tokens.
  public static let scale = 256

  /// The experts that the prices are for, ascending: all of the layer, or those of one node.
  public let experts: [Int]
  /// Groups that they are put into.
  public let groups: Int
  /// The most tokens of a group, nil without a cap.
  public let cap: Int?
  /// `u · scale / unit`, in the order of `experts`: whole numbers. Empty for two groups that a
  /// checker looks at placement by placement.
  public let prices: [Int]
  /// What the multiplicities of the sets were divided by.
  public let unit: Int
  /// `Σ_tokens λ` of no placement is smaller.
  public let bound: Int

  public init(
    experts: [Int], groups: Int, cap: Int?, prices: [Int], unit: Int, bound: Int
  ) {
    self.experts = experts
    self.groups = groups
    self.cap = cap
    self.prices = prices
    self.unit = unit
    self.bound = bound
  }
}
