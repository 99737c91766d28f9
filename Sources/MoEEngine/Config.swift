import Foundation

/// A checkpoint's `config.json`: what the three families differ in, as settings of one code path.
///
/// | setting | OLMoE | Mixtral | Qwen3-MoE |
/// |---|---|---|---|
/// | q/k norm | over the whole width | none | per head |
/// | gate weights of the top k add up to 1 | `norm_topk_prob` | always | `norm_topk_prob` |
/// | expert width | `intermediate_size` | `intermediate_size` | `moe_intermediate_size` |
/// | number of experts | `num_experts` | `num_local_experts` | `num_experts` |
///
/// A setting that is not known, or whose value would need code that is not here, is refused by name: a model never runs
/// silently wrong.
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
  /// Queries, keys and values are clipped to ± this before the norm (OLMoE's `clip_qkv`).
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

  /// - Parameter folder: a Hugging Face checkpoint folder.
  public init(folder: String) throws(EngineError) {
    let path = folder + "/config.json"
    guard let data = FileManager.default.contents(atPath: path) else {
      throw EngineError("\(path): cannot be read; expected a Hugging Face checkpoint folder")
    }
    try self.init(json: data, path: path)
  }

  init(json data: Data, path: String) throws(EngineError) {
    guard case .object(let object)? = try? JSONDecoder().decode(JSONValue.self, from: data) else {
      throw EngineError("\(path): not a JSON object")
    }
    var reader = SettingReader(path: path, settings: object)
    let type = try reader.string("model_type")
    guard let family = Family(rawValue: type) else {
      throw EngineError(
        "\(path): model_type \"\(type)\" is not supported; expected \"olmoe\", \"mixtral\" or \"qwen3_moe\""
      )
    }
    self.family = family
    vocabulary = try reader.size("vocab_size")
    hidden = try reader.size("hidden_size")
    layers = try reader.size("num_hidden_layers")
    queryHeads = try reader.size("num_attention_heads")
    keyValueHeads = try reader.size("num_key_value_heads", default: queryHeads)
    guard queryHeads % keyValueHeads == 0 else {
      throw reader.error(
        "num_attention_heads", "a multiple of num_key_value_heads (\(keyValueHeads))")
    }
    if reader.has("head_dim") {
      headWidth = try reader.size("head_dim")
    } else {
      guard hidden % queryHeads == 0 else {
        throw reader.error(
          "hidden_size", "a multiple of num_attention_heads (\(queryHeads)), or head_dim")
      }
      headWidth = hidden / queryHeads
    }
    guard headWidth % 2 == 0 else {
      throw reader.error("head_dim", "an even number (RoPE turns pairs)")
    }
    let expertsName = family == .mixtral ? "num_local_experts" : "num_experts"
    experts = try reader.size(expertsName)
    expertsPerToken = try reader.size("num_experts_per_tok")
    guard expertsPerToken <= experts else {
      throw reader.error("num_experts_per_tok", "at most \(expertsName) (\(experts))")
    }
    expertWidth = try reader.size(
      family == .qwen3MoE ? "moe_intermediate_size" : "intermediate_size")
    normalisesTopK =
      family == .mixtral ? true : try reader.bool("norm_topk_prob", default: false)
    queryKeyNorm =
      switch family {
      case .olmoe: .wholeWidth
      case .mixtral: .none
      case .qwen3MoE: .perHead
      }
    clip = try reader.optionalNumber("clip_qkv").map { Float($0) }
    if let clip, !(clip > 0) { throw reader.error("clip_qkv", "a positive number or null") }
    normEpsilon = Float(try reader.number("rms_norm_eps", default: family == .olmoe ? 1e-5 : 1e-6))
    guard normEpsilon >= 0, normEpsilon < 1 else {
      throw reader.error("rms_norm_eps", "a number in [0, 1)")
    }
    tiedHead = try reader.bool("tie_word_embeddings", default: false)
    maxPositions = try reader.size("max_position_embeddings")
    ropeTheta = try Self.ropeTheta(&reader, family: family)

    // Settings that change the computation and are supported with one value only.
    try reader.require("hidden_act", .string("silu"), default: .string("silu"))
    try reader.require("attention_bias", .bool(false), default: .bool(false))
    try reader.require("mlp_bias", .bool(false), default: .bool(false))
    try reader.require("decoder_sparse_step", .integer(1), default: .integer(1))
    try reader.require("mlp_only_layers", .array([]), default: .array([]))
    try reader.require("use_sliding_window", .bool(false), default: .bool(false))
    if family == .qwen3MoE {
      // The width is read only together with use_sliding_window, the dense width only with mlp_only_layers.
      reader.ignore("sliding_window", "max_window_layers", "intermediate_size")
    } else {
      try reader.require("sliding_window", .null, default: .null)
    }
    try reader.require("partial_rotary_factor", .number(1), default: .number(1))
    if case .array(let kinds)? = reader.take("layer_types") {
      for kind in kinds where kind != .string("full_attention") {
        throw EngineError(
          "\(path): layer_types has \(kind.text); only \"full_attention\" is supported")
      }
    }
    reader.ignore(
      // Of training and of other programs.
      "architectures", "attention_dropout", "initializer_range", "output_router_logits",
      "router_aux_loss_coef",
      "router_jitter_noise", "use_cache", "torch_dtype", "dtype", "transformers_version",
      "_name_or_path",
      "bos_token_id", "eos_token_id", "pad_token_id", "pretraining_tp", "_attn_implementation",
      "output_attentions", "output_hidden_states", "return_dict", "id2label", "label2id")
    try reader.refuseRest()
  }

  /// `rope_theta` (transformers 4) or `rope_parameters.rope_theta` (transformers 5).
  private static func ropeTheta(_ reader: inout SettingReader, family: Family) throws(EngineError)
    -> Double
  {
    var theta = try reader.optionalNumber("rope_theta")
    for name in ["rope_scaling", "rope_parameters"] {
      guard let value = reader.take(name), value != .null else { continue }
      guard case .object(let object) = value else {
        throw EngineError("\(reader.path): \(name) is \(value.text); expected an object or null")
      }
      var inner = SettingReader(path: reader.path, settings: object, prefix: name + ".")
      try inner.require("rope_type", .string("default"), default: .string("default"))
      try inner.require("type", .string("default"), default: .string("default"))
      try inner.require("partial_rotary_factor", .number(1), default: .number(1))
      if let here = try inner.optionalNumber("rope_theta") {
        if let theta, theta != here {
          throw EngineError(
            "\(reader.path): rope_theta is \(theta) and \(name).rope_theta is \(here); expected the same"
          )
        }
        theta = here
      }
      try inner.refuseRest()
    }
    let found = theta ?? (family == .mixtral ? 1e6 : 1e4)
    guard found > 0, found.isFinite else {
      throw EngineError("\(reader.path): rope_theta is \(found); expected a positive number")
    }
    return found
  }
}

