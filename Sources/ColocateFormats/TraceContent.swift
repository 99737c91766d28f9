import ColocateModel

/// The arrays of a trace's or counts' file, and which of the two it is.
struct TraceContent {
  let kind: TraceFile.Kind
  let array: IntegerArray
  /// Beside counts in a safetensors file: tokens of each expert, `[L, E]`, and of each pair of
  /// experts, `[L, E, E]`.
  private let loads: IntegerArray?
  private let coactivation: IntegerArray?
  /// Beside a trace in a safetensors file: the sequence of each token, `[T]`.
  let sequences: IntegerArray?
  let remarks: [Remark]
  /// Of counts that `colocate count` made.
  let record: CountsRecord?

  init(
    _ kind: TraceFile.Kind, _ array: IntegerArray, loads: IntegerArray? = nil,
    coactivation: IntegerArray? = nil, sequences: IntegerArray? = nil, remarks: [Remark] = [],
    record: CountsRecord? = nil
  ) {
    self.record = record
    self.kind = kind
    self.array = array
    self.loads = loads
    self.coactivation = coactivation
    self.sequences = sequences
    self.remarks = remarks
  }

  /// Looks what a file is, by the format that it is said to have or its first bytes, and by its
  /// shape; of three axes, the last two alike, by its entries too.
  /// - Throws: `FormatError` that names what the file is instead, or asks where it can be both.
  static func of(
    _ file: PositionedFile, _ reading: TraceFile.Reading
  ) throws(FormatError) -> TraceContent {
    let format = reading.recording.format
    if format == .npy { return try of(try IntegerArray(npy: file), reading) }
    if format == .safetensors { return try of(try Safetensors(file), file.path, reading.kind) }
    let head = try file.head()
    if NpyHeader.starts(head) { return try of(try IntegerArray(npy: file), reading) }
    let container = Container(head, file: file.path)
    if Safetensors.starts(head, size: file.size)
      || (file.path.hasSuffix(".safetensors") && container == nil)
    {
      return try of(try Safetensors(file), file.path, reading.kind)
    }
    if let container {
      // Responses whose first one has no routed experts are not recognised.
      let named = container.mayBeResponses ? ", or --from vllm or sglang for responses" : ""
      throw container.error(file.path, expected: "a .npy or .safetensors file" + named)
    }
    return try of(try IntegerArray(npy: file), reading)
  }

  /// Looks what an array is.
  static func of(
    _ array: IntegerArray, _ reading: TraceFile.Reading
  ) throws(FormatError) -> TraceContent {
    let shape = array.shape
    guard shape.count == 2 || shape.count == 3 else {
      throw FormatError(
        array.file,
        "shape \(NpyHeader.text(of: shape)), expected [tokens, layers], [tokens, layers, k] or "
          + "counts [layers - 1, experts, experts]")
    }
    guard reading.kind == nil, shape.count == 3, shape[1] == shape[2] else {
      return TraceContent(reading.kind ?? .trace, array)
    }
    switch try ArrayMeaning.of(array) {
    case .counts: return TraceContent(.counts, array)
    case .trace:
      let remark = Remark.note(
        "rows of different ids: a trace of \(shape[0]) tokens, \(shape[1]) layers, \(shape[2]) "
          + "experts each; --as counts if they are counts")
      return TraceContent(.trace, array, remarks: [remark])
    case .unknown:
      throw FormatError(
        array.file,
        "shape \(NpyHeader.text(of: shape)) can be a trace, [tokens, layers, k], or counts, "
          + "[layers - 1, experts, experts]: --as trace or --as counts says which")
    }
  }

