import ColocateModel

/// Counts of traces with the record of what was counted, as a safetensors file: the step between
/// traces of any size and a plan.
///
/// Counts add up: with `W(t)` the counts of trace `t`, `W(t ∪ u) = W(t) + W(u)`, and so do loads
/// and co-activations. So traces may be counted apart, on as many machines as there are, and the
/// files added up in any grouping; what comes out is, byte for byte, what one pass over all of the
/// traces in the same order writes: nothing in the file depends on when or where it was made.
///
/// | tensor | shape | |
/// |---|---|---|
/// | `counts` | `[L-1, E, E]` | transitions, `W` |
/// | `loads` | `[L, E]` | tokens of each expert |
/// | `coactivation` | `[L, E, E]` | pairs of a token's experts in a layer, `V`; where counted |
///
/// All of them 64-bit integers. Where `E` was inferred from the largest id, two files may differ in
/// it: the smaller one's experts beyond its own are experts that no token used.
public struct CountsFile: Sendable {
  public private(set) var counts: TransitionCounts
  public private(set) var record: CountsRecord

  public init(counts: TransitionCounts, record: CountsRecord) {
    self.counts = counts
    self.record = record
  }

  /// What was read of one trace.
  /// - Throws: `FormatError` where the file holds counts, of which nobody knows the traces.
  public init(_ trace: TraceFile) throws(FormatError) {
    if let record = trace.record {
      self.init(counts: trace.counts, record: record)
      return
    }
    guard trace.kind == .trace, let tokens = trace.tokens else {
      throw FormatError(
        trace.path,
        "counts without a record of their traces, expected a trace or a file that colocate count "
          + "wrote")
    }
    self.init(
      counts: trace.counts,
      record: CountsRecord(
        choices: trace.choices, counting: trace.choices > 1 ? trace.counting : nil,
        expertsInferred: trace.expertsInferred, moeLayers: trace.moeLayers,
        sources: [.init(file: trace.path, sha256: trace.sha256, tokens: tokens)]))
  }

  /// Reads a file that `colocate count` or `colocate merge` wrote.
  /// - Throws: `FormatError` where it is damaged or something else.
  public static func read(_ path: String) throws(FormatError) -> CountsFile {
    var reading = TraceFile.Reading()
    reading.coactivation = true
    let file = try TraceFile(path, reading)
    guard file.record != nil else {
      throw FormatError(path, "no record of traces, expected a file that colocate count wrote")
    }
    return try CountsFile(file)
  }

  /// Adds the counts of another file, whose traces come after this one's.
  /// - Parameters:
  ///   - other: counts of the same model, counted alike.
  ///   - file: the other's name, for messages.
  /// - Throws: `FormatError` where the two are not of one model or not counted alike.
  public mutating func add(_ other: CountsFile, file: String) throws(FormatError) {
    let sum = try record.adding(other.record, file: file)
    let (mine, its) = (counts.experts, other.counts.experts)
    guard mine == its || (mine < its ? record : other.record).expertsInferred else {
      throw FormatError(file, "\(its) experts, expected \(mine) as before (--experts)")
    }
    do throws(ModelError) {
      let experts = max(mine, its)
      counts = try TransitionCounts.sum([
        counts.widened(to: experts), other.counts.widened(to: experts),
      ])
    } catch {
      throw FormatError(file, error.description)
    }
    record = sum
  }

  /// Writes the file, whole or not at all.
  /// - Throws: `FormatError` where it cannot be written.
  public func write(to path: String) throws {
    let (layers, experts) = (counts.layers, counts.experts)
    var tensors = [
      (name: "counts", shape: [layers - 1, experts, experts], values: counts.weights),
      (name: "loads", shape: [layers, experts], values: counts.loads),
    ]
    if !counts.coactivation.isEmpty {
      tensors.append(("coactivation", [layers, experts, experts], counts.coactivation))
    }
    try AtomicFile.write(to: path) { file in
      try file.put(header(tensors.map { ($0.name, $0.shape) }))
      for tensor in tensors {
        for start in stride(from: 0, to: tensor.values.count, by: 1 << 16) {
          let block = tensor.values[start..<min(start + (1 << 16), tensor.values.count)]
          try block.map { $0.littleEndian }.withUnsafeBytes { try file.put($0) }
        }
      }
    }
  }

  /// The length and the JSON text, blanks at the end so that the data start at a multiple of 8.
  private func header(_ tensors: [(name: String, shape: [Int])]) -> [UInt8] {
    func quoted(_ text: String) -> String { String(JSONText.string(text).text.dropLast()) }
    let entries = record.entries(digest: CertificateFile.digest(of: counts)).map { entry in
      "\(quoted(entry.key)):\(quoted(entry.value))"
    }
    var text = "{\"__metadata__\":{" + entries.joined(separator: ",") + "}"
    var start = 0
    for (name, shape) in tensors {
      let end = start + 8 * shape.reduce(1, *)
      let lengths = shape.map(String.init).joined(separator: ",")
      text +=
        ",\(quoted(name)):{\"dtype\":\"I64\",\"shape\":[\(lengths)],"
        + "\"data_offsets\":[\(start),\(end)]}"
      start = end
    }
    text += "}"
    let padded = Array(text.utf8) + [UInt8](repeating: 0x20, count: (8 - text.utf8.count % 8) % 8)
    return (0..<8).map { UInt8(truncatingIfNeeded: padded.count >> (8 * $0)) } + padded
  }
}

extension TransitionCounts {
  /// The same counts among more experts, of which the new ones are never used.
  func widened(to wide: Int) throws(ModelError) -> TransitionCounts {
    guard wide > experts else { return self }
    func moved(_ table: [Int]) -> [Int] {
      let rows = table.count / experts
      let blocks = rows / experts
      var larger = [Int](repeating: 0, count: blocks * wide * wide)
      for row in 0..<rows {
        let to = (row / experts * wide + row % experts) * wide
        for column in 0..<experts { larger[to + column] = table[row * experts + column] }
      }
      return larger
    }
    var tokens = [Int](repeating: 0, count: layers * wide)
    for layer in 0..<layers {
      for expert in 0..<experts {
        tokens[layer * wide + expert] = load(layer: layer, expert: expert)
      }
    }
    return try TransitionCounts(
      layers: layers, experts: wide, weights: moved(weights), loads: tokens,
      coactivation: moved(coactivation))
  }
}