/// Takes settings out of a JSON object one by one; what is left at the end is what nobody understood.
private struct SettingReader {
  let path: String
  private var settings: [String: JSONValue]
  private let prefix: String
  private var taken: [String: JSONValue] = [:]

  init(path: String, settings: [String: JSONValue], prefix: String = "") {
    self.path = path
    self.settings = settings
    self.prefix = prefix
  }

  func has(_ name: String) -> Bool { settings[name].map { $0 != .null } ?? false }

  mutating func take(_ name: String) -> JSONValue? {
    let value = settings.removeValue(forKey: name)
    if let value { taken[name] = value }
    return value
  }

  func error(_ name: String, _ expected: String) -> EngineError {
    let found = (taken[name] ?? settings[name])?.text ?? "missing"
    return EngineError("\(path): \(prefix)\(name) is \(found); expected \(expected)")
  }

  mutating func string(_ name: String) throws(EngineError) -> String {
    guard case .string(let value)? = take(name) else { throw error(name, "a string") }
    return value
  }

  /// A whole number from 1 to 2³¹ − 1.
  mutating func size(_ name: String, default missing: Int? = nil) throws(EngineError) -> Int {
    let value = take(name)
    if value == nil || value == .null, let missing { return missing }
    guard case .integer(let size)? = value, size >= 1, size <= Int(Int32.max) else {
      throw error(name, "a positive whole number")
    }
    return size
  }

  mutating func bool(_ name: String, default missing: Bool) throws(EngineError) -> Bool {
    guard let value = take(name) else { return missing }
    guard case .bool(let bool) = value else { throw error(name, "true or false") }
    return bool
  }

  mutating func optionalNumber(_ name: String) throws(EngineError) -> Double? {
    switch take(name) {
    case nil, .null?: return nil
    case .integer(let value)?: return Double(value)
    case .number(let value)?: return value
    default: throw error(name, "a number")
    }
  }

  mutating func number(_ name: String, default missing: Double) throws(EngineError) -> Double {
    try optionalNumber(name) ?? missing
  }

  /// Refuses any value but one.
  mutating func require(_ name: String, _ only: JSONValue, default missing: JSONValue)
    throws(EngineError)
  {
    let value = take(name) ?? missing
    if value == only || value == .null && missing == only { return }
    if case .number(let number) = only, value == .integer(Int(number)) { return }
    throw EngineError(
      "\(path): \(prefix)\(name) is \(value.text), which is not supported; expected \(only.text)")
  }

  mutating func ignore(_ names: String...) {
    for name in names { settings[name] = nil }
  }

  func refuseRest() throws(EngineError) {
    if let name = settings.keys.sorted().first {
      throw EngineError(
        "\(path): setting \(prefix)\(name) (\(settings[name]!.text)) is not supported")
    }
  }
}
