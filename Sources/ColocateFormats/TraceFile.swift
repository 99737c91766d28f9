import ColocateModel

/// Traces and transition counts from files: `.npy`; `safetensors` and `.npz` with an array `trace`
/// or `counts`; recordings of SGLang, vLLM and TensorRT-LLM and folders of them (`RecordedTrace`);
/// `-` is standard input.
///
/// | array | meaning |
/// |---|---|
/// | `[T, L]` | trace, top-1; -1 is padding |
/// | `[T, L, k]` | trace, top-k, best expert first; -1 is padding |
/// | `[L-1, E, E]` | transition counts |
///
/// Counts that `colocate count` wrote (`CountsFile`) say which layers and how many experts a token
/// they are of; their co-activation is used where it is asked for, as a trace's is.
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
    /// What a stack's recording does not say of its shape.
    public var recording = RecordingReading()
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
  /// Tokens of a trace; of counts as their record says, nil where they have none.
  public let tokens: Int?
  /// `k` of a trace; of counts as their record says, 1 where they have none.
  public let choices: Int
  /// How several experts a token were counted, or had been counted.
  public let counting: TopKCounting
  /// How several experts a token were counted; nil where there is one, or nobody knows.
  public var topK: TopKCounting? { tokens != nil && choices > 1 ? counting : nil }
  /// What a file of counts that `colocate count` wrote says of its traces.
  public let record: CountsRecord?
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
  ///   - path: a regular file; it is read in blocks, once, and a trace whose first blocks are
  ///     unlike the rest once more.
  ///   - reading: how the user says that it is to be understood.
  ///   - progress: gets the bytes done and the bytes in all.
  /// - Throws: `FormatError`, one line with the position, for everything that is wrong with the
  ///   file, for what it could mean beside a trace or counts where it does not say, and where it
  ///   becomes shorter while it is read.
  public init(
    _ path: String, _ reading: Reading = Reading(), progress: @escaping Progress = { _, _ in }
  ) throws(FormatError) {
    let opened = try RecordedTrace.open(path, reading)
    let file = opened.file
    var reading = reading
    if opened.isRecording { reading.kind = .trace }
    self.path = path
    let content =
      if let known = opened.content { known } else { try TraceContent.of(file, reading) }
    let digest = SequentialDigest(file)
    let isApart = content.kind == .trace && !content.array.isIn(file)
    // Other bytes than the file's, or in another order than they are counted in.
    let isTwice =
      isApart || content.kind == .trace && content.array.plainBytes(ofRows: 0..<0) == nil
    let meter = Meter(
      total: file.size + (isTwice ? content.array.bytes : 0), report: progress)
    kind = content.kind
    shape = content.array.shape
    elementType = content.array.elementName
    var remarks = content.remarks
    switch content.kind {
    case .counts:
      let (counts, odd) = try content.counts(reading)
      self.counts = counts
      remarks += odd
      let record = content.record
      (tokens, choices, firstShared) = (record?.tokens, record?.choices ?? 1, nil)
      (blocks, sequences) = (nil, nil)
      (expertsInferred, moeLayers) = (record?.expertsInferred ?? false, record?.moeLayers)
      (self.record, counting) = (record, record?.counting ?? reading.counting)
    case .trace:
      // The bytes that are counted are digested on the way, where they are the file's.
      let trace = try TraceCount(content.array, reading, isApart ? nil : digest, meter)
      remarks += trace.remarks
      (counts, blocks, firstShared) = (trace.counts, trace.blocks, trace.firstShared)
      moeLayers = trace.blocks.kept
      tokens = trace.blocks.tokens
      choices = trace.blocks.choices
      expertsInferred = reading.experts == nil
      (record, counting) = (nil, reading.counting)
      sequences = try Self.sequences(content, reading)
    }
    self.remarks = remarks
    sha256 = try digest.finish(meter.advance)
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
    private var total: Int
    private let report: Progress
    private var done = 0

    init(total: Int, report: @escaping Progress) {
      self.total = total
      self.report = report
    }

    /// An array has to be read once more.
    func more(_ array: IntegerArray) { total += array.bytes }

    func advance(_ bytes: Int) {
      done += bytes
      report(min(done, total), total)
    }
  }
}
