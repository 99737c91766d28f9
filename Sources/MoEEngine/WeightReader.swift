import Colocate
import ColocateFormats

/// Reads a checkpoint's tensors into the engine's layout, and knows in the end which were read.
final class WeightReader {
  let memory = Memory()
  private let checkpoint: Checkpoint
  private let config: ModelConfig
  private var expected: Set<String> = []
  /// Bytes of a file, before they are converted: about a megabyte of whole rows.
  private var block: UnsafeMutableRawPointer?
  private var blockSize = 0

  private static let blockBytes = 1 << 20

  init(_ checkpoint: Checkpoint, _ config: ModelConfig) {
    self.checkpoint = checkpoint
    self.config = config
  }

  deinit { block?.deallocate() }

  /// A block of this size at least; what was in the last one is gone.
  private func block(bytes size: Int) -> UnsafeMutableRawPointer {
    if let block, size <= blockSize { return block }
    block?.deallocate()
    let larger = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
    (block, blockSize) = (larger, size)
    return larger
  }

  /// One layer: attention, router, and the experts that this rank holds.
  /// - Parameter held: experts of the layer on this rank.
  func layer(
    _ l: Int, _ placement: Placement, rank: Int, held: Int
  ) throws(EngineError) -> Weights.Layer {
    let (d, nq, nkv, f) = (
      config.hidden, config.queryWidth, config.keyValueWidth, config.expertWidth
    )
    let prefix = "model.layers.\(l)."
    let attention = prefix + "self_attn."
    let width = nq + 2 * nkv
    let queryKeyValue = try memory.floats(d * width)
    for (name, outputs, column) in [
      ("q_proj", nq, 0), ("k_proj", nkv, nq), ("v_proj", nkv, nq + nkv),
    ] {
      try matrix(
        "\(attention)\(name).weight", outputs: outputs, inputs: d, into: queryKeyValue + column,
        stride: width)
    }
    let output = try memory.floats(nq * d)
    try matrix(attention + "o_proj.weight", outputs: d, inputs: nq, into: output, stride: d)
    var norms: (query: Floats, key: Floats)?
    if config.queryKeyNorm != .none {
      let perHead = config.queryKeyNorm == .perHead
      norms = (
        try vector(attention + "q_norm.weight", perHead ? config.headWidth : nq),
        try vector(attention + "k_norm.weight", perHead ? config.headWidth : nkv)
      )
    }
    let names = ExpertNames(checkpoint, config.family, layer: prefix)
    let router = try memory.floats(d * config.experts)
    try matrix(
      names.router, outputs: config.experts, inputs: d, into: router, stride: config.experts)

    let gateUp = try memory.floats(held * d * 2 * f)
    let down = try memory.floats(held * f * d)
    let localIndex = try memory.integers(config.experts)
    let ranks = try memory.integers(config.experts)
    var next = 0
    for e in 0..<config.experts {
      let home = placement[layer: l, expert: e]
      ranks[e] = Int32(home)
      localIndex[e] = home == rank ? Int32(next) : -1
      guard home == rank else {
        try expert(e, names, into: nil)
        continue
      }
      try expert(e, names, into: (gateUp + next * d * 2 * f, down + next * f * d))
      next += 1
    }
    return Weights.Layer(
      attentionNorm: try vector(prefix + "input_layernorm.weight", d),
      queryKeyValue: queryKeyValue, queryNorm: norms?.query, keyNorm: norms?.key, output: output,
      expertNorm: try vector(prefix + "post_attention_layernorm.weight", d), router: router,
      gateUp: gateUp, down: down, localIndex: localIndex, rank: ranks)
  }

  /// An expert's matrices to `target`: gate and up `[d, 2 f]`, down `[f, d]`; only checked where
  /// another rank holds them.
  private func expert(
    _ e: Int, _ names: ExpertNames, into target: (gateUp: Floats, down: Floats)?
  ) throws(EngineError) {
    let (d, f) = (config.hidden, config.expertWidth)
    switch names.layout {
    case .fused(let gateUp, let down):
      // [E, 2 f, d], gate before up, and [E, d, f].
      try matrix(
        gateUp, shape: [config.experts, 2 * f, d], first: e * 2 * f, outputs: 2 * f, inputs: d,
        into: target?.gateUp, stride: 2 * f)
      try matrix(
        down, shape: [config.experts, d, f], first: e * d, outputs: d, inputs: f,
        into: target?.down, stride: d)
    case .separate(let prefix, let gate, let up, let down):
      let expert = "\(prefix)\(e)."
      try matrix(
        expert + gate, outputs: f, inputs: d, into: target?.gateUp, stride: 2 * f)
      try matrix(
        expert + up, outputs: f, inputs: d, into: target.map { $0.gateUp + f }, stride: 2 * f)
      try matrix(expert + down, outputs: d, inputs: f, into: target?.down, stride: d)
    }
  }

  /// The embedding as it is stored, `[V, d]`, and the output head, `[d, V]`.
  func embeddingAndHead() throws(EngineError) -> (
    (type: ElementType, bytes: UnsafePointer<UInt8>), Floats
  ) {
    let (d, vocabulary) = (config.hidden, config.vocabulary)
    let (embeddingName, headName) = ("model.embed_tokens.weight", "lm_head.weight")
    // Tied, one of them may be absent, and both may be there if they are the same. Where they
    // differ, transformers 4 takes the embedding for both and transformers 5 takes each for itself.
    let source =
      config.tiedHead && !checkpoint.has(embeddingName) && checkpoint.has(headName)
      ? headName : embeddingName
    let tensor = try checkpoint.tensor(source, shape: [vocabulary, d])
    expected.insert(source)
    let type = try tensor.type()
    let bytes = try memory.allocate(tensor.stored.range.count, of: UInt8.self)
    try tensor.read(0..<tensor.stored.range.count, into: bytes)
    try checkIsFinite(bytes, type, count: vocabulary * d, first: 0, width: d, of: tensor)
    let head = try memory.floats(d * vocabulary)
    try matrix(
      config.tiedHead ? source : headName, outputs: vocabulary, inputs: d, into: head,
      stride: vocabulary)
    if config.tiedHead, source == embeddingName, checkpoint.has(headName) {
      try checkIsTied(headName, head)
    }
    return ((type, UnsafePointer(bytes)), head)
  }