  private static func of(
    _ tensors: Safetensors, _ path: String, _ wanted: TraceFile.Kind?
  ) throws(FormatError) -> TraceContent {
    let names = tensors.names
    let found = TraceFile.Kind.allCases.filter { names.contains($0.rawValue) }
    guard let kind = found.first, found.count == 1 else {
      let listed = names.sorted().prefix(4).map { "'\($0)'" }.joined(separator: ", ")
      throw FormatError(
        path,
        "\(found.count) of the tensors 'trace' and 'counts', expected 1: it holds "
          + (names.isEmpty ? "nothing" : listed + (names.count > 4 ? ", …" : "")))
    }
    if let wanted, wanted != kind {
      throw FormatError(path, "holds '\(kind.rawValue)', read as \(wanted.rawValue)")
    }
    func beside(_ name: String, _ wanted: TraceFile.Kind) throws(FormatError) -> IntegerArray? {
      kind == wanted && names.contains(name) ? try tensors.array(name) : nil
    }
    let array = try tensors.array(kind.rawValue)
    let record =
      kind == .counts
      ? try CountsRecord(tensors.metadata, layers: array.shape[0] + 1, file: path) : nil
    return TraceContent(
      kind, array, loads: try beside("loads", .counts),
      coactivation: try beside("coactivation", .counts),
      sequences: try beside("sequences", .trace), record: record)
  }

  /// The counts of a file of counts.
  ///
  /// Of a file with a record, co-activation is only left out once the digest has been compared.
  /// - Parameter reading: `E`, which may be more than the file's where that was inferred, and
  ///   whether co-activation is wanted of a file with a record; others have it to be used.
  /// - Throws: `FormatError` for shapes that do not fit, numbers that no tokens can have made, and
  ///   counts that are all 0.
  func counts(
    _ reading: TraceFile.Reading
  ) throws(FormatError) -> (TransitionCounts, [Remark]) {
    let shape = array.shape
    guard shape.count == 3, shape[1] == shape[2] else {
      throw FormatError(
        array.file,
        "shape \(NpyHeader.text(of: shape)) read as counts, expected [layers - 1, experts, "
          + "experts]")
    }
    let (layers, experts) = (shape[0] + 1, shape[1])
    guard experts <= TransitionAccumulator.mostExperts else {
      throw FormatError(
        array.file, "\(experts) experts, expected at most \(TransitionAccumulator.mostExperts)")
    }
    if let given = reading.experts, given != experts,
      given < experts || record?.expertsInferred != true
    {
      throw FormatError(array.file, "counts of \(experts) experts, expected \(given)")
    }
    try check(loads, "loads", [layers, experts])
    try check(coactivation, "co-activation", [layers, experts, experts])
    let weights = try array.integers()
    let tokens = try loads?.integers()
    let together = try coactivation?.integers() ?? []
    return try FormatError.naming(array.file) { () throws(ModelError) in
      let counts = try TransitionCounts(
        layers: layers, experts: experts, weights: weights, loads: tokens, coactivation: together)
      guard counts.total > 0 else {
        throw ModelError.counts("no transition counted: every count is 0")
      }
      try LoadsCheck.checkCoactivation(counts)
      let odd = FlowCheck.emptyBoundaries(counts) + FlowCheck.exchangedAxes(counts)
      let remarks = odd + (tokens == nil ? [] : try LoadsCheck(counts).check())
      guard let record else { return (counts, remarks) }
      guard record.digest == CertificateFile.digest(of: counts) else {
        throw ModelError.counts("the counts are not those of their record: a damaged file")
      }
      let kept =
        reading.coactivation || counts.coactivation.isEmpty
        ? counts
        : try TransitionCounts(
          layers: layers, experts: experts, weights: weights, loads: counts.loads)
      return (try kept.widened(to: reading.experts ?? experts), remarks)
    }
  }

  /// Refuses an array beside the counts that is of another shape.
  private func check(
    _ beside: IntegerArray?, _ name: String, _ expected: [Int]
  ) throws(FormatError) {
    guard let beside, beside.shape != expected else { return }
    throw FormatError(
      array.file,
      "\(name) of shape \(NpyHeader.text(of: beside.shape)), expected \(expected)")
  }
}
