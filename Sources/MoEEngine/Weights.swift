import Colocate
import ColocateFormats

/// A rank's weights in float32: everything but the experts, and the experts that the plan gives to
/// the rank.
///
/// Matrices are stored `[in, out]`, the transpose of the checkpoint's `[out, in]`; queries, keys
/// and values are one matrix, gate and up are one matrix. The embedding keeps the type of the file:
/// a step converts one row of it per token.
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
  /// `[V, d]`
  private let embedding: (type: ElementType, bytes: UnsafePointer<UInt8>)
  private let hidden: Int
  private let memory: Memory

  /// Reads a rank's weights. What the other ranks hold is checked for its shape all the same: a
  /// checkpoint is refused by all ranks or by none.
  /// - Parameters:
  ///   - placement: on which rank each expert lives.
  ///   - rank: this rank.
  init(
    checkpoint: Checkpoint, config: ModelConfig, placement: Placement, rank: Int
  ) throws(EngineError) {
    let reader = WeightReader(checkpoint, config)
    expertsHere = config.experts / placement.topology.gpus
    var layers: [Layer] = []
    for l in 0..<config.layers {
      layers.append(try reader.layer(l, placement, rank: rank, held: expertsHere))
    }
    self.layers = layers
    finalNorm = try reader.vector("model.norm.weight", config.hidden)
    (embedding, head) = try reader.embeddingAndHead()
    try reader.refuseOthers()
    memory = reader.memory
    hidden = config.hidden
  }

  /// Bytes that the weights of a rank take.
  static func bytes(_ config: ModelConfig, expertsHere: Int) -> Double {
    let (d, nq, nkv) = (
      Double(config.hidden), Double(config.queryWidth), Double(config.keyValueWidth)
    )
    let experts = Double(expertsHere) * 3 * d * Double(config.expertWidth)
    let layer = d * (2 * nq + 2 * nkv) + d * Double(config.experts) + experts
    return 4 * (Double(config.layers) * layer + 1.5 * d * Double(config.vocabulary))
  }

  /// x = embedding row of `token`, `[d]`.
  func embed(_ token: Int, into x: Floats) {
    let row = embedding.bytes + token * hidden * embedding.type.bytes
    WeightReader.convert(row, embedding.type, count: hidden, into: x)
  }
}
