import ColocateModel

/// A trace, counted: surveyed in a first pass, its transitions added up in a second.
struct TraceCount {
  let counts: TransitionCounts
  /// The trace as it was counted.
  let blocks: TraceBlocks
  let firstShared: Int?
  private(set) var remarks: [Remark]

  /// - Throws: `FormatError` with the position of what is wrong, or what else the file may be.
  init(
    _ array: IntegerArray, _ reading: TraceFile.Reading, _ meter: TraceFile.Meter
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
    let rules = try TraceRules(
      array, experts: reading.experts, moeLayers: reading.moeLayers,
      isTrusted: reading.kind == .trace, advance: meter.advance)
    let odd = try shapes?.remarks(largest: rules.largest) ?? []
    (blocks, firstShared) = (rules.blocks, rules.firstShared)
    (counts, remarks) = try Self.count(rules, reading, meter)
    remarks += odd
    let experts = counts.experts
    if reading.experts == nil, experts >= 16, experts % 4 != 0 {
      remarks.append(
        .note("\(experts) experts, the largest id + 1: if the model has more, --experts says so"))
    }
  }

  /// The second pass.
  private static func count(
    _ rules: TraceRules, _ reading: TraceFile.Reading, _ meter: TraceFile.Meter
  ) throws(FormatError) -> (TransitionCounts, [Remark]) {
    let blocks = rules.blocks
    let file = blocks.array.file
    var accumulator = try FormatError.naming(file) { () throws(ModelError) in
      try TransitionAccumulator(
        layers: blocks.layersKept, choices: blocks.choices, experts: reading.experts,
        counting: reading.counting, coactivation: reading.coactivation)
    }
    accumulator.layerNumbers = blocks.kept ?? []
    var (missing, of) = (0, 0)
    let hint = { rules.hintOf255 + TraceShape(blocks.array).hintOfOrder() }
    try blocks.stream(meter.advance, hint: hint) { ids, _, _ throws(ModelError) in
      try accumulator.add(ids)
      guard rules.hasGaps else { return }
      let broken = Self.brokenTransitions(ids, layers: blocks.layersKept, choices: blocks.choices)
      missing += broken.missing
      of += broken.of
    }
    let counts = try FormatError.naming(file) { () throws(ModelError) in
      try accumulator.counts()
    }
    var remarks = rules.remarks
    if missing > 0 {
      remarks.append(
        .note(
          "\(missing) of \(of) steps of a token from layer to layer are not counted: it has no "
            + "expert on one side"))
    }
    remarks += FlowCheck.emptyBoundaries(counts, layers: blocks.kept)
    return (counts, remarks)
  }

  /// Steps from a layer to the next of tokens that are not blank: how many lack an expert, of how
  /// many.
  private static func brokenTransitions(
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
