import ColocateFormats

/// A checkpoint's `config.json`: what the three families differ in, as settings of one code path.
///
/// | setting | OLMoE | Mixtral | Qwen3-MoE |
/// |---|---|---|---|
/// | q/k norm | over the whole width | none | per head |
/// | gate weights of the top k add up to 1 | `norm_topk_prob` | always | `norm_topk_prob` |
/// | expert width | `intermediate_size` | `intermediate_size` | `moe_intermediate_size` |
/// | number of experts | `num_experts` | `num_local_experts` | `num_experts` |
///
/// | queries, keys and values clipped | `clip_qkv` | never | never |
///
/// The measure is what transformers computes from the same files: its names and second names of a
/// setting, its values where one is absent (`FamilyDefaults`), and null for absent. A setting whose
/// value would need code that is not here is refused by name: a model never runs silently wrong.
public struct ModelConfig: Hashable, Sendable {
  public enum Family: String, Hashable, Sendable {
    case olmoe
    case mixtral
    case qwen3MoE = "qwen3_moe"
  }

  /// Where RMSNorm is applied to queries and keys, before RoPE.
  public enum QueryKeyNorm: Hashable, Sendable {
    case none
    /// One mean square over all heads of a token.
    case wholeWidth
    /// One mean square for each head.
    case perHead
  }

  public var family: Family
  /// `V`
  public var vocabulary: Int
  /// `d`
  public var hidden: Int
  /// `L`: every layer is an MoE layer.
  public var layers: Int
  /// `nq`
  public var queryHeads: Int
  /// `nkv`, divides `nq`: `nq / nkv` query heads read the same keys and values.
  public var keyValueHeads: Int
  /// `hd`; `nq · hd` need not be `d`.
  public var headWidth: Int
  /// `E`
  public var experts: Int
  /// `k`
  public var expertsPerToken: Int
  /// `f`
  public var expertWidth: Int
  /// Whether a token's `k` gate weights are scaled to add up to 1.
  public var normalisesTopK: Bool
  public var queryKeyNorm: QueryKeyNorm
  /// Queries and keys, both after their norm, and values are clipped to ± this (OLMoE's
  /// `clip_qkv`).
  public var clip: Float?
  public var normEpsilon: Float
  public var ropeTheta: Double
  /// Most positions that the model was made for.
  public var maxPositions: Int
  /// Whether the output head is the embedding.
  public var tiedHead: Bool

  /// Width of keys (or values) of one token: `nkv · hd`.
  public var keyValueWidth: Int { keyValueHeads * headWidth }
  /// Width of queries of one token: `nq · hd`.
  public var queryWidth: Int { queryHeads * headWidth }

  /// Reads and checks `config.json`.
  /// - Parameter folder: a Hugging Face checkpoint folder.
  /// - Throws: `EngineError` with the setting, what it is and what was expected.
  public init(folder: String) throws(EngineError) {
    let path = folder + "/config.json"
    let document: JSONText
    do throws(FormatError) {
      document = try JSONDocument.read(path)
    } catch {
      throw EngineError("\(error); expected a Hugging Face checkpoint folder")
    }
    guard case .object(let members) = document else {
      throw EngineError("\(path): not a JSON object")
    }
    var reader = try SettingReader(path: path, members: members)
    let type = try reader.string("model_type")
    guard let family = Family(rawValue: type) else {
      throw EngineError(
        "\(path): model_type \"\(type)\" is not supported; expected \"olmoe\", \"mixtral\" or "
          + "\"qwen3_moe\"")
    }
    let defaults = family.defaults
    self.family = family
    vocabulary = try reader.size("vocab_size", default: defaults.vocabulary)
    layers = try reader.size("num_hidden_layers", default: defaults.layers)
    hidden = try reader.size("hidden_size", default: defaults.hidden)
    (queryHeads, keyValueHeads, headWidth) = try Self.heads(&reader, family, hidden: hidden)
    experts = try reader.size("num_experts", "num_local_experts", default: defaults.experts)
    expertsPerToken = try reader.size("num_experts_per_tok", default: defaults.expertsPerToken)
    guard expertsPerToken <= experts else {
      throw reader.error("num_experts_per_tok", "at most the number of experts (\(experts))")
    }
    expertWidth = try reader.size(
      family == .qwen3MoE ? "moe_intermediate_size" : "intermediate_size",
      default: defaults.expertWidth)
    // transformers' Mixtral always normalises, whatever config.json says.
    let asksToNormalise = try reader.bool("norm_topk_prob", default: false)
    normalisesTopK = family == .mixtral || asksToNormalise
    queryKeyNorm =
      switch family {
      case .olmoe: .wholeWidth
      case .mixtral: .none
      case .qwen3MoE: .perHead
      }
    if family == .olmoe {
      clip = try reader.number("clip_qkv").map { Float($0) }
      if let clip, !(clip > 0) { throw reader.error("clip_qkv", "a positive number or null") }
    } else {
      reader.ignore("clip_qkv")
      clip = nil
    }
    normEpsilon = Float(try reader.number("rms_norm_eps") ?? defaults.normEpsilon)
    guard normEpsilon >= 0, normEpsilon < 1 else {
      throw reader.error("rms_norm_eps", "a number in [0, 1)")
    }
    tiedHead = try reader.bool("tie_word_embeddings", default: false)
    maxPositions = try reader.size("max_position_embeddings", default: defaults.maxPositions)
    ropeTheta = try Self.ropeTheta(&reader, family: family)
    try checkWhatIsFixed(&reader)
    try reader.refuseRest()
  }

