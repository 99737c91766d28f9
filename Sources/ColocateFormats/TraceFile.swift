import ColocateModel

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
    /// A `.npy` file with the sequence of each token, `[T]`; nil where none is known beyond what
    /// the trace's own file says.
    public var sequences: String?

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
  let blocks: TraceBlocks?
  /// Which sequence each token belongs to, `[T]`; nil where nobody says.
  let sequences: [Int]?

  /// Called while a file is read: bytes done and bytes in all, the passes over the file added up.
  public typealias Progress = (_ done: Int, _ total: Int) -> Void

  /// Reads a file and counts its transitions. Needs memory for the counts and a block of tokens,
  /// however long the trace.
  /// - Parameters:
  ///   - path: a regular file; it is read in blocks, three times for a trace.
  ///   - reading: how the user says that it is to be understood.
  ///   - progress: gets the bytes done and the bytes in all.
  /// - Throws: `FormatError`, one line with the position, for everything that is wrong with the
  ///   file, for what it could mean beside a trace or counts where it does not say, and where it
  ///   becomes shorter while it is read.
  public init(
    _ path: String, _ reading: Reading = Reading(), progress: @escaping Progress = { _, _ in }
  ) throws(FormatError) {
    let file = try PositionedFile(path)
    self.path = path
    let content = try TraceContent.of(file, reading)
    // A trace is surveyed, counted and digested; counts take no time worth showing.
    let passes = content.kind == .trace ? 3 : 1
    let meter = Meter(total: passes * file.size, report: progress)
    kind = content.kind
    shape = content.array.shape
    elementType = content.array.elementName
    var remarks = content.remarks
    switch content.kind {
    case .counts:
      let (counts, odd) = try content.counts(experts: reading.experts)
      self.counts = counts
      remarks += odd
      (tokens, choices, expertsInferred, moeLayers, firstShared, blocks, sequences) =
        (nil, 1, false, nil, nil, nil, nil)
    case .trace:
      let trace = try TraceCount(content.array, reading, meter)
      remarks += trace.remarks
      (counts, blocks, firstShared) = (trace.counts, trace.blocks, trace.firstShared)
      moeLayers = trace.blocks.kept
      tokens = trace.blocks.tokens
      choices = trace.blocks.choices
      expertsInferred = reading.experts == nil
      sequences = try Self.sequences(content, reading)
    }
    self.remarks = remarks
    sha256 = try Digest.sha256(file, advance: meter.advance)
  }

  /// The sequence of each token, from the file that the reader names or from the trace's own.
  private static func sequences(
    _ content: TraceContent, _ reading: Reading
  ) throws(FormatError) -> [Int]? {
    let named = try reading.sequences.map { path throws(FormatError) in
      try IntegerArray(npy: PositionedFile(path))
    }
    guard let array = named ?? content.sequences else { return nil }
    let tokens = content.array.shape[0]
    guard array.shape == [tokens] else {
      throw FormatError(
        array.file,
        "sequence ids of shape \(NpyHeader.text(of: array.shape)), expected (\(tokens),): one for "
          + "each token of the trace")
    }
    return try array.integers()
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
}
