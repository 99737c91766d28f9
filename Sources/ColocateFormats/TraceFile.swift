import ColocateModel
import Foundation

/// Traces and transition counts from files: `.npy`, and `safetensors` with a tensor `trace` or
/// `counts`.
///
/// | array | meaning |
/// |---|---|
/// | `[T, L]` | trace, top-1; -1 is padding |
/// | `[T, L, k]` | trace, top-k, best expert first; -1 is padding |
/// | `[L-1, E, E]` | transition counts |
///
/// Three axes, the last two alike, are told apart by their entries (`ArrayMeaning`). Layers without
/// an expert are left out and the MoE layers around them joined; what was done, and what looks odd,
/// is said in `remarks`.
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
    /// The trace's layers that are MoE layers, ascending; nil takes all where a token has an
    /// expert.
    public var moeLayers: [Int]?

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
  /// The trace's layers that were counted, `[L]`; nil where these are all of its layers.
  public let moeLayers: [Int]?
  /// The first id of experts that every token uses, where those are the last ids and were counted.
  public let firstShared: Int?
  /// What the user should know about the file.
  public let remarks: [Remark]
  /// What was counted or read.
  public let counts: TransitionCounts
  /// SHA-256 of the file.
  public let sha256: String
  private let blocks: TraceBlocks?

  /// Called while a file is read: bytes done and bytes in all, the passes over the file added up.
  public typealias Progress = (_ done: Int, _ total: Int) -> Void

  /// Reads a file and counts its transitions. Needs memory for the counts and a block of tokens,
  /// however long the trace.
  /// - Throws: `FormatError`, one line with the position, for everything that is wrong with the
  ///   file.
  public init(
    _ path: String, _ reading: Reading = Reading(), progress: @escaping Progress = { _, _ in }
  ) throws(FormatError) {
    let file = try MappedFile(path)
    self.path = path
    let content = try Self.content(of: file, reading)
    // A trace is surveyed, counted and digested; counts take no time worth showing.
    let passes = content.kind == .trace ? 3 : 1
    let meter = Meter(total: passes * file.bytes.count, report: progress)
    kind = content.kind
    shape = content.array.shape
    elementType = content.array.element.name
    var remarks = content.remarks
    switch content.kind {
    case .counts:
      let (counts, odd) = try Self.readCounts(content, reading)
      self.counts = counts
      remarks += odd
      (tokens, choices, expertsInferred, moeLayers, firstShared, blocks) =
        (nil, 1, false, nil, nil, nil)
    case .trace:
      let trace = try TraceCount(content.array, reading, meter)
      remarks += trace.remarks
      (counts, blocks, firstShared) = (trace.counts, trace.blocks, trace.firstShared)
      moeLayers = trace.blocks.kept
      tokens = trace.blocks.tokens
      choices = trace.blocks.choices
      expertsInferred = reading.experts == nil
    }
    self.remarks = remarks
    sha256 = Digest.sha256(file.bytes, advance: meter.advance)
  }

  /// Adds up what was read.
  final class Meter {
    private let total: Int
    private let report: Progress
    private var done = 0

    init(total: Int, report: @escaping Progress) {
      self.total = total
      self.report = report
    }

    func advance(_ bytes: Int) {
      done += bytes
      report(min(done, total), total)
    }
  }

  /// The arrays of a file and what they are.
  private struct Content {
    var kind: Kind
    var array: IntegerArray
    var loads: IntegerArray?
    var coactivation: IntegerArray?
    var remarks = [Remark]()
  }

  private static func content(
    of file: MappedFile, _ reading: Reading
  ) throws(FormatError) -> Content {
    let path = file.path
    if !NpyHeader.starts(file) {
      if Safetensors.starts(file) || path.hasSuffix(".safetensors") && Container(file) == nil {
        return try content(of: try Safetensors(file), path, reading)
      }
      if let container = Container(file) {
        throw container.error(path, expected: "a .npy or .safetensors file")
      }
    }
    let array = try IntegerArray(npy: file)
    let shape = array.shape
    guard shape.count == 2 || shape.count == 3 else {
      throw FormatError(
        path,
        "shape \(NpyHeader.text(of: shape)), expected [tokens, layers], [tokens, layers, k] or "
          + "counts [layers - 1, experts, experts]")
    }
    guard reading.kind == nil, shape.count == 3, shape[1] == shape[2] else {
      return Content(kind: reading.kind ?? .trace, array: array)
    }
    switch try ArrayMeaning.of(array) {
    case .counts: return Content(kind: .counts, array: array)
    case .trace:
      let remark = Remark.note(
        "rows of different ids: a trace of \(shape[0]) tokens, \(shape[1]) layers, \(shape[2]) "
          + "experts each; --as counts if they are counts")
      return Content(kind: .trace, array: array, remarks: [remark])
    case .unknown:
      throw FormatError(
        path,
        "shape \(NpyHeader.text(of: shape)) can be a trace, [tokens, layers, k], or counts, "
          + "[layers - 1, experts, experts]: --as trace or --as counts says which")
    }
  }

  private static func content(
    of tensors: Safetensors, _ path: String, _ reading: Reading
  ) throws(FormatError) -> Content {
    let found = ["trace", "counts"].filter { tensors.names.contains($0) }
    guard found.count == 1 else {
      let names = tensors.names.sorted()
      let listed = names.prefix(4).map { "'\($0)'" }.joined(separator: ", ")
      throw FormatError(
        path,
        "\(found.count) of the tensors 'trace' and 'counts', expected 1: it holds "
          + (names.isEmpty ? "nothing" : listed + (names.count > 4 ? ", …" : "")))
    }
    let kind = Kind(rawValue: found[0])!
    guard reading.kind ?? kind == kind else {
      throw FormatError(path, "holds '\(found[0])', read as \(reading.kind!.rawValue)")
    }
    func beside(_ name: String) throws(FormatError) -> IntegerArray? {
      kind == .counts && tensors.names.contains(name) ? try tensors.array(name) : nil
    }
    return Content(
      kind: kind, array: try tensors.array(found[0]), loads: try beside("loads"),
      coactivation: try beside("coactivation"))
  }

  /// How many GPUs and nodes the experts of one token and layer sit on, added up over tokens and
  /// layers: what a placement changes in an engine that sends tokens home after every layer. Reads
  /// the trace once more.
  /// - Returns: the sums, and the number of tokens × layers with an expert.
  /// - Throws: `FormatError` where the placement is for a model of other sizes, or the file holds
  ///   counts.
  public func destinations(
    of placement: Placement
  ) throws(FormatError) -> (gpus: Int, nodes: Int, visits: Int) {
    guard let blocks else {
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
    do throws(ModelError) {
      try blocks.stream { ids, start, _ throws(ModelError) in
        for (visit, first) in stride(from: 0, to: ids.count, by: choices).enumerated() {
          let layer = visit % counts.layers
          var isUsed = false
          let number = start * counts.layers + visit + 1
          for id in ids[first..<(first + choices)] where id >= 0 {
            guard Int(id) < counts.experts else {
              throw .counts("token \(number / counts.layers): changed since it was counted")
            }
            isUsed = true
            let gpu = placement[layer: layer, expert: Int(id)]
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
    } catch {
      throw FormatError(path, error.description)
    }
    return (gpus, nodes, visits)
  }

  private static func readCounts(
    _ content: Content, _ reading: Reading
  ) throws(FormatError) -> (TransitionCounts, [Remark]) {
    let (array, loads, coactivation) = (content.array, content.loads, content.coactivation)
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
      try LoadsCheck.checkCoactivation(counts)
      return (
        counts,
        FlowCheck.emptyBoundaries(counts) + FlowCheck.exchangedAxes(counts)
          + (given == nil ? [] : try LoadsCheck(counts).check())
      )
    } catch {
      throw FormatError(array.file, error.description)
    }
  }
}
