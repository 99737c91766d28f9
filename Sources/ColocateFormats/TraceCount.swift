import ColocateModel

/// A trace, counted: surveyed and its transitions added up in one pass; in a second one where the
/// first blocks are unlike the rest.
struct TraceCount {
  let counts: TransitionCounts
  /// The trace as it was counted.
  let blocks: TraceBlocks
  let firstShared: Int?
  private(set) var remarks: [Remark]

  /// - Throws: `FormatError` with the position of what is wrong, or what else the file may be.
  init(
    _ array: IntegerArray, _ reading: TraceFile.Reading, _ digest: SequentialDigest?,
    _ meter: TraceFile.Meter
  ) throws(FormatError) {
    let shape = array.shape
    guard shape.count == 2 || shape.count == 3 else {
      throw FormatError(
        array.file,
        "shape \(NpyHeader.text(of: shape)) read as a trace, expected [tokens, layers] or "
          + "[tokens, layers, k]")
    }
    guard shape[0] > 0 else { throw FormatError(array.file, "0 tokens: at least 1 is needed") }
    // Whoever says --as trace has seen the shape.
    let shapes = reading.kind == .trace ? nil : TraceShape(array)
    try shapes?.check()
    // Sizes are checked before any id is read.
    _ = try FormatError.naming(array.file) { () throws(ModelError) in
      try TransitionAccumulator(
        layers: shape[1], choices: shape.count == 3 ? shape[2] : 1, experts: reading.experts)
    }
    let raw = TraceBlocks(array, experts: reading.experts)
    let pass = try OnePass(raw, reading, digest, meter)
    let rules = try TraceRules(
      raw, pass.survey, moeLayers: reading.moeLayers, isTrusted: reading.kind == .trace)
    let odd = try shapes?.remarks(largest: rules.largest) ?? []
    (blocks, firstShared) = (rules.blocks, rules.firstShared)
    let counted =
      if let counted = pass.counted(under: rules) { counted } else {
        try Self.count(rules, reading, meter)
      }
    counts = try FormatError.naming(array.file) { () throws(ModelError) in
      try counted.accumulator.counts()
    }
    remarks = rules.remarks + counted.remarks(rules)
    remarks += FlowCheck.emptyBoundaries(counts, layers: rules.blocks.kept) + odd
    let experts = counts.experts
    if reading.experts == nil, experts >= 16, experts % 4 != 0 {
      remarks.append(
        .note("\(experts) experts, the largest id + 1: if the model has more, --experts says so"))
    }
  }

  /// What a pass has added up.
  fileprivate struct Counted {
    var accumulator: TransitionAccumulator
    /// Steps of a token from layer to layer that lack an expert, and all steps of tokens that have
    /// any.
    var (missing, of) = (0, 0)

    init(_ blocks: TraceBlocks, _ reading: TraceFile.Reading) throws(ModelError) {
      accumulator = try TransitionAccumulator(
        layers: blocks.layersKept, choices: blocks.choices, experts: reading.experts,
        counting: reading.counting, coactivation: reading.coactivation)
      accumulator.layerNumbers = blocks.kept ?? []
    }

    mutating func add(_ ids: UnsafeBufferPointer<Int32>) throws(ModelError) {
      try accumulator.add(ids)
      let (layers, choices) = (accumulator.layers, accumulator.choices)
      guard (ids.min() ?? 0) < 0 else {
        of += ids.count / (layers * choices) * (layers - 1)
        return
      }
      let broken = TraceCount.brokenTransitions(ids, layers: layers, choices: choices)
      missing += broken.missing
      of += broken.of
    }

    func remarks(_ rules: TraceRules) -> [Remark] {
      guard missing > 0, rules.hasGaps else { return [] }
      return [
        .note(
          "\(missing) of \(of) steps of a token from layer to layer are not counted: it has no "
            + "expert on one side")
      ]
    }
  }

  /// A second pass, where the first did not know what it had to replace or leave out; it also finds
  /// the words for what is wrong.
  private static func count(
    _ rules: TraceRules, _ reading: TraceFile.Reading, _ meter: TraceFile.Meter
  ) throws(FormatError) -> Counted {
    let blocks = rules.blocks
    var counted = try FormatError.naming(blocks.array.file) { () throws(ModelError) in
      try Counted(blocks, reading)
    }
    let hint = { rules.hintOf255 + TraceShape(blocks.array).hintOfOrder() }
    meter.more(blocks.array)
    try blocks.stream(meter.advance, hint: hint) { ids, _, _ throws(ModelError) in
      try counted.add(ids)
    }
    return counted
  }

  /// Surveys a trace and counts it in one pass, under the rules that its first blocks suggest. At
  /// the end the survey of the whole says whether these were the right ones: then all is done.
  fileprivate struct OnePass {
    private(set) var survey: TraceSurvey
    private var counted: Counted?
    private let guess: TraceRules?

    init(
      _ raw: TraceBlocks, _ reading: TraceFile.Reading, _ digest: SequentialDigest?,
      _ meter: TraceFile.Meter
    ) throws(FormatError) {
      guess = TraceRules.guess(
        raw, moeLayers: reading.moeLayers, isTrusted: reading.kind == .trace)
      counted = guess.flatMap { try? Counted($0.blocks, reading) }
      survey = TraceSurvey(layers: raw.layers, choices: raw.choices)
      let perToken = raw.layers * raw.choices
      var (survey, counted, rules) = (survey, counted, guess?.blocks)
      try raw.stream(meter.advance, digest: digest) { ids, first, wide throws(ModelError) in
        survey.add(ids, firstToken: first, wide: wide)
        guard let blocks = rules, let base = ids.baseAddress else { return }
        // The buffer is the stream's own, and filled anew for each block.
        let chunk = blocks.normalised(
          UnsafeMutablePointer(mutating: base), tokens: ids.count / perToken)
        do throws(ModelError) { try counted?.add(chunk) } catch {
          // What is wrong is said by the second pass, which knows the rules.
          (counted, rules) = (nil, nil)
        }
      }
      survey.finish()
      (self.survey, self.counted) = (survey, counted)
    }

    /// What was counted, if these are the rules that it was counted under.
    func counted(under rules: TraceRules) -> Counted? {
      guard let guess, rules.blocks.reads(as: guess.blocks) else { return nil }
      return counted
    }
  }

  /// Steps from a layer to the next of tokens that are not blank: how many lack an expert, of how
  /// many.
  fileprivate static func brokenTransitions(
    _ ids: UnsafeBufferPointer<Int32>, layers: Int, choices: Int
  ) -> (missing: Int, of: Int) {
    var (missing, of) = (0, 0)
    for token in stride(from: 0, to: ids.count, by: layers * choices) {
      var (steps, isBlank, wasLive) = (0, true, false)
      for layer in 0..<layers {
        let row = (token + layer * choices)..<(token + (layer + 1) * choices)
        let isLive = ids[row].contains { $0 >= 0 }
        if isLive { isBlank = false }
        if isLive, wasLive { steps += 1 }
        wasLive = isLive
      }
      if isBlank { continue }
      missing += layers - 1 - steps
      of += layers - 1
    }
    return (missing, of)
  }
}
