/// Prices that bound the destinations of one layer, or of one node's part of it: what the search
/// leaves behind as prices. `DestinationPricing` has the derivation.
public struct DestinationPrices: Hashable, Sendable {
  /// The experts that the prices are for, ascending: all of the layer, or those of one node.
  public let experts: [Int]
  /// Groups that they are put into.
  public let groups: Int
  /// The most tokens of a group, nil without a cap.
  public let cap: Int?
  /// `u · scale / unit`, in the order of `experts`: whole numbers. Empty where the bound stands
  /// without any (`HalvesSearch`).
  public let prices: [Int]
  /// What the multiplicities of the sets were divided by.
  public let unit: Int
  /// `Σ_tokens λ` of no placement of these experts is smaller.
  public let bound: Int
}
