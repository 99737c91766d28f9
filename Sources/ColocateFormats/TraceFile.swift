import Colocate
import Foundation

/// Traces and transition counts from files: `.npy`, and `safetensors` with a tensor `trace` or `counts`.
///
/// | array | meaning |
/// |---|---|
/// | `[T, L]` | trace, top-1 |
/// | `[T, L, k]` | trace, top-k, best expert first; -1 is padding |
/// | `[L-1, E, E]` | transition counts |
///
/// Three axes, the last two alike, are counts unless `Reading.kind` says otherwise.
public struct TraceFile: Sendable {
  /// What a file holds.
  public enum Kind: String, Hashable, Sendable, CaseIterable {
    case trace
    case counts
  }

  /// How a file is to be understood.
  public struct Reading: Hashable, Sendable {
    /// nil decides by the shape.
    public var kind: Kind?
    /// How several experts per token are counted.
    public var counting: TopKCounting = .pairs
    /// `E`; nil takes the largest id + 1.
    public var experts: Int?
    /// Whether a top-k trace's pairs inside a layer are counted too.
    public var coactivation = false

    public init() {}
  }

  /// The file as it was named.
  public let path: String
  /// What it holds.
  public let kind: Kind
  /// The array's shape.
  public let shape: [Int]
  /// The array's element type as numpy names it.
  public let elementType: String
  /// Tokens of a trace; nil for counts.
  public let tokens: Int?
  /// `k` of a trace, 1 for counts.
  public let choices: Int
  /// Whether `E` came from the largest id rather than from the reader or the shape.
  public let expertsInferred: Bool
  /// What was counted or read.
  public let counts: TransitionCounts
  /// SHA-256 of the file.
  public let sha256: String
  private let array: IntegerArray

  /// Reads a file and counts its transitions. Needs memory for the counts and a block of tokens, however long the trace.
  /// - Throws: `FormatError`, one line with the position, for everything that is wrong with the file.
  public init(_ path: String, _ reading: Reading = Reading()) throws(FormatError) {
    let file = try MappedFile(path)
    let isNumpy = file.bytes.starts(with: [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59])
    if !isNumpy, path.hasSuffix(".safetensors") {
      let tensors = try Safetensors(file)
      let found = ["trace", "counts"].filter { tensors.names.contains($0) }
      guard found.count == 1 else {
        throw FormatError(
          path, "\(found.count) of the tensors 'trace' and 'counts', expected 1")
      }
      let kind = Kind(rawValue: found[0])!
      guard reading.kind ?? kind == kind else {
        throw FormatError(path, "holds '\(found[0])', read as \(reading.kind!.rawValue)")
      }
      try self.init(
        try tensors.array(found[0]), kind: kind, reading: reading, bytes: file.bytes,
        loads: kind == .counts && tensors.names.contains("loads") ? tensors.array("loads") : nil,
        coactivation: kind == .counts && tensors.names.contains("coactivation")
          ? tensors.array("coactivation") : nil)
      return
    }
    let header: NpyHeader
    do {
      header = try file.bytes.withUnsafeBytes { bytes in try NpyHeader(bytes, file: path) }
    } catch {
      throw error as! FormatError
    }
    let shape = header.shape
    guard shape.count == 2 || shape.count == 3 else {
      throw FormatError(
        path,
        "shape \(header.shapeText), expected [tokens, layers], [tokens, layers, k] or counts [layers - 1, experts, experts]"
      )
    }
    let kind = reading.kind ?? (shape.count == 3 && shape[1] == shape[2] ? .counts : .trace)
    try self.init(
      IntegerArray(
        file: path, bytes: file.bytes, offset: header.dataOffset, element: header.element,
        shape: shape, isFortranOrder: header.isFortranOrder),
      kind: kind, reading: reading, bytes: file.bytes, loads: nil, coactivation: nil)
  }

  private init(
    _ array: IntegerArray, kind: Kind, reading: Reading, bytes: Data, loads: IntegerArray?,
    coactivation: IntegerArray?
  ) throws(FormatError) {
    path = array.file
    self.kind = kind
    shape = array.shape
    elementType = array.element.name
    do throws(ModelError) {
      switch kind {
      case .counts:
        let counts: TransitionCounts
        do throws(FormatError) {
          counts = try Self.readCounts(array, reading, loads: loads, coactivation: coactivation)
        } catch {
          throw ModelError.counts(error.message)
        }
        (tokens, choices, expertsInferred, self.counts) = (nil, 1, false, counts)
      case .trace:
        guard shape.count == 2 || shape.count == 3 else {
          throw ModelError.counts(
            "shape \(NpyHeader.text(of: shape)) read as a trace, expected [tokens, layers] or [tokens, layers, k]"
          )
        }
        guard shape[0] > 0 else { throw ModelError.counts("0 tokens: at least 1 is needed") }
        var accumulator = try TransitionAccumulator(
          layers: shape[1], choices: shape.count == 3 ? shape[2] : 1, experts: reading.experts,
          counting: reading.counting, coactivation: reading.coactivation)
        try Self.stream(array, into: &accumulator)
        counts = try accumulator.counts()
        tokens = shape[0]
        choices = accumulator.choices
        expertsInferred = reading.experts == nil
      }
    } catch {
      throw FormatError(path, error.description)
    }
    sha256 = Digest.sha256(bytes)
    self.array = array
  }

