/// What transformers takes where `config.json` does not have a setting: the values of its
/// configuration classes `OlmoeConfig`, `MixtralConfig` and `Qwen3MoeConfig` (5.24).
struct FamilyDefaults {
  let vocabulary: Int
  let hidden: Int
  let expertWidth: Int
  let layers: Int
  let queryHeads: Int
  /// nil: as many as query heads.
  let keyValueHeads: Int?
  let experts: Int
  let expertsPerToken: Int
  let maxPositions: Int
  let normEpsilon: Double
  let ropeTheta: Double
}

extension ModelConfig.Family {
  var defaults: FamilyDefaults {
    switch self {
    case .olmoe:
      FamilyDefaults(
        vocabulary: 50304, hidden: 2048, expertWidth: 2048, layers: 16, queryHeads: 16,
        keyValueHeads: nil, experts: 64, expertsPerToken: 8, maxPositions: 4096,
        normEpsilon: 1e-5, ropeTheta: 1e4)
    case .mixtral:
      FamilyDefaults(
        vocabulary: 32000, hidden: 4096, expertWidth: 14336, layers: 32, queryHeads: 32,
        keyValueHeads: 8, experts: 8, expertsPerToken: 2, maxPositions: 131_072,
        normEpsilon: 1e-5, ropeTheta: 1e6)
    case .qwen3MoE:
      FamilyDefaults(
        vocabulary: 151_936, hidden: 2048, expertWidth: 768, layers: 24, queryHeads: 32,
        keyValueHeads: 4, experts: 128, expertsPerToken: 8, maxPositions: 32768,
        normEpsilon: 1e-6, ropeTheta: 1e4)
    }
  }
}
