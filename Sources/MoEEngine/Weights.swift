import Foundation

/// A rank's weights in float32: everything but the experts, and the experts that the plan gives to the rank.
///
/// Matrices are stored `[in, out]`, the transpose of the checkpoint's `[out, in]`; queries, keys and values are one matrix, gate and up
/// are one matrix. The embedding stays in the mapped file: a step reads one row of it per token.
final class Weights {
  struct Layer {
    /// `[d]`, before attention.
    let attentionNorm: Floats
    /// `[d, (nq + 2 nkv) · hd]`: queries, keys, values.
    let queryKeyValue: Floats
    /// `[nq · hd]` or `[hd]`, see `ModelConfig.QueryKeyNorm`; nil without.
    let queryNorm: Floats?
    /// `[nkv · hd]` or `[hd]`.
    let keyNorm: Floats?
    /// `[nq · hd, d]`
    let output: Floats
    /// `[d]`, before the experts.
    let expertNorm: Floats
    /// `[d, E]`
    let router: Floats
    /// `[c, d, 2 f]`: gate, up of each expert on this rank.
    let gateUp: Floats
    /// `[c, f, d]`
    let down: Floats
    /// `[E]`: index of an expert among this rank's, −1 for the others'.
    let localIndex: UnsafeMutablePointer<Int32>
    /// `[E]`: rank of each expert.
    let rank: UnsafeMutablePointer<Int32>
  }

  let layers: [Layer]
  /// `[d]`
  let finalNorm: Floats
  /// `[d, V]`
  let head: Floats
  /// `c`, experts of each layer on this rank.
  let expertsHere: Int
  /// `[V, d]` in the mapped file.
  private let embedding: (type: ElementType, bytes: UnsafeRawBufferPointer)
  private let hidden: Int
  private let checkpoint: Checkpoint
  private let memory: Memory

  /// - Parameters:
  ///   - assignment: `[L, E]`: the rank of each expert.
  ///   - rank: this rank.
  init(
    checkpoint: Checkpoint, config: ModelConfig, assignment: [Int], rank: Int
  ) throws(EngineError) {
    let memory = Memory()
    let d = config.hidden
    let (nq, nkv, f) = (config.queryWidth, config.keyValueWidth, config.expertWidth)
    var expected = Set<String>()

    /// A vector of the checkpoint.
    func vector(_ name: String, _ width: Int) throws(EngineError) -> Floats {
      expected.insert(name)
      let (type, bytes) = try checkpoint.tensor(name, shape: [width])
      let values = try memory.floats(width)
      Self.convert(bytes.baseAddress!, type, count: width, into: values)
      return values
    }
    /// A matrix of the checkpoint, `[outputs, inputs]`, transposed into columns `column ..< column + outputs` of `target`.
    func matrix(
      _ name: String, outputs: Int, inputs: Int, into target: Floats, stride: Int, column: Int = 0
    ) throws(EngineError) {
      expected.insert(name)
      let (type, bytes) = try checkpoint.tensor(name, shape: [outputs, inputs])
      Self.transpose(
        bytes.baseAddress!, type, rows: outputs, columns: inputs, into: target + column,
        stride: stride)
    }

    // What the other ranks hold is checked for its shape all the same: a checkpoint is refused by all ranks or by none.
    let names = TensorNames(config.family)
    let held = assignment[0..<config.experts].count { $0 == rank }
    expertsHere = held
    var layers: [Layer] = []
    for l in 0..<config.layers {
      let prefix = "model.layers.\(l)."
      let qkv = try memory.floats(d * (nq + 2 * nkv))
      let width = nq + 2 * nkv
      let attention = prefix + "self_attn."
      try matrix(attention + "q_proj.weight", outputs: nq, inputs: d, into: qkv, stride: width)
      try matrix(
        attention + "k_proj.weight", outputs: nkv, inputs: d, into: qkv, stride: width, column: nq)
      try matrix(
        attention + "v_proj.weight", outputs: nkv, inputs: d, into: qkv, stride: width,
        column: nq + nkv)
      let output = try memory.floats(nq * d)
      try matrix(attention + "o_proj.weight", outputs: d, inputs: nq, into: output, stride: d)
      var queryNorm: Floats?
      var keyNorm: Floats?
      if config.queryKeyNorm != .none {
        let perHead = config.queryKeyNorm == .perHead
        queryNorm = try vector(attention + "q_norm.weight", perHead ? config.headWidth : nq)
        keyNorm = try vector(attention + "k_norm.weight", perHead ? config.headWidth : nkv)
      }
      let router = try memory.floats(d * config.experts)
      try matrix(
        prefix + names.router, outputs: config.experts, inputs: d, into: router,
        stride: config.experts)

      let gateUp = try memory.floats(held * d * 2 * f)
      let down = try memory.floats(held * f * d)
      let localIndex = try memory.integers(config.experts)
      let ranks = try memory.integers(config.experts)
      var next = 0
      for e in 0..<config.experts {
        let expert = prefix + names.expert(e)
        let home = assignment[l * config.experts + e]
        ranks[e] = Int32(home)
        localIndex[e] = -1
        if home == rank {
          let target = gateUp + next * d * 2 * f
          try matrix(expert + names.gate, outputs: f, inputs: d, into: target, stride: 2 * f)
          try matrix(
            expert + names.up, outputs: f, inputs: d, into: target, stride: 2 * f, column: f)
          try matrix(
            expert + names.down, outputs: d, inputs: f, into: down + next * f * d, stride: d)
          localIndex[e] = Int32(next)
          next += 1
        } else {
          for (name, shape) in [(names.gate, [f, d]), (names.up, [f, d]), (names.down, [d, f])] {
            expected.insert(expert + name)
            _ = try checkpoint.tensor(expert + name, shape: shape)
          }
        }
      }
      layers.append(
        Layer(
          attentionNorm: try vector(prefix + "input_layernorm.weight", d), queryKeyValue: qkv,
          queryNorm: queryNorm, keyNorm: keyNorm, output: output,
          expertNorm: try vector(prefix + "post_attention_layernorm.weight", d), router: router,
          gateUp: gateUp, down: down, localIndex: localIndex, rank: ranks))
    }
    finalNorm = try vector("model.norm.weight", d)
    let embeddingName = "model.embed_tokens.weight"
    expected.insert(embeddingName)
    embedding = try checkpoint.tensor(embeddingName, shape: [config.vocabulary, d])
    head = try memory.floats(d * config.vocabulary)
    try matrix(
      config.tiedHead ? embeddingName : "lm_head.weight", outputs: config.vocabulary, inputs: d,
      into: head, stride: config.vocabulary)

    // A weight that nobody asked for means a model that is not what config.json says.
    for name in checkpoint.names.sorted()
    where !expected.contains(name) && !name.hasSuffix("rotary_emb.inv_freq")
      && name != "lm_head.weight"
    {
      throw EngineError(
        "\(checkpoint.folder): tensor \(name) has no place in the model that config.json describes "
          + "(\(config.layers) layers, \(config.experts) experts, family \(config.family.rawValue))"
      )
    }
    self.layers = layers
    self.checkpoint = checkpoint
    self.memory = memory
    hidden = d
  }