  /// The numbers of query heads and of key-value heads, and a head's width.
  private static func heads(
    _ reader: inout SettingReader, _ family: Family, hidden: Int
  ) throws(EngineError) -> (Int, Int, Int) {
    let queries = try reader.size("num_attention_heads", default: family.defaults.queryHeads)
    // Absent, this is the family's own number; null, it is the number of query heads.
    let missing =
      reader.mentions("num_key_value_heads") ? queries : family.defaults.keyValueHeads ?? queries
    let keys = try reader.size("num_key_value_heads", default: missing)
    guard queries % keys == 0 else {
      throw reader.error("num_attention_heads", "a multiple of num_key_value_heads (\(keys))")
    }
    let width = try reader.size("head_dim", default: max(hidden / queries, 1))
    if family == .olmoe || !reader.wasGiven("head_dim") {
      guard width * queries == hidden else {
        throw reader.error(
          reader.wasGiven("head_dim") ? "head_dim" : "hidden_size",
          "hidden_size to be num_attention_heads times a head's width"
            + (family == .olmoe ? "" : ", or head_dim to say the width"))
      }
    }
    guard width % 2 == 0 else {
      throw reader.error("head_dim", "an even width of a head (RoPE turns pairs)")
    }
    return (queries, keys, width)
  }

  /// Settings that change the computation and are implemented with one value only.
  private func checkWhatIsFixed(_ reader: inout SettingReader) throws(EngineError) {
    try reader.require("hidden_act", "silu", "swish")
    for name in ["attention_bias", "qkv_bias", "mlp_bias", "use_bias"] {
      try reader.require(name, false)
    }
    for name in ["use_qk_norm", "qk_norm", "qk_layernorm"] {
      try reader.require(name, .bool(queryKeyNorm != .none))
    }
    try reader.require("decoder_sparse_step", 1)
    try reader.require("mlp_only_layers", .array([]))
    try reader.require("quantization_config")
    try reader.require("partial_rotary_factor", 1)
    try reader.require("layer_types", .array(Array(repeating: "full_attention", count: layers)))
    try reader.require("mlp_layer_types", .array(Array(repeating: "sparse", count: layers)))
    if family == .qwen3MoE {
      // The dense width is read only together with mlp_only_layers.
      reader.ignore("intermediate_size")
    }
    // A window changes nothing where no sequence is longer. Qwen3-MoE reads it only if told to.
    let uses = try reader.bool("use_sliding_window", default: false)
    if let window = try reader.number("sliding_window"), uses || family != .qwen3MoE {
      guard window >= Double(maxPositions) else {
        throw reader.error(
          "sliding_window",
          "null, or at least max_position_embeddings (\(maxPositions)): no family here slides a "
            + "window"
        )
      }
    } else if uses, family == .qwen3MoE {
      throw reader.error("use_sliding_window", "false: no family here slides a window")
    }
  }

  /// `rope_theta` (transformers 4), or the same inside `rope_parameters` (transformers 5) or
  /// `rope_scaling`.
  private static func ropeTheta(
    _ reader: inout SettingReader, family: Family
  ) throws(EngineError) -> Double {
    var theta = try reader.number("rope_theta")
    for name in ["rope_scaling", "rope_parameters"] {
      guard let value = try reader.take(name) else { continue }
      guard case .object(let members) = value else {
        throw reader.error(name, "an object or null")
      }
      var inner = try SettingReader(path: reader.path, members: members, prefix: name + ".")
      try inner.require("rope_type", "default")
      try inner.require("type", "default")
      try inner.require("partial_rotary_factor", 1)
      if let here = try inner.number("rope_theta") {
        if let theta, theta != here {
          throw EngineError(
            "\(reader.path): rope_theta is \(theta) and \(name).rope_theta is \(here); "
              + "expected the same")
        }
        theta = here
      }
      try inner.refuseRest()
    }
    let found = theta ?? family.defaults.ropeTheta
    guard found > 0, found.isFinite else {
      throw EngineError("\(reader.path): rope_theta is \(found); expected a positive number")
    }
    return found
  }
}