  /// Compares a stored head with the one that the embedding gives.
  private func checkIsTied(_ name: String, _ head: Floats) throws(EngineError) {
    let scratch = Memory()
    let vocabulary = config.vocabulary
    let stored = try scratch.floats(config.hidden * vocabulary)
    try matrix(
      name, outputs: vocabulary, inputs: config.hidden, into: stored, stride: vocabulary)
    for i in 0..<(config.hidden * vocabulary) where stored[i] != head[i] {
      throw EngineError(
        "\(checkpoint.folder): config.json ties the output head to the embedding "
          + "(tie_word_embeddings), but lm_head.weight has other numbers than "
          + "model.embed_tokens.weight, first at [\(i % vocabulary), \(i / vocabulary)]; expected "
          + "the same, or tie_word_embeddings false")
    }
  }

  /// A weight that nobody asked for means a model that is not what config.json says.
  func refuseOthers() throws(EngineError) {
    for name in checkpoint.names
    where !expected.contains(name) && !name.hasSuffix("rotary_emb.inv_freq") {
      throw EngineError(
        "\(checkpoint.folder): tensor \(name) has no place in the model that config.json describes "
          + "(\(config.layers) layers, \(config.experts) experts, family "
          + "\(config.family.rawValue))")
    }
  }

  /// A vector of the checkpoint.
  func vector(_ name: String, _ width: Int) throws(EngineError) -> Floats {
    let tensor = try checkpoint.tensor(name, shape: [width])
    expected.insert(name)
    let values = try memory.floats(width)
    try withRows(0..<1, width: width, of: tensor) { bytes, type, _, _ in
      Self.convert(bytes, type, count: width, into: values)
    }
    return values
  }

  /// A matrix of the checkpoint, `[outputs, inputs]`, transposed into the first `outputs` columns
  /// of `target`, whose rows are `stride` apart; only checked where there is no target.
  private func matrix(
    _ name: String, shape: [Int]? = nil, first: Int = 0, outputs: Int, inputs: Int,
    into target: Floats?, stride: Int
  ) throws(EngineError) {
    let tensor = try checkpoint.tensor(name, shape: shape ?? [outputs, inputs])
    expected.insert(name)
    guard let target else { return }
    try withRows(first..<(first + outputs), width: inputs, of: tensor) { bytes, type, row, rows in
      Self.transpose(
        bytes, type, rows: rows, columns: inputs, into: target + (row - first), stride: stride)
    }
  }

  /// Calls `body` with blocks of rows of a stored tensor, seen as a matrix of this width: the
  /// bytes, their type, the first row and the number of rows.
  private func withRows(
    _ rows: Range<Int>, width: Int, of tensor: Checkpoint.Tensor,
    _ body: (UnsafeRawPointer, ElementType, Int, Int) -> Void
  ) throws(EngineError) {
    let type = try tensor.type()
    let rowBytes = width * type.bytes
    let step = max(16, Self.blockBytes / rowBytes)
    let bytes = block(bytes: min(step, rows.count) * rowBytes)
    for first in Swift.stride(from: rows.lowerBound, to: rows.upperBound, by: step) {
      let count = min(step, rows.upperBound - first)
      try tensor.read((first * rowBytes)..<((first + count) * rowBytes), into: bytes)
      try checkIsFinite(bytes, type, count: count * width, first: first, width: width, of: tensor)
      body(bytes, type, first, count)
    }
  }

  /// A weight that is no number would silently spoil every output.
  private func checkIsFinite(
    _ bytes: UnsafeRawPointer, _ type: ElementType, count: Int, first: Int, width: Int,
    of tensor: Checkpoint.Tensor
  ) throws(EngineError) {
    guard let place = Self.firstNotFinite(bytes, type, count: count) else { return }
    throw EngineError(
      "\(tensor.file.path): tensor \(tensor.name) has a NaN or an infinity at row "
        + "\(first + place / width), column \(place % width); expected finite weights")
  }

  /// The first number whose exponent is all ones.
  private static func firstNotFinite(
    _ bytes: UnsafeRawPointer, _ type: ElementType, count: Int
  ) -> Int? {
    func search<Bits: FixedWidthInteger & UnsignedInteger>(_ exponent: Bits) -> Int? {
      func isFinite(_ i: Int) -> Bool {
        let bits = bytes.loadUnaligned(fromByteOffset: i &* (Bits.bitWidth / 8), as: Bits.self)
        return bits & exponent != exponent
      }
      // First whether there is any: without a way out, the loop runs on vectors.
      var areFinite = true
      for i in 0..<count { areFinite = isFinite(i) && areFinite }
      return areFinite ? nil : (0..<count).first { !isFinite($0) }
    }
    switch type {
    case .float32: return search(0x7F80_0000 as UInt32)
    case .bfloat16: return search(0x7F80 as UInt16)
    case .float16: return search(0x7C00 as UInt16)
    }
  }
}