  /// x = embedding row of `token`, `[d]`.
  func embed(_ token: Int, into x: Floats) {
    let row = embedding.bytes.baseAddress! + token * hidden * embedding.type.bytes
    Self.convert(row, embedding.type, count: hidden, into: x)
  }

  /// Stored numbers to float32.
  static func convert(_ bytes: UnsafeRawPointer, _ type: ElementType, count: Int, into y: Floats) {
    switch type {
    case .float32:
      UnsafeMutableRawPointer(y).copyMemory(from: bytes, byteCount: count * 4)
    case .bfloat16:
      for i in 0..<count {
        y[i] = bfloat16(bytes.loadUnaligned(fromByteOffset: i &* 2, as: UInt16.self))
      }
    case .float16:
      for i in 0..<count {
        y[i] = float16(bytes.loadUnaligned(fromByteOffset: i &* 2, as: UInt16.self))
      }
    }
  }

  /// Stored `[rows, columns]` to float32 `[columns, rows]` with rows of `stride`, in tiles that stay in the first-level cache.
  private static func transpose(
    _ bytes: UnsafeRawPointer, _ type: ElementType, rows: Int, columns: Int, into y: Floats,
    stride: Int
  ) {
    switch type {
    case .float32:
      transpose(rows, columns, y, stride) {
        Float(bitPattern: bytes.loadUnaligned(fromByteOffset: $0 &* 4, as: UInt32.self))
      }
    case .bfloat16:
      transpose(rows, columns, y, stride) {
        bfloat16(bytes.loadUnaligned(fromByteOffset: $0 &* 2, as: UInt16.self))
      }
    case .float16:
      transpose(rows, columns, y, stride) {
        float16(bytes.loadUnaligned(fromByteOffset: $0 &* 2, as: UInt16.self))
      }
    }
  }

  @inline(__always)
  private static func transpose(
    _ rows: Int, _ columns: Int, _ y: Floats, _ stride: Int, element: (Int) -> Float
  ) {
    let tile = 16
    for rowStart in Swift.stride(from: 0, to: rows, by: tile) {
      let rowEnd = min(rowStart + tile, rows)
      for columnStart in Swift.stride(from: 0, to: columns, by: tile) {
        for column in columnStart..<min(columnStart + tile, columns) {
          for row in rowStart..<rowEnd {
            y[column &* stride &+ row] = element(row &* columns &+ column)
          }
        }
      }
    }
  }

  @inline(__always)
  private static func bfloat16(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) &<< 16) }

  /// IEEE half by its bits, without relying on a conversion instruction.
  @inline(__always)
  private static func float16(_ bits: UInt16) -> Float {
    let magnitude = UInt32(bits & 0x7FFF)
    let sign = UInt32(bits & 0x8000) &<< 16
    // Exponent and mantissa moved into place; the multiplication by 2^112 corrects the bias, subnormals included.
    var value = Float(bitPattern: magnitude &<< 13) * 0x1p112
    if magnitude >= 0x7C00 { value = Float(bitPattern: (magnitude &<< 13) | 0x7F80_0000) }
    return Float(bitPattern: value.bitPattern | sign)
  }
}

/// What the families call the same matrices.
private struct TensorNames {
  let router: String
  let gate: String
  let up: String
  let down: String
  private let experts: String

  init(_ family: ModelConfig.Family) {
    switch family {
    case .olmoe, .qwen3MoE:
      (router, experts) = ("mlp.gate.weight", "mlp.experts.")
      (gate, up, down) = ("gate_proj.weight", "up_proj.weight", "down_proj.weight")
    case .mixtral:
      (router, experts) = ("block_sparse_moe.gate.weight", "block_sparse_moe.experts.")
      (gate, up, down) = ("w1.weight", "w3.weight", "w2.weight")
    }
  }

  func expert(_ e: Int) -> String { "\(experts)\(e)." }
}