  /// How many GPUs and nodes the experts of one token and layer sit on, added up over tokens and layers: what a placement changes in
  /// an engine that sends tokens home after every layer. Reads the trace once more.
  /// - Returns: the sums, and the number of tokens × layers with an expert.
  /// - Throws: `FormatError` where the placement is for a model of other sizes, or the file holds counts.
  public func destinations(
    of placement: Placement
  ) throws(FormatError) -> (gpus: Int, nodes: Int, visits: Int) {
    guard kind == .trace else {
      throw FormatError(path, "counts do not say which experts a token uses together")
    }
    guard placement.layers == counts.layers, placement.experts == counts.experts else {
      throw FormatError(
        path,
        "\(counts.layers) layers × \(counts.experts) experts, expected \(placement.layers) × \(placement.experts) as in the plan"
      )
    }
    let topology = placement.topology
    var (gpus, nodes, visits) = (0, 0, 0)
    // The last visit that saw a GPU or a node.
    var gpuSeen = [Int](repeating: 0, count: topology.gpus)
    var nodeSeen = [Int](repeating: 0, count: topology.nodes)
    let block = max(1, (1 << 18) / (counts.layers * choices))
    for start in stride(from: 0, to: shape[0], by: block) {
      let ids = try array.integers(rows: start..<min(start + block, shape[0]))
      for (visit, first) in stride(from: 0, to: ids.count, by: choices).enumerated() {
        let layer = visit % counts.layers
        var isUsed = false
        let number = start * counts.layers + visit + 1
        for expert in ids[first..<(first + choices)] where expert >= 0 {
          isUsed = true
          let gpu = placement[layer, expert]
          if gpuSeen[gpu] != number {
            gpuSeen[gpu] = number
            gpus += 1
          }
          let node = topology.node(of: gpu)
          if nodeSeen[node] != number {
            nodeSeen[node] = number
            nodes += 1
          }
        }
        if isUsed { visits += 1 }
      }
    }
    return (gpus, nodes, visits)
  }

  private static func readCounts(
    _ array: IntegerArray, _ reading: Reading, loads: IntegerArray?, coactivation: IntegerArray?
  ) throws(FormatError) -> TransitionCounts {
    let shape = array.shape
    guard shape.count == 3, shape[1] == shape[2] else {
      throw FormatError(
        array.file,
        "shape \(NpyHeader.text(of: shape)) read as counts, expected [layers - 1, experts, experts]"
      )
    }
    let (layers, experts) = (shape[0] + 1, shape[1])
    guard experts <= TransitionAccumulator.mostExperts else {
      throw FormatError(
        array.file, "\(experts) experts, expected at most \(TransitionAccumulator.mostExperts)")
    }
    if let expected = reading.experts, expected != experts {
      throw FormatError(array.file, "counts of \(experts) experts, expected \(expected)")
    }
    if let loads, loads.shape != [layers, experts] {
      throw FormatError(
        array.file,
        "loads of shape \(NpyHeader.text(of: loads.shape)), expected [\(layers), \(experts)]")
    }
    if let coactivation, coactivation.shape != [layers, experts, experts] {
      throw FormatError(
        array.file,
        "co-activation of shape \(NpyHeader.text(of: coactivation.shape)), expected [\(layers), \(experts), \(experts)]"
      )
    }
    let weights = try array.integers()
    let given = try loads?.integers()
    let together = try coactivation?.integers() ?? []
    do throws(ModelError) {
      let counts = try TransitionCounts(
        layers: layers, experts: experts, weights: weights, loads: given, coactivation: together)
      guard counts.total > 0 else {
        throw ModelError.counts("no transition counted: every count is 0")
      }
      return counts
    } catch {
      throw FormatError(array.file, error.description)
    }
  }

  /// Passes the trace to the accumulator in blocks of about a million ids.
  private static func stream(
    _ array: IntegerArray, into accumulator: inout TransitionAccumulator
  ) throws(ModelError) {
    func pass<Integer: FixedWidthInteger>(_: Integer.Type) throws(ModelError) {
      let perToken = accumulator.layers * accumulator.choices
      let tokens = array.shape[0]
      let block = max(1, min(tokens, (1 << 20) / perToken))
      let buffer = UnsafeMutableBufferPointer<Integer>.allocate(capacity: block * perToken)
      defer { buffer.deallocate() }
      for start in stride(from: 0, to: tokens, by: block) {
        let count = min(block, tokens - start)
        array.copyRows(start..<(start + count), to: buffer.baseAddress!)
        try accumulator.add(
          UnsafeBufferPointer(start: buffer.baseAddress!, count: count * perToken))
      }
    }
    switch (array.element.size, array.element.isSigned) {
    case (1, true): try pass(Int8.self)
    case (1, false): try pass(UInt8.self)
    case (2, true): try pass(Int16.self)
    case (2, false): try pass(UInt16.self)
    case (4, true): try pass(Int32.self)
    case (4, false): try pass(UInt32.self)
    case (8, true): try pass(Int64.self)
    default: try pass(UInt64.self)
    }
  }
}
